"""The commands."""

from __future__ import annotations

import argparse
import sys

from . import engines, environment
from .base import STATE, SandboxError, lock


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sandbox",
        description="A real Docker engine, a registry and stand-ins for the base images, for tests and the demo.",
        epilog=f"State and caches: {STATE} (FATEGEN_SANDBOX names another place).",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--engine", action="append", default=[], choices=engines.EXTRA_ENGINES,
                       help="start this engine, too: 20.10, no network, or the classic store")  # fmt: skip
    commands.add_parser("up", parents=[extra], help="bring it up, or what is missing of it (needs root)")
    down = commands.add_parser("down", help="stop it; caches stay")
    down.add_argument("--purge", action="store_true", help="delete the caches, too")
    commands.add_parser("status", help="a table of its parts; exit code 0 when all are up")
    commands.add_parser("env", help='its variables, for eval "$(… env)"')
    commands.add_parser("use", parents=[extra], help="the same, for the machine's own engine if it will do")
    return parser


def _status() -> int:
    rows = engines.parts()
    width = max(len(name) for name, _, _ in rows)
    for name, state, pid in rows:
        print(f"{name:<{width}}  {state}{f'  pid {pid}' if pid else ''}")
    return 0 if all(state == "up" for _, state, _ in rows) else 1


def main() -> int:
    arguments = _parser().parse_args()
    try:
        if arguments.command == "up":
            engines.up(arguments.engine)
        elif arguments.command == "down":
            with lock():
                environment.stop_registry()
                engines.down(arguments.purge)
        elif arguments.command == "status":
            return _status()
        elif arguments.command == "env":
            print(environment.exports(environment.sandbox()), end="")
        else:
            print(environment.use(arguments.engine), end="")
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("error: interrupted; run the same command again, it goes on from what is complete", file=sys.stderr)
        return 130
    return 0
