"""The sandbox as a whole: which services it has, and how they come up and go down together."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from . import base, machine, network, roots, service, standins
from .base import BIN, DATA, ID, STATE, TMP, SandboxError, mounts_below, read_state, remove_tree, say, update_state
from .service import Service

EXTRA_ENGINES = ("docker20", "docker28", "docker28_containerd", "offline", "graphdriver")
SOCKETS = {name: f"unix://{STATE}/{name}.sock" for name in ("engine", *EXTRA_ENGINES)}
ROOM_NEEDED = 20 * 10**9  # bytes; a full run of the tests filled 5 GB besides what was there
STEPS_KEPT = 16 * 10**6  # bytes of BuildKit's database of steps: one run of the tests makes 4 MB
CLASSIC = ("graphdriver", "docker28")
"""Engines with the classic image store, besides docker20, which knows no other."""


def _daemon_json(name: str, bridge: str, registries: list[str], **more: object) -> str:
    mtu = machine.mtu()
    config: dict[str, object] = {
        "bridge": bridge,
        "iptables": False,  # network.py says why
        "ip-forward": False,
        **more,
        "mtu": mtu,
        "insecure-registries": registries,
        "cgroup-parent": f"/fategen-{ID}",
        "shutdown-timeout": 5,
        "log-level": "warn",
        # a day of benchmarks left 57 GB
        "builder": {"gc": {"enabled": True, "defaultKeepStorage": "20GB"}},
    }
    if name == "docker20":
        config["ip-masq"] = False
    else:
        config["features"] = {"containerd-snapshotter": name not in CLASSIC}
        config["default-network-opts"] = {"bridge": {"com.docker.network.driver.mtu": str(mtu)}}
    return json.dumps(config, indent=1) + "\n"


def _engine(name: str, daemon_json: str) -> Service:
    config, data = f"{STATE}/config/{name}.json", str(DATA / name)
    command = ("dockerd", "--config-file", config, "-H", SOCKETS[name],
               "--data-root", data, "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid")  # fmt: skip
    return Service(name, command, daemon_json, SOCKETS[name])


def _offline() -> Service:
    """An engine like the first one, in a network namespace of its own that has no route to anywhere.

    Whoever wants to be reached by its builds listens in that namespace (network.OFFLINE_ADDRESS)."""
    bridge, address, mac = "fgs-offline", network.OFFLINE_ADDRESS, network.mac(network.OFFLINE_ADDRESS)
    interface = (
        f"ip link set lo up && ip link add {bridge} address {mac} type bridge && ip addr add {address}/24 dev {bridge}"
    )
    engine = _engine("offline", _daemon_json("offline", bridge, [f"{address}:5000"]))
    # started again after a crash it finds its bridge there
    script = f'ip link show {bridge} > /dev/null 2>&1 || {{ {interface} && ip link set {bridge} up; }}; exec "$@"'
    return replace(engine, command=("sh", "-c", script, "offline", *engine.command), isolated=True)


def _start_engine(name: str, subnet: str, port: int) -> None:
    registries = [f"localhost:{port}", f"127.0.0.1:{port}"]
    if name not in network.BRIDGES:  # Docker 28 loads and saves images: it needs no network
        service.ensure(_engine(name, _daemon_json(name, "none", registries)))
        return
    # dockerd remembers its networks with their addresses, and takes them over the configured ones: in another subnet
    # than last time it must forget them
    last = read_state().get("networks", {})
    if last.get(name, subnet) != subnet:
        service.stop(name)
        remove_tree(DATA / name / "network")
    update_state(networks={**last, name: subnet})
    pools = {"default-address-pools": [{"base": network.pool(subnet, name), "size": 24}]}
    service.ensure(_engine(name, _daemon_json(name, network.BRIDGES[name], registries, **pools)))


def _registry(port: int) -> Service:
    config = f"""version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: "{DATA}/registry"}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""
    command = ("docker-registry", "serve", f"{STATE}/config/registry.yml")
    return Service("registry", command, config, f"http://127.0.0.1:{port}")


def registry_port() -> int:
    """The port of the running registry, or a free one: that of last time if it can be had."""
    port = read_state().get("port")
    if not (isinstance(port, int) and service.running("registry")):
        port = machine.free_port(port if isinstance(port, int) else None)
        update_state(port=port)
    return port


