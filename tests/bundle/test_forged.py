"""Archives that are right in every byte, made by somebody who lies: the index says one thing, the blobs another."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from generator.bundle.format import TRAILER, contents, header, padding
from generator.bundle.index import BundleIndex
from generator.bundle.reader import verify
from generator.errors import BundleError
from generator.images.image import Image, Layer, PlatformImage
from generator.images.oci import Descriptor, parse_config, parse_index, parse_manifest
from generator.images.strictjson import MAX_SIZE, Malformed, digest, size
from generator.verify.layers import parse_settings
from tests.bundle.conftest import Made
from tests.bundle.layouts import INDEX, MANIFEST, TAR, sha256


def written(index: BundleIndex, blobs: dict[str, bytes]) -> bytes:
    """The archive of an index, with whatever the forger has under each digest."""
    out = b""
    for member in contents(index).members:
        content = member.content if member.content is not None else blobs[member.digest]
        out += header(member.name, member.size) + content + bytes(padding(member.size))
    return out + TRAILER


def blobs_of(made: Made) -> dict[str, bytes]:
    return {m.digest: made.data[m.start : m.start + m.size] for m in made.plan.members if m.content is None}


def changed(made: Made, number: int, change: Callable[[Image], Image]) -> BundleIndex:
    images = list(made.plan.index.images)
    images[number] = change(images[number])
    return replace(made.plan.index, images=tuple(images))


def with_platform_image(image: Image, **more: object) -> Image:
    platform_image = replace(image.platform_images[0], **more)  # type: ignore[arg-type]
    target = platform_image.manifest if not image.nested else image.target
    return replace(image, target=target, platform_images=(platform_image, *image.platform_images[1:]))


def layers(image: Image) -> tuple[Layer, ...]:
    return image.platform_images[0].layers


def with_diff_ids_swapped(image: Image) -> Image:
    first, second = layers(image)
    return with_platform_image(
        image, layers=(replace(first, diff_id=second.diff_id), replace(second, diff_id=first.diff_id))
    )


def with_first_layer(image: Image, media_type: str) -> Image:
    first, *others = layers(image)
    return with_platform_image(image, layers=(replace(first, blob=replace(first.blob, media_type=media_type)), *others))


def with_first_platform(image: Image, platform_image: PlatformImage) -> Image:
    named = replace(platform_image, platform=image.platforms[0])
    return replace(image, platform_images=(named, *image.platform_images[1:]))


def with_manifest_as_layer(image: Image, other: PlatformImage) -> Image:
    first, *others = layers(image)
    forged = replace(first, blob=replace(first.blob, digest=other.manifest.digest, size=other.manifest.size))
    return with_platform_image(image, layers=(forged, *others))


FORGED: dict[str, tuple[int, Callable[[Image, PlatformImage], Image], str]] = {
    "layers in another order": (0, lambda i, _: with_platform_image(i, layers=layers(i)[::-1]), "other layers"),
    "a layer less": (0, lambda i, _: with_platform_image(i, layers=layers(i)[:1]), "other layers"),
    "a layer's media type": (0, lambda i, _: with_first_layer(i, TAR), "other layers"),
    "diff ids swapped": (0, lambda i, _: with_diff_ids_swapped(i), "other diff ids"),
    "another's config": (0, lambda i, other: with_platform_image(i, config=other.config), "another config"),
    "another's manifest": (0, lambda i, other: with_platform_image(i, manifest=other.manifest),
                           "another config|other layers"),
    "a platform that the index does not name": (2, lambda i, _: with_platform_image(i, platform="linux/s390x"),
                                                "other platforms"),
    "a platform that is not its config's": (0, lambda i, _: with_platform_image(i, platform="linux/arm64"),
                                            "another platform"),
    "a manifest that the index does not name": (2, with_first_platform, "other platforms"),
    "a config as manifest": (0, lambda i, _: with_platform_image(
        i, manifest=replace(i.platform_images[0].config, media_type=MANIFEST)), "not what it must be"),
    "another's manifest as a layer too": (0, with_manifest_as_layer, "both a layer and an index"),
}  # fmt: skip


@pytest.mark.parametrize(("number", "forge", "words"), FORGED.values(), ids=FORGED)
def test_an_index_against_its_blobs(
    made: Made, number: int, forge: Callable[[Image, PlatformImage], Image], words: str
) -> None:
    [other] = made.plan.index.images[1].platform_images
    index = changed(made, number, lambda image: forge(image, other))
    data = written(index, blobs_of(made))
    with pytest.raises(BundleError, match=words):
        verify(io.BytesIO(data))


def other_blob(made: Made, old: Descriptor, data: bytes) -> tuple[Descriptor, dict[str, bytes]]:
    """A blob in place of ``old``, with a right digest."""
    return replace(old, digest=sha256(data), size=len(data)), {**blobs_of(made), sha256(data): data}


@pytest.mark.parametrize("more", [{"manifests": []}, {"mediaType": INDEX}, {"schemaVersion": 1}])
def test_a_manifest_that_is_also_an_index(made: Made, more: dict[str, object]) -> None:
    """CVE-2021-41190: what one program reads as a manifest, another reads as an index."""
    manifest = made.plan.index.images[0].platform_images[0].manifest
    content = json.dumps({**json.loads(blobs_of(made)[manifest.digest]), **more}).encode()
    blob, blobs = other_blob(made, manifest, content)
    index = changed(made, 0, lambda image: with_platform_image(image, manifest=blob))
    with pytest.raises(BundleError, match="not what it must be"):
        verify(io.BytesIO(written(index, blobs)))


DOCUMENTS: list[tuple[Callable[[bytes], object], bytes]] = [
    (lambda data: parse_manifest(data, MANIFEST), b'{"schemaVersion":2}'),
    (lambda data: parse_manifest(data, MANIFEST), b'{"schemaVersion":2,"config":[],"layers":[]}'),
    (lambda data: parse_manifest(data, MANIFEST), b'{"schemaVersion":"2","config":{},"layers":[]}'),
    (lambda data: parse_index(data, INDEX), b'{"schemaVersion":2,"manifests":[],"layers":[]}'),
    (lambda data: parse_index(data, INDEX), b'{"schemaVersion":2,"manifests":[7]}'),
    (lambda data: parse_index(data, INDEX), b'{"schemaVersion":2,"manifests":{}}'),
    (parse_config, b'{"os":"linux","architecture":"amd64"}'),
    (parse_config, b'{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["x"]}}'),
    (parse_config, b'{"os":"linux","architecture":"../../x","rootfs":{"diff_ids":[]}}'),
    (parse_config, b'{"os":1,"architecture":"amd64","rootfs":{"diff_ids":[]}}'),
]


@pytest.mark.parametrize(("parse", "data"), DOCUMENTS)
def test_documents_that_are_none(parse: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(Malformed):
        parse(data)


DECIDING = {
    "manifest:b": (lambda data: parse_manifest(data, MANIFEST), {"config", "layers", "mediaType", "digest", "size"}),
    "index:m": (lambda data: parse_index(data, INDEX), {"manifests", "platform", "os", "architecture"}),
    "config:b": (parse_config, {"os", "architecture", "rootfs", "diff_ids"}),
    "config:m": (parse_settings, {"config", "Cmd"}),
}


def spelled(value: object) -> Iterator[tuple[str, object]]:
    """Each key of a document, and the document with that key in another case too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            for other in {key.upper(), key.title(), key.replace("s", "\u017f"), key.replace("k", "\u212a")} - {key}:
                yield key, {**value, other: inner}
            yield from ((name, {**value, key: changed}) for name, changed in spelled(inner))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from ((n, [*value[:number], changed, *value[number + 1 :]]) for n, changed in spelled(inner))


