"""Reads the stream of ``docker save`` from an engine with a graphdriver, whose layers are uncompressed tars.

Docker 25 and later writes ``blobs/sha256/<diff id>``; before, ``<v1 id>/layer.tar``, with a symbolic link for a layer
that came before (moby, image/tarexport/save.go at v23.0 and v28.0). ``manifest.json`` comes at or near the end, so the
layers are taken as they come, and what belongs to what is told afterwards. Unlike a bundle, the stream is from an
engine that is trusted with everything already: tarfile reads it. But it may be cut, so everything is checked.
"""

from __future__ import annotations

import hashlib
import posixpath
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import IO, cast

from generator.bundle.format.archive import CHUNK, Reads
from generator.images.layers import LayerStore
from generator.images.oci import parse_config
from generator.images.strictjson import LIMIT, Malformed, fields, items, parse, text


@dataclass(frozen=True)
class SavedImage:
    """An image in the stream: the bytes of its config, and its layers by diff id, which the config names as well."""

    config: bytes
    diff_ids: tuple[str, ...]


class BadStream(ValueError):
    """The stream is not a whole ``docker save``; the message says what is wrong with it."""


def read_saved(stream: Reads, layers: Collection[str], store: LayerStore) -> dict[str, SavedImage]:
    """Puts every layer into ``store`` and returns the images by id (the digest of the config).

    ``layers`` are the diff ids that the images have, by which layers are told from the rest. Raises BadStream, and
    what ``store`` raises.
    """
    documents: dict[str, bytes] = {}
    taken: dict[str, str] = {}
    links: dict[str, str] = {}
    try:
        # of a stream, tarfile asks for read alone
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", bufsize=CHUNK) as tar:
            for member in tar:
                if member.issym():
                    links[member.name] = posixpath.normpath(
                        posixpath.join(posixpath.dirname(member.name), member.linkname)
                    )
                file = tar.extractfile(member) if member.isreg() else None
                if file is None:
                    continue
                diff_id = f"sha256:{posixpath.basename(member.name)}"
                if diff_id in layers or member.name.endswith("/layer.tar"):
                    taken[member.name] = store.take(file, diff_id if diff_id in layers else "")
                elif member.size <= LIMIT:
                    documents[member.name] = file.read()
        taken |= {name: taken[target] for name, target in links.items() if target in taken}
        return _images(documents, taken)
    except (tarfile.TarError, Malformed) as error:
        raise BadStream(str(error)) from error


def _images(documents: Mapping[str, bytes], taken: Mapping[str, str]) -> dict[str, SavedImage]:
    if "manifest.json" not in documents:
        raise BadStream("it has no manifest.json")
    found = {}
    for number, value in enumerate(items(parse(documents["manifest.json"]), "manifest.json")):
        entry = fields(value, f"manifest.json[{number}]", ("Config", "Layers"))
        name = text(entry["Config"], "Config")
        config = documents.get(name)
        if config is None:
            raise BadStream(f"it has no {name[:80]}")
        identity = "sha256:" + hashlib.sha256(config).hexdigest()
        names = [text(layer, "Layers") for layer in items(entry["Layers"] or [], "Layers")]
        diff_ids = parse_config(config).diff_ids
        if tuple(taken.get(layer) for layer in names) != diff_ids:
            raise BadStream(f"the layers of image {identity} are not those that its config names")
        found[identity] = SavedImage(config, diff_ids)
    return found
