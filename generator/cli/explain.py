"""``fategen explain``: where the values of an image, or of a key of ``.env``, come from."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from generator.catalogue.contract import Named
from generator.cli.common import change_options, complete_images, directory_option, open_project
from generator.config.env import LOCAL
from generator.config.settings import key_of
from generator.errors import InputError, Problem, did_you_mean
from generator.plan.plan import Plan, Target
from generator.project import template_name
from generator.text import table
from generator.workspace import Workspace, load, load_catalogue

Row = tuple[str, str, str]
"""A name, its value, and where that is from."""
Places = Mapping[str, tuple[str, str]]
"""Each value of the catalogue by its path: its text, and where that is."""


@click.command()
@click.argument("name", metavar="IMAGE|BASE|SOURCE|KEY", shell_complete=complete_images)
@directory_option
@change_options
def command(name: str, directory: Path, **changes: Any) -> None:
    """Show the file and line that each value of an image, or the value of a base, a source or a key, comes from."""
    workspace = load(open_project(directory), **changes)
    plan, places = workspace.plan, load_catalogue(workspace.project, workspace.plan.line)
    targets = {target.name: target for target in (*plan.targets, *plan.unavailable) if not target.inherits}
    if name in targets:
        rows = [*_image(workspace, targets[name], places)]
    elif name in plan.keys.names or name in (keys := _keys_of_inputs(plan, places)):
        rows = [_key(workspace, name if name in plan.keys.names else keys[name], places)]
    else:
        known = did_you_mean(name, [*targets, *keys, *plan.keys.names])
        of_group = " ".join(next((group.images for group in plan.groups if group.name == name), ()))
        known = f"; it is a group: {of_group}" if of_group else known
        wrong = f"no image, base or source of {plan.title} and no key of .env{known}"
        raise InputError(Problem(name, wrong), hint="fategen images lists the images, docs/settings.md the keys")
    click.echo(table(("NAME", "FROM", "VALUE"), [(what, where, value) for what, value, where in rows]))


def _keys_of_inputs(plan: Plan, places: Places) -> dict[str, str]:
    """Name of a base or a source -> the key that replaces it."""
    inputs = (row for target in (*plan.targets, *plan.unavailable) for row in _upstream(plan, target, places))
    return {what.rpartition(" ")[2]: key for what, key, _, _ in inputs}


def _image(workspace: Workspace, target: Target, places: Places) -> Iterator[Row]:
    plan = workspace.plan
    entry = f"images.{target.name}."
    for place, (value, where) in places.items():
        if place.startswith(entry) and not place.startswith(f"{entry}contract."):
            yield place.removeprefix(entry), value, where
    if target.dockerfile:
        yield "template file", "", template_name(workspace.template(target))
    yield "built for", " ".join(target.platforms) or "no platform", _key(workspace, "PLATFORMS", places)[2]
    yield from ((what, value, where) for what, _, value, where in _upstream(plan, target, places))
    if target.is_pushed:
        yield from (_key(workspace, key, places) for key in ("PREFIX", "BASE_TAG" if target.kind == "base" else "TAG"))
    for field in fields(target.contract):
        value = getattr(target.contract, field.name)
        for part in value if isinstance(value, tuple) else [value] if value else []:
            if where := getattr(part, "where", ""):
                yield f"contract.{field.name}", _shown(part), where


def _upstream(plan: Plan, target: Target, places: Places) -> Iterator[tuple[str, str, str, str]]:
    """Each base and source of a target: what it is called, the key that replaces it, its value, where that is from."""
    for base in target.bases:
        yield f"base {base.name}", key_of(base.name, "_IMAGE"), base.reference, base.where
    for source in target.sources:
        commit = places.get(f"releases.{plan.release}.{source.name}.commit", ("", ""))[1]
        yield f"source {source.name}", key_of(source.name, "_SOURCE"), source.location, source.where or commit


def _shown(part: object) -> str:
    """A part of a contract: a name with its value, the words of a command or all ports, "" in quotes."""
    name = getattr(part, "name", "")
    if not isinstance(part, Named):
        said = {key: value for key, value in vars(part).items() if isinstance(value, (str, float)) and value}
        return name or ", ".join(f"{key} {value}" for key, value in said.items() if key != "where") or '""'
    if isinstance(part.value, str):
        return f"{name}: {part.value}"
    return shlex.join(getattr(word, "name", word) for word in part.value) or '""'


def _key(workspace: Workspace, name: str, places: Places) -> Row:
    plan = workspace.plan
    row, where = plan.keys.find(name), dict(plan.settings.origins).get(name, "")
    if row is None or not where:
        for target in (*plan.targets, *plan.unavailable):
            for _, key, value, place in _upstream(plan, target, places):
                if key == name:
                    return name, value, place
        declared = [own.where for own in plan.family.keys if own.name == name]
        return name, row.default if row else "", f"default ({declared[0]})" if declared else "default"
    value = plan.settings.overrides.get(name) or plan.settings.other(name) or getattr(plan.settings, row.attribute)
    shown = " ".join(value) if isinstance(value, tuple) else str(value)
    # a value that no rendered file may have, such as a password
    return name, "(not shown)" if where.startswith(LOCAL) else shown, where