@pytest.mark.parametrize("name", DECIDING)
def test_a_key_that_go_would_read_as_one_that_decides_is_refused(made: Made, name: str) -> None:
    """Go's encoding/json ignores the case of keys, also of the long s and the Kelvin sign; the last one counts."""
    parse, keys = DECIDING[name]
    seen = set()
    for key, changed in spelled(json.loads(made.content(name))):
        if key in keys:
            seen.add(key)
            with pytest.raises(Malformed, match="which some programs read as"):
                parse(json.dumps(changed).encode())
    assert seen == keys


def test_labels_may_differ_by_case_only() -> None:
    config = {"config": {"Labels": {"version": "1", "Version": "2"}}}
    assert len(parse_settings(json.dumps(config).encode()).labels) == 2


def test_an_image_without_layers_has_null_for_diff_ids() -> None:
    data = b'{"os":"linux","architecture":"arm64","variant":"v8","rootfs":{"diff_ids":null}}'
    assert (parse_config(data).platform, parse_config(data).diff_ids) == ("linux/arm64", ())


@pytest.mark.parametrize("value", [-1, MAX_SIZE + 1, True, 1.0, "1", None])
def test_sizes_that_are_none(value: object) -> None:
    with pytest.raises(Malformed):
        size(value, "size")


@pytest.mark.parametrize("value", ["sha256:" + "A" * 64, "sha512:" + "a" * 128, "sha256:" + "a" * 64 + "\n", None, 7])
def test_digests_that_are_none(value: object) -> None:
    with pytest.raises(Malformed):
        digest(value, "digest")
