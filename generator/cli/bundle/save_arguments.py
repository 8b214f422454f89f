"""What ``fategen bundle save`` takes, looked at before anything else is done."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.bundle.reader import inspect
from generator.cli.bundle.shared import GROUPS, groups_of
from generator.errors import BundleError, EngineError, FategenError, InputError, Problem, did_you_mean
from generator.progress import say
from generator.project import find_project

if TYPE_CHECKING:
    from generator.docker.engine import Answers
    from generator.plan.plan import Plan, Target

DEFAULT = "fate"
_PACKED = (".gz", ".tgz", ".zst", ".xz", ".bz2", ".zip")
ORIGINS = ("bake", "engine", "registry", "layout:DIR")


def check_bundle(name: str, plan: Callable[[], Plan | None]) -> None:
    """InputError where no bundle has this name; a group's or an image's in its place is a slip with an answer."""
    if name in GROUPS:
        return
    near = did_you_mean(name, GROUPS)
    hint = "for one image: fategen bundle save --image NAME; fategen images lists them"
    if bundle := next((bundle for bundle, groups in GROUPS.items() if name in groups), ""):
        near, hint = "", f"the group {name} is in: fategen bundle save {bundle}"
    elif not near and (there := plan()):
        holding = _holding(there)
        near = "" if name in holding else did_you_mean(name, holding)
        for image in difflib.get_close_matches(name, holding, n=1):
            of = "" if holding[image] == DEFAULT else f"{holding[image]} "
            hint = f"for one image: fategen bundle save {of}--image {image}"
    raise InputError(Problem(name, f"no bundle has this name{near}; there are {', '.join(GROUPS)}"), hint=hint)


def plan_there(directory: Path, sets: Sequence[str], sources: Sequence[str]) -> Plan | None:
    """The project's plan, to help with; None where there is none, or its files are wrong."""
    from generator.workspace import load

    try:
        return load(find_project(directory), sets=sets, sources=sources).plan
    except FategenError:
        return None


def known_origin(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value not in ORIGINS and not (value.startswith("layout:") and value != "layout:"):
        wrong = f"{value} is none of {', '.join(ORIGINS)}{did_you_mean(value, ORIGINS)}"
        raise InputError(Problem("--from", wrong))
    return value


def check_pipe(with_loader: bool) -> None:
    """InputError where standard output is a terminal, or something is asked for that stands beside a file."""
    if with_loader:
        raise InputError(Problem("--with-loader", "writes files beside the bundle, and -o - writes none"))
    if sys.stdout.isatty():
        hint = "fategen bundle save -o - | ssh HOST fategen bundle load -"
        raise InputError(Problem("-o -", "standard output is a terminal, and a bundle is no text"), hint=hint)


def check_name(output: Path) -> None:
    """InputError where a name promises a compression that a bundle has not."""
    packed = next((end for end in _PACKED if output.name.endswith(end)), "")
    if packed:
        wrong = f"{output} would not be {packed}: a bundle is a plain tar, whose layers are compressed"
        stem = str(output).removesuffix(packed).removesuffix(".tar").removesuffix(".fate")
        raise InputError(Problem("-o", wrong), hint=f"-o {stem}.fate.tar")


def platforms_of(targets: Iterable[Target]) -> tuple[str, ...]:
    """What any of them is built for."""
    return tuple(dict.fromkeys(platform for target in targets for platform in target.platforms))


def in_order(platforms: Iterable[str], plan: Plan) -> tuple[str, ...]:
    """Each once and as PLATFORMS has them: the same images in another order are another bundle."""
    there = plan.settings.platforms
    return tuple(sorted(dict.fromkeys(platforms), key=lambda p: there.index(p) if p in there else len(there)))


def default_name(title: str, platforms: Iterable[str]) -> Path:
    """With the ``platforms`` that were asked for, the same in whatever order they are."""
    return Path("-".join((title, *(platform.replace("/", "-") for platform in sorted(set(platforms))))) + ".fate.tar")


def root_there(output: Path) -> str | None:
    """The root of the bundle that is at ``output``, "" for a file that is none, None where nothing is."""
    if output.exists() and not output.is_file():
        return None
    try:
        return inspect(output).index.root
    except BundleError:
        return "" if output.exists() else None
    except InputError:
        return None


def chosen(plan: Plan, name: str, images: Sequence[str]) -> tuple[str, ...]:
    """The names to build: the bundle's groups, or some of their images. InputError for one that is not in them."""
    groups = groups_of(name, plan)
    if not groups:
        from generator.bake.job import not_built

        # no name at all would be bake's default
        lacking = not_built(plan, GROUPS[name]) or f"FATE {plan.line} has none of its images"
        raise InputError(
            Problem(name, f"this bundle would be empty: {lacking}"), hint="fategen images lists all images"
        )
    there = [target.name for target in plan.select(groups)]
    wrong = [image for image in images if image not in there]
    if wrong:
        # one that has none of the project's platforms: it raises with the reason
        plan.select(target.name for target in plan.unavailable if target.name in wrong)
        holding = _holding(plan)
        instead = {w: f"; it is in {holding[w]}" if w in holding else did_you_mean(w, there) for w in wrong}
        raise InputError(
            [Problem("--image", f"{w} is not in the {name} bundle{instead[w]}") for w in wrong],
            hint=f"it holds {', '.join(there)}",
        )
    return tuple(images) or groups


def _holding(plan: Plan) -> dict[str, str]:
    """Image -> the smallest bundle that has it."""
    return {t.name: bundle for bundle in reversed(GROUPS) for t in plan.select(groups_of(bundle, plan))}


def say_left_out(plan: Plan, names: Sequence[str], own: str, *, asked: bool) -> None:
    """That images are built for other platforms too, where these could be ``asked`` for."""
    built = [platform for platform in platforms_of(plan.select(names)) if platform != own]
    if built and asked:
        flags = " ".join(f"--platform {platform}" for platform in (own, *built))
        say(f"for {own} alone, the engine's; for {'all' if built[1:] else 'both'}: {flags}")


def engines_platform(answers: Callable[[], Answers], plan: Plan) -> str:
    """EngineError where no engine answers: a remote builder needs none, only to be told for what to build."""
    try:
        engine = answers().engine
        if engine.problem is not None:
            raise engine.problem
    except EngineError as error:
        flag = f"--platform {plan.settings.platforms[0]}"
        hint = f"{error.hint}; or, where nothing needs a daemon, name the platform: {flag}"
        raise EngineError(error.message, hint=hint) from error
    return engine.platform


def own_platform(engine: str, plan: Plan) -> str:
    """What is saved where no platform is asked for: the engine's, unless the project is for another one alone."""
    there = plan.settings.platforms
    if engine in there:
        return engine
    if there[1:]:
        wrong = f"PLATFORMS ({' '.join(there)}) has not the engine's own {engine}, which is the default"
        flags = ", or ".join(f"--platform {platform}" for platform in there)
        raise InputError(Problem(plan.settings.where("PLATFORMS"), wrong), hint=f"name what to save: {flags}")
    say(f"for {there[0]}, the only one of PLATFORMS; the engine's is {engine}")
    return there[0]
