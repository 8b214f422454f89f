"""``fategen bake --verify``: what was built is held against its contract before anything of it is published."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from generator.cli.layouts import built_layouts
from generator.cli.terminal import Bar, say
from generator.cli.verify import report
from generator.verify.subjects import Subject, check_unstarted

if TYPE_CHECKING:
    from generator.bake.phases import Configs
    from generator.bake.run import Session
    from generator.bundle.layout import SourceImage
    from generator.plan import Plan

HOLDS = "fategen.invalid/verify"
"""Where images are named while they are started: a name that nobody can push to or pull from (RFC 2606)."""


def gate(session: Session, plan: Plan, form: str, quiet: bool) -> Configs:
    """Verifies what the session built, and gives the configs of that. BuildError: a check failed.

    The images are OCI layouts, as bundles are made of: what a push sends has the same digests. Every platform is looked
    at; the engine's own is started too, under a name that is taken away again.
    """
    from generator.bundle.layout import read
    from generator.verify.kept import Kept
    from generator.verify.results import failures
    from generator.verify.started import check_started
    from generator.verify.variants import read_layouts

    platforms = tuple(dict.fromkeys(p for target in session.job.targets for p in target.platforms))
    # an attestation is no part of what is checked, and the classic store takes none
    plain = replace(session, options=replace(session.options, attestations=False))
    sources = built_layouts(plain, plan, platforms, quiet, again=True)
    found = [read(source) for source in sources]
    subjects = [
        Subject(target.name, target.tags[0], variant.platform, variant.manifest.digest, target.contract)
        for target, one in zip(session.job.targets, found, strict=True)
        for variant in one.image.variants
    ]
    kept = Kept(session.state / "verify")
    with Bar("reading", quiet) as bar:
        results = check_unstarted(subjects, lambda wanted: read_layouts(found, wanted, kept, bar), kept)
    engine = session.facts.engine
    own = [subject for subject in subjects if subject.platform == engine.platform]
    if failures([result for one in results.values() for result in one]):
        say("nothing is started: what the images hold is to be mended first")
    elif engine.problem is not None:
        say(f"nothing is started: {engine.problem.message}")
    elif own:
        if not quiet:
            say(f"starting {', '.join(subject.image for subject in own)}")
        with _loaded(session, sources, own) as started:
            for subject, more in check_started(session.docker, started).items():
                results[own[started.index(subject)]] += tuple(more)
    every = [result for one in results.values() for result in one]
    report(every, form, passed=False, consequence="nothing was published" if session.options.output == "push" else "")
    if not quiet:
        say(f"verified: {len(every)} checks of {len(found)} images")
    return {
        target.tags[0]: {variant.platform: variant.config.digest for variant in one.image.variants}
        for target, one in zip(session.job.targets, found, strict=True)
    }


@contextlib.contextmanager
def _loaded(session: Session, sources: Sequence[SourceImage], subjects: Sequence[Subject]) -> Iterator[list[Subject]]:
    """The subjects under names of their own in the local engine, by way of a bundle: it is checked byte for byte."""
    from generator.bundle.layout import SourceImage
    from generator.bundle.load import load
    from generator.bundle.save import save
    from generator.bundle.targets import DockerLoader

    run = secrets.token_hex(4)
    layouts = {source.references[0]: source.layout for source in sources}
    named = [replace(s, reference=f"{HOLDS}-{run}/{s.image}:{s.platform.replace('/', '-')}") for s in subjects]
    images = [
        SourceImage((one.reference,), layouts[subject.reference], (subject.platform,))
        for subject, one in zip(subjects, named, strict=True)
    ]
    file = session.state / "verify" / f"{run}.fate.tar"
    loader = DockerLoader(session.docker)
    try:
        save(images, file, name="verify")
        load(file, loader, platform=subjects[0].platform)
        file.unlink()
        yield named
    finally:
        file.unlink(missing_ok=True)
        file.with_name(f"{file.name}.sha256").unlink(missing_ok=True)
        for one in named:
            loader.untag(one.reference)
