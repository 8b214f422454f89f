"""Images in layouts and bundles: read without being extracted, and believed only as far as their digests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from generator.bundle.format import TRAILER
from generator.bundle.reader import inspect
from generator.bundle.save import save
from generator.catalogue.contract import Contract
from generator.errors import BundleError, InputError
from generator.images.layout import SourceImage
from generator.plan.plan import Target
from generator.progress import quiet
from generator.verify.layers import ENTRY_MEMORY, Content
from generator.verify.origins import Origin, Wanted, from_bundle, from_layouts
from tests.bundle.layouts import BASE, image, multi
from tests.fate_plan import plan_of

AMD, ARM = "linux/amd64", "linux/arm64"


def targets(*names: str) -> tuple[Target, ...]:
    target = replace(plan_of().targets[0], contract=Contract(), skipped=())
    return tuple(replace(target, name=name, repository=name, tags=(f"fgtest/{name}:1.0",)) for name in names)


def bundle(tmp_path: Path, *images: SourceImage, bases: Sequence[Path] = ()) -> Path:
    olds = [inspect(base).index for base in bases]
    return save(images, tmp_path / f"{len(images)}.fate.tar", name=str(len(images)), bases=olds).path


def in_bundle(file: Path, *names: str) -> Origin:
    return from_bundle(file, Wanted(targets(*names), (), ()))


def read(origin: Origin) -> dict[tuple[str, str], Content]:
    """(image, platform) -> what it holds."""
    return {(s.image, s.platform): content for s, content in origin.read(origin.subjects, quiet).items()}


def test_every_platform_of_a_layout_is_read(tmp_path: Path) -> None:
    images = [SourceImage(("fgtest/m:1.0",), multi(tmp_path / "m", "m"), (AMD, ARM))]
    contents = read(from_layouts(targets("m"), images, tmp_path))
    assert {key: set(content.files) for key, content in contents.items()} == {
        ("m", AMD): {"/arch", "/opt", "/opt/app.jar"}, ("m", ARM): {"/arch", "/opt", "/opt/app.jar"}
    }  # fmt: skip


def test_a_bundle_is_read_in_one_pass(tmp_path: Path) -> None:
    contents = read(in_bundle(bundle(tmp_path, image(tmp_path, "a"), image(tmp_path, "b")), "a", "b"))
    assert [{*contents[name, AMD].files} - {"/etc", "/opt"} for name in "ab"] == [
        {"/etc/base", "/opt/a"}, {"/etc/base", "/opt/b"}
    ]  # fmt: skip
    assert contents["a", AMD].size == len(BASE["etc/base"]) + 300
    assert contents["a", AMD].settings.command == ("/bin/true",)


def test_every_byte_of_a_bundle_is_checked_also_when_nothing_of_it_is_read(tmp_path: Path) -> None:
    file = bundle(tmp_path, image(tmp_path, "a"))
    origin = in_bundle(file, "a")
    data = bytearray(file.read_bytes())
    data[-len(TRAILER) - 10_000] ^= 1
    file.write_bytes(data)
    for subjects in (origin.subjects, ()):
        with pytest.raises(BundleError, match="damaged"):
            origin.read(subjects, quiet)


def test_what_all_layers_list_fits_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generator.verify.origins.MOST_MEMORY", 2 * ENTRY_MEMORY)
    with pytest.raises(BundleError, match="verify fewer at once"):
        read(in_bundle(bundle(tmp_path, image(tmp_path, "a")), "a"))


def test_a_layer_that_is_not_what_its_config_says_is_refused(tmp_path: Path) -> None:
    wrong = image(tmp_path, "a", BASE, diff_ids=["sha256:" + "0" * 64])
    for origin in (in_bundle(bundle(tmp_path, wrong), "a"), from_layouts(targets("a"), [wrong], tmp_path)):
        with pytest.raises(BundleError, match=r"unpacked it is sha256:[0-9a-f]{64}, its config says sha256:0{64}"):
            read(origin)


def test_a_delta_bundle_is_refused(tmp_path: Path) -> None:
    """What it leaves out would count as not there, under the digests of whole images."""
    first = bundle(tmp_path, image(tmp_path, "a"))
    delta = bundle(tmp_path, image(tmp_path, "a"), image(tmp_path, "b"), bases=[first])
    with pytest.raises(InputError, match="it is a delta bundle: most of its content is in 1"):
        read(in_bundle(delta, "a", "b"))


def test_what_was_named_and_is_not_in_the_bundle_is_an_error(tmp_path: Path) -> None:
    file = bundle(tmp_path, image(tmp_path, "a"))
    with pytest.raises(InputError, match=r"b: is not in 1\.fate\.tar"):
        from_bundle(file, Wanted(targets("a", "b"), ("b",), ()))
    with pytest.raises(InputError, match="it has none of the requested images"):
        in_bundle(file, "b")
