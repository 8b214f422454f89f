"""What `env` and `use` print for a shell to eval; `use` prefers the machine's own engine where that one will do."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path

from . import machine, roots, service
from .base import BIN, STATE, SandboxError, read_state, say, update_state
from .engines import SOCKETS, address_of, up, wanted_extras
from .network import OFFLINE_ADDRESS

_REGISTRY_NAME = "fategen-sandbox-registry"


def sandbox() -> dict[str, str]:
    """The variables of the running sandbox; an error when it is not up."""
    extras = wanted_extras([])
    for name in ("engine", "registry", *extras):
        if not service.running(name) or not service.answers(address_of(name)):
            raise SandboxError(f"the sandbox is not up ({name}); next: python3 tests/sandbox up")
    registry = f"localhost:{read_state()['port']}"
    # without what is there already, so that a second eval adds nothing
    path = dict.fromkeys([str(BIN), *os.environ.get("PATH", service.SYSTEM_PATH).split(":")])
    values = {
        "FATEGEN_SANDBOX_STATE": str(STATE),
        "FATEGEN_SANDBOX_REGISTRY": registry,
        "FATEGEN_BASE_REGISTRY": registry,
        "FATEGEN_SANDBOX_APT_MIRROR": roots.apt_mirror(),
        "FATEGEN_SANDBOX_BUILDX_OLD": str(STATE / "clients" / "old"),
        "FATEGEN_SANDBOX_BUILDX_NEW": str(STATE / "clients" / "new"),
        # the containerd of that engine, whose socket is in its private /run
        "FATEGEN_SANDBOX_CONTAINERD": f"/proc/{service.running('engine')}/root/run/docker/containerd/containerd.sock",
        "DOCKER_HOST": SOCKETS["engine"],
        "DOCKER_CONFIG": str(STATE / "clients" / "old"),
        "PATH": ":".join(path),
        **{f"FATEGEN_SANDBOX_{name.upper()}": SOCKETS[name] for name in extras},
    }
    if offline := service.running("offline"):
        # nsenter --net=/proc/PID/ns/net: the namespace of that engine, in which OFFLINE_ADDRESS is the builds' gateway
        values |= {"FATEGEN_SANDBOX_OFFLINE_PID": str(offline), "FATEGEN_SANDBOX_OFFLINE_ADDRESS": OFFLINE_ADDRESS}
    return values | _ca_bundle()


def _ca_bundle() -> dict[str, str]:
    return {"FATEGEN_SANDBOX_CA": str(machine.CA_BUNDLE)} if machine.CA_BUNDLE.is_file() else {}


def exports(values: dict[str, str]) -> str:
    """Quoted for a shell also where a value needs no quotes, so that a line-wise reader can rely on them."""
    quoted = {name: shlex.quote(value) if "'" in value else f"'{value}'" for name, value in values.items()}
    return "".join(f"export {name}={value}\n" for name, value in quoted.items())


def use(extras: list[str]) -> str:
    """Lines for a shell to eval; brings up the sandbox with these extra engines, if it is needed."""
    reason = f"{', '.join(extras)} is asked for" if extras else ""
    if not extras:
        try:
            name, port = _own_engine()
        except _Unfit as error:
            reason = str(error)
        else:
            say(f"using this machine's own engine: {name}, two platforms, arm64, docker.io")
            values = {"FATEGEN_SANDBOX_STATE": str(STATE), "FATEGEN_SANDBOX_REGISTRY": f"localhost:{port}"}
            # what an earlier choice of the sandbox left in the caller's shell
            unset = "unset DOCKER_HOST DOCKER_CONFIG FATEGEN_BASE_REGISTRY\n" if _is_ours() else ""
            return unset + exports(values | _ca_bundle())
    with contextlib.suppress(SandboxError):  # no engine: no container of ours in it
        stop_registry()
    if os.geteuid() != 0:
        raise SandboxError(
            f"the sandbox is needed: {reason}\n  and it needs root\n  next: run as root"
            + ("" if extras else ", or start an engine with buildx >= 0.13, the containerd image store, arm64 emulation"
               " and compose"),
            code=3,
        )  # fmt: skip
    say(f"using the sandbox: {reason}")
    up(extras)
    return exports(sandbox())


class _Unfit(Exception):
    """Why the machine's engine will not do."""


def _is_ours() -> bool:
    """Whether the caller's shell has the variables of the sandbox."""
    return os.environ.get("DOCKER_HOST") in SOCKETS.values()


def _docker(*arguments: str, why: str, timeout: float = 120) -> str:
    command, nothing = ["docker", *arguments], subprocess.DEVNULL
    env = {name: value for name, value in os.environ.items() if not (name.startswith("DOCKER_") and _is_ours())}
    try:
        done = subprocess.run(command, env=env, stdin=nothing, capture_output=True, text=True, timeout=timeout)
    except FileNotFoundError as error:
        raise _Unfit("docker is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise _Unfit(f"{why} (no answer in {timeout:.0f} s)") from error
    if done.returncode != 0:
        raise _Unfit(f"{why} ({done.stderr.strip().rpartition(chr(10))[2][:200]})")
    return done.stdout.strip()


def _own_engine() -> tuple[str, int]:
    """(what it is, the port of its registry). Cheap questions first; raises _Unfit at the first that fails."""
    server = _docker("version", "--format={{.Server.Version}}", why="no Docker engine answers", timeout=20)
    buildx = _docker("buildx", "version", why="docker has no buildx plugin", timeout=20)
    version = re.search(r"\bv?(\d+)\.(\d+)\.", buildx)
    if version is None or (int(version[1]), int(version[2])) < (0, 13):
        raise _Unfit(f"buildx is older than 0.13: {buildx}")
    _docker("compose", "version", why="docker has no compose plugin", timeout=20)
    container = _docker("ps", "--all", "--quiet", f"--filter=name=^{_REGISTRY_NAME}$", why="docker ps fails")
    if container:
        _docker("start", container, why="the registry container does not start")
    else:
        _docker("run", "--detach", f"--name={_REGISTRY_NAME}", "--publish=127.0.0.1::5000",
                "--env=REGISTRY_STORAGE_DELETE_ENABLED=true", "registry:2",
                why="the image registry:2 cannot be pulled and started", timeout=300)  # fmt: skip
        update_state(machine_registry=_REGISTRY_NAME)
    published = _docker("port", _REGISTRY_NAME, "5000/tcp", why="the registry container does not stay up")
    port = int(published.split()[0].rpartition(":")[2])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Dockerfile").write_text("FROM busybox\nRUN true\n")
        _docker("buildx", "build", "--platform=linux/amd64,linux/arm64", f"--tag=localhost:{port}/fategen/probe",
                "--push", folder, timeout=300,
                why="it does not pull from docker.io, run arm64 and push two platforms to localhost")  # fmt: skip
    return f"Docker {server}, buildx {version[1]}.{version[2]}", port


def stop_registry() -> None:
    """Only the container that `use` started here."""
    if name := read_state().get("machine_registry"):
        try:
            _docker("rm", "--force", "--volumes", str(name), why=f"the container {name} is not removed")
        except _Unfit as error:
            raise SandboxError(f"{error}; start this machine's Docker engine and run `down` again") from None
        update_state(machine_registry=None)
        say(f"{name} removed")
