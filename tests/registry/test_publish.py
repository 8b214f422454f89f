"""Publishing, every tag or none: what is uploaded, which tags move, and what is left after a failure or a kill."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from dataclasses import replace
from pathlib import Path

import pytest

from generator.errors import EngineError, InputError
from generator.images.image import Contents, Layer, PlatformImage, contents
from generator.images.oci import OCI_CONFIG, OCI_GZIP, OCI_INDEX, OCI_MANIFEST, Descriptor
from generator.registry.client import Repository
from generator.registry.http import RegistryError
from generator.registry.publish import (
    JOURNAL,
    Publication,
    Published,
    Publisher,
    interrupted,
    locked,
    movable_tags,
    roll_back,
)
from generator.registry.transfer import pieces
from tests.loopback import Handler, Lie, Loopback, error_of, says, sha256, transient

NAMES = ("a", "b", "c")


def described(data: bytes, media_type: str) -> Descriptor:
    return Descriptor(sha256(data), len(data), media_type)


def image(
    path: str, version: str, platforms: tuple[str, ...] = ("amd64", "arm64"), attestation: str = ""
) -> Publication:
    """An image whose platforms have one layer each."""
    stored: dict[str, bytes] = {}

    def keep(content: object, media_type: str) -> Descriptor:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        stored[sha256(data)] = data
        return described(data, media_type)

    images = []
    for name in platforms:
        layer = keep(f"{path} {version} {name}".encode() * 999, OCI_GZIP)
        config = keep({"os": "linux", "architecture": name, "rootfs": {"diff_ids": [layer.digest]}}, OCI_CONFIG)
        below = {"config": config.as_json(), "layers": [layer.as_json()]}
        manifest = keep({"schemaVersion": 2, "mediaType": OCI_MANIFEST, **below}, OCI_MANIFEST)
        images.append(PlatformImage(f"linux/{name}", manifest, config, (Layer(layer, layer.digest),)))
    manifests = tuple(image.manifest for image in images)
    blobs = tuple(blob for image in images for blob in (image.layers[0].blob, image.config))
    children = [image.manifest.as_json(image.platform) for image in images]
    if attestation:
        statement, config = keep(attestation.encode(), "application/vnd.in-toto+json"), keep({}, OCI_CONFIG)
        content = {"schemaVersion": 2, "config": config.as_json(), "layers": [statement.as_json()]}
        manifests += (keep(content, OCI_MANIFEST),)
        blobs += (statement, config)
        children.append(manifests[-1].as_json("unknown/unknown"))
    index = keep({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}, OCI_INDEX)
    everything = Contents(tuple(images), manifests, blobs)
    return Publication(f"fate/{path}", ("1.0",), index, everything, read=lambda blob: iter([stored[blob.digest]]))


def release(version: str) -> list[Publication]:
    return [image(name, version) for name in NAMES]


def publish(
    registry: Loopback, images: list[Publication], state: Path, *, overwrite: bool = False
) -> tuple[Published, ...]:
    publisher = Publisher(registry.client(), images, state)
    return publisher.publish(movable_tags(("latest", "nightly-*"), overwrite))


def fails(registry: Loopback, state: Path, version: str, *lies: Lie, match: str | None = None) -> EngineError:
    """What a publication of this release raises; every tag may move."""
    registry.lies += lies
    with pytest.raises(EngineError, match=match) as error:
        publish(registry, release(version), state, overwrite=True)
    return error.value


def tags(registry: Loopback) -> list[str]:
    """What each image's tag points to ("": nothing)."""
    kept = (registry.manifests.get(f"fate/{name}", {}).get("1.0", ("", b""))[1] for name in NAMES)
    return [sha256(data) if data else "" for data in kept]


def digests(images: list[Publication]) -> list[str]:
    return [image.target.digest for image in images]


def tag_written(handler: Handler, name: str = "") -> bool:
    """Whether a request writes the tag of an image, or of this one."""
    return handler.command == "PUT" and handler.path.endswith(f"{name}/manifests/1.0")


DENIED = error_of("DENIED", "tag is immutable")
NOT_DELETING = says("DELETE", 405)


def refusing(status: int, *names: str, times: int | None = None) -> Lie:
    """Refuses to write tags, so many times."""
    return says(f"PUT /fate/({'|'.join(names or NAMES)})/manifests/1.0$", status, DENIED, times=times)


