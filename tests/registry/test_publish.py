"""Publishing, every tag or none: what is uploaded, which tags move, and what is left after a failure or a kill."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from dataclasses import dataclass, replace
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
from tests.loopback import Handler, Lie, Loopback, error_of, says, sha256, transient, when

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


def digests(version: str) -> list[str]:
    return [image.target.digest for image in release(version)]


@dataclass
class Site(Loopback):
    """A registry; ``state`` is the directory for the journal."""

    state: Path = Path()

    def publish(self, images: str | Sequence[Publication], *, overwrite: bool = False) -> tuple[Published, ...]:
        """Publishes these images, or the release of this version."""
        publisher = Publisher(self.client(), release(images) if isinstance(images, str) else images, self.state)
        return publisher.publish(movable_tags(("latest", "nightly-*"), overwrite))

    def fails(self, version: str, *lies: Lie, match: str | None = None) -> EngineError:
        """What a publication of this release raises; every tag may move."""
        self.lies += lies
        with pytest.raises(EngineError, match=match) as error:
            self.publish(version, overwrite=True)
        return error.value

    def roll_back(self) -> list[str]:
        """As ``fategen rollback``; what it says that each tag points to."""
        states = roll_back(self.client(), interrupted(self.state)[1], self.state)
        return [state.digest for state in states.values()]

    def tags(self) -> list[str]:
        """What each image's tag points to ("": nothing)."""
        kept = (self.manifests.get(f"fate/{name}", {}).get("1.0", ("", b""))[1] for name in NAMES)
        return [sha256(data) if data else "" for data in kept]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(state=tmp_path) as running:
        yield running


DENIED = error_of("DENIED", "tag is immutable")
NOT_DELETING = says("DELETE", 405)


def refusing(status: int, *names: str, times: int | None = None) -> Lie:
    """Refuses to write tags, so many times."""
    return says(f"PUT /fate/({'|'.join(names or NAMES)})/manifests/1.0$", status, DENIED, times=times)


def test_everything_is_uploaded_before_the_first_tag_is_written(site: Site) -> None:
    site.publish("1")
    writes = [path for path in site.paths("PUT") if path.endswith("/manifests/1.0")]
    assert site.paths("PUT")[-3:] == writes and len(writes) == 3
    assert site.tags() == digests("1")
    assert not site.state.exists(), "no journal, no lock"


def test_a_second_time_nothing_is_sent(site: Site) -> None:
    site.publish("1")
    site.asked.clear()
    again = site.publish("1")
    assert [(image.state, image.sent) for image in again] == [("was there", 0)] * 3
    assert {method for method, path, _ in site.asked if path != "/v2/"} == {"HEAD"}


def test_a_platform_that_the_registry_lost_is_sent_again(site: Site) -> None:
    images = release("1")
    site.publish(images)
    kept, lost = site.manifests["fate/b"], images[1].contents.manifests[1].digest
    before = kept.pop(lost)
    site.publish("1")
    assert kept[lost] == before


@pytest.mark.parametrize("name", NAMES)
def test_after_a_refused_tag_every_tag_is_what_it_was(site: Site, name: str) -> None:
    site.publish("1")
    refused = rf"/fate/{name}:1\.0: the tag was not written: 403 DENIED: tag is imm"
    error = site.fails("2", refusing(403, name), match=refused)
    assert site.tags() == digests("1")
    for path, digest in zip(NAMES, digests("1"), strict=True):
        assert f"/fate/{path}:1.0 → {digest} (as before)" in error.message
    assert "only writes the tags" in error.hint
    assert not site.state.exists()


