"""Two parties from the images: started with Docker Compose, tested with the catalogue's smoke commands, taken down.

What runs is the rendered out/compose.yaml. A command runs in a container of the party itself, so an engine on another
machine is no different.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from generator import progress
from generator.catalogue.line import Party, Smoke
from generator.docker.hints import GET_COMPOSE
from generator.docker.process import Completed, Docker
from generator.errors import EngineError, InputError, Problem
from generator.files import lock
from generator.render.tree import COMPOSE_FILE
from generator.text import Version, parse_version, show_version
from generator.verify.origins import place
from generator.verify.results import Result
from generator.workspace import Workspace

COMPOSE_NEEDED: Version = (2, 23, 1)
"""The first Docker Compose that takes a config's content from the compose file itself."""
START_SECONDS = 300
"""Time for all services to become healthy: the real ones need a minute on two busy cores."""
TAIL, LINES = 8, 3
"""Lines of a container's log, and of a command's output, in a result."""


@dataclass(frozen=True)
class Service:
    """One service, ``server-10000``, as ``docker compose ps`` has it; without a container it is ``not created``."""

    name: str
    state: str = "not created"
    exit_code: int = 0
    health: str = ""
    ends: bool = False
    """another service waits for its end"""

    @property
    def ok(self) -> bool:
        """Healthy, or it did its work and has ended well."""
        if self.state == "exited":
            return self.exit_code == 0 and self.ends
        return self.state == "running" and self.health in ("", "healthy")

    @property
    def failed(self) -> bool:
        """It will not become healthy by waiting."""
        waiting = self.state in ("running", "created", "not created") and self.health != "unhealthy"
        return not self.ok and not waiting

    @property
    def status(self) -> str:
        if self.state == "exited":
            return f"exited with code {self.exit_code}"
        return ", ".join(filter(None, (self.state, self.health)))


@dataclass(frozen=True)
class Stack:
    """The parties of one compose project."""

    docker: Docker
    name: str
    file: Path
    logs: Path

    def run(self, *args: str, timeout: float | None = None) -> Completed:
        project = ["compose", "--ansi", "never", "--project-name", self.name, "--file", str(self.file)]
        return self.docker.run([*project, *args], timeout=timeout)

    def up(self) -> tuple[Service, ...]:
        """The services, started; one that does not get healthy is no error here."""
        done = self.run("up", "--wait", "--wait-timeout", str(START_SECONDS), "--quiet-pull")
        services = self.services()
        if not done.ok and all(service.state == "not created" for service in services):
            raise self.docker.failure(done, hint="build the images with fategen bake --load or bake --push")
        return services

    def services(self) -> tuple[Service, ...]:
        """In the order of the file: a service comes after those that it needs."""
        import yaml

        services = yaml.safe_load(self.file.read_text(encoding="utf-8"))["services"]
        needs = [(service or {}).get("depends_on") for service in services.values()]
        # the short form, a list, waits for a start alone
        waits = [pair for need in needs if isinstance(need, dict) for pair in need.items()]
        ends = {name for name, wait in waits if (wait or {}).get("condition") == "service_completed_successfully"}
        rows = map(json.loads, self.run("ps", "--all", "--format", "json").stdout.splitlines())
        started = {
            row["Service"]: Service(row["Service"], row["State"], row["ExitCode"], row.get("Health", ""))
            for row in rows
        }
        return tuple(replace(started.get(name, Service(name)), ends=name in ends) for name in services)

    def down(self) -> Completed:
        return self.run("down", "--volumes", "--remove-orphans", "--timeout", "3")

    def keep_log(self, service: str) -> tuple[str, ...]:
        """Writes the whole log of a service's container to a file; returns its last lines."""
        done = self.run("logs", "--no-color", "--no-log-prefix", service)
        # Docker Compose clears each line first, also with --ansi never
        text = self.docker.redact(done.stdout + done.stderr).replace("\x1b[2K", "")
        (self.logs / f"{service}.log").write_text(text, encoding="utf-8")
        return tuple(text.splitlines()[-TAIL:])


def verify_stack(
    docker: Docker, workspace: Workspace, say: Callable[[str], None], *, within: float = 0.0
) -> tuple[Result, ...]:
    """Starts both parties, runs every smoke command in each, and takes them down whatever happens.

    ``within``: seconds that each command has at least.
    Raises EngineError if Docker Compose is missing or old, or an image cannot be had; InputError if there is no party.
    """
    plan = workspace.plan
    if plan.party is None:
        platforms = " ".join(plan.settings.platforms)
        raise InputError(
            Problem("--stack", f"{plan.title} has no party whose images are all built for {platforms}"),
            hint="add linux/amd64 to PLATFORMS, or a party: to the catalogue",
        )
    _need_compose(docker)
    directory = workspace.project.make_state("stack")
    waiting = "waiting for another fategen verify --stack in this project"
    with lock(directory / ".lock", lambda: progress.say(waiting)):
        file = directory / "compose.yaml"
        file.write_text(workspace.tree[COMPOSE_FILE], encoding="utf-8")
        # the same name in every run: what a killed one left is found
        stack = Stack(docker, f"fategen-{place(workspace.project.root)}", file, workspace.project.make_state("logs"))
        return _verify(stack, plan.party, say, within)