def test_everything_is_uploaded_before_the_first_tag_is_written(registry: Loopback, tmp_path: Path) -> None:
    publish(registry, release("1"), tmp_path)
    writes = [path for path in registry.paths("PUT") if path.endswith("/manifests/1.0")]
    assert registry.paths("PUT")[-3:] == writes and len(writes) == 3
    assert tags(registry) == digests(release("1"))
    assert not tmp_path.exists(), "no journal, no lock"


def test_a_second_time_nothing_is_sent(registry: Loopback, tmp_path: Path) -> None:
    publish(registry, release("1"), tmp_path)
    registry.asked.clear()
    again = publish(registry, release("1"), tmp_path)
    assert [(image.state, image.sent) for image in again] == [("was there", 0)] * 3
    assert {method for method, path, _ in registry.asked if path != "/v2/"} == {"HEAD"}


def test_a_platform_that_the_registry_lost_is_sent_again(registry: Loopback, tmp_path: Path) -> None:
    images = release("1")
    publish(registry, images, tmp_path)
    kept, lost = registry.manifests["fate/b"], images[1].contents.manifests[1].digest
    before = kept.pop(lost)
    publish(registry, release("1"), tmp_path)
    assert kept[lost] == before


@pytest.mark.parametrize("name", NAMES)
def test_after_a_refused_tag_every_tag_is_what_it_was(registry: Loopback, tmp_path: Path, name: str) -> None:
    publish(registry, release("1"), tmp_path)
    refused = rf"/fate/{name}:1\.0: the tag was not written: 403 DENIED: tag is imm"
    error = fails(registry, tmp_path, "2", refusing(403, name), match=refused)
    assert tags(registry) == digests(release("1"))
    for path, digest in zip(NAMES, digests(release("1")), strict=True):
        assert f"/fate/{path}:1.0 → {digest} (as before)" in error.message
    assert "only writes the tags" in error.hint
    assert not tmp_path.exists()


def test_a_tag_that_did_not_exist_is_deleted(registry: Loopback, tmp_path: Path) -> None:
    fails(registry, tmp_path, "1", refusing(403, "c"), match=r"/fate/a:1\.0 → nothing \(as before\)")
    assert tags(registry) == ["", "", ""]


