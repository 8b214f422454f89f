"""Bridges of our own, address translation for their subnet, and arm64 emulation: all that changes the machine itself.

dockerd is told to leave iptables alone: two dockerds on one machine clear each other's chains. The few rules that
containers need to reach the outside carry a comment with the sandbox's id, so exactly they are removed again."""

from __future__ import annotations

import contextlib
import ipaddress
import shlex
from pathlib import Path

from . import machine, roots
from .base import ID, SandboxError, read_state, run, update_state

OFFLINE_ADDRESS = "10.91.0.1"
"""Of the bridge in the namespace of the engine without a network."""
BRIDGES = {"engine": f"fgs{ID}a", "docker20": f"fgs{ID}b", "graphdriver": f"fgs{ID}c"}
_IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
# What ip_forward was before the first sandbox of this machine changed it; vanishes with a reboot, as the setting does.
_FORWARD_BEFORE = Path("/run/fategen-sandbox.ip_forward")
_TAG = f"fategen-sandbox-{ID}"
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_EMULATOR = f"fategen-{ID}"
# magic and mask of a 64-bit little-endian ELF for AArch64, as qemu's own qemu-binfmt-conf.sh has them
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def _in_root(*command: str) -> str:
    """With the root's own programs: the machine need not have iproute2 or iptables."""
    return run(["chroot", roots.ENGINE, *command], "network")


def _rules(subnet: str) -> list[tuple[str, str, list[str]]]:
    """(table, chain, rule)"""
    tag = ["-m", "comment", "--comment", _TAG]
    return [
        ("nat", "POSTROUTING", ["-s", subnet, "!", "-d", subnet, *tag, "-j", "MASQUERADE"]),
        ("filter", "FORWARD", ["-s", subnet, *tag, "-j", "ACCEPT"]),
        ("filter", "FORWARD", ["-d", subnet, *tag, "-j", "ACCEPT"]),
    ]


def _iptables() -> str:
    """The kind that this kernel has: a rule in one of the two is not seen by the other, but both work."""
    for kind in ("iptables-nft", "iptables-legacy"):
        if machine.answers(["chroot", str(roots.ENGINE), kind, "-t", "nat", "-S"]):
            return kind
    raise SandboxError("iptables does not work on this kernel (no nat table): containers could not reach the network")


def gateway(subnet: str, engine: str) -> str:
    """The bridge's own address with its prefix: the first /24 of the subnet for one engine, the second for the next."""
    first, second, *_ = subnet.split(".")
    return f"{first}.{second}.{list(BRIDGES).index(engine)}.1/24"


def mac(address: str) -> str:
    """An address for the bridge as Docker gives its own: 02:42 and the IPv4 address."""
    return ":".join(["02", "42", *(f"{int(part):02x}" for part in address.partition("/")[0].split("."))])


def pool(subnet: str, engine: str) -> str:
    """Where `docker network create` takes its subnets from: inside ours, so that the same rules serve them."""
    first, second, *_ = subnet.split(".")
    return f"{first}.{second}.{64 * (list(BRIDGES).index(engine) + 1)}.0/18"


def up(engines: list[str]) -> str:
    """Bridges, rules and forwarding; returns the subnet. Can be repeated."""
    subnet = machine.free_subnet(read_state().get("subnet"), tuple(BRIDGES.values()))
    kind = _iptables()
    update_state(subnet=subnet, iptables=kind)
    for engine in engines:
        bridge, address = BRIDGES[engine], gateway(subnet, engine)
        if not Path(f"/sys/class/net/{bridge}").exists():
            _in_root("ip", "link", "add", bridge, "mtu", str(machine.mtu()), "type", "bridge")
        if address not in _in_root("ip", "-o", "-4", "addr", "show", "dev", bridge):
            _in_root("ip", "addr", "flush", "dev", bridge)
            _in_root("ip", "addr", "add", address, "dev", bridge)
        # a bridge without an address of its own takes a port's, another one with each container that comes or goes: to
        # the others the gateway was gone until they asked for it anew (builds: "connection timed out")
        _in_root("ip", "link", "set", bridge, "address", mac(address), "up")
    for table, chain, rule in _rules(subnet):
        if not machine.answers(["chroot", str(roots.ENGINE), kind, "-t", table, "-C", chain, *rule]):
            _in_root(kind, "-w", "-t", table, "-I", chain, *rule)
    if _IP_FORWARD.read_text().strip() == "0":
        _FORWARD_BEFORE.write_text("0\n")
        _IP_FORWARD.write_text("1\n")
    return subnet


def _bridges() -> list[str]:
    """Ours, and those that `docker network create` made inside our subnet: dockerd leaves them when it ends."""
    found = [bridge for bridge in BRIDGES.values() if Path(f"/sys/class/net/{bridge}").exists()]
    subnet = read_state().get("subnet")
    for line in _in_root("ip", "-o", "-4", "addr", "show").splitlines() if subnet else ():
        _, interface, _, address, *_ = line.split()
        inside = ipaddress.IPv4Interface(address).ip in ipaddress.IPv4Network(subnet)
        if interface.startswith("br-") and inside:
            found.append(interface)
    return found


def down() -> None:
    if roots.ENGINE.exists():
        kind = read_state().get("iptables", "iptables-nft")
        for table in ("nat", "filter"):
            with contextlib.suppress(SandboxError):  # no such table: nothing of ours in it
                for line in _in_root(kind, "-t", table, "-S").splitlines():
                    if _TAG in line:
                        _in_root(kind, "-w", "-t", table, "-D", *shlex.split(line)[1:])
        for bridge in _bridges():
            _in_root("ip", "link", "delete", bridge)
    others = [path for path in Path("/sys/class/net").glob("fgs*") if path.name not in BRIDGES.values()]
    if _FORWARD_BEFORE.exists() and not others:
        _IP_FORWARD.write_text(_FORWARD_BEFORE.read_text())
        _FORWARD_BEFORE.unlink()


def _binfmt(script: str) -> str:
    """Runs a line of sh where binfmt_misc is mounted: in a namespace of its own, unless the machine has it mounted."""
    if (_BINFMT / "register").exists():
        return run(["sh", "-c", script], "network")
    mount = f"mount -t binfmt_misc binfmt_misc {_BINFMT}"
    return run(["unshare", "--mount", "--propagation", "private", "sh", "-c", f"{mount} && {script}"], "network")


def emulation() -> bool:
    """Whether our own entry is registered: under its own name, so an entry that the machine has is left as it is."""
    return _binfmt(f"test ! -e {_BINFMT}/{_EMULATOR} || echo yes").strip() == "yes"


def emulate_arm64() -> None:
    """The flag F opens the interpreter now, so that it also serves where its path does not exist: in containers."""
    if not emulation():
        entry = f":{_EMULATOR}:M::{_MAGIC}:{_MASK}:{roots.QEMU}:F"
        _binfmt(f"printf %s {shlex.quote(entry)} > {_BINFMT}/register")


def stop_emulation() -> None:
    if emulation():
        _binfmt(f"echo -1 > {_BINFMT}/{_EMULATOR}")