def wanted_extras(asked: list[str]) -> list[str]:
    """What was asked for now, and what an earlier `up` started."""
    started = [name for name in EXTRA_ENGINES if name in read_state().get("services", {})]
    return sorted({*asked, *started})


def _make_room() -> None:
    """An engine starts empty where the disk is full, which would fail a test at a place of its own, or where its build
    cache has grown slow: what a build needs is in the registry's mirror or made again."""
    if not DATA.is_dir():
        return
    full = shutil.disk_usage(DATA).free < ROOM_NEEDED
    for data in DATA.iterdir():
        steps = data / "buildkit/cache.db"
        slow = steps.is_file() and steps.stat().st_size > STEPS_KEPT
        if (full or slow) and not service.running(data.name):
            why = f"{ROOM_NEEDED // 10**9} GB of disk are not free" if full else "its build cache has grown slow"
            say(f"{data.name}: its images and cache are deleted, {why}")
            remove_tree(data)


def _forget_images() -> None:
    """Deletes the image names that earlier runs left; containerd keeps what the build cache needs. ctr does not wait
    for its garbage collection, as Docker does for three seconds at each image."""
    pid = service.first_process("engine")
    address = f"/proc/{pid}/root/run/docker/containerd/containerd.sock"

    def ctr(*args: str) -> list[str]:
        command = [BIN / "ctr", "--address", address, "--namespace", "moby", "images", *args]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SandboxError(f"the engine's containerd does not answer: {done.stderr.strip()}")
        return done.stdout.split()

    if names := ctr("ls", "--quiet"):
        ctr("rm", *names)


@base.step("up")
@base.lock()
def up(extras: list[str]) -> None:
    machine.require_root()
    if str(STATE).startswith(("/run/", "/proc/", "/sys/", "/dev/")) or len(str(STATE)) > 80:
        raise SandboxError(f"the state directory {STATE} will not do: name another one, at most 80 characters long and "
                           "not below /run, by FATEGEN_SANDBOX")  # fmt: skip
    extras = wanted_extras(extras)

    def stop_users(root: roots.Root) -> None:
        for name in (*EXTRA_ENGINES, "engine", "registry"):
            if roots.of(name) == root.target:
                service.stop(name)

    remove_tree(TMP)
    TMP.mkdir(parents=True)
    _make_room()
    roots.build(roots.FIRST, stop_users)
    roots.install_clients()
    subnet = network.up([name for name in ("engine", *extras) if name in network.BRIDGES])
    port = registry_port()
    service.ensure(_registry(port))
    ran = service.running("engine")
    _start_engine("engine", subnet, port)
    if service.running("engine") != ran:
        _forget_images()
    network.emulate_arm64()  # needs the engine's namespace
    others = {root.target: root for name, root in roots.EXTRA_ROOTS.items() if name in extras}
    with ThreadPoolExecutor(1) as pool:
        standin_images = pool.submit(standins.build, SOCKETS["engine"], port)
        roots.build((*others.values(), *roots.SECOND), stop_users)
        standin_images.result()
    roots.install_clients()
    for name in extras:
        if name == "offline":
            service.ensure(_offline())
        else:
            _start_engine(name, subnet, port)


def _stop() -> None:
    machine.require_root()
    for name in (*EXTRA_ENGINES, "engine", "registry"):
        if service.stop(name):
            say(f"{name} stopped")
    network.down()
    network.stop_emulation()
    service.remove_cgroups()
    for name in SOCKETS.values():
        Path(name.removeprefix("unix://")).unlink(missing_ok=True)
    left = mounts_below(STATE)
    if left:
        raise SandboxError(f"still mounted: {', '.join(left)}; unmount what is yours and run `down` again")


def down(purge: bool) -> None:
    if os.geteuid() == 0 or read_state().get("services"):  # else all that there was is a registry container of `use`
        _stop()
    if purge:
        remove_tree(STATE)
        say(f"deleted {STATE}")


def address_of(name: str) -> str:
    return SOCKETS.get(name) or f"http://127.0.0.1:{read_state().get('port')}"


def parts() -> list[tuple[str, str, int | None]]:
    """(service, what is the matter or "up", pid)"""
    rows = []
    for name in ("registry", "engine", *wanted_extras([])):
        pid = service.running(name)
        state = "down" if not pid else "up" if service.answers(address_of(name)) else "does not answer"
        rows.append((name, state, pid))
    return rows