@pytest.mark.parametrize(
    "lie", [NOT_DELETING, says("DELETE", 400, error_of("DIGEST_INVALID", "provided digest did not match"))]
)
def test_a_tag_that_cannot_be_deleted_is_named(registry: Loopback, tmp_path: Path, lie: Lie) -> None:
    error = fails(registry, tmp_path, "1", refusing(403, "c"), lie)
    first = digests(release("1"))[0]
    assert f"/fate/a:1.0 → {first} (new; this registry deletes no tags)" in error.message
    assert "/fate/c:1.0 → nothing (as before)" in error.message


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_tag_is_written_after_a_transient_error(
    registry: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    registry.lies.append(refusing(status, times=2))
    publish(registry, release("1"), tmp_path)
    assert tags(registry) == digests(release("1")) and len(registry.slept) == 2
    assert f"{status} DENIED: tag is immutable; trying again in 0.5 s" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_a_message_that_stderr_does_not_take_does_not_end_the_tag_loop(
    registry: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.lies.append(refusing(503, "b", times=1))
    with Path("/dev/full").open("wb", buffering=0) as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", io.TextIOWrapper(full, write_through=True))
        publish(registry, release("1"), tmp_path)
    assert tags(registry) == digests(release("1")) and not (tmp_path / JOURNAL).exists()


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_not_repeated(registry: Loopback, tmp_path: Path, status: int) -> None:
    fails(registry, tmp_path, "1", refusing(status), NOT_DELETING, match=str(status))
    assert not registry.slept


@pytest.mark.parametrize("lag", ["PUT", "GET"])
def test_a_registry_that_does_not_show_yet_what_was_pushed_is_waited_for(
    registry: Loopback, tmp_path: Path, lag: str
) -> None:
    unknown = error_of("MANIFEST_BLOB_UNKNOWN") if lag == "PUT" else b""
    registry.lies.append(says(f"{lag} /manifests/", 404, unknown, times=2))
    publish(registry, release("1"), tmp_path)
    assert tags(registry) == digests(release("1")) and len(registry.slept) == 2


@pytest.fixture
def killed(registry: Loopback, tmp_path: Path) -> list[Publication]:
    """A release that was killed after its first tag."""
    publish(registry, release("1"), tmp_path)
    second = release("2")
    publish(registry, [replace(image, tags=()) for image in second], tmp_path)
    kept = registry.manifests["fate/a"]
    content = {
        "registry": registry.host,
        "tags": [
            {"path": new.path, "name": "1.0", "before": old.target.digest, "digest": new.target.digest}
            for old, new in zip(release("1"), second, strict=True)
        ],
    }
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / JOURNAL).write_text(json.dumps(content))
    kept["1.0"] = kept[second[0].target.digest]
    return second


def test_the_same_publication_finishes_one_that_was_killed_although_its_tags_are_immutable(
    registry: Loopback, tmp_path: Path, killed: list[Publication]
) -> None:
    registry.lies.append(refusing(412, "a"))
    registry.asked.clear()
    published = publish(registry, killed, tmp_path, overwrite=True)
    assert tags(registry) == digests(killed)
    assert [image.replaced for image in published] == digests(release("1")), "of the first image too"
    assert {path.rpartition("/")[2] for path in registry.paths("PUT")} == {"1.0"}, "everything is uploaded"
    assert not (tmp_path / JOURNAL).exists()


@pytest.mark.parametrize("now", ["1", "3"])
def test_a_killed_publication_that_fails_again_puts_back_what_it_or_another_machine_found(
    registry: Loopback, tmp_path: Path, killed: list[Publication], now: str
) -> None:
    if now == "3":
        publish(registry, release("3"), tmp_path / "another machine", overwrite=True)
    fails(registry, tmp_path, "2", refusing(403, "c"))
    assert tags(registry) == digests(release(now))


def test_another_publication_waits_until_a_killed_one_is_finished_or_put_back(
    registry: Loopback, tmp_path: Path, killed: list[Publication]
) -> None:
    before = tags(registry)
    error = fails(registry, tmp_path, "3", match="was interrupted while it wrote tags")
    assert "fategen rollback" in error.hint and tags(registry) == before


def test_a_publication_to_another_registry_is_another(
    registry: Loopback, tmp_path: Path, killed: list[Publication]
) -> None:
    journal = tmp_path / JOURNAL
    journal.write_text(journal.read_text().replace(registry.host, "10.0.0.5:8443"))
    fails(registry, tmp_path, "2", match=r"of 10\.0\.0\.5:8443/fate/a:1\.0\) was interrupted")


def test_a_killed_publication_is_put_back(registry: Loopback, tmp_path: Path, killed: list[Publication]) -> None:
    _, left = interrupted(tmp_path)
    results = roll_back(registry.client(), left, tmp_path)
    assert tags(registry) == digests(release("1")) == [state.digest for state in results.values()]
    assert interrupted(tmp_path) == ("", [])


def test_a_tag_that_somebody_moved_meanwhile_is_not_put_back(
    registry: Loopback, tmp_path: Path, killed: list[Publication]
) -> None:
    other = registry.manifests["fate/a"]["1.0"] = (OCI_INDEX, b"{}")
    _, left = interrupted(tmp_path)
    roll_back(registry.client(), left, tmp_path)
    assert registry.manifests["fate/a"]["1.0"] == other


@pytest.mark.parametrize("content", ["", "[]", '{"registry": "x"}', '{"registry": "x", "tags": [{"path": 1}]}'])
def test_a_damaged_journal_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / JOURNAL).write_text(content)
    with pytest.raises(EngineError, match="not a journal of fategen"):
        interrupted(tmp_path)


def test_what_a_builder_uploaded_is_fetched_once_and_its_tags_are_read_once(registry: Loopback, tmp_path: Path) -> None:
    publish(registry, release("1"), tmp_path)
    registry.asked.clear()
    client = registry.client()
    uploaded = []
    for of_release in release("1"):
        target = client.pushed(of_release.path, of_release.target.digest).descriptor
        below = contents(Repository(client, of_release.path), target, of_release.path)
        uploaded.append(Publication(of_release.path, ("2.0",), target, below))
    Publisher(client, uploaded, tmp_path).publish(lambda tag: False)
    fetched = registry.paths("GET")
    assert len(fetched) == len(set(fetched)) and len(registry.paths("HEAD")) == len(NAMES)


