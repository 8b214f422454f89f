"""Which images and platforms of the plan go into a bundle, and the name of its file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from generator.errors import InputError, Problem, did_you_mean
from generator.plan.plan import Plan

DEFAULT = "fate"
BUNDLES = {DEFAULT: ("components",), "third-party": ("third-party",), "all": ("base", "components", "third-party")}
"""The bundles that have names, and the plan's groups in them."""
_COMPRESSED = (".gz", ".tgz", ".zst", ".xz", ".bz2", ".zip")


def groups_of(name: str, plan: Plan) -> tuple[str, ...]:
    """The groups of a bundle that the plan has: for some platforms there is no base-image, say."""
    known = {group.name for group in plan.groups}
    return tuple(group for group in BUNDLES[name] if group in known)


def check_bundle_name(name: str, read_plan: Callable[[], Plan | None]) -> None:
    """InputError where no bundle has this name; the hint knows the names of groups and images."""
    if name in BUNDLES:
        return
    suggestion = did_you_mean(name, BUNDLES)
    hint = "for one image: fategen bundle save --image NAME; fategen images lists them"
    if bundle := next((bundle for bundle, groups in BUNDLES.items() if name in groups), ""):
        suggestion, hint = "", f"the group {name} is in: fategen bundle save {bundle}"
    elif not suggestion and (plan := read_plan()):
        images = _bundle_of_image(plan)
        suggestion = "" if name in images else did_you_mean(name, images)
        for image in difflib.get_close_matches(name, images, n=1):
            of = "" if images[image] == DEFAULT else f"{images[image]} "
            hint = f"for one image: fategen bundle save {of}--image {image}"
    message = f"no bundle has this name{suggestion}; there are {', '.join(BUNDLES)}"
    raise InputError(Problem(name, message), hint=hint)


def selected(plan: Plan, name: str, images: Sequence[str]) -> tuple[str, ...]:
    """The names to build: the bundle's groups, or some of their images. InputError for one that is not in them."""
    groups = groups_of(name, plan)
    if not groups:
        from generator.bake.job import not_built

        # no name at all would be bake's default
        reason = not_built(plan, BUNDLES[name]) or f"FATE {plan.line} has none of its images"
        hint = "fategen images lists all images"
        raise InputError(Problem(name, f"this bundle would be empty: {reason}"), hint=hint)
    known = [target.name for target in plan.select(groups)]
    wrong = [image for image in images if image not in known]
    if wrong:
        # one that has none of the project's platforms: it raises with the reason
        plan.select(target.name for target in plan.unavailable if target.name in wrong)
        bundles = _bundle_of_image(plan)
        instead = {w: f"; it is in {bundles[w]}" if w in bundles else did_you_mean(w, known) for w in wrong}
        problems = [Problem("--image", f"{w} is not in the {name} bundle{instead[w]}") for w in wrong]
        raise InputError(problems, hint=f"it holds {', '.join(known)}")
    return tuple(images) or groups


def _bundle_of_image(plan: Plan) -> dict[str, str]:
    """Image -> the smallest bundle that has it."""
    return {t.name: bundle for bundle in reversed(BUNDLES) for t in plan.select(groups_of(bundle, plan))}


def in_order(platforms: Iterable[str], plan: Plan) -> tuple[str, ...]:
    """Each once and as PLATFORMS has them: the same images in another order are another bundle."""
    known = plan.settings.platforms
    return tuple(sorted(dict.fromkeys(platforms), key=lambda p: known.index(p) if p in known else len(known)))


def default_platform(engine: str, plan: Plan) -> str:
    """What is saved where no platform is asked for: the engine's, or else the only one of the project. InputError."""
    known = plan.settings.platforms
    if engine in known or not known[1:]:
        return engine if engine in known else known[0]
    message = f"PLATFORMS ({' '.join(known)}) lacks the engine's own {engine}, which is the default"
    flags = ", or ".join(f"--platform {platform}" for platform in known)
    raise InputError(Problem(plan.settings.where("PLATFORMS"), message), hint=f"choose what to save: {flags}")


def other_platforms(plan: Plan, names: Sequence[str], saved: str) -> str:
    """A note that images are built for more than the ``saved`` platform; "" where they are not."""
    built = dict.fromkeys(platform for target in plan.select(names) for platform in target.platforms)
    others = [platform for platform in built if platform != saved]
    if not others:
        return ""
    flags = " ".join(f"--platform {platform}" for platform in (saved, *others))
    return f"for {saved} only, the engine's platform; for {'all' if others[1:] else 'both'}: {flags}"


def default_file(title: str, platforms: Iterable[str]) -> Path:
    """With the ``platforms`` that were asked for, the same in whatever order they are."""
    return Path("-".join((title, *(platform.replace("/", "-") for platform in sorted(set(platforms))))) + ".fate.tar")


def check_output_name(output: Path, bases: Sequence[Path]) -> None:
    """InputError where a file's name promises a compression that a bundle lacks, or is that of a base bundle."""
    if end := next((end for end in _COMPRESSED if output.name.endswith(end)), ""):
        wrong = f"{output} would not be {end}: a bundle is a plain tar with compressed layers"
        stem = str(output)[: -len(end)]
        for suffix in (".tar", ".fate"):
            stem = stem[: -len(suffix)] if stem.endswith(suffix) else stem
        raise InputError(Problem("-o", wrong), hint=f"-o {stem}.fate.tar")
    for base in bases:
        if base.resolve() == output.resolve():
            message = f"{base} is the base bundle, and would be overwritten by its delta"
            raise InputError(Problem("--base", message), hint="write to another file with -o")