def _verify(stack: Stack, party: Party, say: Callable[[str], None], within: float) -> tuple[Result, ...]:
    try:
        stack.down()
        say("starting the containers of two parties")
        services = stack.up()
        results = _health(stack, services)
        if not all(result.ok for result in results):
            say("some services are not healthy: no smoke command runs")
            return results
        say(f"running the smoke commands of {' and '.join(party.ids)}")
        results += tuple(_smoke(stack, party, within))
        if not all(result.ok for result in results):
            for service in services:  # the cause may be at the other end of a wire
                stack.keep_log(service.name)
        return results
    finally:
        try:
            say("taking the parties down")
        finally:  # even if a second Ctrl-C comes here
            done = stack.down()
        if not done.ok:
            say(f"warning: some containers still run: {done.last_line}; docker compose -p {stack.name} down --volumes")


def _need_compose(docker: Docker) -> None:
    done = docker.run(["compose", "version", "--short"])
    version = parse_version(done.stdout) if done.ok else None
    if version is None or version < COMPOSE_NEEDED:
        problem = f"Docker Compose {show_version(version)} is too old" if version else "docker has no compose plugin"
        needed = f"fategen verify --stack needs {show_version(COMPOSE_NEEDED)} or later"
        raise EngineError(f"{problem}; {needed}", hint=GET_COMPOSE)


def _health(stack: Stack, services: Sequence[Service]) -> tuple[Result, ...]:
    """A result for each service; those that still wait for a failed one are left out."""
    stuck = any(service.failed for service in services)
    results = []
    for service in services:
        name, _, party = service.name.rpartition("-")
        result = Result(f"{name} is healthy", "", "healthy", "healthy", service.ok, image=f"party {party}")
        if service.ok:
            results.append(result)
        elif service.failed or not stuck:
            log = stack.keep_log(service.name)
            next_step = f"full log: {stack.logs / service.name}.log"
            results.append(replace(result, found=service.status, log=log, next=next_step))
    return tuple(results)


def _smoke(stack: Stack, party: Party, within: float) -> Iterator[Result]:
    """Every smoke command in the first party, then in the other; a service's log is shown once."""
    shown: set[str] = set()
    for number in party.ids:
        for smoke in party.smoke:
            result = _run_smoke(stack, smoke, party, number, max(within, smoke.within))
            service = f"{smoke.service}-{number}"
            if not result.ok and service not in shown:
                shown.add(service)
                result = replace(result, log=stack.keep_log(service))
            yield result


def _run_smoke(stack: Stack, smoke: Smoke, party: Party, number: str, within: float) -> Result:
    (other,) = set(party.ids) - {number}

    def filled(text: str) -> str:
        return text.replace("$PARTY", number).replace("$OTHER", other)

    service, prints = f"{smoke.service}-{number}", filled(smoke.prints)
    command = [filled(word) for word in smoke.command]
    expected = f"{service} prints {prints}" if prints else f"{service} exits with 0"
    begun, clock = time.time(), time.monotonic()
    try:
        done = stack.run("exec", "-T", service, *command, timeout=within)
        ok = done.ok and re.search(prints, done.stdout, re.MULTILINE) is not None
        output = " / ".join((done.stdout + done.stderr).strip().splitlines()[-LINES:]) or "nothing printed"
        found = expected if ok else stack.docker.redact(f"exit code {done.code}: {output}")
    except EngineError as error:  # it took too long
        ok, found = False, f"{error.message}; --within gives it more time"
    shown = shlex.join(command)
    # what ran, with other tags than those of .env if some were given
    compose = f"docker compose -p {stack.name} -f {shlex.quote(str(stack.file))}"
    by_hand = f" && {compose} exec -T {service} {shown}"
    if "\n" in shown:
        by_hand = f"; then run the command of {smoke.where}"
    return Result(
        smoke.name,
        smoke.where,
        expected,
        found,
        ok,
        image=f"party {number}",
        seconds=round(time.monotonic() - clock, 3),
        begun=round(begun, 3),
        next="" if ok else f"{compose} up --wait{by_hand}",
    )