@pytest.mark.parametrize(
    "lie", [NOT_DELETING, says("DELETE", 400, error_of("DIGEST_INVALID", "provided digest did not match"))]
)
def test_a_tag_that_cannot_be_deleted_is_named(site: Site, lie: Lie) -> None:
    error = site.fails("1", refusing(403, "c"), lie)
    first = digests("1")[0]
    assert f"/fate/a:1.0 → {first} (new; this registry deletes no tags)" in error.message
    assert "/fate/c:1.0 → nothing (as before)" in error.message


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        *((refusing(status, times=2), f"{status} DENIED: tag is immutable") for status in (429, 500, 502, 503, 504)),
        # it does not show yet what was pushed
        (says("PUT /manifests/", 404, error_of("MANIFEST_BLOB_UNKNOWN"), times=2), "404 MANIFEST_BLOB_UNKNOWN"),
        (says("GET /manifests/", 404, times=2), "404 Not Found"),
    ],
)
def test_a_registry_that_may_succeed_later_is_asked_again(
    site: Site, capsys: pytest.CaptureFixture[str], lie: Lie, said: str
) -> None:
    site.lies.append(lie)
    site.publish("1")
    assert site.tags() == digests("1") and len(site.slept) == 2
    assert f"{said}; trying again in 0.5 s" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_a_message_that_stderr_does_not_take_does_not_end_the_tag_loop(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.lies.append(refusing(503, "b", times=1))
    with Path("/dev/full").open("wb", buffering=0) as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", io.TextIOWrapper(full, write_through=True))
        site.publish("1")
    assert site.tags() == digests("1") and not (site.state / JOURNAL).exists()


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_not_repeated(site: Site, status: int) -> None:
    site.fails("1", refusing(status), NOT_DELETING, match=str(status))
    assert not site.slept


@pytest.fixture
def killed(site: Site) -> Site:
    """The registry after a release that was killed after its first tag; the journal is the same at each tag."""
    site.publish("1")
    journals = list[bytes]()
    site.lies.append(when("PUT /manifests/1.0$", lambda _: journals.append((site.state / JOURNAL).read_bytes())))
    site.publish("2", overwrite=True)
    site.lies.clear()
    for name, digest in zip(NAMES[1:], digests("1")[1:], strict=True):
        kept = site.manifests[f"fate/{name}"]
        kept["1.0"] = kept[digest]
    site.state.mkdir()
    (site.state / JOURNAL).write_bytes(journals[0])
    assert journals == journals[:1] * 3
    return site


def test_while_tags_are_written_the_journal_has_what_they_pointed_to(killed: Site) -> None:
    host, left = interrupted(killed.state)
    assert host == killed.host
    assert [(tag.before, tag.digest) for tag in left] == [*zip(digests("1"), digests("2"), strict=True)]


def test_the_same_publication_finishes_one_that_was_killed_although_its_tags_are_immutable(killed: Site) -> None:
    killed.lies.append(refusing(412, "a"))
    killed.asked.clear()
    published = killed.publish("2", overwrite=True)
    assert killed.tags() == digests("2")
    assert [image.replaced for image in published] == digests("1"), "of the first image too"
    assert {path.rpartition("/")[2] for path in killed.paths("PUT")} == {"1.0"}, "everything is uploaded"
    assert not (killed.state / JOURNAL).exists()


@pytest.mark.parametrize("now", ["1", "3"])
def test_a_killed_publication_that_fails_again_puts_back_what_it_or_another_machine_found(
    killed: Site, now: str
) -> None:
    if now == "3":
        Publisher(killed.client(), release("3"), killed.state / "another machine").publish(lambda tag: True)
    killed.fails("2", refusing(403, "c"))
    assert killed.tags() == digests(now)


def test_another_publication_waits_until_a_killed_one_is_finished_or_put_back(killed: Site) -> None:
    before = killed.tags()
    error = killed.fails("3", match="was interrupted while it wrote tags")
    assert "fategen rollback" in error.hint and killed.tags() == before


def test_a_publication_to_another_registry_is_another(killed: Site) -> None:
    journal = killed.state / JOURNAL
    journal.write_text(journal.read_text().replace(killed.host, "10.0.0.5:8443"))
    killed.fails("2", match=r"of 10\.0\.0\.5:8443/fate/a:1\.0\) was interrupted")


def test_a_killed_publication_is_put_back(killed: Site) -> None:
    assert killed.roll_back() == killed.tags() == digests("1")
    assert interrupted(killed.state) == ("", [])


def test_a_tag_that_somebody_moved_meanwhile_is_not_put_back(killed: Site) -> None:
    other = killed.manifests["fate/a"]["1.0"] = (OCI_INDEX, b"{}")
    killed.roll_back()
    assert killed.manifests["fate/a"]["1.0"] == other


@pytest.mark.parametrize("content", ["", "[]", '{"registry": "x"}', '{"registry": "x", "tags": [{"path": 1}]}'])
def test_a_damaged_journal_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / JOURNAL).write_text(content)
    with pytest.raises(EngineError, match="not a journal of fategen"):
        interrupted(tmp_path)