def test_a_tag_that_points_to_another_image_does_not_move(registry: Loopback, tmp_path: Path) -> None:
    publish(registry, release("1"), tmp_path)
    registry.asked.clear()
    with pytest.raises(InputError, match="already points to another image, sha256:") as error:
        publish(registry, release("2"), tmp_path)
    assert len(error.value.problems) == 3 and "--overwrite" in error.value.message
    assert tags(registry) == digests(release("1")) and not registry.paths("POST"), "nothing was uploaded"
    assert all(image.state == "pushed" for image in publish(registry, release("2"), tmp_path, overwrite=True))


@pytest.mark.parametrize("attestation", ["", "built at 9:00"])
def test_the_same_images_with_other_attestations_are_there_already(
    registry: Loopback, tmp_path: Path, attestation: str
) -> None:
    """With PROVENANCE=true each build states its time."""
    published, again = (image("a", "1", attestation=text) for text in (attestation, "built at 10:00"))
    publish(registry, [published], tmp_path)
    registry.asked.clear()
    [done] = publish(registry, [again], tmp_path)
    assert (done.state, done.publication.target) == ("was there", published.target)
    assert not registry.paths("PUT")
    publish(registry, [again], tmp_path, overwrite=True)
    assert tags(registry)[0] == again.target.digest


def test_a_movable_tag_follows_one_that_keeps_its_attestations(registry: Loopback, tmp_path: Path) -> None:
    published, again = (image("a", "1", attestation=f"built at {hour}:00") for hour in (9, 10))
    publish(registry, [published], tmp_path)
    [done] = publish(registry, [replace(again, tags=("1.0", "latest"))], tmp_path)
    assert (done.state, done.publication.target, done.replaced) == ("pushed", published.target, "")
    kept = registry.manifests["fate/a"]
    assert kept["latest"] == kept["1.0"]


def test_what_a_movable_tag_replaced_is_told_also_beside_a_new_tag(registry: Loopback, tmp_path: Path) -> None:
    first = replace(image("a", "1"), tags=("nightly-7",))
    publish(registry, [first], tmp_path)
    [done] = publish(registry, [replace(image("a", "2"), tags=("1.0", "nightly-7"))], tmp_path)
    assert (done.state, done.replaced) == ("pushed", first.target.digest)


def test_a_name_never_loses_a_platform(registry: Loopback, tmp_path: Path) -> None:
    publish(registry, [image("a", "1", ("amd64",))], tmp_path)
    with pytest.raises(InputError, match="has linux/amd64, which this image does not have"):
        publish(registry, [image("a", "1", ("arm64",))], tmp_path, overwrite=True)
    publish(registry, [image("a", "1", ("amd64", "arm64"))], tmp_path, overwrite=True)


def test_a_registry_that_calls_a_manifest_otherwise_is_not_believed(registry: Loopback, tmp_path: Path) -> None:
    other = {"Docker-Content-Digest": "sha256:" + "0" * 64}
    otherwise = says("PUT /fate/b/manifests/1.0$", 201, headers=other)
    fails(registry, tmp_path, "1", otherwise, match="and reports it as sha256:000")
    assert tags(registry) == ["", "", ""]


def cutting(after: int, times: int) -> Lie:
    """The line breaks after so many bytes of a blob; the registry keeps what came."""
    left = iter([True] * times)

    def lie(handler: Handler) -> bool:
        sends = handler.command in ("PUT", "PATCH") and handler.url.path.startswith("/upload/")
        if not sends or int(handler.headers.get("Content-Length", 0)) <= after or not next(left, False):
            return False
        handler.loopback.uploads[handler.url.path.removeprefix("/upload/")] += handler.rfile.read(after)
        handler.cut()
        return True

    return lie


def test_an_upload_goes_on_where_it_broke_as_often_as_it_brings_something(registry: Loopback, tmp_path: Path) -> None:
    registry.lies.append(cutting(1000, 9))
    one = image("a", "1", ("amd64",))
    publish(registry, [one], tmp_path)
    assert registry.manifests["fate/a"]["1.0"][1]
    starts = [path for path in registry.paths("POST") if path.endswith("/uploads/")]
    # one to ask for the right, one for each of two blobs
    assert len(starts) <= 3 and len(registry.paths("PATCH")) >= 8


