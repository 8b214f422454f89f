"""The ``fategen`` command. Each subcommand is a module here, imported only when it is run or asked for help."""

from __future__ import annotations

import sys

import click

from generator import __version__, stdio
from generator.cli.common import LazyGroup

COMMANDS = {
    "init": "write a commented .env and render the project",
    "render": "write the Dockerfiles and the bake file, or check them",
    "images": "list the images of the plan",
    "bake": "build the images with docker buildx bake, and push or load them",
    "join": "publish one release that several machines uploaded",
    "rollback": "put back the tags that an interrupted publication wrote",
    "verify": "check images against their contract: files, configuration, start and stop",
    "bundle": "deliver images to an air-gapped site: save, inspect, verify, load",
    "override": "copy packaged templates and catalogues into the project, to edit them",
    "doctor": "show what this machine has and what it lacks",
}


@click.group(
    cls=LazyGroup,
    package="generator.cli",
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="fategen")
def cli() -> None:
    """Build, verify and ship the container images of FATE, from one .env and one catalogue."""


def main() -> None:
    """Run the command line and end with its exit code."""

    def command() -> object:
        try:
            return cli(prog_name="fategen", standalone_mode=False)
        except click.exceptions.Abort:
            raise KeyboardInterrupt from None
        except click.ClickException as error:
            error.show()
            return error.exit_code

    sys.exit(stdio.run(command))