def test_what_a_builder_uploaded_is_fetched_once_and_its_tags_are_read_once(site: Site) -> None:
    site.publish("1")
    site.asked.clear()
    client = site.client()
    uploaded = []
    for of_release in release("1"):
        target = client.pushed(of_release.path, of_release.target.digest).descriptor
        below = contents(Repository(client, of_release.path), target, of_release.path)
        uploaded.append(Publication(of_release.path, ("2.0",), target, below))
    Publisher(client, uploaded, site.state).publish(lambda tag: False)
    fetched = site.paths("GET")
    assert len(fetched) == len(set(fetched)) and len(site.paths("HEAD")) == len(NAMES)


def test_a_tag_that_points_to_another_image_does_not_move(site: Site) -> None:
    site.publish("1")
    site.asked.clear()
    with pytest.raises(InputError, match="already points to another image, sha256:") as error:
        site.publish("2")
    assert len(error.value.problems) == 3 and "--overwrite" in error.value.message
    assert site.tags() == digests("1") and not site.paths("POST"), "nothing was uploaded"
    assert all(image.state == "pushed" for image in site.publish("2", overwrite=True))


@pytest.mark.parametrize("attestation", ["", "built at 9:00"])
def test_the_same_images_with_other_attestations_are_there_already(site: Site, attestation: str) -> None:
    """With PROVENANCE=true each build states its time."""
    published, again = (image("a", "1", attestation=text) for text in (attestation, "built at 10:00"))
    site.publish([published])
    site.asked.clear()
    [done] = site.publish([again])
    assert (done.state, done.publication.target) == ("was there", published.target)
    assert not site.paths("PUT")
    site.publish([again], overwrite=True)
    assert site.tags()[0] == again.target.digest


def test_a_movable_tag_follows_one_that_keeps_its_attestations(site: Site) -> None:
    published, again = (image("a", "1", attestation=f"built at {hour}:00") for hour in (9, 10))
    site.publish([published])
    [done] = site.publish([replace(again, tags=("1.0", "latest"))])
    assert (done.state, done.publication.target, done.replaced) == ("pushed", published.target, "")
    kept = site.manifests["fate/a"]
    assert kept["latest"] == kept["1.0"]


def test_what_a_movable_tag_replaced_is_told_also_beside_a_new_tag(site: Site) -> None:
    first = replace(image("a", "1"), tags=("nightly-7",))
    site.publish([first])
    [done] = site.publish([replace(image("a", "2"), tags=("1.0", "nightly-7"))])
    assert (done.state, done.replaced) == ("pushed", first.target.digest)


def test_a_name_never_loses_a_platform(site: Site) -> None:
    site.publish([image("a", "1", ("amd64",))])
    with pytest.raises(InputError, match="has linux/amd64, which this image does not have"):
        site.publish([image("a", "1", ("arm64",))], overwrite=True)
    site.publish([image("a", "1", ("amd64", "arm64"))], overwrite=True)


def test_new_tags_are_deleted_after_a_refused_one(site: Site) -> None:
    error = site.fails("1", refusing(403, "c"), match=r"/fate/a:1\.0 → nothing \(as before\)")
    assert "/fate/b:1.0 → nothing (as before)" in error.message
    assert site.tags() == ["", "", ""] and not site.state.exists()


