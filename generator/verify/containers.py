"""The containers and volumes of one run: named, labelled, and removed however the run ends."""

from __future__ import annotations

import json
import re
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime

from generator.docker.process import Completed, Docker
from generator.errors import EngineError

NAME = "fategen-verify"
LABEL = "io.fategen.verify"
_LISTENS = "0A"
"""TCP_LISTEN in /proc/net/tcp (Linux, include/net/tcp_states.h)"""
_LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


class Stopped(Exception):
    """The run ends: nothing more is started."""


@dataclass(frozen=True)
class State:
    """Of a container. ``code`` is its exit code (137: SIGKILL), ``finished`` a time in RFC 3339."""

    running: bool
    code: int
    finished: str


class Containers:
    """Starts containers of one run; leaving the ``with`` block removes them all. Threads may call its methods."""

    def __init__(self, docker: Docker) -> None:
        self.docker = docker
        self.stopping = threading.Event()
        self._run = secrets.token_hex(4)

    def __enter__(self) -> Containers:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Removes everything, and lets nothing be started any more."""
        self.stopping.set()
        chosen = f"--filter=label={LABEL}={self._run}"
        if names := self.docker.run(["ps", "--all", "--quiet", chosen]).stdout.split():
            self.docker.run(["rm", "--force", "--volumes", *names])
        if names := self.docker.run(["volume", "ls", "--quiet", chosen]).stdout.split():
            self.docker.run(["volume", "rm", "--force", *names])

    def name(self) -> str:
        return f"{NAME}-{secrets.token_hex(6)}"

    def options(self, name: str, platform: str) -> list[str]:
        """Of every ``docker run``."""
        return ["--name", name, "--label", f"{LABEL}={self._run}", "--pull=never", "--platform", platform]

    def volume(self) -> str:
        """An empty volume: mounted over a directory of an image, it gets what the image has there."""
        name = self.name()
        self._call(["volume", "create", "--label", f"{LABEL}={self._run}", name])
        return name

    def start(self, reference: str, platform: str, *options: str) -> str:
        """Starts a container with its own command; its name. Raises EngineError where it cannot be started."""
        name = self.name()
        self._call(["run", "--detach", *self.options(name, platform), *options, reference])
        return name

    def run(self, args: list[str], *, timeout: float | None = None) -> Completed:
        if self.stopping.is_set():
            raise Stopped
        return self.docker.run(args, timeout=timeout)

    def remove(self, name: str) -> None:
        self.docker.run(["rm", "--force", "--volumes", name])

    def listening(self, name: str) -> dict[int, bool]:
        """The TCP ports that something in the container listens on, and whether that is for others than itself.

        The kernel's own table says it, asked through ``docker exec``: a connection to a published port would need an
        engine on this machine, and docker's own proxy accepts it whether anybody listens or not; a connection from
        inside would not see that a service listens on loopback alone. It takes ``cat`` and works under emulation.
        """
        return listeners(self.run(["exec", name, "cat", "/proc/net/tcp", "/proc/net/tcp6"]).stdout)

    def state(self, name: str) -> State:
        done = self._call(["inspect", "--format", "{{json .State}}", name])
        state = json.loads(done.stdout)
        return State(bool(state["Running"]), int(state["ExitCode"]), str(state["FinishedAt"]))

    def logs(self, name: str) -> list[str]:
        done = self.run(["logs", name])
        return (done.stdout + done.stderr).splitlines()

    def end(self, name: str, grace: int) -> tuple[float, State]:
        """Asks it to end with SIGTERM, kills it after ``grace`` seconds. (seconds that it took, its state).

        By the engine's own clock: what docker needs to take a container apart is not the container's.
        """
        before = self._call(["info", "--format", "{{.SystemTime}}"]).stdout
        self._call(["stop", "-t", str(grace), name])
        state = self.state(name)
        return max(0.0, (moment(state.finished) - moment(before)).total_seconds()), state

    def _call(self, args: list[str]) -> Completed:
        done = self.run(args)
        if not done.ok:
            raise EngineError(self.docker.redact(done.last_line))
        return done


def listeners(table: str) -> dict[int, bool]:
    """Port -> whether others reach it, of what listens in the text of /proc/net/tcp and tcp6."""
    found: dict[int, bool] = {}
    for line in table.splitlines():
        if match := re.match(r"\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) \S+ ([0-9A-F]{2}) ", line):
            address, port, state = match[1], int(match[2], 16), match[3]
            if state == _LISTENS:
                found[port] = found.get(port, False) or address not in _LOOPBACK
    return found


def moment(text: str) -> datetime:
    """RFC 3339 as Go writes it, with nanoseconds."""
    whole, fraction, zone = re.fullmatch(r"([\dT:-]+?)(\.\d+)?(Z|[+-]\d\d:\d\d)", text.strip()).groups()  # type: ignore[union-attr]
    return datetime.fromisoformat(f"{whole}{(fraction or '.0')[:7].ljust(7, '0')}{'+00:00' if zone == 'Z' else zone}")
