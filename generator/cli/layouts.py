"""Has bake write OCI layouts of what it builds: the one place where bake meets what is made of its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from generator.cli.terminal import Bar, say

if TYPE_CHECKING:
    from generator.bake.run import Session
    from generator.bundle.layout import SourceImage
    from generator.plan import Plan


def built_layouts(
    session: Session, plan: Plan, platforms: Sequence[str], quiet: bool, *, again: bool = False
) -> tuple[SourceImage, ...]:
    """The session's images, built and written; ``again``: they were built just now, so no cache is written anew."""
    from generator import bake as baking
    from generator.bundle.from_engine import fill_layouts
    from generator.bundle.origins import sources_of

    classic = not session.facts.multi_platform
    if classic:
        say(
            "through the engine: its image store (graphdriver) writes no OCI layouts, so the images are loaded into it "
            "and read back with docker save"
        )
    written = (
        baking.load_for_layouts(session, plan, again=again) if classic else baking.export_layouts(session, again=again)
    )
    session.view.clear()
    found = sources_of(session.job, platforms, written)
    if classic:
        with Bar("reading it back", quiet) as bar:
            fill_layouts(session.docker, found, bar)
    return found
