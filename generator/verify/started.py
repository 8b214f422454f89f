"""The checks that start an image: its own service alone, and the commands of its contract; images in parallel."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from generator.bundle.engines import DockerEngine
from generator.catalogue.contract import Started
from generator.docker.process import Completed, Docker
from generator.errors import EngineError
from generator.text import timestamp
from generator.verify.origins import Subject, place
from generator.verify.results import Result

IDLE, BUSY = 2.0, 10.0
"""Seconds from SIGTERM to the end: of a service that has nothing to do, and of one that has."""
EMULATED = 5
"""How much longer everything may take under emulation."""
TAIL = 12
"""Lines of a log in a result."""
KILLED = 137
NOT_RUN, TRIES = 125, 3
"""docker's own exit code if it could not start a command (runc on a busy machine), and how often it is tried."""
TRACE = re.compile(r"^\s+at [\w.$/<>]+\([^)]*\)|^(?:Exception in thread|Traceback \(most recent call last\))")
MORE = re.compile(r"^\s|^Caused by: |^\s*\.\.\. \d+ (?:more|common frames)|^[\w.$]+(?:Exception|Error)\b")
"""Lines that continue a stack trace."""
LABEL = "io.fategen.verify"
_WORK = """p=$1; shift
for i in 1 2 3 4 5 6 7 8; do (exec 3<>/dev/tcp/127.0.0.1/$p && printf 'GET / HTTP/1.1\\r\\n' >&3 && sleep 30) & done
while :; do :; done 2> /dev/null"""
"""What keeps a service busy: connections with half a request each, and a core that something else uses."""
_LISTENS = "0A"
"""TCP_LISTEN in /proc/net/tcp (Linux, include/net/tcp_states.h)"""
_LOOPBACK = re.compile("[0-9A-F]{6}7F|0{24}01000000|0{16}FFFF0000[0-9A-F]{6}7F")
"""127.0.0.0/8, ::1, and 127.0.0.0/8 mapped into IPv6, as the kernel writes them"""


def check_started(
    docker: Docker, subjects: Sequence[Subject], state: Path, within: float = 0.0
) -> dict[Subject, list[Result]]:
    """The results of each subject. No container and no volume is left, not even those of a run that was killed.

    One run at a time may use ``state``. ``within``: seconds that a service has until it listens; 0: its contract's.
    """
    engine_platform, containers = DockerEngine(docker).platform(), _Containers(docker, f"{LABEL}={place(state)}")
    containers.remove_all()
    trials = [_Trial(s, containers, 1 if s.platform == engine_platform else EMULATED, within) for s in subjects]
    results: dict[Subject, list[Result]] = {subject: [] for subject in subjects}
    with contextlib.ExitStack() as closing:
        closing.callback(containers.stop)
        pool = closing.enter_context(ThreadPoolExecutor(max(2, 2 * (os.cpu_count() or 1))))
        closing.callback(pool.shutdown, cancel_futures=True)
        # before the pool is waited for: a check that waits for its container ends with it
        closing.callback(containers.stop)
        jobs = [
            (trial.subject, pool.submit(trial.attempt, check))
            for trial in trials
            for check in (trial.commands, trial.service, trial.read_only)
        ]
        for subject, job in jobs:
            results[subject] += job.result()
    return results


class _Containers:
    """Starts the containers of one run, each named and labeled. Threads may call its methods."""

    def __init__(self, docker: Docker, label: str) -> None:
        self.docker, self.label = docker, label
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Removes every container and volume, and lets no docker command be started any more."""
        self._stopping.set()
        self.remove_all()

    def remove_all(self) -> None:
        chosen = f"--filter=label={self.label}"
        if names := self.docker.run(["ps", "--all", "--quiet", chosen]).stdout.split():
            self.docker.run(["rm", "--force", "--volumes", *names])
        if names := self.docker.run(["volume", "ls", "--quiet", chosen]).stdout.split():
            self.docker.run(["volume", "rm", "--force", *names])

    def run(self, *args: str, timeout: float | None = None) -> Completed:
        """``docker ARGS``, which may fail. Raises EngineError if the run is being ended, or ``timeout`` is over."""
        if self._stopping.is_set():
            raise EngineError("the run ends")
        return self.docker.run(args, timeout=timeout)

    def check(self, *args: str) -> str:
        """What ``docker ARGS`` prints. EngineError with docker's own last line if it fails."""
        done = self.run(*args)
        if not done.ok:
            raise EngineError(self.docker.redact(done.last_line))
        return done.stdout

    def state(self, name: str) -> dict[str, Any]:
        """``State`` of ``docker inspect``: Running, ExitCode, FinishedAt."""
        state: dict[str, Any] = json.loads(self.check("inspect", "--format", "{{json .State}}", name))
        return state

    def logs(self, name: str) -> tuple[str, ...]:
        done = self.run("logs", name)
        return tuple((done.stdout + done.stderr).splitlines())


