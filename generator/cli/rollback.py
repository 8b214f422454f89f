"""``fategen rollback``: put back the tags that an interrupted publication wrote."""

from __future__ import annotations

import os
from pathlib import Path

import click

from generator.cli.common import directory_option
from generator.errors import EngineError


@click.command()
@directory_option
def command(directory: Path) -> None:
    """Put back the tags that an interrupted bake --push, bundle push or join wrote; its journal is in .fategen/.

    To finish it instead, run the interrupted command again.
    """
    from generator.project import state_directory
    from generator.registry.client import Registry, access_to
    from generator.registry.http import RegistryError
    from generator.registry.publish import interrupted, is_left, listed, locked, roll_back

    state = state_directory(directory)
    with locked(state):
        host, tags = interrupted(state)
        if not tags:
            click.echo("no publication was interrupted here: there is nothing to put back")
            return
        try:
            registry = Registry(access_to(host, os.environ))
        except RegistryError as error:
            raise EngineError(f"{host}: {error.detail}", hint="run fategen rollback again") from error
        results = roll_back(registry, tags, state)
    click.echo(f"the tags point to\n{listed(registry, results)}")
    if any(is_left(tag, digest) for tag, digest in results.items()):
        raise EngineError("not every tag could be put back", hint="see above; delete a new tag in the registry itself")
