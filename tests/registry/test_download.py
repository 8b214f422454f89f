"""A registry that lies, a connection that breaks: the right bytes come in the end, or none and an error says why."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any

import pytest

from generator.docker.credentials import Login
from generator.images.oci import Descriptor
from generator.registry.http import RegistryError
from generator.registry.session import MAX_RETRY_AFTER, Stopped
from generator.registry.transfer import Download
from tests.loopback import Handler, Lie, Loopback, error_of, says, sha256, when

DATA = bytes(range(256)) * 40
SIZE = len(DATA)
WHOLE = Descriptor(sha256(DATA), SIZE, "")
BLOB = "GET /blobs/"
LOGIN = Login("writer", "right-horse")


@pytest.fixture
def registry(registry: Loopback) -> Loopback:
    registry.put("fate/roll", DATA)
    return registry


def cut_each(handler: Handler) -> bool:
    """Each answer ends after 4,000 bytes, whatever it promised."""
    if "/blobs/" not in handler.path:
        return False
    start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
    data, status = DATA[start:], 206 if start else 200
    headers = {"Content-Range": f"bytes {start}-{SIZE - 1}/{SIZE}"} if start else {}
    handler.answer(status, data, headers, cut=max(len(data) - 4000, 0))
    return True


WRONG = DATA[:-1] + b"?"


def honest_in_the_end() -> dict[str, list[Lie]]:
    """New each time: a lie that is told once is spent."""
    return {
        "wrong bytes once": [says(BLOB, 200, WRONG, times=1)],
        "cut at 90 %": [says(BLOB, 200, DATA, cut=SIZE // 10, times=1)],
        "cut again and again": [cut_each],
        "cut, and 200 for Range": [says(BLOB, 200, DATA, cut=SIZE // 10, times=1), says(BLOB, 200, DATA)],
        "a part that was not asked for": [
            says(BLOB, 200, DATA, cut=100, times=1),
            says(BLOB, 206, DATA[5:], {"Content-Range": f"bytes 5-{SIZE - 1}/{SIZE}"}, times=1),
        ],
        "206 that does not say which part": [
            says(BLOB, 200, DATA, cut=100, times=1),
            says(BLOB, 206, DATA[:50], times=1),
        ],
        "a shorter blob once": [says(BLOB, 200, DATA[:50], times=1)],
        "a longer blob once": [says(BLOB, 200, DATA + DATA, times=1)],
        "busy (429)": [says(BLOB, 429, times=2)],
        "broken for a moment (503)": [says(BLOB, 503, times=3)],
        "nothing at all": [says(BLOB, 200, DATA, cut=SIZE, times=1)],
        "the range is gone (416)": [says(BLOB, 200, DATA, cut=100, times=1), says(BLOB, 416, times=1)],
    }


def lies_for_ever() -> dict[str, tuple[list[Lie], str]]:
    """Each with what is said of it."""
    return {
        "wrong bytes": ([says(BLOB, 200, WRONG)], "its 10,240 bytes are not those of the digest"),
        "a shorter blob": ([says(BLOB, 200, DATA[:50])], "it has 50 bytes of it, the manifest says 10240"),
        "a longer blob": ([says(BLOB, 200, DATA + b"?")], "it has 10241 bytes of it, the manifest says 10240"),
        "cut, and 200 for Range": ([says(BLOB, 200, DATA, cut=1024)], "broke after 9,216 of 10,240"),
        "always the same part": (
            [says(BLOB, 200, DATA, cut=100, times=1), says(BLOB, 206, b"x", {"Content-Range": "bytes 0-0/10240"})],
            "it sends bytes 0-0/10240",
        ),
        "busy for ever": ([says(BLOB, 429)], "429 Too Many Requests"),
        "broken": ([says(BLOB, 500)], "500 Internal Server Error"),
        "not there": ([says(BLOB, 404)], "404"),
        "no right": ([says(BLOB, 403, error_of("DENIED", "no"))], "403 DENIED: no"),
        "sends on in a circle": (
            [says(BLOB, 307, headers={"Location": f"/v2/fate/roll/blobs/{sha256(DATA)}"})],
            "it redirects more than 5 times",
        ),
        "sends on to a file": (
            [says(BLOB, 307, headers={"Location": "file:///etc/passwd"})],
            "it sent an address that is not http (file:)",
        ),
    }


def fetch(registry: Loopback, directory: Path, login: Login | None = None) -> bytes:
    Download(registry.client(login), "fate/roll", WHOLE).into(directory)
    return (directory / sha256(DATA)[7:]).read_bytes()


@pytest.mark.parametrize("case", honest_in_the_end())
def test_what_a_further_try_mends_is_mended(registry: Loopback, tmp_path: Path, case: str) -> None:
    registry.lies += honest_in_the_end()[case]
    assert fetch(registry, tmp_path) == DATA
    assert sum("/blobs/" in path for path in registry.paths("GET")) > 1, "the lie was told"
    assert [path.name for path in tmp_path.iterdir()] == [sha256(DATA)[7:]]


@pytest.mark.parametrize("case", lies_for_ever())
def test_a_lie_is_an_error_that_says_why_and_never_a_blob(registry: Loopback, tmp_path: Path, case: str) -> None:
    lies, words = lies_for_ever()[case]
    registry.lies += lies
    with pytest.raises(RegistryError) as refused:
        fetch(registry, tmp_path)
    assert words in refused.value.detail
    assert not (tmp_path / sha256(DATA)[7:]).exists()
    assert len(registry.paths("GET")) < 40, "the tries are bounded"


def test_after_a_cut_only_the_rest_is_asked_for(registry: Loopback, tmp_path: Path) -> None:
    ranges: list[str] = []
    note = when(BLOB, lambda handler: ranges.append(handler.headers.get("Range", "")))
    registry.lies += [note, says(BLOB, 200, DATA, cut=1024, times=1)]
    assert fetch(registry, tmp_path) == DATA
    assert ranges == ["", "bytes=9216-"]


def test_a_killed_run_goes_on_where_it_was(registry: Loopback, tmp_path: Path) -> None:
    (tmp_path / f"{sha256(DATA)[7:]}.partial").write_bytes(DATA[:6000])
    received: list[int] = []
    Download(registry.client(), "fate/roll", WHOLE, received.append).into(tmp_path)
    assert received[0] == 6000 and sum(received) == SIZE
    assert min(received) >= 0, "what was there is not thrown away"
    assert (tmp_path / sha256(DATA)[7:]).read_bytes() == DATA


@pytest.mark.parametrize("left", [b"x" * 6000, DATA + b"more", WRONG], ids=["other bytes", "too many", "whole, wrong"])
def test_what_a_run_left_is_not_believed(registry: Loopback, tmp_path: Path, left: bytes) -> None:
    (tmp_path / f"{sha256(DATA)[7:]}.partial").write_bytes(left)
    assert fetch(registry, tmp_path) == DATA


def test_a_link_in_the_place_of_the_part_is_not_written_through(registry: Loopback, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / f"{sha256(DATA)[7:]}.partial").symlink_to(tmp_path / "victim")
    with pytest.raises(Exception, match="cannot be written"):
        fetch(registry, tmp_path / "blobs")
    assert not (tmp_path / "victim").exists()


def test_a_full_disk_is_told_as_one(registry: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(Exception, match="No space left on device"):
        fetch(registry, tmp_path)


def test_a_disk_that_takes_less_at_a_time_is_given_the_rest(
    registry: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Small(io.FileIO):
        def write(self, data: Any, /) -> int:
            return super().write(memoryview(data)[:700])

    monkeypatch.setattr("os.fdopen", lambda number, *_: io.BufferedRandom(Small(number, "r+b")))
    assert fetch(registry, tmp_path) == DATA


def test_a_download_ends_when_the_session_is_ended(registry: Loopback, tmp_path: Path) -> None:
    data = bytes(range(256)) * (3 << 12)
    blob, client = Descriptor(registry.put("fate/roll", data), len(data), ""), registry.client()
    with pytest.raises(Stopped):
        Download(client, "fate/roll", blob, lambda count: client.stop() if count else None).into(tmp_path)
    assert (tmp_path / f"{blob.digest[7:]}.partial").read_bytes() == data[: 1 << 20]


@pytest.mark.parametrize(
    ("status", "asked", "waited"),
    [
        (429, "7", 7),
        (503, "86400", MAX_RETRY_AFTER),
        (503, "Fri, 31 Dec 2100 23:59:59 GMT", MAX_RETRY_AFTER),
        *((503, no_time, 0.5) for no_time in ("soon", "-3", "")),
    ],
)
def test_it_waits_as_long_as_it_is_asked_to_but_not_for_ever(
    registry: Loopback, tmp_path: Path, status: int, asked: str, waited: float
) -> None:
    registry.lies += [says(BLOB, status, headers={"Retry-After": asked}, times=1)]
    fetch(registry, tmp_path)
    assert registry.slept == [waited]


# who sees what


def test_a_token_that_went_out_of_date_is_renewed(registry: Loopback, tmp_path: Path) -> None:
    registry.token = "first"
    client = registry.client()
    Download(client, "fate/roll", WHOLE).into(tmp_path)
    (tmp_path / sha256(DATA)[7:]).unlink()
    registry.token = "second"
    Download(client, "fate/roll", WHOLE).into(tmp_path)
    sent = [header for method, path, header in registry.asked if "/blobs/" in path]
    assert sent == ["Bearer first", "Bearer first", "Bearer second"]


def test_another_host_gets_neither_the_password_nor_the_token(registry: Loopback, tmp_path: Path) -> None:
    """As a registry does whose blobs are in an object store."""
    registry.token = "secret-token"
    with Loopback() as store:
        store.lies.append(says("GET", 200, DATA))
        registry.lies += [says(BLOB, 307, headers={"Location": f"http://{store.host}/bucket?signature=x"}, times=1)]
        assert fetch(registry, tmp_path, LOGIN) == DATA
        assert [(method, path) for method, path, _ in store.asked] == [("GET", "/bucket?signature=x")]
        assert {header for _, _, header in store.asked} == {""}
    basic = f"Basic {base64.b64encode(b'writer:right-horse').decode()}"
    assert {path.split("?")[0] for _, path, header in registry.asked if header == basic} == {"/token"}


def test_a_registry_that_repeats_the_password_does_not_bring_it_into_a_message(
    registry: Loopback, tmp_path: Path
) -> None:
    registry.lies.append(says(BLOB, 403, error_of("DENIED", f"not for right-horse or {LOGIN.basic}")))
    with pytest.raises(RegistryError, match=r"403 DENIED: not for \*\*\* or \*\*\*"):
        fetch(registry, tmp_path, LOGIN)


# manifests


def put_manifest(registry: Loopback, data: bytes, name: str = "1.0") -> None:
    registry.manifests.setdefault("fate/roll", {})[name] = ("application/vnd.oci.image.manifest.v1+json", data)


def test_a_manifest_is_what_its_digest_says(registry: Loopback) -> None:
    put_manifest(registry, b"{}", sha256(b"{}"))
    assert registry.client().manifest("fate/roll", sha256(b"{}")).data == b"{}"
    put_manifest(registry, b"{ }", sha256(b"{}"))
    with pytest.raises(RegistryError, match=f"it sent {sha256(b'{ }')}, not {sha256(b'{}')}"):
        registry.client().manifest("fate/roll", sha256(b"{}"))


def test_a_tag_is_what_the_registry_promises(registry: Loopback) -> None:
    registry.lies.append(says("GET /manifests/", 200, b"{}", {"Docker-Content-Digest": sha256(b"!")}))
    with pytest.raises(RegistryError, match="it sent"):
        registry.client().manifest("fate/roll", "1.0")


@pytest.mark.parametrize("headers", [{}, {"Docker-Content-Digest": f"sha512:{'0' * 128}"}], ids=["none", "sha512"])
def test_a_tag_without_a_digest_of_sha256_has_that_of_its_bytes(registry: Loopback, headers: dict[str, str]) -> None:
    registry.lies.append(says(" /manifests/", 200, b"{}", headers))
    assert registry.client().digest("fate/roll", "1.0") == sha256(b"{}")


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "other bytes"])
def test_a_manifest_that_did_not_come_right_is_asked_for_again(registry: Loopback, cut: bool) -> None:
    put_manifest(registry, DATA, sha256(DATA))
    digest = {"Docker-Content-Digest": sha256(DATA)} if cut else {}
    registry.lies.append(says("GET /manifests/", 200, DATA if cut else DATA[:9], digest, times=1, cut=9 * cut))
    assert registry.client().manifest("fate/roll", sha256(DATA)).data == DATA
