"""Reads images of an engine from ``docker save``: turns its stream into OCI layouts as it arrives.

An engine with the containerd image store saves the blobs as they are, so digests stay (Docker 24 and later; its index
may name platforms that the engine does not have). One with a graphdriver saves uncompressed layers, which are
compressed here, once, and found again by their diff IDs: Docker 25 and later write ``blobs/sha256/<diff ID>``, before
it was ``<v1 ID>/layer.tar``, with a symbolic link for a layer that came before (moby: image/tarexport/save.go). The
engine is trusted with everything already, so tarfile reads the stream; but it may be cut, so everything is checked.
"""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import re
import tarfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import IO, Generic, TypeVar, cast

from generator.config.reference import normalize
from generator.docker.process import Child, Docker
from generator.errors import EngineError
from generator.images.image import CHUNK, Readable, sha256
from generator.images.layout import BlobStore
from generator.images.oci import Descriptor, parse_config, parse_index, parse_manifest
from generator.images.strictjson import MAX_METADATA_SIZE, Malformed, fields, items, parse, text
from generator.progress import Progress, quiet

AGAIN = "run the same command again: finished layers are kept"
_AT_ONCE = min(4, os.cpu_count() or 1)
"""runs of ``docker save`` side by side: each keeps one core of the engine busy, and two take 2/3 of the time of one"""
HEAD = 512
"""Bytes of a file by which a layer is told from JSON: a tar header."""
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})|([0-9a-f]{64})\.json")

T = TypeVar("T")


@dataclass(frozen=True)
class SavedImage:
    """An image in a stream: the bytes of its config, and the names of its layers there, from the lowest up."""

    config: bytes
    diff_ids: tuple[str, ...]
    layers: tuple[str, ...]


@dataclass(frozen=True)
class DockerSave(Generic[T]):
    """What a stream has: small documents, and what became of each layer. Blobs are named by digest, others by path."""

    documents: Mapping[str, bytes]
    layers: Mapping[str, T]

    def image(self, identity: str, platform: str = "") -> SavedImage | None:
        """The image with this ID (the digest of an index, a manifest or a config); None if it lacks the platform."""
        document = self.document(identity)
        content = fields(parse(document), "the document", ())
        if "manifests" in content:
            children = [child for child in parse_index(document, "") if not child.attestation]
            present = [child.descriptor.digest for child in children if child.descriptor.digest in self.documents]
            return next(filter(None, (self.image(digest, platform) for digest in present)), None)
        config = identity
        if "layers" in content:
            manifest = parse_manifest(document, "")
            config, layers = manifest.config.digest, [layer.digest for layer in manifest.layers]
        else:
            layers = self._layers_in_manifest_json(identity)
        parsed = parse_config(self.document(config))
        if len(layers) != len(parsed.diff_ids):
            raise Malformed(f"the layers of image {identity} do not match the diff IDs in its config")
        if platform not in ("", parsed.platform):
            return None
        return SavedImage(self.document(config), parsed.diff_ids, tuple(layers))

    def _layers_in_manifest_json(self, identity: str) -> list[str]:
        """Of an engine with a graphdriver, whose image IDs are digests of configs."""
        for number, value in enumerate(items(parse(self.document("manifest.json")), "manifest.json")):
            entry = fields(value, f"manifest.json[{number}]", ("Config", "Layers"))
            if _key(text(entry["Config"], "Config")) == identity:
                return [_key(text(layer, "Layers")) for layer in items(entry["Layers"] or [], "Layers")]
        raise Malformed(f"its manifest.json does not list image {identity}")

    def document(self, name: str) -> bytes:
        if name not in self.documents:
            raise Malformed(f"it has no {name[:80]}")
        return self.documents[name]


def read_stream(stream: Readable, take: Callable[[str, Readable, int], T]) -> DockerSave[T]:
    """Reads to the end of the archive; ``take`` gets the name, the bytes and the size of each layer as it comes."""
    documents: dict[str, bytes] = {}
    layers: dict[str, T] = {}
    links: dict[str, str] = {}
    try:
        # of a stream, tarfile asks for read alone
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", bufsize=CHUNK) as tar:
            for member in tar:
                key = _key(member.name)
                if member.issym():
                    links[key] = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))
                file = tar.extractfile(member) if member.isreg() else None
                if file is None:
                    continue
                small = member.size <= MAX_METADATA_SIZE
                content = file.read() if small else file.read(HEAD)
                # a layer is a tar or compressed: neither begins like JSON, but for a tar whose first name does
                is_json = content.lstrip()[:1] in (b"{", b"[") and content[257:262] != b"ustar"
                if key.endswith("/layer.tar") or (key.startswith("sha256:") and not is_json):
                    layers[key] = take(key, _joined(content, file), member.size)
                elif small:
                    # a larger one is an attestation, which nobody here reads
                    documents[key] = content
                    if key.startswith("sha256:") and sha256(content) != key:
                        raise Malformed(f"{key} does not match its digest")
    except tarfile.TarError as error:
        raise Malformed(str(error)) from error
    layers.update({name: layers[_key(target)] for name, target in links.items() if _key(target) in layers})
    return DockerSave(documents, layers)


