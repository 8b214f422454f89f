"""Images out of registries into layouts: what a bundle of them is, what is asked for, what is told when it fails."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from generator.bundle.reader import verify
from generator.bundle.save import save
from generator.config.reference import parse_reference
from generator.errors import BundleError, EngineError, InputError
from generator.images.layout import SourceImage, empty_layout
from generator.registry.client import Registries
from generator.registry.fetch import Fetch, RemoteImage, fetching, other_images
from tests.bundle.layouts import BASE, GZIP, INDEX, MANIFEST, Layout, image, multi, sha256
from tests.loopback import Handler, Loopback, when

AMD, ARM = "linux/amd64", "linux/arm64"

pytestmark = pytest.mark.usefixtures("no_waits")


@pytest.fixture
def registry(registry: Loopback, tmp_path: Path) -> Loopback:
    registry.put_layout("fgtest/a", "1.0", image(tmp_path / "from", "a").layout)
    registry.put_layout("fgtest/b", "1.0", image(tmp_path / "from", "b").layout)
    registry.put_layout("fgtest/m", "1.0", multi(tmp_path / "from/m", "m"))
    registry.put_layout("fgtest/proven", "1.0", multi(tmp_path / "from/proven", "proven", attestations=1))
    return registry


def wanted(registry: Loopback, *names: str, platforms: Sequence[str] = (AMD,)) -> list[RemoteImage]:
    return [remote(f"{registry.host}/fgtest/{name}:1.0", f"fgtest/{name}:1.0", name, platforms) for name in names]


def remote(source: str, reference: str, layout: str, platforms: Sequence[str] = (AMD,)) -> RemoteImage:
    return RemoteImage(parse_reference(source), SourceImage((reference,), Path(layout), (*platforms,)))


@contextmanager
def start(images: Sequence[RemoteImage], state: Path, **more: Any) -> Iterator[Fetch]:
    """Fetches below ``state``, as the command line does."""
    registries = Registries({"DOCKER_CONFIG": "/nonexistent", "HOME": "/"})
    layouts = state / "layouts"
    placed = [replace(i, image=replace(i.image, layout=empty_layout(layouts, str(i.image.layout)))) for i in images]
    with fetching(placed, registries, **more) as fetch:
        yield fetch


def fetch(images: Sequence[RemoteImage], state: Path, **more: Any) -> tuple[SourceImage, ...]:
    with start(images, state, **more) as fetched:
        return fetched.images


def bundle(images: Sequence[SourceImage], path: Path) -> bytes:
    return save(images, path, name="fate-1.0").path.read_bytes()


def kept(state: Path, digest: str) -> Path:
    """Where a blob is when it has come."""
    return state / "layouts/shared/sha256" / digest[7:]


def damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def asked_for(registry: Loopback) -> list[str]:
    """The blobs that were asked for."""
    return [path.rpartition("/")[2] for path in registry.paths("GET") if "/blobs/" in path]


def layers_of(registry: Loopback, name: str, other: str = "") -> list[str]:
    """The layers that the first image has, and the other has not."""
    mine, shared = registry.blobs[f"fgtest/{name}"], registry.blobs.get(f"fgtest/{other}", {})
    return [digest for digest, data in mine.items() if digest not in shared and data[:1] != b"{"]


def hold_back(registry: Loopback, digest: str) -> tuple[threading.Event, list[bool]]:
    """The registry does not send this blob until the event is set; then the list tells whether it waited so long."""
    go_on, waited = threading.Event(), list[bool]()
    registry.lies.append(when(f" {digest}$", lambda _: waited.append(go_on.wait(10))))
    return go_on, waited


def test_a_bundle_of_what_was_pushed_is_that_of_what_was_built(registry: Loopback, tmp_path: Path) -> None:
    images = [
        *wanted(registry, "b", "a"),
        *wanted(registry, "m", platforms=(AMD, ARM)),
        *wanted(registry, "proven", platforms=(ARM,)),
    ]
    fetched = bundle(fetch(images, tmp_path / "state"), tmp_path / "fetched.tar")
    built = [replace(i.image, layout=tmp_path / "from" / i.image.layout) for i in images]
    assert fetched == bundle(built, tmp_path / "built.tar")


def test_what_images_share_is_asked_for_once_and_other_platforms_never(registry: Loopback, tmp_path: Path) -> None:
    fetch(wanted(registry, "a", "b", "m"), tmp_path)
    blobs = asked_for(registry)
    assert len(blobs) == len(set(blobs)) == 8, "three configs; the shared layer, and one, one and two more"


def test_a_second_run_asks_for_nothing_but_the_names(registry: Loopback, tmp_path: Path) -> None:
    images = wanted(registry, "a", "b", "m")
    fetch(images, tmp_path)
    registry.asked.clear()
    fetch(images, tmp_path)
    assert sorted(registry.paths("GET")) == ["/v2/", *(f"/v2/fgtest/{name}/manifests/1.0" for name in "abm")]


def test_a_config_that_an_earlier_run_left_damaged_is_fetched_again(registry: Loopback, tmp_path: Path) -> None:
    before = bundle(fetch(wanted(registry, "a"), tmp_path), tmp_path / "1.tar")
    [config] = [digest for digest, data in registry.blobs["fgtest/a"].items() if b"diff_ids" in data]
    damage(kept(tmp_path, config))
    assert bundle(fetch(wanted(registry, "a"), tmp_path), tmp_path / "2.tar") == before


def test_a_delta_does_not_ask_for_what_its_base_has(registry: Loopback, tmp_path: Path) -> None:
    base = save(fetch(wanted(registry, "a"), tmp_path / "1"), tmp_path / "base.tar", name="base").index
    registry.asked.clear()
    images = fetch(wanted(registry, "a", "b"), tmp_path / "2", without=frozenset(base.blobs()))
    assert not set(asked_for(registry)) & {layer.blob.digest for layer in base.images[0].platform_images[0].layers}
    delta = save(images, tmp_path / "delta.tar", name="delta", bases=[base]).index
    assert [base.name for base in delta.bases] == ["base"]


def test_a_name_that_moved_is_another_image(registry: Loopback, tmp_path: Path) -> None:
    images = wanted(registry, "a")
    before = bundle(fetch(images, tmp_path / "state"), tmp_path / "1.tar")
    registry.put_layout("fgtest/a", "1.0", image(tmp_path / "new", "a", BASE, {"opt/a": b"new"}).layout)
    assert bundle(fetch(images, tmp_path / "state"), tmp_path / "2.tar") != before


def test_every_problem_of_every_image_is_told_before_a_layer_comes(registry: Loopback, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "from/z")
    layer, diff_id = layout.layer({"z": b"z"})
    manifest = layout.manifest([({**layer, "mediaType": f"{GZIP}+encrypted"}, diff_id)])
    registry.put_layout("fgtest/z", "1.0", layout.finish((manifest, "fgtest/z:1.0")))
    images = [
        *wanted(registry, "a", "gone", "z"),
        *wanted(registry, "m", platforms=("linux/s390x",)),
        remote("127.0.0.1:1/x/y:1", "x/y:1", "y"),
    ]
    with pytest.raises(InputError) as error:
        fetch(images, tmp_path / "state")
    told = "\n".join(map(str, error.value.problems))
    for part in ("gone:1.0: 127.0.0.1", "+encrypted", "not for linux/s390x", "127.0.0.1:1: it cannot be reached"):
        assert part in told
    assert len(error.value.problems) == 4
    assert not {*asked_for(registry)}.intersection(layers_of(registry, "a"))


@pytest.mark.parametrize("media_type", [INDEX, MANIFEST])
def test_an_index_in_an_index_is_not_followed(registry: Loopback, tmp_path: Path, media_type: str) -> None:
    """No index can name itself by its digest, but one that answers to each digest could go on for ever."""
    place = {"os": "linux", "architecture": "amd64"}
    entry = {"mediaType": media_type, "digest": sha256(b"next"), "size": 4, "platform": place}
    endless = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    registry.manifests["fgtest/a"] = {"1.0": (INDEX, endless), sha256(b"next"): (media_type, endless)}
    with pytest.raises((EngineError, InputError)):
        fetch(wanted(registry, "a"), tmp_path)
    assert len([path for path in registry.paths("GET") if "/manifests/" in path]) < 8


def test_a_manifest_list_of_docker_keeps_its_digest(registry: Loopback, tmp_path: Path) -> None:
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    _, data = registry.manifests["fgtest/m"]["1.0"]
    changed = json.dumps({**json.loads(data), "mediaType": kind}, indent=3).encode()
    registry.manifests["fgtest/m"]["1.0"] = (kind, changed)
    images = fetch(wanted(registry, "m", platforms=(AMD, ARM)), tmp_path / "state")
    [image] = save(images, tmp_path / "m.tar", name="m").index.images
    assert image.target.digest == sha256(changed) and image.target.media_type == kind


def test_ctrl_c_ends_it_and_keeps_what_came(registry: Loopback, tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(wanted(registry, "a", "b"), tmp_path, progress=stop)
    assert list((tmp_path / "layouts/shared/sha256").glob("*.partial"))
    assert fetch(wanted(registry, "a", "b"), tmp_path)
    assert not list((tmp_path / "layouts/shared/sha256").glob("*.partial"))


# a bundle is written while its layers come


def test_what_has_come_is_written_while_the_rest_is_on_its_way(registry: Loopback, tmp_path: Path) -> None:
    [last] = layers_of(registry, "b", "a")
    go_on, waited = hold_back(registry, last)

    def saving(what: str, done: int, total: int) -> None:
        if what.startswith("layer"):
            go_on.set()

    with start(wanted(registry, "b", "a"), tmp_path / "state") as fetched:
        saved = save(fetched.images, tmp_path / "x.tar", name="x", progress=saving, fetching=fetched)
    assert waited == [True]
    later = fetch(wanted(registry, "b", "a"), tmp_path / "other")
    assert saved.sha256 == save(later, tmp_path / "y.tar", name="x").sha256


def test_a_place_that_cannot_be_written_is_told_before_a_layer_is_asked_for(registry: Loopback, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"), start(wanted(registry, "a"), tmp_path / "state") as fetched:
        save(fetched.images, tmp_path / "nowhere/x.tar", name="x", fetching=fetched)
    assert not {*asked_for(registry)}.intersection(layers_of(registry, "a"))


@pytest.mark.parametrize("short", [True, False])
def test_room_is_needed_for_the_layers_and_the_bundle(
    registry: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    size = save(fetch(wanted(registry, "a"), tmp_path / "1"), tmp_path / "1.tar", name="x").size
    layers = sum(len(registry.blobs["fgtest/a"][digest]) for digest in layers_of(registry, "a"))
    room(monkeypatch, size + MARGIN + layers + MARGIN - short)
    with start(wanted(registry, "a"), tmp_path / "2") as fetched:
        if not short:
            save(fetched.images, tmp_path / "2.tar", name="x", fetching=fetched)
            return
        registry.asked.clear()
        with pytest.raises(EngineError, match=r"the bundle needs .*, and the layers that are fetched for it"):
            save(fetched.images, tmp_path / "2.tar", name="x", fetching=fetched)
        assert not registry.asked


def test_what_has_come_before_needs_no_room_again(
    registry: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [own] = layers_of(registry, "a", "b")
    fetch(wanted(registry, "a"), tmp_path)
    file = kept(tmp_path, own)
    file.with_name(f"{file.name}.partial").write_bytes(file.read_bytes()[:-10])
    file.unlink()
    room(monkeypatch, MARGIN + 9)
    with pytest.raises(EngineError, match="are free, the layers need"):
        fetch(wanted(registry, "a"), tmp_path)
    room(monkeypatch, MARGIN + 10)
    fetch(wanted(registry, "a"), tmp_path)


def test_layers_come_in_the_order_of_the_bundle(registry: Loopback, tmp_path: Path) -> None:
    [first], [second] = layers_of(registry, "b", "a"), layers_of(registry, "a", "b")
    # a short name is one of docker.io, and that is before another registry
    names = {"a": "harbor.x:1/a:1", "b": "zz/b:1"}
    images = [remote(f"{registry.host}/fgtest/{place}:1.0", name, place) for place, name in names.items()]
    fetch(images, tmp_path, at_once=1)
    assert [digest for digest in asked_for(registry) if digest in (first, second)] == [first, second]


def test_an_output_that_fails_is_heard_while_a_layer_is_waited_for(registry: Loopback, tmp_path: Path) -> None:
    [last] = layers_of(registry, "b", "a")
    go_on, waited = hold_back(registry, last)

    class Gone:
        def write(self, data: bytes, /) -> None:
            # the last bytes before those of the layer
            if data.startswith(f"blobs/sha256/{last[7:]}".encode()):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    with start(wanted(registry, "b"), tmp_path) as fetched:
        with pytest.raises(EngineError, match="cannot be written"):
            save(fetched.images, Gone(), name="x", fetching=fetched)
        go_on.set()
    assert waited == [True]


def test_what_was_hashed_on_its_way_is_not_hashed_again(registry: Loopback, tmp_path: Path) -> None:
    [own] = layers_of(registry, "a", "b")
    with start(wanted(registry, "a"), tmp_path) as fetched:
        fetched.finish()
        damage(kept(tmp_path, own))
        saved = save(fetched.images, tmp_path / "x.tar", name="x", fetching=fetched)
    with pytest.raises(BundleError, match=own):
        verify(saved.path)


MARGIN = 1 << 20


def room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free})())


def test_one_line_of_progress_at_a_time(registry: Loopback, tmp_path: Path) -> None:
    told: list[str] = []
    go_on, waited = hold_back(registry, *layers_of(registry, "b", "a"))
    with start(wanted(registry, "b", "a"), tmp_path) as fetched:
        saving = fetched.after(lambda what, done, total: told.append(what))
        saving("early", 1, 2)
        go_on.set()
        fetched.finish()
        saving("late", 2, 2)
    assert told == ["late"] and waited == [True]


def test_after_a_layer_that_fails_no_other_is_asked_for(registry: Loopback, tmp_path: Path) -> None:
    [first], [second] = layers_of(registry, "a", "b"), layers_of(registry, "b", "a")
    registry.blobs["fgtest/a"][first] += b"?"
    with pytest.raises(EngineError, match=first):
        fetch(wanted(registry, "a", "b"), tmp_path, at_once=1)
    assert second not in asked_for(registry)


@pytest.mark.parametrize("saved", [True, False])
def test_a_layer_that_fails_is_told_while_another_one_hangs(registry: Loopback, tmp_path: Path, saved: bool) -> None:
    [wrong], [hanging] = layers_of(registry, "b", "a"), layers_of(registry, "a", "b")
    go_on, waited = hold_back(registry, hanging)
    registry.blobs["fgtest/b"][wrong] += b"?"
    output = tmp_path / "x.tar"
    output.write_bytes(b"of yesterday")
    with (
        pytest.raises(EngineError, match=f"b: layer {wrong}: .* sent invalid data"),
        start(wanted(registry, "a", "b"), tmp_path / "state") as fetched,
    ):
        if saved:
            save(fetched.images, output, name="x", fetching=fetched)
    assert not waited
    go_on.set()
    assert output.read_bytes() == b"of yesterday" and not (tmp_path / ".x.tar.part").exists()


def test_a_bundle_that_fails_stops_the_fetching(registry: Loopback, tmp_path: Path) -> None:
    [last] = layers_of(registry, "b", "a")
    asked, go_on, waited = threading.Event(), threading.Event(), []

    def half(handler: Handler) -> bool:
        if not handler.path.endswith(last):
            return False
        handler.answer(200, registry.blobs["fgtest/b"][last], cut=1)
        asked.set()
        waited.append(go_on.wait(5))
        return True

    registry.lies.append(half)
    with pytest.raises(EngineError, match="full"), start(wanted(registry, "a", "b"), tmp_path) as fetched:
        fetched.wait("sha256:that is not fetched", lambda: None)
        asked.wait(10)
        raise EngineError("the disk is full")
    assert not waited
    go_on.set()
    assert kept(tmp_path, f"{last}.partial").exists() and not kept(tmp_path, last).exists()


def test_what_was_there_before_is_hashed_again(registry: Loopback, tmp_path: Path) -> None:
    fetch(wanted(registry, "a"), tmp_path / "state")
    [own] = layers_of(registry, "a", "b")
    damage(kept(tmp_path / "state", own))
    with (
        pytest.raises(BundleError, match=f"{own} does not match its digest"),
        start(wanted(registry, "a"), tmp_path / "state") as fetched,
    ):
        save(fetched.images, tmp_path / "x.tar", name="x", fetching=fetched)


# what --add takes


def test_another_image_is_named_in_full_and_fetched_by_its_digest() -> None:
    digest = "sha256:" + "0" * 64
    [short, pinned] = other_images(["mysql:8", f"quay.io/x/y:1@{digest}"], (AMD,), Path)
    assert short.image.references == ("docker.io/library/mysql:8",)
    assert pinned.image.references == ("quay.io/x/y:1",) and pinned.source.digest == digest
    assert short.image.layout != pinned.image.layout


def test_what_is_no_reference_or_has_no_tag_is_told_at_once() -> None:
    with pytest.raises(InputError) as error:
        list(other_images(["UPPER/x", f"quay.io/x/y@sha256:{'0' * 64}", "mysql:8"], (AMD,), Path))
    assert len(error.value.problems) == 2
    assert "write quay.io/x/y:TAG@sha256:" in str(error.value)
