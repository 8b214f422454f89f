"""The command line of ``fategen-load.pyz``, with the functions behind ``fategen bundle`` of the same names.

argparse and not click: the host has no pip.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from generator import __version__, stdio
from generator.bundle import report
from generator.bundle.engines import engine_from_name
from generator.bundle.load import load
from generator.bundle.reader import extract, inspect, stdin, verify
from generator.bundle.signature import signature_check
from generator.errors import FategenError, refused
from generator.images.image import Readable
from generator.progress import Bar

_INSTEAD = {"fategen doctor": "see docker info"}
"""Next steps for a host that has no fategen."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is that of ``fategen bundle``."""
    args = _parser().parse_args(arguments)
    stdio.escape()
    try:
        _COMMANDS[args.command](args)
        stdio.flush()
    except FategenError as error:
        error.hint = _INSTEAD.get(error.hint, error.hint)
        print(error.render(), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of a pipe (head, less) went away: say nothing
        stdio.give_up()
        return 141
    except OSError as error:
        failure = refused(error)
        print(failure.render(), file=sys.stderr)
        stdio.give_up()
        return failure.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fategen-load.pyz",
        description="Inspect, verify and load a bundle of container images. Needs only Python 3.8 or later.",
    )
    parser.add_argument("--version", action="version", version=f"fategen-load.pyz of fategen {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    inspecting = commands.add_parser("inspect", help="list the contents of a bundle, from its first bytes")
    verifying = commands.add_parser("verify", help="check every byte and list every damaged range")
    loading = commands.add_parser("load", help="check a bundle and load it into an engine")
    for command in (inspecting, verifying, loading):
        command.add_argument("file", metavar="FILE", help='the bundle; "-": standard input')
        command.add_argument("--format", choices=("table", "json"), default="table")
        command.add_argument("-q", "--quiet", action="store_true", help="no progress")
    signed = "refuse a bundle that is not signed by this key: an SSH public key or an allowed_signers file"
    for command in (verifying, loading):
        command.add_argument("--require-signature", type=Path, dest="key", metavar="KEY", help=signed)
    inspecting.add_argument("--file", dest="name", default="", metavar="NAME", help="write this small file to stdout")
    into = "docker (the default), podman, containerd or containerd:NAMESPACE"
    retag = "load the images as REGISTRY/PREFIX/NAME:TAG"
    loading.add_argument("bases", nargs="*", metavar="BASE", help="the base bundles of a delta")
    loading.add_argument("--into", default="docker", metavar="ENGINE", help=into)
    loading.add_argument("--retag", default="", metavar="REGISTRY/PREFIX", help=retag)
    loading.add_argument("--only", action="append", default=[], metavar="NAME", help="load only this image; repeatable")
    loading.add_argument("--platform", default="", metavar="P", help="default: the engine's own")
    return parser


def _inspect(args: argparse.Namespace) -> None:
    if args.name:
        sys.stdout.buffer.write(extract(_source(args.file), args.name))
        return
    inspection = inspect(_source(args.file))
    _print(args, report.bundle_json(inspection.index, inspection.size), report.inspected(inspection))
    if warning := report.inspected_warning(inspection):
        print(warning, file=sys.stderr)


def _verify(args: argparse.Namespace) -> None:
    start = time.monotonic()
    with Bar("checking", args.quiet) as bar:
        result = verify(_source(args.file), approve=signature_check(args.key) if args.key else None, progress=bar)
    _print(args, report.verified_json(result), report.verified(result, time.monotonic() - start))


def _load(args: argparse.Namespace) -> None:
    approve = signature_check(args.key) if args.key else None
    with Bar("loading", args.quiet) as bar:
        result = load(
            _source(args.file),
            engine_from_name(args.into),
            bases=[_source(base) for base in args.bases],
            only=args.only,
            platform=args.platform,
            retag=args.retag,
            approve=approve,
            progress=bar,
        )
    _print(args, report.loaded_json(result), report.loaded(result))


def _print(args: argparse.Namespace, document: object, text: str) -> None:
    print(json.dumps(document, indent=2) if args.format == "json" else text)


def _source(file: str) -> Path | Readable:
    return stdin() if file == "-" else Path(file)


_COMMANDS = {"inspect": _inspect, "verify": _verify, "load": _load}


if __name__ == "__main__":
    stdio.leave(main())
