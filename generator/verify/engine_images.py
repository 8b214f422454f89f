"""Images of the local engine: read through one ``docker save`` of all that are asked for, in one stream.

``docker save`` and not a throwaway container for each: it shows what the image holds and nothing that starting it adds
(/etc/hosts, /dev, mounts), it can be asked for images of another platform, and layers that images share come once.
"""

from __future__ import annotations

from collections.abc import Collection

from generator.docker.process import Docker
from generator.errors import EngineError
from generator.images.docker_save import BadStream, DockerSave, SavedImage, read_saves, read_stream
from generator.images.image import CHUNK, Reads
from generator.progress import Progress, quiet
from generator.verify.evidence import Listing
from generator.verify.kept import Kept, Parts
from generator.verify.layers import BadLayer, LayerReader


def read_images(
    docker: Docker, wanted: Collection[tuple[str, str]], kept: Kept, progress: Progress = quiet
) -> dict[tuple[str, str], Parts]:
    """(id, platform) -> parts, with every layer of them in ``kept``; one that is not there is left out.

    Raises EngineError.
    """
    if not wanted:
        return {}

    def read(_: object, stream: Reads) -> tuple[DockerSave[Listing], dict[tuple[str, str], SavedImage]]:
        saved = list_layers(stream, kept)
        images = {key: saved.image(*key) for key in wanted}
        return saved, {key: image for key, image in images.items() if image is not None}

    [(saved, images)] = read_saves(docker, [[identity for identity, _ in wanted]], read, progress)
    found = {}
    for (identity, platform), image in images.items():
        for name, diff_id in zip(image.layers, image.diff_ids, strict=True):
            if name in saved.layers:
                kept.put_layer(diff_id, saved.layers[name])
                kept.put_blob(name, diff_id)
            elif kept.layer(diff_id) is None:
                # "docker save" of an incomplete image in a containerd store says nothing of it
                raise EngineError(
                    f"docker save wrote no layer {name} of image {identity}", hint="pull or load it again"
                )
        found[identity, platform] = Parts(image.config, image.diff_ids)
        kept.put_image(identity, platform, found[identity, platform])
    return found


def list_layers(stream: Reads, kept: Kept) -> DockerSave[Listing]:
    """What each layer of a stream holds, but for those that ``kept`` has. Raises BadStream."""

    def take(name: str, layer: Reads, _size: int) -> Listing | None:
        if name.startswith("sha256:"):
            diff_id = kept.diff_id(name)
            if diff_id and kept.layer(diff_id) is not None:
                return None
        reader = LayerReader()
        try:
            while data := layer.read(CHUNK):
                reader.feed(data)
            return reader.end()
        except BadLayer as error:
            raise BadStream(f"{name}: {error}") from error

    return read_stream(stream, take)
