"""What every part of the sandbox shares: where things live, how a step is told, how a program is run."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


class SandboxError(Exception):
    """Something that the user must know: what failed, and the next step. `code` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def _state_dir() -> Path:
    named = os.environ.get("FATEGEN_SANDBOX")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(named) if named else cache / "fategen-sandbox").absolute()


STATE = _state_dir()
HERE = Path(__file__).resolve().parent
ID = hashlib.sha256(str(STATE).encode()).hexdigest()[:6]  # tells the sandboxes of one machine apart
CACHE = STATE / "cache"  # what is expensive to make; survives `down`
DATA = STATE / "data"  # the engines' and the registry's content; survives `down`
LOGS = STATE / "log"
TMP = STATE / "tmp"  # half-made things; emptied by the next `up`
BIN = STATE / "bin"


def say(text: str) -> None:
    print(f"sandbox: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Tells one line when the work is done; a failure is told by whoever catches it."""
    start = time.monotonic()
    yield
    say(f"{name}  {time.monotonic() - start:.1f} s")


def run(
    command: Sequence[str | Path],
    log: str,
    *,
    env: dict[str, str] | None = None,
    hint: str = "",
    timeout: float | None = None,
) -> str:
    """Runs a program with its whole output in LOGS/<log>.log, and returns its standard output.

    The error of a failing program shows the last lines of the log and its path, never a traceback."""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{log}.log"
    arguments = [str(part) for part in command]
    with path.open("a") as file:
        file.write(f"$ {' '.join(arguments)}\n")
        file.flush()
        try:
            done = subprocess.run(
                arguments,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                timeout=timeout,
            )
        except FileNotFoundError as error:
            raise SandboxError(f"{arguments[0]} is not installed; install it and run the same command again") from error
        except subprocess.TimeoutExpired as error:
            command_start = " ".join(arguments[:3])
            raise SandboxError(f"{command_start} … did not end in {timeout:.0f} s; full log: {path}") from error
        file.write(done.stdout)
    if done.returncode != 0:
        tail = "\n".join("  | " + line for line in path.read_text(errors="replace").splitlines()[-6:])
        raise SandboxError(
            f"{' '.join(arguments[:3])} … failed with exit code {done.returncode}\n{tail}\n  full log: {path}"
            + (f"\n  next: {hint}" if hint else "")
        )
    return done.stdout


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Atomically: a killed run leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.rename(path)


def read_state() -> dict[str, Any]:
    try:
        state = json.loads((STATE / "state.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}  # a damaged file is as good as none: `up` makes it again
    return state if isinstance(state, dict) else {}


def update_state(**values: Any) -> None:
    write(STATE / "state.json", json.dumps({**read_state(), **values}, indent=1) + "\n")


def digest(*parts: object) -> str:
    """Names a recipe: two recipes with the same digest make the same thing."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """One `up` or `down` at a time for a state directory; the others wait. The kernel frees it with the process."""
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def mounts_below(directory: Path) -> list[str]:
    """Mount points of this machine at or below a directory (`/proc/mounts` writes a space as `\\040`)."""
    points = [line.split()[1].replace("\\040", " ") for line in Path("/proc/mounts").read_text().splitlines()]
    return [point for point in points if point == str(directory) or point.startswith(f"{directory}/")]


def remove_tree(path: Path) -> None:
    inside = mounts_below(path)
    if inside:
        raise SandboxError(f"{path} is not deleted: {', '.join(inside)} is still mounted; unmount it and try again")
    if path.exists() or path.is_symlink():
        run(["rm", "-rf", "--one-file-system", path], "clean")  # never crosses into something that is mounted
