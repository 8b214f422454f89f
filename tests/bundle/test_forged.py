"""Archives that are right in every byte, made by somebody who lies: the index says one thing, the blobs another."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from generator.bundle.reader import verify
from generator.errors import BundleError
from generator.images.oci import parse_config, parse_index, parse_manifest
from generator.images.strictjson import MAX_METADATA_SIZE, MAX_SIZE, Malformed
from generator.verify.layers import parse_settings
from tests.bundle.conftest import Change, Made, add_up, forged
from tests.bundle.layouts import INDEX, MANIFEST, TAR, sha256

Json = Any


def platform_image(document: Json, image: int = 0) -> Json:
    """The first platform of an image: the only one of 0 and 1, one of two of 2."""
    return document["images"][image]["variants"][0]


def config(document: Json) -> Json:
    return platform_image(document)["config"]


def layers(document: Json) -> Json:
    return platform_image(document)["layers"]


def set_manifest(document: Json, blob: Json) -> None:
    """Image 0 has another manifest, which of one platform is also its target."""
    document["images"][0].update(target=blob)
    platform_image(document).update(manifest=blob)


def set_names(document: Json, *names: str) -> None:
    document["images"][0].update(references=names)


DIGEST, SIZE = "is not a sha256 digest in lower case", "is not a number of bytes"
ROOT, ORDER = "its root digest is not that of its content", "it is not canonical"

INDEXES: dict[str, tuple[Change, str]] = {
    "digest of another kind": (lambda d: config(d).update(digest="sha512:" + "a" * 128), DIGEST),
    "digest and a new line": (lambda d: config(d).update(digest="sha256:" + "a" * 64 + "\n"), DIGEST),
    "digest is null": (lambda d: config(d).update(digest=None), DIGEST),
    "digest as number": (lambda d: config(d).update(digest=7), DIGEST),
    "upper case digest": (lambda d: config(d).update(digest="sha256:" + "AB" * 32), DIGEST),
    "traversal": (lambda d: config(d).update(digest="sha256:../../etc/passwd"), DIGEST),
    "negative size": (lambda d: config(d).update(size=-1), SIZE),
    "overflowing size": (lambda d: layers(d)[0]["blob"].update(size=MAX_SIZE + 1), SIZE),
    "overflowing sizes together": (lambda d: [layer["blob"].update(size=MAX_SIZE) for p in d["images"][2]["variants"]
                                              for layer in p["layers"]], "or too large ones"),
    "size is null": (lambda d: config(d).update(size=None), SIZE),
    "size as text": (lambda d: config(d).update(size="10"), SIZE),
    "size as bool": (lambda d: config(d).update(size=True), SIZE),
    "size as float": (lambda d: config(d).update(size=1e3), SIZE),
    "huge manifest": (lambda d: platform_image(d, 2)["manifest"].update(size=MAX_METADATA_SIZE + 1),
                      r"images\[2\]: a manifest has 4,194,305 bytes, at most"),
    "media type": (lambda d: layers(d)[0]["blob"].update(media_type="application/x-sh"),
                   "a layer has the media type 'application/x-sh'"),
    "media type of a config": (lambda d: config(d).update(media_type=TAR), "a config has the media type"),
    "media type of a manifest": (lambda d: platform_image(d, 2)["manifest"].update(media_type=INDEX),
                                 "a manifest has the media type"),
    "another target": (lambda d: d["images"][0].update(target=d["images"][1]["target"]), "target is not its manifest"),
    "another manifest below the target": (lambda d: d["images"][0].update(variants=d["images"][1]["variants"]),
                                          "target is not its manifest"),
    "short name": (lambda d: set_names(d, "fgtest/a:1.0"), "'fgtest/a:1.0' is not a full reference"),
    "option as name": (lambda d: set_names(d, "--help"), '"--help" is not an image reference'),
    "name with a newline": (lambda d: set_names(d, "docker.io/fgtest/a:1.0\n"), "is not an image reference: its tag"),
    "unicode name": (lambda d: set_names(d, "docker.io/fgtest/\u0430:1.0"), "is not an image reference"),
    "no name": (lambda d: set_names(d), r"images\[0\] has no name"),
    "name twice": (lambda d: d["images"][1].update(references=d["images"][0]["references"]), "a:1.0 is listed twice"),
    "images out of order": (lambda d: d["images"].reverse(), ORDER),
    "no images": (lambda d: d.update(images=[]), "it holds no image"),
    "images are text": (lambda d: d.update(images="x"), "images is not a list"),
    "image is text": (lambda d: d.update(images=["x"]), r"images\[0\] is not an object"),
    "no variants": (lambda d: d["images"][0].update(variants=[]), "has no platform, or one twice"),
    "platform twice": (lambda d: d["images"][2].update(variants=[platform_image(d, 2)] * 2),
                       "has no platform, or one twice"),
    "platform": (lambda d: platform_image(d).update(platform="linux/amd64/../x"), "is not a platform"),
    "platform in a longer form": (lambda d: platform_image(d).update(platform="linux/amd64/v1"),
                                  "is not in its short form"),
    "nested without children": (lambda d: d["images"][2]["variants"].pop(), r"images\[2\]\.target has the media type"),
    "two sizes": (lambda d: layers(d)[0]["blob"].update(size=1), "a blob has two sizes"),
    "another's manifest as a layer too": (lambda d: layers(d)[0].update(blob={
        **layers(d)[0]["blob"], "digest": d["images"][1]["target"]["digest"], "size": d["images"][1]["target"]["size"],
    }), "both a layer and an index"),
    "schema": (lambda d: d.update(schema=2), "its schema is '2', this fategen reads 1"),
    "unknown key": (lambda d: d.update(absent=[]), "unknown key 'absent'"),
    "missing key": (lambda d: d.pop("totals"), "lacks 'totals'"),
    "totals": (lambda d: d["totals"].update(bytes=1), ROOT),
    "bundle name": (lambda d: d.update(name="../x"), "'../x' is not a bundle name"),
}  # fmt: skip
"""What an index says that none may say, and the words of the check that sees it."""


@pytest.mark.parametrize(("change", "words"), INDEXES.values(), ids=INDEXES)
def test_an_index_against_itself(made: Made, change: Change, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        verify(io.BytesIO(forged(made, change)))


FORGED: dict[str, tuple[Change, str]] = {
    "layers in another order": (lambda d: layers(d).reverse(), "other layers"),
    "a layer less": (lambda d: layers(d).pop(), "other layers"),
    "a layer's media type": (lambda d: layers(d)[0]["blob"].update(media_type=TAR), "other layers"),
    "diff id": (lambda d: layers(d)[0].update(diff_id="sha256:" + "0" * 64), "other diff ids"),
    "diff ids swapped": (lambda d: platform_image(d).update(layers=[
        {**one, "diff_id": other["diff_id"]} for one, other in zip(layers(d), reversed(layers(d)), strict=True)
    ]), "other diff ids"),
    "another's config": (lambda d: platform_image(d).update(config=platform_image(d, 1)["config"]), "another config"),
    "another's manifest": (lambda d: set_manifest(d, d["images"][1]["target"]), "another config or other layers"),
    "a platform that the index does not name": (lambda d: platform_image(d, 2).update(platform="linux/s390x"),
                                                "other platforms"),
    "a platform that is not its config's": (lambda d: platform_image(d).update(platform="linux/arm64"),
                                            "another platform"),
    "a manifest that the index does not name": (
        lambda d: d["images"][2]["variants"].__setitem__(0, platform_image(d, 1)), "other platforms or manifests"),
    "a config as manifest": (lambda d: set_manifest(d, {**config(d), "media_type": MANIFEST}),
                             "its schemaVersion is not 2"),
}  # fmt: skip
"""What an index says of its blobs that they are not."""


@pytest.mark.parametrize(("change", "words"), FORGED.values(), ids=FORGED)
def test_an_index_against_its_blobs(made: Made, change: Change, words: str) -> None:
    data = forged(made, lambda document: (change(document), add_up(document)))
    with pytest.raises(BundleError, match=f"is not as expected: .*{words}"):
        verify(io.BytesIO(data))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"manifests": []}, "it is a manifest and an index at once"),
        ({"mediaType": INDEX}, "its media type is .*index"),
        ({"schemaVersion": 1}, "its schemaVersion is not 2"),
    ],
)
def test_a_manifest_that_is_also_an_index(made: Made, more: dict[str, object], words: str) -> None:
    """CVE-2021-41190: what one program reads as a manifest, another reads as an index."""
    content = json.dumps({**json.loads(made.content("manifest:a")), **more}).encode()
    blob = {"digest": sha256(content), "size": len(content), "media_type": MANIFEST}
    data = forged(made, lambda d: (set_manifest(d, blob), add_up(d)), {sha256(content): content})
    with pytest.raises(BundleError, match=f"not as expected: {words}"):
        verify(io.BytesIO(data))


@pytest.mark.parametrize("kind", ["index", "manifest", "config"])
def test_a_document_without_a_byte(made: Made, kind: str) -> None:
    empty = {"digest": sha256(b""), "size": 0}
    manifest = json.loads(made.content("manifest:a"))
    manifest["config"].update(empty)
    content = json.dumps(manifest).encode()

    def change(document: Json) -> None:
        if kind == "index":
            document["images"][2]["target"].update(empty)
        elif kind == "manifest":
            set_manifest(document, {**empty, "media_type": MANIFEST})
        else:
            set_manifest(document, {"digest": sha256(content), "size": len(content), "media_type": MANIFEST})
            config(document).update(empty)
        add_up(document)

    data = forged(made, change, {sha256(b""): b"", sha256(content): content})
    with pytest.raises(BundleError, match=f"{kind} {sha256(b'')} .*is not as expected: it is not JSON"):
        verify(io.BytesIO(data))


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
    "config:b": (parse_config, {"os", "architecture", "rootfs"}),
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


def test_an_image_without_layers_has_null_for_them_or_nothing(made: Made) -> None:
    for rootfs in (b'{"diff_ids":null}', b"{}"):
        config = parse_config(b'{"os":"linux","architecture":"arm64","variant":"v8","rootfs":%s}' % rootfs)
        assert (config.platform, config.diff_ids) == ("linux/arm64", ())
    manifest = {**json.loads(made.content("manifest:b")), "layers": None}
    assert parse_manifest(json.dumps(manifest).encode(), MANIFEST).layers == ()
