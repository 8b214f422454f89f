"""What a catalogue file may hold. ``catalogue`` reads by it, and ``schema_text`` makes catalogue/schema.json of it."""

from __future__ import annotations

import unicodedata
from typing import Literal

from generator.catalogue.contract_shape import CONTRACT
from generator.catalogue.party import PARTY
from generator.catalogue.shapes import Entries, Free, Record, Text, Texts
from generator.config.reference import parse_reference

Kind = Literal["builder", "base", "component", "third-party"]
KINDS: dict[str, Kind] = {"builder": "builder", "base": "base", "component": "component", "third-party": "third-party"}


def _check_description(text: str) -> str:
    """It stands in a comment of the Dockerfile and in a label: one line of text that HCL can hold."""
    if not text.isprintable():
        return "the description is not one line of printable text"
    return "" if unicodedata.is_normalized("NFC", text) else "the description is not in Unicode's composed form (NFC)"


def _check_image(text: str) -> str:
    try:
        reference = parse_reference(text)
    except ValueError as error:
        return f'"{text}" is not an image reference: {error}'
    return "" if reference.tag or reference.digest else f'"{text}" has neither a tag nor a digest'


NAME = Text(
    "a name of an image, base or source",
    pattern="[a-z0-9]+(?:[_-][a-z0-9]+)*",
    wrong='is not a name: lower-case letters and digits, joined by "-" or "_"',
)
IMAGE_REFERENCE = Text("an image with a tag or a digest, such as mysql:8", check=_check_image)

SOURCE = Record(
    "a git repository that images copy from",
    {
        "git": Text(
            "its URL; releases say which commit",
            pattern=r"(?:https?|ssh|git)://[^\s#]+|[\w.\-]+@[\w.\-]+:[^\s#]+",
            wrong='is not a git URL (https://…, ssh://…, git@host:path), without "#ref"',
        ),
        "fetch-in": Text("the base in which the commit is fetched, without submodules; default: BuildKit fetches it"),
    },
    required=("git",),
)

BASE = Record("an image of somebody else's that ours are built from", {"image": IMAGE_REFERENCE}, required=("image",))

REF = Record(
    "what a release takes of a source",
    {
        "ref": Text("the tag or branch that upstream names"),
        "commit": Text(
            "the commit that it was",
            pattern="[0-9a-f]{40}",
            wrong="is not a commit: 40 lower-case hexadecimal digits",
        ),
    },
    required=("ref", "commit"),
)

LIMIT = Record(
    "the only platforms that the image has, and why",
    {
        "only": Texts(
            "platforms",
            Text(
                "os/arch or os/arch/variant",
                pattern="[a-z0-9]+/[a-z0-9]+(?:/v[0-9]+)?",
                wrong="is not a platform: os/arch or os/arch/variant, such as linux/arm64",
            ),
        ),
        "because": Text("why it has no others; users are told"),
        "lifted-by": Text("a key of .env that takes the limit away"),
    },
    required=("only", "because"),
)

_OURS = (("from",), ("image",))
_THIRD_PARTY = (("image",), ("from", "needs", "sources", "home", "template", "with"))

IMAGE = Record(
    "an image",
    {
        "kind": Text(
            "builder: built for others, never published; base: for components to be built on; component: a part of "
            "FATE; third-party: published by somebody else, carried in bundles",
            choices=tuple(KINDS),
            wrong="is not a kind",
        ),
        "description": Text("one line, for people", check=_check_description),
        "image": IMAGE_REFERENCE,
        "from": Text("the image or base in FROM"),
        "needs": Texts("images and bases that it copies from besides", Text("an image or a base")),
        "sources": Texts("sources that it copies from", Text("a source")),
        "home": Text("the source whose repository and commit its labels name"),
        "template": Text("a file below templates/dockerfiles/; default: NAME.Dockerfile.j2"),
        "platforms": LIMIT,
        "contract": CONTRACT,
        "with": Entries("values for its template", Free("text, a list of texts, or a mapping of texts")),
    },
    required=("kind",),
    by="kind",
    rules={kind: _THIRD_PARTY if kind == "third-party" else _OURS for kind in KINDS},
)

LINE = Record(
    "a FATE line: its releases, and the images that they are built as",
    {
        "line": Text("its name, which is the file's name too"),
        "extends": Text(
            "another line, whose contracts this one has too; one of the same name comes in its place",
            pattern=r"[0-9]+\.[0-9]+",
            wrong="is not a line, such as 1.3",
        ),
        "releases": Entries("what each release takes of each source", Entries("of each source", REF)),
        "sources": Entries("git repositories that images copy from", SOURCE, NAME),
        "bases": Entries("images of others that ours are built from", BASE, NAME),
        "images": Entries("the images", IMAGE, NAME),
        "contracts": Entries("contracts that images share, each after those that it is", CONTRACT, NAME),
        "party": PARTY,
    },
    required=("line", "releases", "sources", "bases", "images"),
)


def schema_text() -> str:
    """catalogue/schema.json. What it lets through, the reader may still refuse: names that lead nowhere, cycles."""
    import json

    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "catalogue of fategen"}
    return json.dumps({**head, **LINE.schema()}, indent=2, ensure_ascii=False) + "\n"