def test_no_byte_goes_behind_the_end_of_a_body() -> None:
    """A server would read the next request there."""
    sent = bytearray()
    with pytest.raises(ValueError, match="more than 10 bytes"):
        for piece in pieces(iter([b"12345", b"6789012"]), 0, 10):
            sent += piece
    assert sent == b"12345"


def test_an_upload_begins_again_where_the_registry_forgot_it(registry: Loopback, tmp_path: Path) -> None:
    registry.lies += [cutting(1000, 1), says("GET /upload/", 404)]
    publish(registry, [image("a", "1", ("amd64",))], tmp_path)
    assert registry.manifests["fate/a"]["1.0"][1] and not registry.paths("PATCH")


@pytest.mark.parametrize("seed", range(20))
def test_transient_faults_end_in_success(registry: Loopback, tmp_path: Path, seed: int) -> None:
    publish(registry, release("1"), tmp_path)
    registry.lies.append(transient(seed, 0.3))
    publish(registry, release("2"), tmp_path, overwrite=True)
    assert tags(registry) == digests(release("2")) and registry.slept


@pytest.mark.parametrize("seed", range(20))
def test_faults_and_a_refused_tag_leave_every_tag_as_it_was(registry: Loopback, tmp_path: Path, seed: int) -> None:
    publish(registry, release("1"), tmp_path)
    fails(registry, tmp_path, "2", refusing(403, NAMES[seed % 3]), transient(seed, 0.3), match="403 DENIED")
    assert tags(registry) == digests(release("1")) and registry.slept


def test_a_tag_that_moves_during_the_upload_is_not_overwritten(registry: Loopback, tmp_path: Path) -> None:
    other = release("other")
    publish(registry, [replace(image, tags=()) for image in other], tmp_path)
    kept = registry.manifests["fate/b"]

    def publish_other(handler: Handler) -> bool:
        if handler.command == "PUT" and "/fate/c/manifests/sha256:" in handler.path:
            kept["1.0"] = kept[other[1].target.digest]
        return False

    registry.lies.append(publish_other)
    with pytest.raises(InputError, match=r"fate/b:1\.0: already points to another image") as error:
        publish(registry, release("1"), tmp_path)
    assert error.value.hint == "no tag was written"
    assert tags(registry) == ["", other[1].target.digest, ""]


def test_the_next_run_goes_on_with_a_large_blob_where_this_one_broke(registry: Loopback, tmp_path: Path) -> None:
    layer, state, one = bytes(9 << 20), tmp_path / "state", image("a", "1", ("amd64",))
    blob, small = described(layer, OCI_GZIP), one.read
    assert small is not None
    below = replace(one.contents, blobs=(blob, *one.contents.blobs))
    one = replace(one, contents=below, read=lambda b: iter([layer]) if b == blob else small(b))

    def gone(handler: Handler) -> bool:
        return any(registry.uploads.values()) and handler.answer(503) is None

    registry.lies += [cutting(8 << 20, 1), gone]
    with pytest.raises(RegistryError):
        publish(registry, [replace(one, contents=replace(one.contents, blobs=(blob,)))], state)
    assert (state / "uploads.json").stat().st_mode & 0o777 == 0o600
    registry.lies.clear()
    registry.asked.clear()
    publish(registry, [one], state)
    assert len(registry.paths("PATCH")) == 1 and registry.blobs["fate/a"][blob.digest] == layer
    assert not state.exists() or not list(state.iterdir())


def test_while_tags_are_written_the_journal_has_what_they_pointed_to(registry: Loopback, tmp_path: Path) -> None:
    publish(registry, release("1"), tmp_path)
    journals = []

    def look(handler: Handler) -> bool:
        if tag_written(handler):
            journals.append(interrupted(tmp_path))
        return False

    registry.lies.append(look)
    publish(registry, release("2"), tmp_path, overwrite=True)
    for host, left in journals:
        assert host == registry.host
        assert [(tag.before, tag.digest) for tag in left] == list(
            zip(digests(release("1")), digests(release("2")), strict=True)
        )
    assert len(journals) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_tags_are_written_puts_them_back(
    registry: Loopback, tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(registry, release("1"), tmp_path)

    numbers = [number]

    def interrupt(handler: Handler) -> bool:
        if tag_written(handler, "b") and numbers:
            os.kill(os.getpid(), numbers.pop())
        return False

    registry.lies.append(interrupt)
    # the tests may run below nohup
    heeded = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt):
            publish(registry, release("2"), tmp_path, overwrite=True)
    finally:
        signal.signal(signal.SIGHUP, heeded)
    assert tags(registry) == digests(release("1")) and not tmp_path.exists()
    assert "interrupted while the tags were written" in capsys.readouterr().err


