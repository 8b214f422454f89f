"""The images of another tool's archive, as its descriptions say them."""

from __future__ import annotations

from dataclasses import dataclass

from generator.bundle.foreign.scan import File
from generator.images import reference
from generator.images.oci import Descriptor


@dataclass(frozen=True)
class ForeignLayer:
    """A layer: the file that holds it (``None``: it is missing), its diff id as the config says it.

    ``digest`` and ``size`` are what a manifest says of the blob; "" and the file's own where there is none.
    """

    file: File | None
    diff_id: str
    digest: str
    size: int
    media_type: str


@dataclass(frozen=True)
class ForeignVariant:
    """One platform of an image. ``manifest`` is ``None`` in an archive that has only ``manifest.json``."""

    platform: str
    manifest: Descriptor | None
    config: str
    config_size: int
    layers: tuple[ForeignLayer, ...]
    whole: bool


@dataclass(frozen=True)
class ForeignImage:
    """An image. ``names`` are full references, ``tag`` what it is called without one ("1.0"); both may be empty.

    ``target`` is what the archive's index names, ``None`` where it has none. ``absent``: platforms that an index names
    and whose manifests are not in the archive; ``proofs``: how many attestations it names.
    """

    names: tuple[str, ...]
    tag: str
    target: Descriptor | None
    variants: tuple[ForeignVariant, ...]
    absent: tuple[str, ...]
    proofs: int = 0

    @property
    def label(self) -> str:
        """Its name in messages."""
        return reference.familiar(self.names[0]) if self.names else f"<no name>:{self.tag}" if self.tag else "<no name>"

    @property
    def digest(self) -> str:
        """What an engine with this image shows: the digest of its index or manifest, else of its config."""
        return self.target.digest if self.target else self.variants[0].config


@dataclass(frozen=True)
class Images:
    """What the descriptions of an archive say. ``problems``: it is damaged; ``notes``: it is not what it seems."""

    images: tuple[ForeignImage, ...]
    oci: bool
    docker: bool
    problems: tuple[str, ...]
    notes: tuple[str, ...]
