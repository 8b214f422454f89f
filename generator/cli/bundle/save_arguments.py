"""What ``fategen bundle save`` takes, looked at before anything else is done."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.bundle.check import inspect
from generator.cli.bundle.shared import GROUPS
from generator.errors import BundleError, InputError, Problem, did_you_mean

if TYPE_CHECKING:
    from generator.plan import Target

_PACKED = (".gz", ".tgz", ".zst", ".xz", ".bz2", ".zip")
ORIGINS = ("bake", "engine", "registry", "layout:DIR")


def bundle_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """One of the bundles; an image's name in its place is a slip with an answer."""
    if value not in GROUPS:
        near = did_you_mean(value, GROUPS)
        wrong = f"no bundle has this name{near}; there are {', '.join(GROUPS)}"
        holding = next((name for name, groups in GROUPS.items() if value in groups), "")
        hint = f"for one image: fategen bundle save --image {'NAME' if near else value}"
        raise InputError(
            Problem(value, wrong), hint=f"the group {value} is in: fategen bundle save {holding}" if holding else hint
        )
    return value


def known_origin(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value not in ORIGINS and not (value.startswith("layout:") and value != "layout:"):
        wrong = f"{value} is none of {', '.join(ORIGINS)}{did_you_mean(value, ORIGINS)}"
        raise InputError(Problem("--from", wrong))
    return value


def check_pipe(split: str, with_loader: bool) -> None:
    """InputError where standard output is a terminal, or something is asked for that stands beside a file."""
    asked = [flag for flag, given in (("--split", split), ("--with-loader", with_loader)) if given]
    if asked:
        raise InputError([Problem(flag, "writes files beside the bundle, and -o - writes none") for flag in asked])
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


def default_name(title: str, targets: Iterable[Target], platforms: Sequence[str]) -> Path:
    """With the ``platforms`` that were asked for, unless they are all that the plan has of these images."""
    some = platforms and not set(platforms) >= set(platforms_of(targets))
    asked = [platform.replace("/", "-") for platform in sorted(set(platforms))] if some else []
    return Path("-".join((title, *asked)) + ".fate.tar")


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