def test_a_second_signal_ends_the_wait_for_a_registry_and_leaves_the_journal(
    registry: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(registry, release("1"), tmp_path)
    over = threading.Event()

    def hang(handler: Handler) -> bool:
        if tag_written(handler, "b"):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(1.1)
            over.wait(30)
        return False

    registry.lies.append(hang)
    with pytest.raises(KeyboardInterrupt):
        publish(registry, release("2"), tmp_path, overwrite=True)
    over.set()
    _, left = interrupted(tmp_path)
    assert [tag.before for tag in left] == digests(release("1"))
    first, second = capsys.readouterr().err.splitlines()
    assert "Ctrl-C once more" in first and "fategen rollback" in second


def test_a_tag_whose_answer_was_lost_counts_as_written(registry: Loopback, tmp_path: Path) -> None:
    """Its second write is refused where tags are immutable."""
    registry.lies += [says("PUT /fate/b/manifests/1.0$", 0, done=True, times=1), refusing(412, "b")]
    publish(registry, release("1"), tmp_path)
    assert tags(registry) == digests(release("1"))
    assert registry.paths("PUT").count("/v2/fate/b/manifests/1.0") == 2


@pytest.mark.parametrize(
    ("status", "now"), [(401, "sha256:.* (new; 401"), (403, "sha256:.* (new; 403"), (500, "unknown: 500")]
)
def test_a_tag_that_could_not_be_deleted_now_is_deleted_by_a_roll_back_later(
    registry: Loopback, tmp_path: Path, status: int, now: str
) -> None:
    broken = says("DELETE", status)
    match = r"a:1\.0 → " + now.replace("(", r"\(")
    error = fails(registry, tmp_path, "1", refusing(403, "c"), broken, match=match)
    assert "fategen rollback" in error.hint
    registry.lies.remove(broken)
    _, left = interrupted(tmp_path)
    roll_back(registry.client(), left, tmp_path)
    assert tags(registry) == ["", "", ""] and interrupted(tmp_path) == ("", [])


def test_a_roll_back_ends_where_the_registry_no_longer_has_the_earlier_image(
    registry: Loopback, tmp_path: Path, killed: list[Publication]
) -> None:
    del registry.manifests["fate/a"][release("1")[0].target.digest]
    _, left = interrupted(tmp_path)
    states = roll_back(registry.client(), left, tmp_path)
    assert [state.digest for state in states.values()] == [killed[0].target.digest, *digests(release("1"))[1:]]
    assert interrupted(tmp_path) == ("", [])


def test_a_tag_whose_write_was_not_answered_stays_in_the_journal(registry: Loopback, tmp_path: Path) -> None:
    """It can still arrive: a gateway had given up, the registry had not."""
    publish(registry, release("1"), tmp_path)
    error = fails(registry, tmp_path, "2", refusing(504, "b"), match="504")
    assert tags(registry) == digests(release("1")) and "fategen rollback" in error.hint
    registry.lies.clear()
    kept = registry.manifests["fate/b"]
    kept["1.0"] = kept[release("2")[1].target.digest]
    _, left = interrupted(tmp_path)
    roll_back(registry.client(), left, tmp_path)
    assert tags(registry) == digests(release("1")) and interrupted(tmp_path) == ("", [])


def test_one_publication_at_a_time_has_a_journal_s_directory(registry: Loopback, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        with locked(tmp_path):
            other = pool.submit(publish, registry, release("1"), tmp_path)
            with pytest.raises(TimeoutError):
                other.result(0.2)
            assert not registry.paths("PUT")
        other.result(10)
    assert tags(registry) == digests(release("1"))


@pytest.mark.parametrize("status", [504, 0])
def test_a_blob_whose_last_answer_was_lost_is_not_sent_again(registry: Loopback, tmp_path: Path, status: int) -> None:
    registry.lies.append(says("PUT ^/upload/", status, done=True))
    publish(registry, [image("a", "1", ("amd64",))], tmp_path)
    assert len([path for path in registry.paths("PUT") if path.startswith("/upload/")]) == 2
