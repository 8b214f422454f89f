"""For which platform a program is: the head of an ELF file says it (System V gABI, chapter 4, "ELF Header")."""

from __future__ import annotations

HEAD = 20
"""bytes of e_ident, e_type and e_machine"""
_BITS = {1: "32-bit", 2: "64-bit"}
_ORDERS = {1: "LSB", 2: "MSB"}
_PROGRAMS = {
    "386": "32-bit LSB machine 3",
    "ppc64le": "64-bit LSB machine 21",
    "s390x": "64-bit MSB machine 22",
    "arm": "32-bit LSB machine 40",
    "amd64": "64-bit LSB machine 62",
    "arm64": "64-bit LSB machine 183",
    "riscv64": "64-bit LSB machine 243",
}
"""e_machine of the architectures that Docker's platforms have; their variants (arm/v7, amd64/v3) have the same."""
_ARCHITECTURES = {elf: architecture for architecture, elf in _PROGRAMS.items()}


def elf_of(head: bytes) -> str:
    """What a file is that begins with these bytes: ``64-bit LSB machine 62``; "" where it is no ELF."""
    bits, order = (_BITS.get(head[4], ""), _ORDERS.get(head[5], "")) if len(head) >= HEAD else ("", "")
    if not (head.startswith(b"\x7fELF") and bits and order):
        return ""
    machine = int.from_bytes(head[18:20], "little" if order == "LSB" else "big")
    return f"{bits} {order} machine {machine}"


def elf_for(platform: str) -> str:
    """What ``elf_of`` says of a program for this platform; "" where that is not known."""
    system, _, rest = platform.partition("/")
    return _PROGRAMS.get(rest.partition("/")[0], "") if system == "linux" else ""


def architecture_of(elf: str) -> str:
    """``amd64``; what there is no word for stays as it is."""
    return _ARCHITECTURES.get(elf, elf)
