"""The result of a run: digests, sizes and times, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from generator.docker.process import Docker
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
    """the sources that it is built from and whose content is with uncommitted changes"""
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
    """For people: short digests, one size for each platform; no empty column."""
    columns: dict[str, list[str]] = {
        "IMAGE": [image.image for image in built],
        ">BUILT IN": ["cached" if image.cached else duration(image.seconds) for image in built],
        "PLATFORMS": [" ".join(image.platforms) for image in built],
        ">SIZE": [" + ".join(human(size) for _, size in image.sizes) for image in built],
        "DIGEST": [image.digest[:15] + "…" if image.digest else "" for image in built],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    text = table(tuple(shown), list(zip(*shown.values(), strict=True)))
    dirty = {name for image in built for name in image.uncommitted}
    replaced = [
        f"{image.image} (was {image.replaced[:15]}…{', also for ' if image.lost else ''}{' '.join(image.lost)})"
        for image in built
        if image.replaced
    ]
    notes = {"replaced in the registry": replaced, "with uncommitted changes": sorted(dirty)}
    return "\n".join([text, *(f"{what}: {', '.join(which)}" for what, which in notes.items() if which)])


def loaded_sizes(docker: Docker, references: Sequence[str]) -> dict[str, dict[str, int]]:
    """Reference -> bytes, as the local engine counts them; what it counts depends on its image store."""
    done = docker.run(["image", "inspect", "--format", "{{json .Size}}", *references])
    sizes = done.stdout.split()
    if not done.ok or len(sizes) != len(references):
        return {}
    return {ref: {"": int(size)} for ref, size in zip(references, sizes, strict=True) if size.isdigit()}
