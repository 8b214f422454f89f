"""What the machine builds with: versions of docker and buildx, the builder and its platforms, the image store."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from generator.docker.hints import GET_BUILDX, explain
from generator.docker.process import Completed, Docker
from generator.errors import EngineError
from generator.text import Version, parse_version, show_version

Store = Literal["containerd", "graphdriver"]

DAEMON_DRIVERS = ("docker", "docker-container", "")
"""Drivers that build in the local engine; "" is buildx's answer about its default if it finds no engine."""
BUILDX_NEEDED: Version = (0, 13, 0)
"""The first buildx with ``--progress=rawjson``, the form in which fategen reads progress."""
BUILDX_UNKNOWN: Version = (999, 0, 0)
"""One that was built without its version, from source: it says v0.0.0, and is taken for the newest."""
BUILDX_ALLOW: Version = (0, 20, 0)
"""From here on bake requires ``--allow fs.read=…`` for files outside the working directory."""
BUILDX_APART: Version = (0, 20, 0)
"""From here on (containerd 2) each exported image has its own locks: exports do not interfere with each other."""
BUILDKIT_NEEDED: Version = (0, 10, 0)
"""The first BuildKit whose own Dockerfile frontend (1.4) knows named contexts and here-documents."""
DOCKER_NEEDED: Version = (23, 0, 0)
"""The first Docker Engine with such a BuildKit; as a package of a distribution it may hide BuildKit's version."""

_INFO = ("info", "--format", "{{json .}}")


@dataclass(frozen=True)
class Engine:
    """The local Docker engine. ``version`` is "" if no daemon answers; ``problem`` then says why.

    ``insecure`` are the registries (names and networks) whose certificates it does not check.
    """

    client: str
    version: str
    store: Store
    platform: str
    problem: EngineError | None = None
    insecure: tuple[str, ...] = ()


@dataclass(frozen=True)
class Builder:
    """A buildx builder; its driver is ``docker``, ``docker-container``, ``remote`` or ``kubernetes``.

    The driver is "" and ``error`` says why if buildx cannot tell. ``buildkits`` are the versions of its nodes ("" if
    one does not say); ``platforms`` are those that one of them can build, emulated ones too, without CPU levels such as
    ``/v8``. A node that is not running has no platforms yet.
    """

    name: str
    driver: str
    running: bool = False
    buildkits: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Facts:
    """What bake depends on and cannot change."""

    engine: Engine
    buildx: Version
    builder: Builder

    @property
    def multi_platform(self) -> bool:
        """Several platforms in one image, and OCI output. Only the engine's own builder on a graphdriver cannot."""
        return self.builder.driver != "docker" or self.engine.store == "containerd"

    @property
    def too_old(self) -> str:
        """What in the builder is too old to read the Dockerfiles; "" if nothing is, or if it does not say."""
        engine = parse_version(self.engine.version)
        if self.builder.driver == "docker" and engine is not None and engine < DOCKER_NEEDED:
            return f"Docker {self.engine.version}"
        for buildkit in self.builder.buildkits:
            version = parse_version(buildkit)
            if version is not None and (0, 0, 0) < version < BUILDKIT_NEEDED:
                return f"BuildKit {buildkit}"
        return ""


@dataclass(frozen=True)
class Answers:
    """What docker and buildx answered, as far as they are there; ``inspection`` is ``docker buildx inspect`` itself."""

    engine: Engine
    buildx: Version | None
    builder: Builder | None
    inspection: Completed

    @property
    def needs_engine(self) -> bool:
        """A remote builder builds without the local engine."""
        return self.builder is None or self.builder.driver in DAEMON_DRIVERS

    def facts(self) -> Facts:
        """Raises EngineError if buildx is missing or old, no engine answers that is needed, or no builder does."""
        if self.buildx is None:
            raise EngineError("docker has no buildx plugin; fategen needs 0.13 or later", hint=GET_BUILDX)
        if self.buildx < BUILDX_NEEDED:
            version = show_version(self.buildx)
            raise EngineError(f"buildx {version} is too old; fategen needs 0.13 or later", hint=GET_BUILDX)
        if self.engine.problem is not None and self.needs_engine:
            raise self.engine.problem
        hint = "docker buildx ls lists the builders"
        if self.builder is None:
            raise Docker("docker").failure(self.inspection, hint=hint)
        if error := self.builder.error:
            raise explain(error) or EngineError(f"builder {self.builder.name}: {error}", hint=hint)
        return Facts(self.engine, self.buildx, self.builder)


