"""Base images for a machine that cannot reach Docker Hub: made from Debian packages, and pushed to the sandbox's
registry under the names that a mirror of Docker Hub has them, so that fategen's BASE_REGISTRY can point there."""

from __future__ import annotations

import json
import os
import shutil

from . import roots
from .base import BIN, HERE, STATE, TMP, digest, read_state, run, step, update_state
from .service import request

# stage of images/Dockerfile → (names in the registry, platforms); all others start from "debian"
IMAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "debian": (("library/debian:trixie-slim",), ("linux/amd64", "linux/arm64")),
    "maven": (("library/maven:3.9-eclipse-temurin-8",), ("linux/amd64",)),
    "node": (("library/node:16-bullseye",), ("linux/amd64",)),
    "jre": (("library/eclipse-temurin:8-jre",), ("linux/amd64", "linux/arm64")),
    "python": (
        tuple(f"library/python:{tag}" for tag in ("3.6-slim-bullseye", "3.8-slim-bookworm", "3.10-slim-bookworm")),
        ("linux/amd64",),
    ),
    "mysql": (("library/mysql:8", "library/mysql:8.0.28"), ("linux/amd64",)),
    "redis": (("library/redis:5",), ("linux/amd64",)),
}
_FILES = ("debian.Dockerfile", "Dockerfile", "mysql-entrypoint.sh", "redis-entrypoint.sh")
_ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


def recipe() -> str:
    stamps = [root.recipe for root in roots.FIRST if root.target in roots.DEBIAN_TARS.values()]
    return digest(IMAGES, stamps, [(HERE / "images" / name).read_text() for name in _FILES], roots.apt_mirror())


def missing(port: int) -> list[str]:
    """The stages whose image is not in the registry, or is of another recipe."""
    made = read_state().get("standins", {})
    wanted = recipe()
    absent = []
    for stage, (names, _) in IMAGES.items():
        paths = ["/v2/{}/manifests/{}".format(*name.split(":")) for name in names]
        if made.get(stage) != wanted or any(
            request(f"http://127.0.0.1:{port}", path, "HEAD", {"Accept": _ACCEPT}) != 200 for path in paths
        ):
            absent.append(stage)
    return absent


def _context() -> None:
    """The tars are hard links: nothing is copied."""
    context = TMP / "context"
    context.mkdir()
    for name in _FILES:
        shutil.copy2(HERE / "images" / name, context / name)
    for tar in roots.DEBIAN_TARS.values():
        os.link(tar, context / tar.name)


def _client_env(socket: str) -> dict[str, str]:
    """For the sandbox's own use of its clients: none of the caller's Docker or buildx settings."""
    foreign = ("DOCKER_", "BUILDX_", "BUILDKIT_", "SOURCE_DATE_EPOCH")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**env, "DOCKER_HOST": socket, "DOCKER_CONFIG": str(STATE / "clients/old"),
            "PATH": f"{BIN}:{env.get('PATH', '')}"}  # fmt: skip


def _bake(stages: list[str], dockerfile: str, socket: str, port: int) -> None:
    """One bake for all stages: what they share is done once, the rest side by side. gzip at its fastest level: the
    layers go over the loopback only, and an old Docker reads no zstd."""
    targets = {
        stage: {
            "context": str(TMP / "context"),
            "dockerfile": dockerfile,
            "target": stage if dockerfile == "Dockerfile" else "",
            "platforms": list(IMAGES[stage][1]),
            "tags": [f"localhost:{port}/{name}" for name in IMAGES[stage][0]],
            "args": {"MIRROR": roots.apt_mirror(), "DEBIAN": f"localhost:{port}/{IMAGES['debian'][0][0]}"},
            "output": ["type=image,push=true,compression=gzip,compression-level=1"],
            "attest": ["type=provenance,disabled=true"],
        }
        for stage in stages
    }
    bake_file = TMP / f"{dockerfile}.bake.json"
    bake_file.write_text(json.dumps({"group": {"default": {"targets": stages}}, "target": targets}))
    with step(f"stand-ins built and pushed: {' '.join(stages)}"):
        run([BIN / "docker", "buildx", "bake", "--progress=plain", "-f", bake_file], "standins",
            env=_client_env(socket), timeout=1800,
            hint="see whether this machine reaches its Debian mirror (`apt-get update`)")  # fmt: skip


def build(socket: str, port: int) -> None:
    todo = missing(port)
    if not todo:
        return
    wanted = recipe()
    _context()
    if "debian" in todo:
        _bake(["debian"], "debian.Dockerfile", socket, port)
    rest = [stage for stage in todo if stage != "debian"]
    if rest:
        _bake(rest, "Dockerfile", socket, port)
    update_state(standins={**read_state().get("standins", {}), **dict.fromkeys(todo, wanted)})
