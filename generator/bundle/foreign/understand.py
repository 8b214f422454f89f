"""Which images an archive holds, from its ``index.json`` (OCI), its ``manifest.json`` (Docker), or both.

Nothing is refused here: what is wrong becomes a problem with a name, so that ``inspect`` shows a broken archive and
``verify`` tells everything at once.
"""

from __future__ import annotations

from generator.bundle.foreign.docker_images import with_docker
from generator.bundle.foreign.images import ForeignImage, Images
from generator.bundle.foreign.oci_images import oci_images
from generator.bundle.foreign.reader import Reader
from generator.bundle.foreign.scan import Scan


def understand(scan: Scan) -> Images:
    """The images of an archive that was read."""
    reader = Reader(scan)
    oci = "oci-layout" in scan.files and "index.json" in scan.files
    docker = "manifest.json" in scan.files
    images = oci_images(reader) if oci else []
    if docker:
        images = with_docker(reader, images, oci)
    if not oci and not docker:
        reader.problems.append("it has neither manifest.json (Docker) nor index.json and oci-layout (OCI): no loader "
                               "finds an image in it, though docker load may end with 0")  # fmt: skip
    elif not images:
        reader.problems.append("it holds no image")
    for image in images:
        _judge(reader, image)
    return Images(tuple(images), oci, docker, tuple(dict.fromkeys(reader.problems)), tuple(dict.fromkeys(reader.notes)))


def _judge(reader: Reader, image: ForeignImage) -> None:
    if image.absent and image.variants:
        reader.notes.append(
            f"{image.label}: its index names {', '.join(image.absent)}, of which nothing is in the archive; "
            "ctr --all-platforms, kind and k3s refuse it"
        )
    elif image.absent:
        reader.problems.append(f"{image.label}: nothing of {', '.join(image.absent)} is in the archive, only its index")
    elif not image.variants:
        reader.problems.append(f"{image.label}: nothing of it is in the archive")
    for variant in image.variants:
        missing = [layer for layer in variant.layers if layer.file is None]
        if missing:
            names = ", ".join(layer.digest or layer.diff_id or "one" for layer in missing[:4])
            more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
            count = f"{len(missing)} of {len(variant.layers)} layers are missing"
            reader.problems.append(f"{image.label} ({variant.platform}): {count}: {names}{more}")
    if not image.names:
        reader.notes.append(f"{image.label}: {image.digest} has no full name; docker load shows it as <none>")
