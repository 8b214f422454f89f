"""Two whole parties from the images: brought up with Docker Compose, asked whether all reach each other, taken down.

What runs is the rendered out/compose.yaml. The questions are the catalogue's ``party: paths:``; the Python of one of a
party's own containers asks them (``probe``), so that an engine on another machine is no different.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path as File

from generator.catalogue.party import OTHER, Party, Path
from generator.docker.completed import Completed
from generator.docker.process import Docker
from generator.docker.remedies import GET_COMPOSE
from generator.docker.signals import signals_as_exceptions
from generator.errors import EngineError, InputError, Problem
from generator.project import Project
from generator.render.render import COMPOSE_FILE
from generator.text import Version, parse_version, show_version
from generator.verify.results import Result
from generator.workspace import Workspace

COMPOSE_NEEDED: Version = (2, 23, 1)
"""The first Docker Compose that takes a config's content from the compose file itself."""
PATIENCE = 120.0
"""Seconds that the components have until each of them answers: the real ones need a minute on two busy cores."""
SETTLE = 20.0
"""Seconds from then on that they have to find each other."""
TAIL = 8
"""Lines of a component's log in a result."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Service:
    """One service of the stack, ``roll-10000``, and its container ("": it has none yet)."""

    name: str
    container: str = ""
    state: str = "not created"
    """docker's word for it"""
    code: int = 0
    """its exit code"""
    health: str = ""

    @property
    def ok(self) -> bool:
        """The one that only carries the schema has ended."""
        if self.name.startswith("schema-") and self.state == "exited":
            return self.code == 0
        return self.state == "running" and self.health != "unhealthy"

    @property
    def said(self) -> str:
        if self.state == "exited":
            return f"exited with code {self.code}"
        return f"{self.state}, {self.health}" if self.health else self.state


@dataclass(frozen=True)
class Stack:
    """The parties of one project; a second run of the same project finds what a killed one left, by this name."""

    docker: Docker
    name: str
    file: File
    order: tuple[str, ...]
    """the services as the file has them: first what others need"""

    def run(self, *args: str, input: bytes | None = None) -> Completed:
        return self.docker.run(
            ["compose", "--ansi", "never", "--project-name", self.name, "--file", str(self.file), *args], input=input
        )

    def services(self) -> tuple[Service, ...]:
        listed = self.run("ps", "--all", "--format", "json").stdout.splitlines()
        found = {}
        for row in (json.loads(line) for line in listed if line.startswith("{")):
            name = row["Service"]
            found[name] = Service(name, row["ID"], row["State"], row["ExitCode"], row.get("Health", ""))
        return tuple(found.get(name, Service(name)) for name in self.order)

    def down(self) -> Completed:
        return self.run("down", "--volumes", "--remove-orphans", "--timeout", "3")

    def log(self, service: Service) -> list[str]:
        with self.docker.stream_lines(["logs", service.container]) as child:
            return [self.docker.redact(line) for line in child.lines()]


def verify_stack(docker: Docker, workspace: Workspace, say: Say) -> tuple[Result, ...]:
    """Brings both parties up, checks every path, and takes them down whatever happens.

    EngineError where Docker Compose is missing or old, or an image cannot be had; InputError where there is no party.
    """
    plan = workspace.plan
    if plan.party is None:
        platforms = " ".join(plan.settings.platforms)
        raise InputError(
            Problem("--stack", f"FATE {plan.release} has no party whose images are all built for {platforms}"),
            hint="PLATFORMS with linux/amd64, or a party: in the catalogue",
        )
    _need_compose(docker)
    file = workspace.project.make_state("stack") / "compose.yaml"
    file.write_text(workspace.tree[COMPOSE_FILE], encoding="utf-8")
    stack = Stack(docker, stack_name(workspace.project), file, _services_of(workspace.tree[COMPOSE_FILE]))
    with _up(stack, say):
        say(f"asking {' and '.join(plan.party.ids)} who reaches whom")
        services, asked = _ask_until_well(stack, plan.party)
        return _results(stack, plan.party, services, asked, workspace.project.make_state("logs"))


def stack_name(project: Project) -> str:
    """What compose calls the two parties of a project: ``fategen-`` and a digest of where it is."""
    return f"fategen-{hashlib.sha256(str(project.root).encode()).hexdigest()[:8]}"


def _services_of(text: str) -> tuple[str, ...]:
    import yaml

    return tuple(yaml.safe_load(text)["services"])


def _need_compose(docker: Docker) -> None:
    said = docker.run(["compose", "version", "--short"])
    version = parse_version(said.stdout) if said.ok else None
    needed = f"fategen verify --stack needs {show_version(COMPOSE_NEEDED)} or later"
    if version is None:
        raise EngineError(f"docker has no compose plugin; {needed}", hint=GET_COMPOSE)
    if version < COMPOSE_NEEDED:
        raise EngineError(f"Docker Compose {show_version(version)} is too old; {needed}", hint=GET_COMPOSE)


