"""The ``fategen`` command. Each subcommand is a module here, imported only when it is run or asked for help."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from generator import __version__, stdio
from generator.cli.common import LazyGroup
from generator.errors import FategenError
from generator.progress import say

COMMANDS = {
    "init": "write a commented .env and render the project",
    "render": "write the Dockerfiles and the bake file, or check them",
    "images": "list the images of the plan",
    "explain": "show where the values of an image or a key come from",
    "bake": "build the images with docker buildx bake, and push or load them",
    "join": "publish a release that several machines uploaded",
    "rollback": "restore the tags that an interrupted publication changed",
    "verify": "check images against their contract: files, configuration, start and stop",
    "bundle": "deliver images to an air-gapped site: save, verify, load or push",
    "override": "copy packaged templates and catalogues into the project for editing",
    "doctor": "show what this machine has and what it lacks",
}
OTHERS = {
    "build": "bake",
    "push": "bake --push, or bundle push for a bundle",
    "publish": "bake --push",
    "load": "bake --load, or bundle load for a bundle",
    "save": "bundle save",
    "export": "bundle save",
    "ls": "images",
    "list": "images",
    "plan": "images",
    "generate": "render",
    "check": "render --check, verify or doctor",
    "test": "verify",
}
"""Words of other tools, and what does that here."""


@click.group(
    cls=LazyGroup,
    package="generator.cli",
    commands=COMMANDS,
    others=OTHERS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(
    __version__, prog_name="fategen", help="Show the version and exit; with -v, also the installation's location."
)
def cli() -> None:
    """Build, verify and ship a family of container images from one .env and one catalogue."""


def main() -> None:
    """Run the command line and end with its exit code."""

    def command() -> object:
        try:
            return cli(prog_name="fategen", standalone_mode=False)
        except click.exceptions.Abort:
            raise KeyboardInterrupt from None
        except SystemExit:
            if "_FATEGEN_COMPLETE" in os.environ:
                raise
            # click's answer to a pipe that nobody reads any more
            raise BrokenPipeError from None
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return error.exit_code
        except click.ClickException as error:
            # in the style of every other error
            text = re.sub(r"\.? \(?Did you mean (?:one of: )?(.*?)\)?$", r"; did you mean \1", error.format_message())
            context = getattr(error, "ctx", None)
            hint = f"{context.command_path if context else 'fategen'} --help"
            say(FategenError(text[:1].lower() + text[1:].removesuffix("."), hint=hint).render())
            return error.exit_code

    if config := os.environ.get("DOCKER_CONFIG"):
        # as the caller means it: docker is started in the project's directory
        os.environ["DOCKER_CONFIG"] = str(Path(config).absolute())
    if option := re.match(r"(?:-C|--directory$|--directory=)(.*)", " ".join(sys.argv[1:2])):
        # before the command, as for git and make
        words = 2 if option[1] else 3
        sys.argv[1:] = [*sys.argv[words:], *sys.argv[1:words]]
    if "help" in sys.argv[1:3]:
        sys.argv.remove("help")
        sys.argv.append("--help")
    sys.exit(stdio.run(command))