class _Trial:
    """The checks of one subject. ``slow`` is how many times longer everything may take."""

    def __init__(self, subject: Subject, containers: _Containers, slow: int, within: float) -> None:
        self.subject, self.containers, self.slow = subject, containers, slow
        contract = subject.contract
        self.contract, self.started = contract, contract.started or Started(where=contract.where)
        self.ports = contract.answering
        self.within = (within or self.started.within) * slow

    def attempt(self, check: Callable[[], Iterator[Result]]) -> list[Result]:
        """The results of one check, each with the time since the one before; if no container starts, one says so."""

        def checked() -> Iterator[Result]:
            try:
                yield from check()
            except EngineError as error:
                yield Result("starts", self.started.where, "a container starts", error.message, False)

        results: list[Result] = []
        begun, clock = time.time(), time.monotonic()
        for result in checked():
            log, seconds = () if result.ok else result.log[-TAIL:], round(time.monotonic() - clock, 3)
            image, platform = self.subject.image, self.subject.platform
            results.append(
                replace(result, image=image, platform=platform, log=log, seconds=seconds, begun=round(begun, 3))
            )
            begun, clock = time.time(), time.monotonic()
        return results

    def commands(self) -> Iterator[Result]:
        for run in self.contract.runs:
            within = run.within * self.slow
            name, options = self.options()
            first, *rest = run.words
            args = ["run", "--rm", *options, "--network=none", "--entrypoint", first, self.subject.reference, *rest]
            expected = f"exits with 0 and prints {run.prints}" if run.prints else "exits with 0"
            try:
                for _ in range(TRIES):
                    done = self.containers.run(*args, timeout=within)
                    if done.code != NOT_RUN:
                        break
            except EngineError:
                self.remove(name)
                yield Result(run.name, run.where, expected, f"still running after {within:g} s", False)
                continue
            output = (done.stdout + done.stderr).strip()
            lines = tuple(output.splitlines())
            found = f"printed {lines[0] if lines else 'nothing'}" if done.ok else f"exited with {done.code}"
            ok = done.ok and re.search(run.prints, output) is not None
            yield Result(run.name, run.where, expected, expected if ok else found, ok, lines)

    def service(self) -> Iterator[Result]:
        """One container from its start to its second end."""
        if not self.ports:
            return
        name = self.start()
        ports = self.answers(name)
        yield from ports
        up = all(port.ok for port in ports)
        if up:
            yield self.ends(name, IDLE * self.slow, "idle")
            self.containers.run("start", name)
            again = self.all_answer("starts again", self.started.where, "answers again", name)
            yield again
            up = again.ok
        yield self.log(self.containers.logs(name))
        # without bash in the image nothing keeps it busy
        if up and self.containers.run("exec", "--detach", name, "bash", "-c", _WORK, "busy", self.ports[0].name).ok:
            yield self.ends(name, BUSY, "busy")
        self.remove(name)

    def read_only(self) -> Iterator[Result]:
        """Its own configuration in volumes that it cannot write to, as mounts may be."""
        directories = [pair for pair in self.contract.mounted if pair.value == "directory"]
        if not self.ports or not directories:
            return
        options = []
        for directory in directories:
            # mounted over a directory of an image, an empty volume gets what the image has there
            volume = self.containers.check("volume", "create", "--label", self.containers.label, _new_name()).strip()
            options += ["--volume", f"{volume}:{directory.name}:ro"]
        name = self.start(*options)
        check = "starts with its configuration mounted read-only"
        yield self.all_answer(check, directories[0].where, "answers", name)
        self.remove(name)

    def options(self) -> tuple[str, list[str]]:
        """A new name, and what every ``docker run`` gets."""
        name = _new_name()
        label, platform = self.containers.label, self.subject.platform
        return name, ["--name", name, "--label", label, "--pull=never", "--platform", platform]

    def start(self, *more: str) -> str:
        """Starts a container with its own command and the contract's environment; its name."""
        name, options = self.options()
        environment = [word for pair in self.started.environment for word in ("--env", f"{pair.name}={pair.value}")]
        self.containers.check("run", "--detach", *options, *environment, *more, self.subject.reference)
        return name

    def remove(self, name: str) -> None:
        self.containers.run("rm", "--force", "--volumes", name)

    def all_answer(self, check: str, where: str, expected: str, name: str) -> Result:
        """One result for all its ports: that of the first which does not answer."""
        bad = next((port for port in self.answers(name) if not port.ok), None)
        return Result(check, where, expected, bad.found if bad else expected, not bad, bad.log if bad else ())

    def answers(self, name: str) -> list[Result]:
        """A result for each port, once all listen, the container has ended, or the time is over.

        The kernel's own table says who listens: docker's proxy accepts a connection to a published port in any case,
        and a connection from inside does not see that a service listens on loopback alone.
        """
        end = time.monotonic() + self.within
        while True:
            listening = listeners(self.containers.run("exec", name, "cat", "/proc/net/tcp", "/proc/net/tcp6").stdout)
            state = self.containers.state(name)
            answered = all(listening.get(int(port.name)) for port in self.ports)
            if answered or not state["Running"] or time.monotonic() > end:
                break
            time.sleep(0.2)
        log = self.containers.logs(name)
        results = []
        for port in self.ports:
            reachable = listening.get(int(port.name))
            expected = found = "accepts connections"
            if not reachable and not state["Running"]:
                found = f"the container exited with {state['ExitCode']}"
            elif reachable is False:
                found = "it accepts connections only from inside the container"
            elif reachable is None:
                others = ", ".join(str(other) for other in sorted(listening)) or "no port"
                found = f"nothing listens after {self.within:g} s; what listens: {others}"
            results.append(Result(f"port {port.name}", port.where, expected, found, bool(reachable), log))
        return results

    def ends(self, name: str, within: float, when: str) -> Result:
        """SIGTERM reaches every process that has to get it: none has to be killed.

        By the engine's own clock: what docker needs to take a container apart is not the container's.
        """
        before = self.containers.check("info", "--format", "{{.SystemTime}}")
        self.containers.check("stop", "-t", str(int(max(within, BUSY))), name)
        state = self.containers.state(name)
        took = max(0.0, timestamp(state["FinishedAt"]) - timestamp(before.strip()))
        killed = state["ExitCode"] == KILLED
        found = f"after {took:.1f} s" + (", killed" if killed else "")
        expected = f"in less than {within:g} s, not killed"
        ok, log = took < within and not killed, self.containers.logs(name)
        return Result(f"ends on SIGTERM, {when}", self.started.where, expected, found, ok, log)

    def log(self, lines: tuple[str, ...]) -> Result:
        expected = "no stack trace"
        first = next(traces(lines, self.started.traces), None)
        if first is None:
            return Result("log", self.started.where, expected, expected, True)
        shown = lines[max(0, first - 2) : first + TAIL - 2]
        return Result("log", self.started.where, expected, lines[first].strip(), False, shown)


def _new_name() -> str:
    return f"fategen-verify-{secrets.token_hex(6)}"


def listeners(table: str) -> dict[int, bool]:
    """Port -> whether others reach it, of what listens in the text of /proc/net/tcp and tcp6."""
    ports: dict[int, bool] = {}
    for address, number, state in re.findall(r"(?m)^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) \S+ ([0-9A-F]{2}) ", table):
        if state == _LISTENS:
            port = int(number, 16)
            ports[port] = ports.get(port, False) or not _LOOPBACK.fullmatch(address)
    return ports


def traces(log: Sequence[str], allowed: str) -> Iterator[int]:
    """The lines where a stack trace begins that has no match of ``allowed`` in it, or in the two lines before it."""
    number = 0
    while number < len(log):
        begin = number
        while number < len(log) and (TRACE.match(log[number]) or (number > begin and MORE.match(log[number]))):
            number += 1
        if number == begin:
            number += 1
        elif not allowed or not re.search(allowed, "\n".join(log[max(0, begin - 2) : number])):
            yield begin
