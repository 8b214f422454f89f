"""The ``fategen`` command. Each subcommand is a module here, imported only when it is run or asked for help."""

from __future__ import annotations

import errno
import os
import sys

import click

from generator import __version__
from generator.cli.lazy import LazyGroup
from generator.errors import EngineError, FategenError

FULL = "free some space where the project and the temporary files (TMPDIR) are, then run the same command again"

COMMANDS = {
    "init": "write a commented .env and render the project",
    "render": "write the Dockerfiles and the bake file, or check them",
    "images": "list the images of the plan",
    "bake": "build the images with docker buildx bake, and push or load them",
    "verify": "hold images against their contract: their files, their configuration, how they start and end",
    "bundle": "carry images to a site without internet: save, inspect, verify, load",
    "override": "copy packaged templates and catalogues into the project, to change them there",
    "doctor": "what this machine has and lacks for each command",
}


@click.group(
    cls=LazyGroup,
    package="generator.cli",
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="fategen")
def cli() -> None:
    """Render, build, push and carry offline the container images of FATE, from one .env and one catalogue."""


def main() -> None:
    """Run the command line: a ``FategenError`` becomes a message and its exit code, Ctrl-C becomes 130."""
    try:
        code = cli(prog_name="fategen", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except FategenError as error:
        click.echo(error.render(), err=True)
        code = error.exit_code
    except BrokenPipeError:
        # the reader of a pipe (head, less) went away: say nothing, and keep Python from saying it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # whatever was written: a log, a temporary file, a rendered one
        full = EngineError(f"{error.filename or 'a file'} cannot be written: {error.strerror}", hint=FULL)
        click.echo(full.render(), err=True)
        code = full.exit_code
    sys.exit(code if isinstance(code, int) else 0)