def test_a_registry_that_calls_a_manifest_otherwise_is_not_believed_and_new_tags_are_deleted(site: Site) -> None:
    other = {"Docker-Content-Digest": "sha256:" + "0" * 64}
    error = site.fails("1", says("PUT /fate/b/manifests/1.0$", 201, headers=other), match="reports it as sha256:000")
    assert "/fate/a:1.0 → nothing (as before)" in error.message and site.tags() == ["", "", ""]


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


def test_an_upload_goes_on_where_it_broke_as_often_as_it_brings_something(site: Site) -> None:
    site.lies.append(cutting(1000, 9))
    one = image("a", "1", ("amd64",))
    site.publish([one])
    assert site.manifests["fate/a"]["1.0"][1]
    starts = [path for path in site.paths("POST") if path.endswith("/uploads/")]
    # one to ask for the right, one for each of two blobs
    assert len(starts) <= 3 and len(site.paths("PATCH")) >= 8


def test_no_byte_goes_behind_the_end_of_a_body() -> None:
    """A server would read the next request there."""
    sent = bytearray()
    with pytest.raises(ValueError, match="more than 10 bytes"):
        for piece in pieces(iter([b"12345", b"6789012"]), 0, 10):
            sent += piece
    assert sent == b"12345"


def test_an_upload_begins_again_where_the_registry_forgot_it(site: Site) -> None:
    site.lies += [cutting(1000, 1), says("GET /upload/", 404)]
    site.publish([image("a", "1", ("amd64",))])
    assert site.manifests["fate/a"]["1.0"][1] and not site.paths("PATCH")


@pytest.mark.parametrize("seed", range(20))
def test_transient_faults_end_in_success(site: Site, seed: int) -> None:
    site.publish("1")
    site.lies.append(transient(seed, 0.3))
    site.publish("2", overwrite=True)
    assert site.tags() == digests("2") and site.slept


@pytest.mark.parametrize("seed", range(20))
def test_faults_and_a_refused_tag_leave_every_tag_as_it_was(site: Site, seed: int) -> None:
    site.publish("1")
    site.fails("2", refusing(403, NAMES[seed % 3]), transient(seed, 0.3), match="403 DENIED")
    assert site.tags() == digests("1") and site.slept


def test_a_tag_that_moves_during_the_upload_is_not_overwritten(site: Site) -> None:
    other = release("other")
    site.publish([replace(image, tags=()) for image in other])
    kept = site.manifests["fate/b"]
    moved = {"1.0": kept[other[1].target.digest]}
    site.lies.append(when("PUT /fate/c/manifests/sha256:", lambda _: kept.update(moved)))
    with pytest.raises(InputError, match=r"fate/b:1\.0: already points to another image") as error:
        site.publish("1")
    assert error.value.hint == "no tag was written"
    assert site.tags() == ["", other[1].target.digest, ""]


def test_the_next_run_goes_on_with_a_large_blob_where_this_one_broke(site: Site) -> None:
    layer, one = bytes(9 << 20), image("a", "1", ("amd64",))
    blob, small = described(layer, OCI_GZIP), one.read
    assert small is not None
    below = replace(one.contents, blobs=(blob, *one.contents.blobs))
    one = replace(one, contents=below, read=lambda b: iter([layer]) if b == blob else small(b))

    def gone(handler: Handler) -> bool:
        return any(site.uploads.values()) and handler.answer(503) is None

    site.lies += [cutting(8 << 20, 1), gone]
    with pytest.raises(RegistryError):
        site.publish([replace(one, contents=replace(one.contents, blobs=(blob,)))])
    assert (site.state / "uploads.json").stat().st_mode & 0o777 == 0o600
    site.lies.clear()
    site.asked.clear()
    site.publish([one])
    assert len(site.paths("PATCH")) == 1 and site.blobs["fate/a"][blob.digest] == layer
    assert not site.state.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_tags_are_written_puts_them_back(
    site: Site, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    site.publish("1")
    numbers = [number]
    site.lies.append(when("PUT b/manifests/1.0$", lambda _: numbers and os.kill(os.getpid(), numbers.pop())))
    # the tests may run below nohup
    heeded = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt):
            site.publish("2", overwrite=True)
    finally:
        signal.signal(signal.SIGHUP, heeded)
    assert site.tags() == digests("1") and not site.state.exists()
    assert "interrupted while the tags were written" in capsys.readouterr().err


