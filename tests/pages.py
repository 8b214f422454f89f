"""The files that are made from the code: ``python -m tests.pages`` writes them, test_pages checks them."""

from __future__ import annotations

from pathlib import Path

import click

from generator.catalogue.line import schema_text
from generator.cli import cli
from generator.config.settings import settings_table

ROOT = Path(__file__).parent.parent
NOTE = "Made from the code by `python -m tests.pages`; a test fails where it is not current."


def settings_page() -> str:
    return f"""# Settings

`.env` in the project's root; proxies with a password and files of this machine go to `.env.local`, which git ignores
and only `fategen bake` reads. {NOTE}

{settings_table()}"""


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


PAGES = {"docs/settings.md": settings_page, "docs/cli.md": cli_page, "catalogue/schema.json": schema_text}

if __name__ == "__main__":
    for page_name, page in PAGES.items():
        (ROOT / page_name).write_text(page(), encoding="utf-8")
