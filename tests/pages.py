"""The files that are made from the code: ``python -m tests.pages`` writes them, test_pages checks them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from generator.catalogue.line import FAMILY, LINE
from generator.catalogue.schema import JsonSchema
from generator.cli import cli
from tests.fate_plan import LINES, packaged_family, packaged_line

ROOT = Path(__file__).parent.parent
NOTE = "This page is generated: run `python -m tests.pages` to update it."


def settings_page() -> str:
    """How ``.env`` is read, and its keys as a table, one row a key or family."""
    lines = [packaged_line(name).keys.names for name in LINES]
    keys = packaged_family().env_keys(name for names in lines for name in names if name.endswith(("_SOURCE", "_IMAGE")))
    table = ["| key | default | description |", "|---|---|---|"]
    for row in keys.rows:
        default = "required" if row.required else f"`{row.default}`" if row.default else ""
        shown = keys.names_of(row) if row.suffix else [row.example] if row.example else []
        example = f"; for example {' '.join(f'`{word}`' for word in shown)}" if shown else ""
        local = "; may be in `.env.local`" if row.local else ""
        table.append(f"| `{row.name}` | {default} | {row.doc}{example}{local} |")
    head = f"""# Settings

A project's settings are in `.env`. Values come from the file alone: a `TAG` in your shell changes nothing, and
`fategen bake` says so. `--set KEY=VALUE` and `--source NAME=DIR` change a value for one run. buildx before 0.26 also
reads the file, so fategen refuses syntax that buildx cannot parse, such as a byte order mark.

Proxies with passwords and files on this machine belong in `.env.local`, which git ignores and only `fategen bake`
reads. fategen refuses credentials in `.env`.

`CACHE_TO` writes the build cache of each image to a registry, tagged with the image's name, and `CACHE_FROM` reads it,
so that a new builder rebuilds only what changed. A cache that cannot be read or written never fails the build. The
docker driver writes caches only with the containerd image store.

{NOTE}"""
    return "\n".join([head, "", *table]) + "\n"


def partial_schema(schema: JsonSchema) -> JsonSchema:
    """The schema of a text that changes another one: it may lack every key, and drop each with null."""

    def nullable(value: JsonSchema) -> JsonSchema:
        return {"description": value.get("description", ""), "anyOf": [{"type": "null"}, partial_schema(value)]}

    changed = {name: value for name, value in schema.items() if name not in ("required", "allOf", "oneOf")}
    if isinstance(properties := schema.get("properties"), dict):
        changed["properties"] = {name: nullable(value) for name, value in properties.items()}
    if isinstance(more := schema.get("additionalProperties"), dict):
        changed["additionalProperties"] = nullable(more)
    if isinstance(choices := schema.get("anyOf"), list):
        changed["anyOf"] = [partial_schema(choice) for choice in choices]
    return changed


def schema_text() -> str:
    """catalogue/schema.json. What it lets through, the reader may still refuse: names that lead nowhere, cycles."""
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "catalogue of fategen"}
    lines = {"if": {"required": ["extends"]}, "then": partial_schema(LINE.schema()), "else": LINE.schema()}
    kinds = {"if": {"required": ["family"]}, "then": FAMILY.schema(), "else": lines}
    return json.dumps({**head, **kinds}, indent=2, ensure_ascii=False) + "\n"


def cli_page() -> str:
    """Every command's --help, groups before their commands."""
    parts = [f"# The command line\n\n{NOTE}\n"]

    def add(command: click.Command, parent: click.Context | None, name: str) -> None:
        context = click.Context(
            command,
            parent=parent,
            info_name=name,
            terminal_width=100,
            max_content_width=100,
            **command.context_settings,
        )
        parts.append(f"## {context.command_path}\n\n```text\n{command.get_help(context).rstrip()}\n```\n")
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                found = command.get_command(context, child)
                assert found is not None
                add(found, context, child)

    add(cli, None, "fategen")
    return "\n".join(parts)


def catalogue_page() -> str:
    """Every key of the catalogue's files, a table for each object."""
    sections: dict[str, list[str]] = {}
    titles: dict[str, str] = {}

    def value(schema: JsonSchema, name: str) -> str:
        """What the key ``name`` has, with a link to the table of its keys."""
        about = schema.get("description", "")
        if properties := schema.get("properties"):
            if about not in titles:
                titles[about] = name
                sections[about] = rows = [f"## {name}", "", f"{about[0].upper()}{about[1:]}.", ""]
                rows += ["| key | value | description |", "|---|---|---|"]
                rows += [row(key, below, key in schema.get("required", ())) for key, below in properties.items()]
            return f"[{titles[about]}](#{titles[about]})"
        if choices := schema.get("enum"):
            return ", ".join(f"`{choice}`" for choice in choices)
        if "items" in schema:
            return "list of strings"
        if isinstance(more := schema.get("additionalProperties"), dict):
            return f"by name: {value(more, name)}"
        return "text" if "type" in schema else "text, list or mapping"

    def row(name: str, schema: JsonSchema, required: bool) -> str:
        needed = "; required" if required else ""
        return f"| `{name}` | {value(schema, name)} | {schema.get('description', '')}{needed} |"

    for shape, name in ((LINE, "line"), (FAMILY, "family")):
        value(shape.schema(), name)
    head = f"""# The catalogue

`catalogue/LINE.yaml` describes a line. `catalogue/family.yaml` describes what all lines of a family share, such as
contracts. [new-image.md](new-image.md) shows how to change them: a file that `extends:` another one contains only the
differences. For editors that validate YAML, use [schema.json](../catalogue/schema.json).

{NOTE}"""
    return "\n\n".join([head, *("\n".join(rows) for rows in sections.values())]) + "\n"


PAGES = {
    "docs/settings.md": settings_page,
    "docs/cli.md": cli_page,
    "docs/catalogue.md": catalogue_page,
    "catalogue/schema.json": schema_text,
}

if __name__ == "__main__":
    for page_name, page in PAGES.items():
        (ROOT / page_name).write_text(page(), encoding="utf-8")
