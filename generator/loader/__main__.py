"""The command line of ``fategen-load.pyz``: the commands of ``fategen bundle`` of the same names.

argparse and not click: the host has no pip.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from generator import __version__, stdio
from generator.errors import FategenError
from generator.loader import commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is that of ``fategen bundle``."""
    options = vars(_parser().parse_args(arguments))
    run = options.pop("run")

    def work() -> None:
        try:
            run(**options)
        except FategenError as error:
            if error.hint == "fategen doctor":
                # this host has no fategen
                error.hint = "see docker info"
            raise

    return stdio.run(work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fategen-load.pyz",
        description="Inspect, verify and load a bundle of container images. Needs only Python 3.8 or later.",
    )
    parser.add_argument("--version", action="version", version=f"fategen-load.pyz of fategen {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    inspecting = subparsers.add_parser("inspect", help="list the contents of a bundle, from its first bytes")
    verifying = subparsers.add_parser("verify", help="check every byte and list every damaged range")
    loading = subparsers.add_parser("load", help="check a bundle and load it into an engine")
    for command, run in ((inspecting, commands.inspect), (verifying, commands.verify), (loading, commands.load)):
        command.set_defaults(run=run)
        command.add_argument("file", type=Path, metavar="FILE", help='the bundle; "-": standard input')
        command.add_argument("--format", dest="output_format", choices=("table", "json"), default="table")
    signed = "refuse a bundle that is not signed by this key: an SSH public key or an allowed_signers file"
    for command in (verifying, loading):
        command.add_argument("--require-signature", type=Path, dest="key", metavar="KEY", help=signed)
        command.add_argument("-q", "--quiet", action="store_true", help="no progress")
    inspecting.add_argument("--file", dest="name", default="", metavar="NAME", help="write this small file to stdout")
    into = "docker (the default), podman, containerd or containerd:NAMESPACE"
    retag = "load the images as REGISTRY/PREFIX/NAME:TAG"
    loading.add_argument("bases", nargs="*", default=[], type=Path, metavar="BASE", help="the base bundles of a delta")
    loading.add_argument("--into", default="docker", metavar="ENGINE", help=into)
    loading.add_argument("--retag", default="", metavar="REGISTRY/PREFIX", help=retag)
    image = "load only this image; repeatable"
    loading.add_argument("--image", action="append", dest="only", default=[], metavar="NAME", help=image)
    loading.add_argument("--platform", default="", metavar="P", help="default: the engine's own")
    return parser


if __name__ == "__main__":
    stdio.leave(main())