def test_a_second_signal_ends_the_wait_for_a_registry_and_leaves_the_journal(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.publish("1")
    over = threading.Event()

    def hang(handler: Handler) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1.1)
        over.wait(30)

    site.lies.append(when("PUT b/manifests/1.0$", hang))
    with pytest.raises(KeyboardInterrupt):
        site.publish("2", overwrite=True)
    over.set()
    _, left = interrupted(site.state)
    assert [tag.before for tag in left] == digests("1")
    first, second = capsys.readouterr().err.splitlines()
    assert "Ctrl-C once more" in first and "fategen rollback" in second


def test_a_tag_whose_answer_was_lost_counts_as_written(site: Site) -> None:
    """Its second write is refused where tags are immutable."""
    site.lies += [says("PUT /fate/b/manifests/1.0$", 0, done=True, times=1), refusing(412, "b")]
    site.publish("1")
    assert site.tags() == digests("1")
    assert site.paths("PUT").count("/v2/fate/b/manifests/1.0") == 2


@pytest.mark.parametrize(
    ("status", "now"), [(401, "sha256:.* (new; 401"), (403, "sha256:.* (new; 403"), (500, "unknown: 500")]
)
def test_a_tag_that_could_not_be_deleted_now_is_deleted_by_a_roll_back_later(site: Site, status: int, now: str) -> None:
    broken = says("DELETE", status)
    match = r"a:1\.0 → " + now.replace("(", r"\(")
    error = site.fails("1", refusing(403, "c"), broken, match=match)
    assert "fategen rollback" in error.hint
    site.lies.remove(broken)
    site.roll_back()
    assert site.tags() == ["", "", ""] and interrupted(site.state) == ("", [])


def test_a_roll_back_ends_where_the_registry_no_longer_has_the_earlier_image(killed: Site) -> None:
    del killed.manifests["fate/a"][digests("1")[0]]
    assert killed.roll_back() == [digests("2")[0], *digests("1")[1:]]
    assert interrupted(killed.state) == ("", [])


def test_a_tag_whose_write_was_not_answered_stays_in_the_journal(site: Site) -> None:
    """It can still arrive: a gateway had given up, the registry had not."""
    site.publish("1")
    error = site.fails("2", refusing(504, "b"), match="504")
    assert site.tags() == digests("1") and "fategen rollback" in error.hint
    site.lies.clear()
    kept = site.manifests["fate/b"]
    kept["1.0"] = kept[digests("2")[1]]
    site.roll_back()
    assert site.tags() == digests("1") and interrupted(site.state) == ("", [])


def test_one_publication_at_a_time_has_a_journal_s_directory(site: Site) -> None:
    with ThreadPoolExecutor(1) as pool:
        with locked(site.state):
            other = pool.submit(site.publish, "1")
            with pytest.raises(TimeoutError):
                other.result(0.2)
            assert not site.paths("PUT")
        other.result(10)
    assert site.tags() == digests("1")


@pytest.mark.parametrize("status", [504, 0])
def test_a_blob_whose_last_answer_was_lost_is_not_sent_again(site: Site, status: int) -> None:
    site.lies.append(says("PUT ^/upload/", status, done=True))
    site.publish([image("a", "1", ("amd64",))])
    assert len([path for path in site.paths("PUT") if path.startswith("/upload/")]) == 2
