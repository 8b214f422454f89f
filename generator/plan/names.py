"""The names that are made of a catalogue's: each is unique, and none means something else where it is read.

Bake and BuildKit say nothing of two variables or targets with one name, or of a stage that they take for another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from generator.catalogue.line import ImageKind, Line
from generator.catalogue.schema import unknown
from generator.config.settings import key_of
from generator.errors import Problem

GROUPS: Mapping[str, tuple[ImageKind, ...]] = {
    "default": ("component",),
    "base": ("base",),
    "components": ("component",),
    "third-party": ("third-party",),
    "all": ("base", "component"),
}
"""The kinds of images in each group. A plan's own groups are without the images that it has no platform for."""

TAKEN = {
    "scratch": "BuildKit's name of the empty image",
    "context": "BuildKit's name of the directory with the Dockerfile",
    "bake": "the log of what belongs to no image",
    **dict.fromkeys(GROUPS, "a group of images"),
}
"""Names that no image and no source can have, and what each is."""


def image_variable(name: str) -> str:
    """The HCL variable that links to a base image: ``TOOLS_IMAGE`` for tools and for tools-image.

    No other variable of ours ends with ``_IMAGE``, and none that a shell or docker has.
    """
    return key_of(re.sub("[-_]image$", "", name), "_IMAGE")


def name_problems(line: Line) -> Iterator[Problem]:
    """What is wrong with the names of a catalogue, each with its line and that of the other one."""
    sources = [(f"source {source.name}", source.name, source.where) for source in line.sources]
    named = [*sources, *((f"image {image.name}", image.name, image.where) for image in line.images)]
    files = {
        own.context: f"the context of the file that {own.name} names" for own in line.family.keys if own.type == "file"
    }
    taken = {**TAKEN, **files}
    images = dict.fromkeys(image.name for image in line.images)
    for group in line.groups:
        if group.name in taken or group.name in images:
            wrong = f"group {group.name}: {taken.get(group.name, 'an image')} has this name; choose another"
            yield Problem(group.where, wrong)
        for name in group.images:
            yield from unknown(name, images, group.where, f"group {group.name}: unknown image {name}")
    for what, name, where in named:
        if name in taken:
            yield Problem(where, f"{what}: {name} is {taken[name]}; choose another name")
        elif name.isdigit():
            yield Problem(where, f"{what}: a Dockerfile would read it as the number of a stage; choose another name")
    made = [(key_of(name, "_SOURCE"), what, where) for what, name, where in sources]
    made += [(key_of(base.name, "_IMAGE"), f"base {base.name}", base.where) for base in line.bases]
    for image in line.images:
        if image.kind in ("base", "third-party"):
            variable = image_variable(image.name) if image.kind == "base" else key_of(image.name, "_IMAGE")
            made.append((variable, f"image {image.name}", image.where))
    yield from clashes((variable, f"the variable {variable}", what, where) for variable, what, where in made)
    places = {name: (what, where) for what, name, where in named}
    for source in line.sources:
        stage = f"{source.name}-git"  # of macros.j2
        if source.fetch_in and stage in places:
            other, place = places[stage]
            wrong = f"source {source.name}: the stage {stage} is that of {other} too ({place}); rename one"
            yield Problem(source.where, wrong)
    for variable, what, where in made:
        if variable[0].isdigit():
            yield Problem(where, f"{what}: its variable would be {variable}, and none begins with a digit")


def clashes(made: Iterator[tuple[str, str, str, str]]) -> Iterator[Problem]:
    """A problem for each thing that has the key of an earlier one: (key, what it is, whose it is, where that is)."""
    first: dict[str, tuple[str, str]] = {}
    for key, called, what, where in made:
        if key in first:
            other, place = first[key]
            yield Problem(where, f"{what}: {called} is that of {other} too ({place}); rename one")
        first.setdefault(key, (what, where))
