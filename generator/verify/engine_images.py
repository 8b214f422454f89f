"""Images of the local engine: read through one ``docker save`` of all that are asked for, in one stream.

``docker save`` and not a throwaway container for each: it shows what the image holds and nothing that starting it adds
(/etc/hosts, /dev, mounts), it can be asked for images of another platform, and layers that images share come once.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, cast

from generator.bundle.format.archive import CHUNK, Progress, Reads, quiet
from generator.docker.process import Docker
from generator.errors import EngineError
from generator.images.docker_save import Saves
from generator.images.oci import parse_config, parse_index, parse_manifest
from generator.images.saved import BadStream
from generator.images.strictjson import LIMIT, Malformed, fields, items, parse, text
from generator.verify.evidence import Listing
from generator.verify.kept import Kept, Parts
from generator.verify.layers import BadLayer, LayerReader


@dataclass
class Stream:
    """What a ``docker save`` held: small documents and layers, by digest where they are named by it, else by name."""

    documents: dict[str, bytes] = field(default_factory=dict)
    layers: dict[str, Listing] = field(default_factory=dict)


def read_images(
    docker: Docker, wanted: Collection[tuple[str, str]], kept: Kept, progress: Progress = quiet
) -> dict[tuple[str, str], Parts]:
    """(id, platform) -> parts, with every layer of them in ``kept``; one that is not there is left out.

    Raises EngineError.
    """
    if not wanted:
        return {}
    with Saves(docker, progress).stream([identity for identity, _ in wanted]) as reads:
        stream = read_stream(reads, kept)
    found = {}
    for identity, platform in wanted:
        try:
            named = _find(stream, identity, platform)
            diff_ids = parse_config(named[0]).diff_ids if named else ()
        except (Malformed, KeyError) as error:
            raise EngineError(f"what docker save wrote of image {identity} cannot be read: {error}") from error
        if named is None:
            continue
        config, layers = named
        for name, diff_id in zip(layers, diff_ids, strict=True):
            if name in stream.layers:
                kept.put_layer(diff_id, stream.layers[name])
                kept.put_blob(name, diff_id)
            elif kept.layer(diff_id) is None:
                # "docker save" of an incomplete image in a containerd store says nothing of it
                raise EngineError(
                    f"docker save wrote no layer {name} of image {identity}", hint="pull or load it again"
                )
        parts = Parts(config, diff_ids)
        kept.put_image(identity, platform, parts)
        found[identity, platform] = parts
    return found


def read_stream(reads: Reads, kept: Kept) -> Stream:
    """Takes every member as it comes. Raises BadStream."""
    stream = Stream()
    try:
        # of a stream, tarfile asks for read alone; the engine is trusted with everything already
        with tarfile.open(fileobj=cast(IO[bytes], reads), mode="r|", bufsize=CHUNK) as tar:
            links: dict[str, str] = {}
            for member in tar:
                if member.issym():
                    links[member.name] = posixpath.normpath(f"{posixpath.dirname(member.name)}/{member.linkname}")
                elif member.isreg():
                    file = tar.extractfile(member)
                    assert file is not None
                    _take(_digest(member.name), file, member.size, stream, kept)
            for name, target in links.items():
                if target in stream.layers:
                    stream.layers[name] = stream.layers[target]
    except (tarfile.TarError, BadLayer) as error:
        raise BadStream(str(error)) from error
    return stream


def _take(name: str, file: Reads, size: int, stream: Stream, kept: Kept) -> None:
    if name.startswith("sha256:"):
        diff_id = kept.diff_id(name)
        if diff_id and kept.layer(diff_id) is not None:
            return
    first = file.read(CHUNK)
    # a layer is a tar or compressed: neither begins like JSON, but for a tar whose first name does
    if size <= LIMIT and first[:1] in (b"{", b"[") and first[257:262] != b"ustar":
        while data := file.read(CHUNK):
            first += data
        stream.documents[name] = first
        return
    reader = LayerReader()
    while first:
        reader.feed(first)
        first = file.read(CHUNK)
    stream.layers[name] = reader.end()


def _digest(name: str) -> str:
    """``blobs/sha256/…`` and ``….json`` (before Docker 25) are named by a digest."""
    base = posixpath.basename(name).removesuffix(".json")
    return f"sha256:{base}" if len(base) == 64 else name


def _find(stream: Stream, identity: str, platform: str) -> tuple[bytes, Sequence[str]] | None:
    """(config, names of the layers) of an image, whose id is the digest of an index, of a manifest or of a config."""
    document = stream.documents[identity]
    content = fields(parse(document), "the document", ())
    if "manifests" in content:
        for child in parse_index(document, ""):
            if child.descriptor.digest in stream.documents and not child.attestation:
                found = _find(stream, child.descriptor.digest, platform)
                if found is not None:
                    return found
        return None
    if "layers" in content:
        manifest = parse_manifest(document, "")
        config = stream.documents[manifest.config.digest]
        layers = [layer.digest for layer in manifest.layers]
    else:
        config, layers = document, _classic_layers(stream.documents, identity)
    return (config, layers) if parse_config(config).platform == platform else None


def _classic_layers(documents: Mapping[str, bytes], identity: str) -> list[str]:
    """Of an engine with a graphdriver: its ``manifest.json`` has them by the config's name."""
    for value in items(parse(documents["manifest.json"]), "manifest.json"):
        entry: dict[str, Any] = fields(value, "manifest.json", ("Config", "Layers"))
        if _digest(text(entry["Config"], "Config")) == identity:
            return [_digest(text(layer, "Layers")) for layer in items(entry["Layers"] or [], "Layers")]
    raise KeyError("manifest.json does not name it")
