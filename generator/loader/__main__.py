"""The command line of ``fategen-load.pyz``, with the functions behind ``fategen bundle`` of the same names.

argparse and not click: the host has no pip.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from generator import __version__, process
from generator.bundle.check import inspect, stdin, verify
from generator.bundle.engines.into import engine_called
from generator.bundle.extract import extract
from generator.bundle.format.archive import Reads
from generator.bundle.format.damage import not_whole
from generator.bundle.format.deep import MAX_RATIO
from generator.bundle.load import load
from generator.bundle.report import (
    as_json,
    images_table,
    leaning,
    loaded_json,
    loaded_table,
    summary,
    whole,
    whole_json,
)
from generator.bundle.signature import required
from generator.errors import EngineError, FategenError, refused
from generator.images.inflate import INSTALL
from generator.medium import ask_for_medium
from generator.progress import Bar

PUSH = """Into a registry, with the logins of docker login; python3-minimal will not do for that:
  python3 fategen-load.pyz push FILE REGISTRY/PREFIX{base}
or with skopeo, or with an engine that has loaded the bundle:
  skopeo copy --all oci-archive:FILE:{full} docker://REGISTRY/PREFIX/{short}
  docker tag {familiar} REGISTRY/PREFIX/{short} && docker push REGISTRY/PREFIX/{short}"""

_INSTEAD = {
    "fategen doctor": "docker info tells more",
    INSTALL: "leave --deep out, or run it with Python 3.14: python3.14 fategen-load.pyz verify --deep FILE",
}
"""Next steps for a host that has no fategen, and no pip."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is that of ``fategen bundle``."""
    asked = _parser().parse_args(arguments)
    process.escape()
    try:
        _COMMANDS[asked.command](asked)
        process.flush()
    except FategenError as error:
        error.hint = _INSTEAD.get(error.hint, error.hint)
        print(error.render(), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of a pipe (head, less) went away: say nothing
        process.give_up()
        return 141
    except OSError as error:
        said = refused(error)
        print(said.render(), file=sys.stderr)
        process.give_up()
        return said.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fategen-load.pyz",
        description="Inspect, verify, load and push a bundle of container images; Python 3.8 is all that it needs.",
        epilog=PUSH.format(full="docker.io/NAME:TAG", familiar="NAME:TAG", short="NAME:TAG", base=""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fategen-load.pyz of fategen {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    said = argparse.ArgumentParser(add_help=False)
    said.add_argument("--format", choices=("table", "json"), default="table")
    said.add_argument("-q", "--quiet", action="store_true", help="no progress")
    shared = argparse.ArgumentParser(add_help=False, parents=[said])
    shared.add_argument("file", metavar="FILE", help='the bundle; "-": standard input')
    signed = argparse.ArgumentParser(add_help=False)
    wanted = "refuse a bundle without a good FILE.sig: a public key, allowed_signers, cosign.pub"
    signed.add_argument("--require-signature", type=Path, metavar="KEY", help=wanted)
    inspecting = commands.add_parser("inspect", parents=[shared], help="list what it holds, from its first bytes alone")
    inspecting.add_argument("--file", dest="name", default="", metavar="NAME", help="write this small file to stdout")
    checking = commands.add_parser(
        "verify", parents=[shared, signed], help="check every byte, name every damaged place"
    )
    checking.add_argument(
        "--deep", action="store_true", help="unpack the layers too, and hold them against their diff ids"
    )
    loading = commands.add_parser("load", parents=[shared, signed], help="load it into an engine while checking it")
    loading.add_argument("bases", nargs="*", metavar="BASE", help="what a delta leans on")
    into = "docker (the default), podman, containerd or containerd:NAMESPACE"
    loading.add_argument("--into", default="docker", metavar="ENGINE", help=into)
    loading.add_argument("--retag", default="", metavar="REGISTRY/PREFIX", help="load it as REGISTRY/PREFIX/NAME:TAG")
    loading.add_argument("--only", action="append", default=[], metavar="NAME", help="this image alone; repeatable")
    loading.add_argument("--platform", default="", metavar="P", help="default: the engine's own")
    pushing = commands.add_parser("push", parents=[said, signed], help="push it into a registry, digests kept")
    pushing.add_argument("file", type=Path, metavar="FILE", help="the bundle, of parts their common name")
    pushing.add_argument("prefix", metavar="REGISTRY/PREFIX", help="its images become REGISTRY/PREFIX/NAME:TAG")
    pushing.add_argument("--base", dest="bases", action="append", default=[], type=Path, metavar="BASE",
                         help="what a delta leans on; repeatable")  # fmt: skip
    pushing.add_argument("--only", action="append", default=[], metavar="NAME", help="this image alone; repeatable")
    pushing.add_argument(
        "--replace", action="store_true", help="also names that have platforms there which the bundle lacks"
    )
    return parser


def _inspect(asked: argparse.Namespace) -> None:
    if asked.name:
        sys.stdout.buffer.write(extract(_source(asked.file), asked.name))
        return
    found = inspect(_source(asked.file), ask=ask_for_medium())
    if asked.format == "json":
        print(json.dumps(as_json(found.index, found.size), indent=2))
    else:
        print(images_table(found.index))
        print(f"\n{summary(found.index.name, found.index, found.size)}\nin full {found.index.root}")
        if found.index.bases:
            print(leaning(found.index))
    if found.file_size not in (None, found.size):
        print(f"warning: {not_whole(found.name, found.file_size or 0, found.size)}", file=sys.stderr)


def _verify(asked: argparse.Namespace) -> None:
    start = time.monotonic()
    key = asked.require_signature
    with Bar("checking", asked.quiet) as bar:
        result = verify(
            _source(asked.file),
            approve=required(key) if key else None,
            max_ratio=MAX_RATIO * asked.deep,
            progress=bar,
            ask=ask_for_medium(),
        )
    json_asked = asked.format == "json"
    print(json.dumps(whole_json(result), indent=2) if json_asked else whole(result, time.monotonic() - start))


def _load(asked: argparse.Namespace) -> None:
    key = asked.require_signature
    approve = required(key) if key else None
    with Bar("loading", asked.quiet) as bar:
        result = load(
            _source(asked.file),
            engine_called(asked.into),
            bases=[_source(base) for base in asked.bases],
            only=asked.only,
            platform=asked.platform,
            retag=asked.retag,
            approve=approve,
            progress=bar,
            ask=ask_for_medium(),
        )
    print(json.dumps(loaded_json(result), indent=2) if asked.format == "json" else loaded_table(result))


def _push(asked: argparse.Namespace) -> None:
    try:
        for name in ("http.client", "ssl"):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        message = f"push needs Python's standard library, and this Python has no {error.name}"
        raise EngineError(message, hint="apt-get install python3") from error
    from generator.bundle.pushing import push_file, pushed_json, pushed_table

    key = asked.require_signature
    with Bar("pushing", asked.quiet) as bar:
        pushed = push_file(
            asked.file, asked.prefix, bases=asked.bases, only=asked.only, key=key, replace=asked.replace, progress=bar
        )
    print(json.dumps(pushed_json(pushed), indent=2) if asked.format == "json" else pushed_table(pushed))


def _source(file: str) -> Path | Reads:
    return stdin() if file == "-" else Path(file)


_COMMANDS = {"inspect": _inspect, "verify": _verify, "load": _load, "push": _push}


if __name__ == "__main__":
    process.leave(main())
