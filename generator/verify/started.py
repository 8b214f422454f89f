"""The checks with a start: the image's own service alone, and the commands of its contract; images side by side."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from generator.bundle.engines.docker import DockerLoader
from generator.catalogue.contract import Item, Run, Started
from generator.docker.process import Docker, signals_as_exceptions
from generator.errors import EngineError
from generator.verify.containers import Containers, Stopped
from generator.verify.results import Result
from generator.verify.subjects import Subject

IDLE, BUSY = 2.0, 10.0
"""Seconds from SIGTERM to the end: of a service that has nothing to do, and of one that has."""
EMULATED = 5
"""How much longer everything may take under emulation."""
TAIL = 12
"""Lines of a log that a result shows."""
KILLED = 137
NOT_RUN, TRIES = 125, 3
"""docker's own exit code where it could not start a command (runc on a busy machine), and how often it is tried."""
TRACE = re.compile(r"^\s+at [\w.$/<>]+\([^)]*\)|^(?:Exception in thread|Traceback \(most recent call last\))")
MORE = re.compile(r"^\s|^Caused by: |^\s*\.\.\. \d+ (?:more|common frames)|^[\w.$]+(?:Exception|Error)\b")
"""Lines that go on with a stack trace."""
_WORK = """p=$1; shift
for i in 1 2 3 4 5 6 7 8; do (exec 3<>/dev/tcp/127.0.0.1/$p && printf 'GET / HTTP/1.1\\r\\n' >&3 && sleep 30) & done
while :; do :; done 2> /dev/null"""
"""What keeps a service busy: connections with half a request each, and a core that somebody else uses."""

Check = Callable[[Subject, Containers, bool], Sequence[Result]]


def check_started(docker: Docker, subjects: Sequence[Subject]) -> dict[Subject, list[Result]]:
    """The results of each subject. Whatever happens, no container and no volume of this run is left."""
    engine_platform = DockerLoader(docker).platform()
    checks: tuple[Check, ...] = (_runs, _life, _read_only)
    workers = max(2, 2 * (os.cpu_count() or 1))
    found: dict[Subject, list[Result]] = {}
    with signals_as_exceptions(), Containers(docker) as containers, ThreadPoolExecutor(workers) as pool:
        try:
            jobs = [
                (subject, pool.submit(_tried, check, subject, containers, subject.platform != engine_platform))
                for subject in subjects
                for check in checks
            ]
            for subject, job in jobs:
                found.setdefault(subject, []).extend(job.result())
        except BaseException:
            # what waits for a container ends with it
            containers.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _tried(check: Check, subject: Subject, containers: Containers, emulated: bool) -> Sequence[Result]:
    try:
        return check(subject, containers, emulated)
    except Stopped:
        return ()
    except EngineError as error:
        if containers.stopping.is_set():
            return ()
        where = subject.contract.started.where if subject.contract.started else subject.contract.where
        return [_result(subject, "starts", where, "a container of it starts", error.message, False)]


def _runs(subject: Subject, containers: Containers, emulated: bool) -> list[Result]:
    return [_run(subject, run, containers, emulated) for run in subject.contract.runs]


def _run(subject: Subject, run: Run, containers: Containers, emulated: bool) -> Result:
    begin = time.monotonic()
    name = containers.name()
    first, *rest = run.words
    args = ["run", "--rm", *containers.options(name, subject.platform), "--network=none", "--entrypoint", first]
    within = run.within * (EMULATED if emulated else 1)
    expected = f"ends with 0 and prints {run.prints}" if run.prints else "ends with 0"
    try:
        for _ in range(TRIES):
            done = containers.run([*args, subject.reference, *rest], timeout=within)
            if done.code != NOT_RUN:
                break
    except EngineError:
        containers.remove(name)
        return _result(subject, run.name, run.where, expected, f"no end within {within:g} s", False, begin=begin)
    said = (done.stdout + done.stderr).strip()
    ok = done.ok and re.search(run.prints, said) is not None
    lines = said.splitlines()
    found = f"ended with {done.code}" if not done.ok else f"printed {lines[0] if lines else 'nothing'}"
    return _result(subject, run.name, run.where, expected, expected if ok else found, ok, () if ok else lines, begin)


def _life(subject: Subject, containers: Containers, emulated: bool) -> list[Result]:
    """One container from its start to its second end."""
    started, ports = _how(subject)
    if not ports:
        return []
    slow = EMULATED if emulated else 1
    begin = time.monotonic()
    name = containers.start(subject.reference, subject.platform, *_environment(started))
    results = _answers(subject, ports, started, name, containers, slow, begin)
    up = all(result.ok for result in results)
    if up:
        results.append(_ends(subject, started, name, containers, IDLE * slow, "idle"))
        begin = time.monotonic()
        containers.run(["start", name])
        again = _answers(subject, ports, started, name, containers, slow, begin)
        bad = next((result for result in again if not result.ok), None)
        found = bad.found if bad else "answers again"
        results.append(
            _result(
                subject, "starts again", started.where, "answers again", found, not bad, bad.log if bad else (), begin
            )
        )
        up = bad is None
    results.append(_log(subject, started, containers.logs(name)))
    if up:
        containers.run(["exec", "--detach", name, "bash", "-c", _WORK, "busy", ports[0].name])
        results.append(_ends(subject, started, name, containers, BUSY, "busy"))
    containers.remove(name)
    return results