@contextmanager
def _up(stack: Stack, say: Say) -> Iterator[None]:
    """The stack for as long as the block runs. A component that does not start is no error here: a check says so."""
    with signals_as_exceptions():
        try:
            stack.down()
            say("starting the containers of two parties")
            done = stack.run("up", "--detach", "--quiet-pull")
            if not done.ok and not any(service.container for service in stack.services()):
                raise stack.docker.failure(done, hint="fategen bake --load, or bake --push, makes the images")
            yield
        finally:
            try:
                say("taking them down")
            finally:  # also where nobody hears that any more: a closed pipe
                done = stack.down()
            if not done.ok:
                say(f"warning: not all of it went: {done.last_line}; docker compose -p {stack.name} down --volumes")


@dataclass(frozen=True)
class Asked:
    party: str
    path: Path
    there: bool
    """whether the one that was asked answered at all"""
    ok: bool
    found: str

    @property
    def ends(self) -> set[str]:
        """The services at both ends (of a path to the other party, at this one)."""
        return {f"{name}-{self.party}" for name in (self.path.from_, self.path.to)}


def _ask_until_well(stack: Stack, party: Party) -> tuple[tuple[Service, ...], tuple[Asked, ...]]:
    """Asks again until all is well, until what fails has an ended component in its way, or until there was time."""
    end = time.monotonic() + PATIENCE
    settled = time.monotonic() + SETTLE
    for count in itertools.count():
        asked = tuple(one for number in party.ids for one in _ask(stack, number, party, count))
        services = stack.services()
        ended = {service.name for service in services if not service.ok}
        hopeful = [one for one in asked if not one.ok and not one.ends & ended]
        if not all(one.there for one in hopeful):
            settled = time.monotonic() + SETTLE
        if not hopeful or time.monotonic() > min(end, settled):
            return services, asked
        time.sleep(0.5)
    raise AssertionError("unreachable")


def _ask(stack: Stack, number: str, party: Party, count: int) -> list[Asked]:
    """Every path of one party, asked in its python; where that does not run, in the next, but for python's own."""
    other = next(one for one in party.ids if one != number)
    values = {"$PARTY": number, "$OTHER": other, "$TRY": str(count)}
    questions = json.dumps([_question(path, values) for path in party.paths])
    source = (File(__file__).parent / "probe.py").read_bytes()
    for asker in party.asks:
        done = stack.run("exec", "-T", f"{asker}-{number}", "python", "-", questions, input=source)
        if done.ok:
            break
    answers = json.loads(done.stdout) if done.ok else [(False, False, done.last_line)] * len(party.paths)
    return [
        Asked(
            number,
            path,
            *(answer if path.port or asker == party.asks[0] else (False, False, f"{party.asks[0]} does not run")),
        )
        for path, answer in zip(party.paths, answers, strict=True)
    ]


def _question(path: Path, values: Mapping[str, str]) -> dict[str, object]:
    """A path as ``probe`` takes it. One of python's own asks nothing but to be answered."""

    def filled(text: str) -> str:
        for name, value in values.items():
            text = text.replace(name, value)
        return text

    question = "$OTHER" if path.to == OTHER else path.to
    return {
        "from": path.from_,
        "to": path.to,
        "speaks": path.speaks,
        "port": path.port,
        "call": path.call,
        "headers": {name: filled(value) for name, value in path.headers},
        "message": filled(path.message),
        "says": path.says,
        "code": path.code,
        "question": filled(question) if path.port else "",
    }


def _results(
    stack: Stack, party: Party, services: Sequence[Service], asked: Sequence[Asked], logs: File
) -> tuple[Result, ...]:
    """What runs comes before who reaches whom: a path fails where an end of it does not run. A log is shown once."""
    shown: set[str] = set()

    def tail(name: str) -> tuple[str, ...]:
        service = next((one for one in services if one.name == name), None)
        if service is None or not service.container or name in shown:
            return ()
        shown.add(name)
        lines = stack.log(service)
        (logs / f"{name}.log").write_text("\n".join([*lines, ""]), encoding="utf-8")
        return tuple(lines[-TAIL:])

    results = []
    for number in party.ids:
        subject = f"party {number}"
        for service in services:
            image, _, owner = service.name.rpartition("-")
            if owner == number:
                log = () if service.ok else tail(service.name)
                results.append(Result(subject, "", f"{image} runs", service.ok, "running", service.said, "", log))
        for one in asked:
            if one.party == number:
                log = () if one.ok else tail(f"{one.path.from_}-{number}")
                results.append(Result(subject, "", str(one.path), one.ok, "an answer", one.found, one.path.where, log))
    return tuple(results)
