"""``fategen bundle serve``: a registry on loopback that has a bundle's images."""

from __future__ import annotations

import json
from pathlib import Path

import click

from generator.cli.bundle.shared import base_option, format_option
from generator.progress import say
from generator.text import table


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@base_option
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="0: a free one.")
@format_option
def command(file: Path, bases: tuple[Path, ...], port: int, form: str) -> None:
    """Serve a bundle's images to this machine as a read-only registry, until Ctrl-C; nothing is unpacked.

    Each image has its name without the host, and with it, as a mirror is asked. Every blob is checked before it is
    sent.
    """
    from generator.bundle.blobs import open_blobs
    from generator.bundle.serve import LOOPBACK, serving
    from generator.docker.signals import signals_as_exceptions

    with open_blobs(file, bases) as blobs, serving(blobs, port, say) as server, signals_as_exceptions():
        blobs.require_all()
        host = f"{LOOPBACK}:{server.server_address[1]}"
        images = [
            (f"{host}/{name.partition('/')[2]}", image) for image in blobs.index.images for name in image.references
        ]
        for name in server.names.unclear:
            say(f"note: {name} has the name of another image here: pull it with its host in front")
        if form == "json":
            rows = [{"reference": n, "digest": i.target.digest, "platforms": i.platforms} for n, i in images]
            click.echo(json.dumps({"address": host, "root": blobs.index.root, "images": rows}, indent=2))
        else:
            click.echo(table(("IMAGE", "PLATFORMS"), [(name, " ".join(image.platforms)) for name, image in images]))
        try:
            # said inside: who reads it may send the signal at once
            say(f"serving {file} at {host}, to this machine alone; Ctrl-C ends it")
            server.serve_forever(0.1)
        except KeyboardInterrupt:
            say("stopped")
