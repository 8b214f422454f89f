"""The blobs of layouts that are made here: kept once; a layer that has to be compressed is compressed once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from generator.bundle.format.archive import CHUNK, Reads
from generator.bundle.format.members import nested_index
from generator.files import disk_errors
from generator.images.oci import FORMS, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor, Form
from generator.images.strictjson import Malformed, digest, encode, fields, parse, size
from generator.images.writers import writer


class BadBlob(ValueError):
    """A blob is not the one that its name says."""


class LayerStore:
    """``blobs`` is the ``sha256`` directory of a layout; the file ``record`` remembers which layer is in which blob.

    A record or a blob that is gone costs the time to compress again and nothing else: whoever reads a blob checks it.
    ``form`` is what layers are kept in, ``fast``: see GzipWriter. Threads may share it.
    """

    def __init__(self, blobs: Path, record: Path, *, form: Form = "gzip", fast: bool = False) -> None:
        self._blobs, self._record, self._form, self._fast = blobs, record, form, fast
        self._known = _read(record, FORMS[form])
        self._lock = threading.Lock()
        self._coming: set[str] = set()

    def find(self, diff_id: str) -> Descriptor | None:
        """The layer whose uncompressed tar has this digest, in the form that is kept."""
        found = self._known.get(diff_id)
        try:
            return found if found and self._path(found.digest).stat().st_size == found.size else None
        except OSError:
            return None

    def take(self, source: Reads, expected: str = "") -> str:
        """Read a layer's tar to its end, keep it and return its diff id. EngineError: the disk is full or fails.

        ``expected`` is the diff id that its source states: what is here already, or comes in another thread, is read
        only to be checked.
        """
        if expected and (self.find(expected) or not self._first(expected)):
            return read_through(source)
        with disk_errors(self._blobs), self._part(expected) as part:
            with part.open("wb") as file, writer(self._form, file, fast=self._fast) as out:
                found = read_through(source, out.write)
            part.replace(self._path(out.digest))
            with self._lock:
                self._known[found] = Descriptor(out.digest, out.size, FORMS[self._form])
                known = {name: {"digest": blob.digest, "size": blob.size} for name, blob in self._known.items()}
                _write(self._record, encode(known))
        return found

    def keep(self, source: Reads, name: str, size: int) -> None:
        """Read a blob of ``size`` bytes to its end and keep it as it is, under its digest ``name``.

        Raises BadBlob where it is another; EngineError: the disk is full or fails. What is here already is passed over.
        """
        path = self._path(name)
        if (path.is_file() and path.stat().st_size == size) or not self._first(name):
            return
        with disk_errors(self._blobs), self._part(name) as part:
            with part.open("wb") as file:
                found = read_through(source, file.write)
            if found != name:
                raise BadBlob(f"{name} is {found}")
            part.replace(path)

    def put(self, data: bytes) -> str:
        """Keep a small blob as it is and return its digest. EngineError: the disk is full or fails."""
        name = "sha256:" + hashlib.sha256(data).hexdigest()
        with disk_errors(self._blobs):
            _write(self._path(name), data)
        return name

    def put_manifest(self, config: str, size: int, layers: Sequence[Descriptor]) -> Descriptor:
        """Keep a manifest of layers that are here and the config of this digest and ``size`` bytes. EngineError."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _described(Descriptor(config, size, OCI_CONFIG)),
            "layers": [_described(layer) for layer in layers],
        }
        data = encode(manifest)
        return Descriptor(self.put(data), len(data), OCI_MANIFEST)

    def put_top(self, manifests: Sequence[tuple[str, Descriptor]]) -> tuple[str, Descriptor]:
        """What a layout's index names of an image with these manifests by platform: the only one of them, with its
        platform, or an index that is kept, with none. EngineError: the disk."""
        if len(manifests) == 1:
            return manifests[0]
        data = nested_index(sorted(manifests))
        return "", Descriptor(self.put(data), len(data), OCI_INDEX)

    def _first(self, name: str) -> bool:
        """Whether no other thread has begun with it."""
        with self._lock:
            known = name in self._coming
            self._coming.add(name)
            return not known

    @contextlib.contextmanager
    def _part(self, name: str) -> Iterator[Path]:
        """A file to write ``name`` into; when that fails, it is gone and the next may begin with it."""
        part = self._blobs / f".{os.getpid()}.{threading.get_ident()}.part"
        try:
            yield part
        except BaseException:
            part.unlink(missing_ok=True)
            with self._lock:
                self._coming.discard(name)
            raise

    def _path(self, name: str) -> Path:
        return self._blobs / name.partition(":")[2]


def _described(blob: Descriptor) -> dict[str, object]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def read_through(source: Reads, also: Callable[[bytes], object] | None = None) -> str:
    """Read it to its end, hand every piece to ``also``, and return its digest."""
    sha = hashlib.sha256()
    while chunk := source.read(CHUNK):
        sha.update(chunk)
        if also is not None:
            also(chunk)
    return "sha256:" + sha.hexdigest()


def _read(record: Path, media_type: str) -> dict[str, Descriptor]:
    try:
        known = {
            digest(name, "a layer"): fields(value, name, ("digest", "size"))
            for name, value in fields(parse(record.read_bytes()), "the record", ()).items()
        }
        return {
            name: Descriptor(digest(value["digest"], name), size(value["size"], name), media_type)
            for name, value in known.items()
        }
    except (OSError, Malformed):
        return {}


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)
