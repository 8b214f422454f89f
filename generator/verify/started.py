"""The checks that start an image: its own service alone, and the commands of its contract; images in parallel."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from generator.bundle.engines import DockerEngine
from generator.catalogue.contract import Item, Run, Started
from generator.docker.process import Docker, signals_as_exceptions
from generator.errors import EngineError
from generator.verify.containers import Containers, Stopped
from generator.verify.origins import Subject
from generator.verify.results import Result

IDLE, BUSY = 2.0, 10.0
"""Seconds from SIGTERM to the end: of a service that has nothing to do, and of one that has."""
EMULATED = 5
"""How much longer everything may take under emulation."""
TAIL = 12
"""Lines of a log in a result."""
KILLED = 137
NOT_RUN, TRIES = 125, 3
"""docker's own exit code where it could not start a command (runc on a busy machine), and how often it is tried."""
TRACE = re.compile(r"^\s+at [\w.$/<>]+\([^)]*\)|^(?:Exception in thread|Traceback \(most recent call last\))")
MORE = re.compile(r"^\s|^Caused by: |^\s*\.\.\. \d+ (?:more|common frames)|^[\w.$]+(?:Exception|Error)\b")
"""Lines that continue a stack trace."""
_WORK = """p=$1; shift
for i in 1 2 3 4 5 6 7 8; do (exec 3<>/dev/tcp/127.0.0.1/$p && printf 'GET / HTTP/1.1\\r\\n' >&3 && sleep 30) & done
while :; do :; done 2> /dev/null"""
"""What keeps a service busy: connections with half a request each, and a core that something else uses."""


def check_started(docker: Docker, subjects: Sequence[Subject]) -> dict[Subject, list[Result]]:
    """The results of each subject. No container and no volume of this run is left, whatever happens."""
    engine_platform = DockerEngine(docker).platform()
    workers = max(2, 2 * (os.cpu_count() or 1))
    results: dict[Subject, list[Result]] = {}
    with signals_as_exceptions(), Containers(docker) as containers, ThreadPoolExecutor(workers) as pool:
        try:
            trials = [
                _Trial(subject, containers, 1 if subject.platform == engine_platform else EMULATED)
                for subject in subjects
            ]
            jobs = [
                (trial, pool.submit(trial.attempt, check))
                for trial in trials
                for check in ("commands", "service", "read_only")
            ]
            for trial, job in jobs:
                results.setdefault(trial.subject, []).extend(job.result())
        except BaseException:
            containers.stop()  # a check that waits for its container ends with it
            pool.shutdown(cancel_futures=True)
            raise
    return results


