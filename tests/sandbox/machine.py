"""Facts of this machine, read at run time: its Debian mirror, CA bundle, networks; and the packages that it lacks."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path

from .base import SandboxError, run, step

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def os_release() -> dict[str, str]:
    try:
        text = Path("/etc/os-release").read_text()
    except FileNotFoundError:
        return {}
    return {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in text.splitlines())}


def _sources() -> list[tuple[str, list[str], list[str]]]:
    """(URI, suites, components) of every binary source that apt knows, in both of its file formats."""
    found = []
    folder = Path("/etc/apt/sources.list.d")
    for path in (Path("/etc/apt/sources.list"), *sorted(folder.glob("*.list"))):
        for line in path.read_text().splitlines() if path.is_file() else ():
            match = re.match(r"\s*deb\s+(?:\[[^]]*]\s*)?(\S+)\s+(\S+)\s+(.*)", line)
            if match:
                found.append((match[1], [match[2]], match[3].split()))
    for path in sorted(folder.glob("*.sources")):
        for block in re.split(r"\n\s*\n", path.read_text()):
            lines = [line for line in block.splitlines() if not line.startswith("#")]
            fields = {key.lower(): value.split() for key, _, value in (line.partition(":") for line in lines)}
            if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"]) != ["no"]:
                for uri in fields.get("uris", []):
                    found.append((uri, fields.get("suites", []), fields.get("components", [])))
    return found


def debian_mirror() -> str | None:
    """The mirror that apt uses here for Debian itself; None (mmdebstrap's own default then) on Ubuntu and others."""
    release = os_release()
    if release.get("ID") != "debian":
        return None
    names = {release.get("VERSION_CODENAME"), "stable", "oldstable", "testing", "unstable", "sid"}
    for uri, suites, components in _sources():
        if uri.startswith("mirror+file:"):  # as Debian's cloud images have it: the file lists mirrors, best first
            listed = Path(uri.removeprefix("mirror+file:"))
            uri = listed.read_text().split()[0] if listed.is_file() else ""
        if names & set(suites) and "main" in components and uri.startswith(("http://", "https://")):
            return uri.rstrip("/")
    return None


def require_root() -> None:
    if os.geteuid() != 0:
        raise SandboxError("the sandbox needs root (it mounts and makes a network bridge); run it as root", code=3)


def install_packages() -> None:
    """By apt-get, and only what is missing: after the first time nothing is run here."""
    missing = [] if shutil.which("mmdebstrap") else ["mmdebstrap"]
    if not DEBIAN_KEYRING.exists():
        missing.append("debian-archive-keyring")
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise SandboxError(f"apt-get is missing: install {' and '.join(missing)} yourself, then run the same again")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"apt-get install {' '.join(missing)}"):
        run(["apt-get", "update"], "apt", env=env)
        hint = "enable the universe component" if os_release().get("ID") == "ubuntu" else ""
        run(["apt-get", "install", "-y", "--no-install-recommends", *missing], "apt", env=env, hint=hint)


def resolv_conf() -> str:
    """Name servers that containers can reach: systemd-resolved's stub on 127.0.0.53 is not among them."""
    path = Path("/etc/resolv.conf")
    text = path.read_text() if path.exists() else ""
    behind = Path("/run/systemd/resolve/resolv.conf")
    stub_only = all(address.startswith("127.") for address in re.findall(r"^nameserver\s+(\S+)", text, re.M))
    return behind.read_text() if stub_only and behind.exists() else text


def _routes() -> list[tuple[str, ipaddress.IPv4Network]]:
    rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]

    def address(text: str) -> str:
        return socket.inet_ntoa(struct.pack("<L", int(text, 16)))

    return [(row[0], ipaddress.IPv4Network((address(row[1]), address(row[7])), strict=False)) for row in rows]


def mtu() -> int:
    """Of the interface to the outside: a bridge with larger packets would lose them there."""
    for interface, network in _routes():
        if network.prefixlen == 0:
            return int(Path(f"/sys/class/net/{interface}/mtu").read_text())
    return 1500


def free_subnet(preferred: str | None, own_bridges: tuple[str, ...]) -> str:
    """A /16 that nothing here routes to, and that holds no name server; the one of last time if it can be had. Bridges
    inside that one are our own: dockerd leaves those of `docker network create` when it ends."""
    last = ipaddress.IPv4Network(preferred) if preferred else None
    taken = [ipaddress.IPv4Network(found) for found in re.findall(r"^nameserver\s+([\d.]+)\s*$", resolv_conf(), re.M)]
    for interface, network in _routes():
        ours = interface in own_bridges or (interface.startswith("br-") and last and network.subnet_of(last))
        if network.prefixlen and not ours:
            taken.append(network)
    candidates = [preferred] if preferred else []
    candidates += [f"172.{second}.0.0/16" for second in range(31, 19, -1)]
    candidates += [f"10.{second}.0.0/16" for second in range(231, 255)]
    for candidate in candidates:
        if not any(ipaddress.IPv4Network(candidate).overlaps(network) for network in taken):
            return candidate
    raise SandboxError("no free /16 in 172.20.0.0 to 172.31.0.0 or 10.231.0.0 to 10.254.0.0; see `ip route`")


def free_port(preferred: int | None) -> int:
    for port in ([preferred] if preferred else []) + list(range(5000, 5100)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SandboxError("no free port in 5000 to 5099 on 127.0.0.1 for the registry")


def answers(command: list[str]) -> bool:
    """Whether a program can be run and ends well: for probes, where a failure is an answer."""
    try:
        return subprocess.run(command, capture_output=True, timeout=60, stdin=subprocess.DEVNULL).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
