"""Makes small OCI layout directories as buildx bake writes them: no engine is needed to test archives."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from generator.images.compression import zstd_module
from generator.images.layout import SourceImage
from tests.bundle.tars import tar as tar_of

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
TAR = "application/vnd.oci.image.layer.v1.tar"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"

Json = dict[str, object]


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def zstd(data: bytes) -> bytes:
    """One frame of it, as another tool writes it."""
    found: bytes = zstd_module().compress(data)
    return found


@dataclass
class Layout:
    """A layout directory under construction; ``put`` adds blobs, ``finish`` writes index.json."""

    path: Path
    entries: list[Json] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.path / "blobs/sha256").mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes, media_type: str) -> Json:
        digest = sha256(data)
        (self.path / "blobs/sha256" / digest[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def layer(self, files: Mapping[str, bytes], media_type: str = GZIP) -> tuple[Json, str]:
        tar = tar_of(files)
        data = gzip.compress(tar, mtime=0) if media_type == GZIP else zstd(tar) if media_type == ZSTD else tar
        return self.put(data, media_type), sha256(tar)

    def manifest(
        self,
        layers: Sequence[tuple[Json, str]],
        platform: str = "linux/amd64",
        *,
        diff_ids: Sequence[str] | None = None,
    ) -> Json:
        system, architecture = platform.split("/")
        config: Json = {
            "architecture": architecture,
            "os": system,
            "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids or [d for _, d in layers])},
            "history": [{"created_by": "test", **({} if layers else {"empty_layer": True})}],
        }
        entry = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.put(json.dumps(config).encode(), CONFIG),
            "layers": [layer for layer, _ in layers],
        }
        return self.put(json.dumps(entry).encode(), MANIFEST)

    def index(self, manifests: Mapping[str, Json], *, attestations: int = 0) -> Json:
        entries: list[Json] = []
        for platform, manifest in manifests.items():
            system, architecture = platform.split("/")
            entries.append({**manifest, "platform": {"os": system, "architecture": architecture}})
        for number in range(attestations):
            proof = self.put(b'{"schemaVersion":2,"n":%d}' % number, MANIFEST)
            proof["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
            entries.append({**proof, "platform": {"os": "unknown", "architecture": "unknown"}})
        return self.put(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode(), INDEX)

    def finish(self, *tops: tuple[Json, str]) -> Path:
        """Write index.json with each top descriptor and its comma-joined names."""
        for top, names in tops:
            self.entries.append({**top, "annotations": {"org.opencontainers.image.ref.name": names}})
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (self.path / "index.json").write_text(
            json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries})
        )
        (self.path / "ingest").mkdir(exist_ok=True)
        return self.path


BASE = {"etc/base": b"base" * 500}


def image(
    path: Path,
    name: str,
    *layers: Mapping[str, bytes],
    space: str = "fgtest",
    tags: Sequence[str] = ("1.0",),
    media_type: str = GZIP,
    diff_ids: Sequence[str] | None = None,
) -> SourceImage:
    """A one-platform image in the layout ``path``/NAME, of these layers, or of ``BASE`` and one of its own."""
    layout, references = Layout(path / name), tuple(f"{space}/{name}:{tag}" for tag in tags)
    made = [layout.layer(files, media_type) for files in layers or (BASE, {f"opt/{name}": name.encode() * 300})]
    layout.finish((layout.manifest(made, diff_ids=diff_ids), ",".join(f"docker.io/{name}" for name in references)))
    return SourceImage(references, layout.path, ("linux/amd64",))


def own(text: str) -> dict[str, bytes]:
    return {"opt/own": text.encode() * 400}


def multi(path: Path, name: str, text: str = "", *, attestations: int = 0) -> Path:
    """An image for amd64 and arm64 whose second layer is the same on both, or with ``text`` a platform's own."""
    layout = Layout(path)
    manifests = {
        platform: layout.manifest(
            [
                layout.layer({"arch": platform.encode()}),
                layout.layer({"opt/app.jar": (text + platform if text else "jar").encode() * 400}),
            ],
            platform,
        )
        for platform in ("linux/amd64", "linux/arm64")
    }
    return layout.finish((layout.index(manifests, attestations=attestations), f"docker.io/fgtest/{name}:1.0"))
