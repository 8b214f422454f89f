"""``fategen rollback``: restore the tags that an interrupted publication changed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.cli.common import directory_option
from generator.errors import EngineError, InputError

if TYPE_CHECKING:
    from generator.registry.session import Access


AGAIN = "fix that and run fategen rollback again, or leave the tags as they are: fategen rollback --forget"


@click.command()
@click.option("--forget", is_flag=True, help="Leave the tags as they are and delete the journal.")
@directory_option
def command(directory: Path, forget: bool) -> None:
    """Restore the tags that an interrupted bake --push, bundle push or join changed. Its journal is in .fategen/.

    To finish the publication instead, run the interrupted command again.
    """
    from generator.project import state_directory
    from generator.registry.client import Registry
    from generator.registry.http import RegistryError
    from generator.registry.publish import JOURNAL, interrupted, listed, locked, roll_back

    state = state_directory(directory)
    with locked(state):
        host, tags = interrupted(state)
        if not tags:
            click.echo("no publication was interrupted here: nothing to roll back")
            return
        if forget:
            (state / JOURNAL).unlink()
            names = "\n".join(f"  {host}/{tag}" for tag in tags)
            click.echo(f"the interrupted publication is forgotten; its tags stay as they are\n{names}")
            return
        try:
            registry = Registry(_access(directory, host))
            registry.log_in()
        except RegistryError as error:
            raise EngineError(f"{host}: {error.detail}", hint=AGAIN) from error
        states = roll_back(registry, tags, state)
    click.echo(f"the tags point to\n{listed(registry, states)}")
    if any(left.problem and not left.final for left in states.values()):
        raise EngineError("not every tag could be put back", hint=AGAIN)
    if any(left.problem for left in states.values()):
        raise EngineError("some tags could not be put back", hint="set or delete them in the registry")


def _access(directory: Path, host: str) -> Access:
    """As the project reaches its registry, if it is that one: with CA_BUNDLE and its proxy."""
    from generator.bake.publish import release_access
    from generator.project import find_project
    from generator.registry.client import access_to
    from generator.workspace import load

    # no project, or one that is being edited
    with contextlib.suppress(InputError):
        access = release_access(load(find_project(directory)))
        if access.host == host:
            return access
    return access_to(host, os.environ)