@dataclass(frozen=True)
class _Trial:
    """The checks of one subject. ``slow`` is how many times longer everything may take."""

    subject: Subject
    containers: Containers
    slow: int

    @property
    def started(self) -> Started:
        contract = self.subject.contract
        return contract.started or Started(where=contract.where)

    @property
    def ports(self) -> Sequence[Item]:
        return self.started.answers or self.subject.contract.ports

    def attempt(self, check: str) -> Sequence[Result]:
        """The results of one check; one that says so where no container can be started."""
        try:
            return {"commands": self.commands, "service": self.service, "read_only": self.read_only}[check]()
        except Stopped:
            return ()
        except EngineError as error:
            if self.containers.stopping.is_set():
                return ()
            return [self.result("starts", self.started.where, "a container starts", error.message, False)]

    def commands(self) -> list[Result]:
        return [self.command(run) for run in self.subject.contract.runs]

    def command(self, run: Run) -> Result:
        begin, within = time.monotonic(), run.within * self.slow
        name = self.containers.name()
        first, *rest = run.words
        options = self.containers.options(name, self.subject.platform)
        args = ["run", "--rm", *options, "--network=none", "--entrypoint", first, self.subject.reference, *rest]
        expected = f"exits with 0 and prints {run.prints}" if run.prints else "exits with 0"
        try:
            for _ in range(TRIES):
                done = self.containers.run(args, timeout=within)
                if done.code != NOT_RUN:
                    break
        except EngineError:
            self.containers.remove(name)
            return self.result(run.name, run.where, expected, f"still running after {within:g} s", False, begin=begin)
        output = (done.stdout + done.stderr).strip()
        ok = done.ok and re.search(run.prints, output) is not None
        lines = output.splitlines()
        found = f"ended with {done.code}" if not done.ok else f"printed {lines[0] if lines else 'nothing'}"
        return self.result(run.name, run.where, expected, expected if ok else found, ok, lines, begin)

    def service(self) -> list[Result]:
        """One container from its start to its second end."""
        if not self.ports:
            return []
        begin = time.monotonic()
        name = self.containers.start(self.subject.reference, self.subject.platform, *self.environment())
        results = self.answers(name, begin)
        up = all(result.ok for result in results)
        if up:
            results.append(self.ends(name, IDLE * self.slow, "idle"))
            begin = time.monotonic()
            self.containers.run(["start", name])
            again = self.all_answer("starts again", self.started.where, "answers again", name, begin)
            results.append(again)
            up = again.ok
        results.append(self.log(self.containers.logs(name)))
        if up:
            self.containers.run(["exec", "--detach", name, "bash", "-c", _WORK, "busy", self.ports[0].name])
            results.append(self.ends(name, BUSY, "busy"))
        self.containers.remove(name)
        return results

    def read_only(self) -> list[Result]:
        """Its own configuration in volumes that it cannot write to, as KubeFATE's mounts may be."""
        directories = [pair for pair in self.subject.contract.mounted if pair.value == "directory"]
        if not self.ports or not directories:
            return []
        begin = time.monotonic()
        options = [o for pair in directories for o in ("--volume", f"{self.containers.volume()}:{pair.name}:ro")]
        name = self.containers.start(self.subject.reference, self.subject.platform, *self.environment(), *options)
        check = "starts with its configuration mounted read-only"
        result = self.all_answer(check, directories[0].where, "answers", name, begin)
        self.containers.remove(name)
        return [result]

    def all_answer(self, check: str, where: str, expected: str, name: str, begin: float) -> Result:
        """One result for all its ports: that of the first which does not answer."""
        bad = next((result for result in self.answers(name, begin) if not result.ok), None)
        found, log = (bad.found, bad.log) if bad else (expected, ())
        return self.result(check, where, expected, found, not bad, log, begin)

    def answers(self, name: str, begin: float) -> list[Result]:
        """A result for each port, once all listen, the container has ended, or the time is over."""
        within = self.started.within * self.slow
        while True:
            listening = self.containers.listening(name)
            if all(listening.get(int(port.name)) for port in self.ports):
                break
            if not self.containers.state(name).running or time.monotonic() > begin + within:
                break
            time.sleep(0.2)
        state, log = self.containers.state(name), self.containers.logs(name)
        results = []
        for port in self.ports:
            reachable = listening.get(int(port.name))
            expected = found = "accepts connections"
            if not reachable and not state.running:
                found = f"the container exited with {state.code}"
            elif reachable is False:
                found = "it accepts connections only from inside the container"
            elif reachable is None:
                others = ", ".join(str(other) for other in sorted(listening)) or "no port"
                found = f"nothing listens after {within:g} s; what listens: {others}"
            results.append(self.result(f"port {port.name}", port.where, expected, found, bool(reachable), log, begin))
        return results

    def ends(self, name: str, within: float, when: str) -> Result:
        """SIGTERM reaches every process that has to get it: none has to be killed."""
        begin = time.monotonic()
        took, state = self.containers.end(name, int(max(within, BUSY)))
        ok = took < within and state.code != KILLED
        found = f"after {took:.1f} s" + (", killed" if state.code == KILLED else "")
        expected = f"in less than {within:g} s, not killed"
        log = () if ok else self.containers.logs(name)
        return self.result(f"ends on SIGTERM, {when}", self.started.where, expected, found, ok, log, begin)

    def log(self, lines: Sequence[str]) -> Result:
        expected = "no stack trace"
        first = next(traces(lines, self.started.traces), None)
        if first is None:
            return self.result("log", self.started.where, expected, expected, True)
        shown = lines[max(0, first - 2) : first + TAIL - 2]
        return self.result("log", self.started.where, expected, lines[first].strip(), False, shown)

    def environment(self) -> list[str]:
        return [word for pair in self.started.environment for word in ("--env", f"{pair.name}={pair.value}")]

    def result(
        self,
        check: str,
        where: str,
        expected: str,
        found: str,
        ok: bool,
        log: Sequence[str] = (),
        begin: float | None = None,
    ) -> Result:
        seconds = 0.0 if begin is None else round(time.monotonic() - begin, 3)
        begun = 0.0 if begin is None else round(time.time() - seconds, 3)
        tail = () if ok else tuple(log[-TAIL:])
        image, platform = self.subject.image, self.subject.platform
        return Result(image, platform, check, ok, expected, found, where, tail, seconds, begun)


def traces(log: Sequence[str], allowed: str) -> Iterator[int]:
    """The lines where a stack trace begins that has no match of ``allowed`` in it, or in the two lines before it."""
    number = 0
    while number < len(log):
        if not TRACE.match(log[number]):
            number += 1
            continue
        begin = number
        while number < len(log) and (TRACE.match(log[number]) or MORE.match(log[number])):
            number += 1
        trace = "\n".join(log[max(0, begin - 2) : number])
        if not allowed or not re.search(allowed, trace):
            yield begin