def _read_only(subject: Subject, containers: Containers, emulated: bool) -> list[Result]:
    """Its own configuration in volumes that it cannot write to, as KubeFATE's mounts may be."""
    started, ports = _how(subject)
    directories = [pair for pair in subject.contract.mounted if pair.value == "directory"]
    if not ports or not directories:
        return []
    begin = time.monotonic()
    options = [o for pair in directories for o in ("--volume", f"{containers.volume()}:{pair.name}:ro")]
    name = containers.start(subject.reference, subject.platform, *_environment(started), *options)
    answers = _answers(subject, ports, started, name, containers, EMULATED if emulated else 1, begin)
    containers.remove(name)
    bad = next((result for result in answers if not result.ok), None)
    found, log = (bad.found, bad.log) if bad else ("answers", ())
    title = "starts with its configuration mounted read-only"
    return [_result(subject, title, directories[0].where, "answers", found, not bad, log, begin)]


def _answers(
    subject: Subject,
    ports: Sequence[Item],
    started: Started,
    name: str,
    containers: Containers,
    slow: int,
    begin: float,
) -> list[Result]:
    """A result for each port, once all listen, the container has ended, or the time is over."""
    end = begin + started.within * slow
    while True:
        open_ports = containers.listening(name)
        if all(open_ports.get(int(port.name)) for port in ports):
            break
        state = containers.state(name)
        if not state.running or time.monotonic() > end:
            break
        time.sleep(0.2)
    running = containers.state(name)
    log = containers.logs(name)
    results = []
    for port in ports:
        others = open_ports.get(int(port.name))
        expected, found = "accepts connections", "accepts connections"
        if not others:
            found = "only connections from inside are accepted" if others is False else "nothing listens"
            listed = ", ".join(str(one) for one in sorted(open_ports)) or "no port"
            found += f" after {started.within * slow:g} s; what listens: {listed}" if others is None else ""
            found = found if running.running else f"the container ended with {running.code}"
        results.append(_result(subject, f"port {port.name}", port.where, expected, found, bool(others), log, begin))
    return results


def _ends(subject: Subject, started: Started, name: str, containers: Containers, within: float, when: str) -> Result:
    """SIGTERM reaches every process that has to hear it: none has to be killed."""
    begin = time.monotonic()
    took, state = containers.end(name, int(max(within, BUSY)))
    ok = took < within and state.code != KILLED
    found = f"after {took:.1f} s" + (", killed" if state.code == KILLED else "")
    expected = f"in less than {within:g} s, not killed"
    log = () if ok else containers.logs(name)
    return _result(subject, f"ends on SIGTERM, {when}", started.where, expected, found, ok, log, begin)


def traces(log: Sequence[str], allowed: str) -> Iterator[int]:
    """Where a stack trace begins that has nothing of ``allowed`` in it, or in the two lines before it."""
    number = 0
    while number < len(log):
        if not TRACE.match(log[number]):
            number += 1
            continue
        begin = number
        while number < len(log) and (TRACE.match(log[number]) or MORE.match(log[number])):
            number += 1
        said = "\n".join(log[max(0, begin - 2) : number])
        if not allowed or not re.search(allowed, said):
            yield begin


def _log(subject: Subject, started: Started, log: Sequence[str]) -> Result:
    first = next(traces(log, started.traces), None)
    if first is None:
        return _result(subject, "log", started.where, "no stack trace", "no stack trace", True)
    shown = log[max(0, first - 2) : first + TAIL - 2]
    return _result(subject, "log", started.where, "no stack trace", log[first].strip(), False, shown)


def _how(subject: Subject) -> tuple[Started, Sequence[Item]]:
    contract = subject.contract
    started = contract.started or Started((), 60, (), contract.where)
    return started, started.answers or contract.ports


def _environment(started: Started) -> list[str]:
    return [word for pair in started.environment for word in ("--env", f"{pair.name}={pair.value}")]


def _result(
    subject: Subject,
    check: str,
    where: str,
    expected: str,
    found: str,
    ok: bool,
    log: Sequence[str] = (),
    begin: float | None = None,
) -> Result:
    seconds = 0.0 if begin is None else round(time.monotonic() - begin, 3)
    tail = () if ok else tuple(log[-TAIL:])
    begun = 0.0 if begin is None else round(time.time() - seconds, 3)
    return Result(subject.image, subject.platform, check, ok, expected, found, where, tail, seconds, begun)