@dataclass(frozen=True)
class _Stream:
    read: Callable[[int], bytes]


def _joined(content: bytes, rest: Readable) -> _Stream:
    """The bytes that were read from a file, then the rest of it."""
    head = io.BytesIO(content)
    return _Stream(lambda size: head.read(size) or rest.read(size))


def _key(name: str) -> str:
    """Blobs, and configs before Docker 25, are named by their digest."""
    blob = _BLOB.fullmatch(name)
    return f"sha256:{blob[1] or blob[2]}" if blob else name


def read_saves(
    docker: Docker,
    groups: Sequence[Sequence[str]],
    read: Callable[[Sequence[str], Readable], T],
    progress: Progress = quiet,
) -> list[T]:
    """What ``read`` makes of each group of names and its ``docker save``; they run side by side, in threads."""
    lock, done = threading.Lock(), 0

    def save(names: Sequence[str], child: Child) -> T:
        def counted(size: int) -> bytes:
            nonlocal done
            data = child.output.read(size)
            with lock:
                done += len(data)
                # the total is unknown until the end
                progress("docker save", done, 0)
            return data

        stream = _Stream(counted)
        problem, value = None, None
        try:
            value = read(names, stream)
        except Malformed as error:
            problem = error
        while stream.read(CHUNK):
            pass  # what follows the archive's end: docker must not wait for a reader
        completed = child.finish()
        # a stream that ends in the middle is the engine's failure, and docker says which
        if not completed.ok:
            raise docker.failure(completed, hint=AGAIN) from problem
        if problem is not None:
            message = f"the output of docker save cannot be read: {problem}"
            raise EngineError(message, hint=AGAIN) from problem
        return cast(T, value)

    # an error ends the children first, and with them the threads that read from them
    with ThreadPoolExecutor(len(groups) or 1) as pool, contextlib.ExitStack() as running:
        futures = []
        for names in groups:
            command = ["image", "save", *dict.fromkeys(names)]
            child = running.enter_context(docker.start(command, output="bytes"))
            running.callback(child.abort)
            futures.append(pool.submit(save, names, child))
        for future in wait(futures, return_when=FIRST_EXCEPTION).done:
            future.result()
        return [future.result() for future in futures]


def grouped(images: Mapping[str, Sequence[str]], streams: int = _AT_ONCE) -> list[list[str]]:
    """The names in at most ``streams`` groups, with about as many layers (listed from the lowest up) in each.

    Images that share more than their lowest layer, which is a distribution, stay together: a stream has it once.
    """
    families: dict[tuple[str, ...], list[str]] = {}
    for name, layers in images.items():
        families.setdefault(tuple(layers[:2]), []).append(name)

    def size(names: Sequence[str]) -> int:
        return len({layer for name in names for layer in images[name]})

    groups: list[list[str]] = [[] for _ in range(min(streams, len(families)))]
    for names in sorted(families.values(), key=size, reverse=True):
        min(groups, key=lambda group: size([*group, *names])).extend(names)
    return groups


def copy_blobs(stream: Readable, store: BlobStore) -> dict[str, Descriptor]:
    """Put all blobs of a containerd store's stream into ``store``; what each full name stands for. Raises Malformed."""
    saved = read_stream(stream, lambda digest, layer, size: store.copy(layer, Descriptor(digest, size, "")))
    for digest, data in saved.documents.items():
        if digest.startswith("sha256:"):
            store.copy(io.BytesIO(data), Descriptor(digest, len(data), ""))
    children = parse_index(saved.document("index.json"), "")
    return {normalize(name): child.descriptor for child in children for name in child.names}


def compress_layers(
    stream: Readable, ids: Sequence[str], store: BlobStore, *, oci: bool = True
) -> dict[str, Descriptor]:
    """Put the images with these IDs, of a graphdriver's stream, into ``store``; their manifests. Malformed."""
    saved = read_stream(
        stream, lambda name, layer, _: store.compress(layer, name if name.startswith("sha256:") else "")
    )
    manifests = {}
    for identity in ids:
        image = saved.image(identity)
        if image is None or tuple(saved.layers.get(layer) for layer in image.layers) != image.diff_ids:
            raise Malformed(f"the layers of image {identity} do not match the diff IDs in its config")
        layers = [layer for diff_id in image.diff_ids if (layer := store.compressed(diff_id))]
        manifests[identity] = store.put_manifest(image.config, layers, oci=oci)
    return manifests