@contextlib.contextmanager
def asking(docker: Docker, builder: str = "") -> Iterator[Callable[[], Answers]]:
    """Ask docker and buildx at the same time, beside what the block does; the call waits for their answers.

    Nothing that they lack is an error here.
    """
    inspecting = ["buildx", "inspect", *([builder] if builder else [])]
    with docker.start(inspecting) as inspected, docker.start(_INFO) as info:

        @functools.cache
        def answers() -> Answers:
            engine, buildx = parse_engine(info.finish())
            inspection = inspected.finish()
            if buildx is None:
                # a client may leave its plugins out of its answer
                version = docker.run(["buildx", "version"])
                buildx = _buildx_version(version.stdout) if version.ok else None
            return Answers(engine, buildx, parse_builder(inspection.stdout) if inspection.ok else None, inspection)

        yield answers


def ask_engine(docker: Docker) -> Engine:
    """The engine alone, whether it answers or not."""
    return parse_engine(docker.run(_INFO))[0]


def inspect(docker: Docker, answers: Answers) -> Facts:
    """The engine and the running builder of bake. Raises EngineError if one is missing, too old or unreachable."""
    facts = answers.facts()
    if facts.builder.running:
        return facts
    # bake would start it as well; only then are its platforms known, and whether it can be reached at all
    name = facts.builder.name
    started = docker.check(["buildx", "inspect", "--bootstrap", name], hint=f"check that builder {name} is reachable")
    return replace(answers, builder=parse_builder(started.stdout)).facts()


def parse_builder(text: str) -> Builder:
    """Read what ``docker buildx inspect`` prints: the builder's own lines, then one block for each node."""
    head, _, tail = text.partition("\nNodes:")
    fields = _fields(head)
    nodes = [_fields(block) for block in re.split(r"\n(?=Name:)", tail.strip()) if block.strip()]
    error = fields.get("error", "") or next((node["error"] for node in nodes if "error" in node), "")
    names = (name.strip().rstrip("*") for node in nodes for name in node.get("platforms", "").split(","))
    # "*": the user set it; /v2 of amd64 and /v8 of arm64 are levels of one platform, arm/v6 and arm/v7 are two
    platforms = dict.fromkeys(re.sub(r"^([^/]+/(?:amd64|arm64))/.*$", r"\1", name) for name in names if name)
    return Builder(
        fields.get("name", ""),
        fields.get("driver", ""),
        running=bool(nodes) and all(node.get("status") == "running" for node in nodes),
        buildkits=tuple(node.get("buildkit version", "") for node in nodes),
        platforms=tuple(platforms),
        error=error,
    )


def _fields(block: str) -> dict[str, str]:
    """``Key: value`` at the start of a line; indented lines (labels, GC rules) belong to no field that is read here."""
    lines = [line.partition(":") for line in block.splitlines() if not line.startswith(" ")]
    return {key.strip().lower(): value.strip() for key, colon, value in reversed(lines) if colon}


def parse_engine(done: Completed) -> tuple[Engine, Version | None]:
    """What ``docker info`` says in JSON about the engine, and the version of buildx if it is installed.

    Without a daemon docker still prints what it knows about itself, and exits with 1.
    """
    try:
        info = json.loads(done.stdout)
    except ValueError:
        info = {}
    client = info.get("ClientInfo") or {}
    plugins = {plugin.get("Name"): plugin for plugin in client.get("Plugins") or ()}
    version = str(info.get("ServerVersion") or "")
    problem = None
    if not version:
        output = done.stderr or "\n".join(info.get("ServerErrors") or ())
        problem = explain(output) or EngineError(f"no Docker engine answers: {output.strip() or done.last_line}")
    registries = info.get("RegistryConfig") or {}
    status = dict(pair for pair in info.get("DriverStatus") or () if len(pair) == 2)
    engine = Engine(
        client=str(client.get("Version") or ""),
        version=version,
        store="containerd" if status.get("driver-type") == "io.containerd.snapshotter.v1" else "graphdriver",
        platform=engine_platform(str(info.get("OSType") or "linux"), str(info.get("Architecture") or "")),
        problem=problem,
        insecure=(
            *(name for name, index in (registries.get("IndexConfigs") or {}).items() if not index.get("Secure", True)),
            *(registries.get("InsecureRegistryCIDRs") or ()),
        ),
    )
    return engine, _buildx_version(str(plugins.get("buildx", {}).get("Version", "")))


def _buildx_version(text: str) -> Version | None:
    version = parse_version(text)
    return BUILDX_UNKNOWN if version == (0, 0, 0) else version


def engine_platform(system: str, machine: str) -> str:
    """``linux`` and the kernel's ``x86_64`` -> ``linux/amd64``.

    The kernel's ``mips64`` stays: it says nothing of the byte order, by which Go has two names.
    """
    names = {
        "x86_64": "amd64",
        "i686": "386",
        "aarch64": "arm64",
        "armv7l": "arm/v7",
        "armv6l": "arm/v6",
        "loongarch64": "loong64",
    }
    return f"{system}/{names.get(machine, machine)}"
