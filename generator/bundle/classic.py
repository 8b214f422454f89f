"""OCI layouts from an engine that writes none (the docker driver on a graphdriver), by way of ``docker save``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from generator.bundle.archive import CHUNK, Progress, Reads, quiet
from generator.bundle.layers import LayerStore
from generator.bundle.loader import EngineImage
from generator.bundle.oci import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from generator.bundle.saved import BadStream, SavedImage, read_saved
from generator.bundle.strictjson import encode
from generator.bundle.targets import DockerLoader
from generator.engine import Docker
from generator.errors import EngineError

RECORD = "compressed.json"
AGAIN = "run the same command again: what is built stays built"


def fill_layouts(docker: Docker, layouts: Mapping[str, Path], progress: Progress = quiet) -> None:
    """Writes the loaded image of each reference into its layout directory, all by one ``docker save``.

    The layouts share one ``blobs`` directory, and beside it a record of what was compressed before. Raises EngineError;
    a layout then has no index, as before.
    """
    images = DockerLoader(docker).inspect(list(layouts))
    missing = [reference for reference in layouts if reference not in images]
    if missing:
        raise EngineError(f"the engine has no image {', '.join(missing)} just after it was loaded", hint=AGAIN)
    if not layouts:
        return
    blobs = (next(iter(layouts.values())) / "blobs/sha256").resolve()
    store = LayerStore(blobs, blobs.parent.parent / RECORD)
    saved = _save(docker, tuple(images.values()), store, progress)
    for reference, layout in layouts.items():
        image = images[reference]
        if image.id not in saved:
            raise EngineError(f"docker save wrote no image {image.id} ({reference})", hint=AGAIN)
        _write_layout(layout, saved[image.id], store)


def _save(
    docker: Docker, images: Sequence[EngineImage], store: LayerStore, progress: Progress
) -> dict[str, SavedImage]:
    """By id: whatever becomes of a tag meanwhile, these are the images that were asked about."""
    layers = {layer for image in images for layer in image.layers}
    problem = None
    with docker.stream_out(["image", "save", *dict.fromkeys(image.id for image in images)]) as child:
        stream = _Counted(child.output, progress)
        try:
            saved = read_saved(stream, layers, store)
        except BadStream as error:
            problem = error
        while stream.read(CHUNK):
            pass  # what follows the archive's end: docker must not wait for a reader
        done = child.finish()
    # first its own word: a stream that ends in the middle is the engine's failure, and docker says which
    if not done.ok:
        raise docker.failure(done, hint=AGAIN) from problem
    if problem is not None:
        raise EngineError(f"what docker save wrote cannot be read: {problem}", hint=AGAIN) from problem
    return saved


class _Counted:
    """A stream that tells how much of it was read; how much there is, nobody knows before."""

    def __init__(self, stream: Reads, progress: Progress) -> None:
        self._stream, self._progress, self._done = stream, progress, 0

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._done += len(data)
        self._progress("docker save", self._done, 0)
        return data


def _write_layout(layout: Path, image: SavedImage, store: LayerStore) -> None:
    layers = [store.find(diff_id) for diff_id in image.diff_ids]
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": store.put(image.config), "size": len(image.config)},
        "layers": [
            {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size} for layer in layers if layer
        ],
    }
    data = encode(manifest)
    entry = {"mediaType": OCI_MANIFEST, "digest": store.put(data), "size": len(data)}
    (layout / "oci-layout").write_bytes(encode({"imageLayoutVersion": "1.0.0"}))
    (layout / "index.json").write_bytes(encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}))
