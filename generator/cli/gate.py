"""``fategen bake --verify``: what was built is held against its contract before anything of it is published."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from generator.cli.held import hold, tell
from generator.cli.layouts import built_layouts
from generator.progress import say

if TYPE_CHECKING:
    from generator.bake.phases import Configs
    from generator.bake.run import Session
    from generator.workspace import Workspace


def gate(session: Session, workspace: Workspace, form: str, quiet: bool) -> Configs:
    """Verifies what the session built, and gives the configs of that. BuildError: a check failed.

    The images are OCI layouts, as bundles are made of: what a push sends has the same digests. Every platform is looked
    at; the engine's own is started too, where there is an engine.
    """
    from generator.images.layout import read
    from generator.verify.origins import from_layouts

    targets = session.job.targets
    platforms = tuple(dict.fromkeys(platform for target in targets for platform in target.platforms))
    # an attestation is no part of what is checked, and the classic store takes none
    plain = replace(session, options=replace(session.options, attestations=False))
    sources = built_layouts(plain, workspace.plan, platforms, quiet, again=True)
    problem = session.facts.engine.problem
    if problem is not None:
        say(f"nothing is started: {problem.message}")
    origin = from_layouts(targets, sources, session.state / "verify")
    results = hold(origin, workspace.project, None if problem else session.docker, quiet, gate=True)
    tell(results, form, passed=False, consequence="nothing was published" if session.options.output == "push" else "")
    if not quiet:
        say(f"verified: {len(results)} checks of {', '.join(target.name for target in targets)}")
    return {
        target.tags[0]: {v.platform: v.config.digest for v in read(source).image.variants}
        for target, source in zip(targets, sources, strict=True)
    }
