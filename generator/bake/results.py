"""What came out of a run: digests, sizes, seconds; as a table or as JSON."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from generator.config.reference import parse_reference
from generator.docker.engine import parse_platforms
from generator.docker.process import Docker
from generator.errors import EngineError
from generator.text import duration, human, table


@dataclass(frozen=True)
class Built:
    """One image of a run. ``digest`` is "" and ``sizes`` are empty where it was neither pushed nor loaded.

    ``sizes`` are bytes by platform: the compressed layers in the registry, or what the local engine reports (under the
    platform ""). ``seconds`` is the time in which its own steps ran, without cached ones and without its parents';
    ``cached`` says that none had to.
    """

    image: str
    references: tuple[str, ...]
    digest: str
    platforms: tuple[str, ...]
    sizes: tuple[tuple[str, int], ...]
    seconds: float
    state: str
    uncommitted: tuple[str, ...] = ()
    """the sources that it is built from and whose content is not all committed"""
    cached: bool = False
    replaced: str = ""
    """the digest of another image that its name stood for in the registry until this push"""
    lost: tuple[str, ...] = ()
    """the platforms that this other image had and this one has not"""

    def as_json(self) -> dict[str, object]:
        return {
            "image": self.image,
            "state": self.state,
            "references": list(self.references),
            "digest": self.digest or None,
            "platforms": list(self.platforms),
            "sizes": {platform or "engine": size for platform, size in self.sizes},
            "seconds": round(self.seconds, 3),
            "uncommitted": list(self.uncommitted),
            "cached": self.cached,
            "replaced": self.replaced or None,
            "lost_platforms": list(self.lost),
        }


def result_table(built: Sequence[Built]) -> str:
    """For people: short digests, one size for each platform; no column in which nothing would stand."""
    columns: dict[str, list[str]] = {
        "IMAGE": [one.image for one in built],
        ">BUILT IN": ["cached" if one.cached else duration(one.seconds) for one in built],
        "PLATFORMS": [" ".join(one.platforms) for one in built],
        ">SIZE": [" + ".join(human(size) for _, size in one.sizes) for one in built],
        "DIGEST": [one.digest[:15] + "…" if one.digest else "" for one in built],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    text = table(tuple(shown), list(zip(*shown.values(), strict=True)))
    dirty = {name for one in built for name in one.uncommitted}
    replaced = [
        f"{one.image} (was {one.replaced[:15]}…{', also for ' if one.lost else ''}{' '.join(one.lost)})"
        for one in built
        if one.replaced
    ]
    notes = {"replaced in the registry": replaced, "not all committed": sorted(dirty)}
    return "\n".join([text, *(f"{what}: {', '.join(which)}" for what, which in notes.items() if which)])


def pushed_sizes(docker: Docker, digests: Mapping[str, str], env: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Reference -> platform -> bytes of the compressed layers, as the registry lists them.

    An image that cannot be asked for (a registry that only the builder reaches) is left out: its size is a service, and
    its push has succeeded.
    """
    manifests = _manifests(docker, digests, env)
    return {ref: {name: layers_size(one) for name, one in found.items()} for ref, found in manifests.items()}


def pushed_configs(docker: Docker, digests: Mapping[str, str], env: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Reference -> platform -> digest of the config; an image that cannot be asked for is left out.

    An image without an index says no platform in its manifest: "" stands for its only one.
    """
    manifests = _manifests(docker, digests, env)
    return {
        ref: {name: str((one.get("config") or {}).get("digest")) for name, one in found.items()}
        for ref, found in manifests.items()
    }


def _manifests(
    docker: Docker, digests: Mapping[str, str], env: Mapping[str, str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Reference -> platform -> manifest; the platform is "" where there is no index."""
    repositories = {reference: parse_reference(reference).name for reference in digests}
    indexes = _raw(docker, {ref: f"{repositories[ref]}@{digest}" for ref, digest in digests.items() if digest}, env)
    wanted = {
        (ref, platform): f"{repositories[ref]}@{digest}"
        for ref, index in indexes.items()
        for platform, digest in index_platforms(index).items()
    }
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for (ref, platform), manifest in _raw(docker, wanted, env).items():
        found.setdefault(ref, {})[platform] = manifest
    return found | {ref: {"": index} for ref, index in indexes.items() if "layers" in index}


def index_platforms(index: Mapping[str, Any]) -> dict[str, str]:
    """Platform -> digest of its manifest, for an OCI index or a Docker manifest list; attestations are no platform."""
    found = {}
    for entry in index.get("manifests") or ():
        platform = entry.get("platform") or {}
        if platform.get("os") not in (None, "unknown"):
            parts = (platform["os"], platform.get("architecture"), platform.get("variant"))
            for name in parse_platforms("/".join(filter(None, parts))):
                found[name] = str(entry.get("digest"))
    return found


def layers_size(manifest: Mapping[str, Any]) -> int:
    """Bytes of all layers of one manifest (OCI image-spec, manifest.md: ``layers[].size``)."""
    return sum(int(layer.get("size") or 0) for layer in manifest.get("layers") or ())


def loaded_sizes(docker: Docker, references: Sequence[str]) -> dict[str, dict[str, int]]:
    """Reference -> bytes, as the local engine counts them; what it counts depends on its image store."""
    done = docker.run(["image", "inspect", "--format", "{{json .Size}}", *references])
    sizes = done.stdout.split()
    if not done.ok or len(sizes) != len(references):
        return {}
    return {ref: {"": int(size)} for ref, size in zip(references, sizes, strict=True) if size.isdigit()}


def _raw(docker: Docker, references: Mapping[Any, str], env: Mapping[str, str]) -> dict[Any, dict[str, Any]]:
    """The manifests behind these references, all asked for at the same time; those that fail are left out."""
    found = {}
    with contextlib.ExitStack() as stack:
        asked = {
            key: stack.enter_context(docker.start(["buildx", "imagetools", "inspect", "--raw", reference], env=env))
            for key, reference in references.items()
        }
        for key, child in asked.items():
            # not in time either
            with contextlib.suppress(ValueError, EngineError):
                done = child.finish(timeout=60)
                content = json.loads(done.stdout) if done.ok else None
                if isinstance(content, dict):
                    found[key] = content
    return found
