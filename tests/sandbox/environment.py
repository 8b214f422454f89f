"""What `env` and `use` print for a shell to eval."""

from __future__ import annotations

import os
import shlex

from . import machine, roots, service
from .base import BIN, STATE, SandboxError, read_state
from .engines import SOCKETS, wanted_extras
from .network import OFFLINE_ADDRESS


def sandbox() -> dict[str, str]:
    """The variables of the running sandbox; an error when it is not up."""
    port = read_state().get("port")
    for name in ("engine", "registry", *wanted_extras([])):
        address = SOCKETS.get(name) or f"http://127.0.0.1:{port}"
        if not service.running(name) or service.request(address, "/_ping" if name in SOCKETS else "/v2/") != 200:
            raise SandboxError(f"the sandbox is not up ({name}); next: python3 tests/sandbox up")
    # without what is there already, so that a second eval adds nothing
    path = dict.fromkeys([str(BIN), *os.environ.get("PATH", service.SYSTEM_PATH).split(":")])
    values = {
        "FATEGEN_SANDBOX_ENGINE": "sandbox",
        "FATEGEN_SANDBOX_STATE": str(STATE),
        "FATEGEN_SANDBOX_REGISTRY": f"localhost:{port}",
        "FATEGEN_BASE_REGISTRY": f"localhost:{port}",
        "FATEGEN_SANDBOX_APT_MIRROR": roots.apt_mirror(),
        "FATEGEN_SANDBOX_BUILDX_OLD": str(STATE / "clients" / "old"),
        "FATEGEN_SANDBOX_BUILDX_NEW": str(STATE / "clients" / "new"),
        "FATEGEN_SANDBOX_BARE": str(roots.BARE),
        "DOCKER_HOST": SOCKETS["engine"],
        "DOCKER_CONFIG": str(STATE / "clients" / "old"),
        "PATH": ":".join(path),
    }
    # the containerd of that engine, whose socket is in its private /run
    values["FATEGEN_SANDBOX_CONTAINERD"] = (
        f"/proc/{service.running('engine')}/root/run/docker/containerd/containerd.sock"
    )
    values |= {f"FATEGEN_SANDBOX_{name.upper()}": SOCKETS[name] for name in wanted_extras([])}
    if offline := service.running("offline"):
        # nsenter --net=/proc/PID/ns/net: the namespace of that engine, in which OFFLINE_ADDRESS is the builds' gateway
        values |= {"FATEGEN_SANDBOX_OFFLINE_PID": str(offline), "FATEGEN_SANDBOX_OFFLINE_ADDRESS": OFFLINE_ADDRESS}
    return values | ca_bundle()


def ca_bundle() -> dict[str, str]:
    return {"FATEGEN_SANDBOX_CA": str(machine.CA_BUNDLE)} if machine.CA_BUNDLE.is_file() else {}


def exports(values: dict[str, str]) -> str:
    """Quoted for a shell also where a value needs no quotes, so that a line-wise reader can rely on them."""
    quoted = {name: shlex.quote(value) if "'" in value else f"'{value}'" for name, value in values.items()}
    return "".join(f"export {name}={value}\n" for name, value in quoted.items())
