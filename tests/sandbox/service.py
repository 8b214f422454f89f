"""The long-running parts. Each is one process tree in its own pid and mount namespace (enter.sh): when the first
process of a namespace ends, even by SIGKILL, the kernel ends all others in it and drops its mounts. So one recorded pid
is enough to stop an engine with its containerd, shims and containers, and nothing is left behind half running."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import machine, roots
from .base import DATA, HERE, ID, LOGS, STATE, SandboxError, digest, read_state, say, step, update_state

PROXIES = ("http_proxy", "https_proxy", "no_proxy")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Service:
    name: str
    command: tuple[str, ...]
    config: str  # the content of its configuration file, so that a change is seen
    address: str  # unix:///path or http://host:port
    isolated: bool = False  # in a network namespace of its own

    @property
    def config_path(self) -> Path:
        return STATE / "config" / f"{self.name}.{'json' if self.config.startswith('{') else 'yml'}"

    @property
    def recipe(self) -> str:
        known = (*roots.FIRST, *roots.SECOND, *roots.EXTRA_ROOTS.values())
        stamp = next(root.recipe for root in known if root.target == roots.of(self.name))
        return digest(stamp, self.command, self.config, (HERE / "enter.sh").read_text(), machine.resolv_conf())


def start_time(pid: int) -> str | None:
    """When a process started, in clock ticks since boot: with the pid it names one process for good. None: it is gone,
    or only waits for its parent to ask how it ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            if stat.read_text().rpartition(")")[2].split()[1] == str(pid):
                found.append(int(stat.parent.name))
    return found


def running(name: str) -> int | None:
    """The pid of a service that we started and that still runs: a pid that another process has by now is not ours."""
    record: dict[str, Any] = read_state().get("services", {}).get(name, {})
    pid, start = record.get("pid"), record.get("start")
    return pid if isinstance(pid, int) and start and start_time(pid) == start else None


def first_process(name: str) -> int:
    """The first process of a running service's own namespaces, whose root is the service's."""
    (pid,) = _children(running(name) or 0)
    return pid


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(5)
        self.sock.connect(self._path)


def request(address: str, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> int | None:
    """The HTTP status of an answer, or None: for an engine on a socket or a registry on a port."""
    connection: http.client.HTTPConnection
    if address.startswith("unix://"):
        connection = _UnixConnection(address.removeprefix("unix://"))
    else:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=5)
    try:
        connection.request(method, path, headers=headers or {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def answers(address: str) -> bool:
    """Whether the engine or the registry at an address does."""
    return request(address, "/_ping" if address.startswith("unix://") else "/v2/") == 200


def before(name: str) -> Path:
    """The log of the run before this one: why it ended, if it was not us."""
    return LOGS / f"{name}.before.log"


def start(service: Service) -> None:
    root = roots.of(service.name)
    roots.prepare(root)
    service.config_path.parent.mkdir(parents=True, exist_ok=True)
    service.config_path.write_text(service.config)
    (DATA / service.name).mkdir(parents=True, exist_ok=True)
    if service.address.startswith("unix://"):
        Path(service.address.removeprefix("unix://")).unlink(missing_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{service.name}.log"
    if log.exists():
        log.rename(before(service.name))
    network = ("--net",) if service.isolated else ()
    enter = ("unshare", *network, "--mount", "--pid", "--fork", "--kill-child", "--propagation", "slave",
             "sh", str(HERE / "enter.sh"), str(root), str(STATE))  # fmt: skip
    proxies = {name: value for name, value in os.environ.items() if name.lower() in PROXIES}
    with step(f"{service.name} started"):
        with log.open("a") as output:
            process = subprocess.Popen(
                [*enter, *service.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # an interrupt of `up` does not reach it
                cwd="/",
                env={"PATH": SYSTEM_PATH, "HOME": "/root", **proxies},
            )
        services = read_state().get("services", {})
        record = {"pid": process.pid, "start": start_time(process.pid), "recipe": service.recipe}
        update_state(services={**services, service.name: record})
        deadline = time.monotonic() + 60
        while not answers(service.address):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join("  | " + line for line in log.read_text(errors="replace").splitlines()[-8:])
                what = "did not answer in 60 s" if process.poll() is None else "ended at once"
                stop(service.name)
                raise SandboxError(f"{service.name} {what}\n{tail}\n  full log: {log}")
            time.sleep(0.05)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _gone(pid: int, seconds: float) -> bool:
    """Waits. A process that this very run started must be reaped too, or it stays in /proc as a zombie."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if start_time(pid) is None:
            return True
        time.sleep(0.05)
    return False


def stop(name: str) -> bool:
    """SIGTERM for the first process of the namespace (tini hands it on; dockerd then stops its containers), SIGKILL
    after 20 s. Says whether there was something to stop."""
    pid = running(name)
    if pid is not None:
        for init in _children(pid):
            _signal(init, signal.SIGTERM)
        if not _gone(pid, 20):
            for process in (*_children(pid), pid):  # the kernel then ends all that is in the namespace
                _signal(process, signal.SIGKILL)
            if not _gone(pid, 10):
                raise SandboxError(f"{name} (pid {pid}) does not end; see {LOGS}/{name}.log and `ps -fp {pid}`")
    services = read_state().get("services", {})
    if services.pop(name, None) is not None:
        update_state(services=services)
    return pid is not None


def _ready_soon(service: Service) -> bool:
    """It may just be starting again after a crash (enter.sh)."""
    deadline = time.monotonic() + 5
    while not answers(service.address):
        if time.monotonic() > deadline or not running(service.name):
            return False
        time.sleep(0.1)
    return True


def ensure(service: Service) -> None:
    """Leaves it alone when it runs, answers, and is what this version of the code would start."""
    record = read_state().get("services", {}).get(service.name, {})
    if running(service.name) and record.get("recipe") == service.recipe and _ready_soon(service):
        return
    if stop(service.name):
        say(f"{service.name} did not answer or is out of date, and is started again")
    elif record:
        say(f"{service.name} ended by itself or was killed, and is started again; its log: {before(service.name)}")
    start(service)


def remove_cgroups() -> None:
    """Containers that were killed with their engine leave empty cgroups; ours are all below one parent."""
    tops = [*Path("/sys/fs/cgroup").glob(f"fategen-{ID}"), *Path("/sys/fs/cgroup").glob(f"*/fategen-{ID}")]
    for top in tops:
        for directory, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):  # one that still holds a process is not ours to remove
                Path(directory).rmdir()
