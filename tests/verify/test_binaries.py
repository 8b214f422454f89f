"""Programs for another platform than their image's: what layers show of them, and what is said of an image then."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from generator.catalogue.contract import Contract
from generator.verify.checks import check
from generator.verify.layers import HEAD, Content, Entry, Room, Settings, elf_of, overlaid, read_layer
from generator.verify.results import Result
from tests.bundle.tars import member, pax, tar

HERE = "c.yaml:7"
MACHINES = {  # bits, byte order of struct, e_machine
    "amd64": (64, "<", 62),
    "arm64": (64, "<", 183),
    "arm/v7": (32, "<", 40),
    "386": (32, "<", 3),
    "ppc64le": (64, "<", 21),
    "s390x": (64, ">", 22),
    "riscv64": (64, "<", 243),
}
Files = Mapping[str, bytes | str]
"""path -> content, or as a text the target of a link"""


def head(bits: int, order: str, machine: int) -> bytes:
    """The first bytes of a program: e_ident, e_type, e_machine."""
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]) + bytes(9)
    return ident + struct.pack(f"{order}HH", 3, machine)


def program(architecture: str) -> bytes:
    return head(*MACHINES[architecture]) + b"code" * 300


AMD, ARM = program("amd64"), program("arm64")


def listed(data: bytes, step: int = 1 << 20) -> Mapping[str, Entry]:
    return read_layer((data[start : start + step] for start in range(0, len(data), step)), Room(1 << 20))[1]


def results(*layers: Files, platform: str = "linux/arm64", path: str = "", where: str = HERE) -> tuple[Result, ...]:
    """What is said of the image that these layers make."""
    settings = Settings("", "/", (), {}, {"PATH": path} if path else {}, (), ())
    files = overlaid([listed(tar(files, mode=0o755)) for files in layers])
    return check("one", platform, Contract(where=where), Content(settings, files, 0))


@pytest.mark.parametrize("architecture", MACHINES)
def test_a_program_is_for_its_own_platform_and_no_other(architecture: str) -> None:
    for other in MACHINES:
        (result,) = results({"bin/a": program(architecture)}, platform=f"linux/{other}")
        assert result.ok == (other == architecture)


def test_a_failure_names_the_program_its_platform_and_the_likely_cause() -> None:
    (result,) = results({"opt/jre/bin/java": AMD}, path="/opt/jre/bin:/bin")
    assert (result.check, result.where) == ("binaries", HERE)
    assert (result.expected, result.found) == ("ELF for arm64", "/opt/jre/bin/java (amd64)")
    assert "a base image has no linux/arm64" in result.next
    assert "docker buildx imagetools inspect REFERENCE" in result.next
    assert "fategen images one --external" in result.next and "<NAME>_IMAGE or BASE_REGISTRY" in result.next


INTERPRETER = {
    "lib64": "usr/lib64",
    "usr/lib64/ld-linux-x86-64.so.2": "../lib/x86_64-linux-gnu/ld-2.31.so",
    "usr/lib/x86_64-linux-gnu/ld-2.31.so": AMD,
}
CASES: dict[str, tuple[list[Files], str, str | None]] = {
    # layers, architecture of the platform, what is found: "" if all is right, None if nothing is looked at
    "the first on the PATH are named": (
        [{f"{place}/{name}": AMD for place in ("bin", "z") for name in "ab"}], "arm64",
        "/z/a (amd64), /z/b (amd64), /bin/a (amd64) and 1 more"),
    "a machine of no platform has a number": ([{"bin/a": head(64, ">", 21)}], "arm64",
                                              "/bin/a (64-bit MSB machine 21)"),
    "another": ([{"bin/a": head(64, "<", 8)}], "arm64", "/bin/a (64-bit LSB machine 8)"),
    "bits count": ([{"bin/a": head(32, "<", 62)}], "arm64", "/bin/a (32-bit LSB machine 62)"),
    "one among others": ([{"bin/a": ARM, "bin/b": AMD}], "arm64", "/bin/b (amd64)"),
    **{f"in {place}": ([{f"{place}/a": AMD}], "arm64", f"/{place}/a (amd64)")
       for place in ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "z")},
    "a directory of the PATH may be a link": ([{"z": "/usr/jvm", "usr/jvm/java": AMD}], "arm64",
                                              "/usr/jvm/java (amd64)"),
    "an interpreter through its links": ([INTERPRETER], "arm64", "/usr/lib64/ld-linux-x86-64.so.2 (amd64)"),
    **{f"the interpreter {name}": ([{name: AMD}], "arm64", f"/{name} (amd64)")
       for name in ("lib/ld-musl-x86_64.so.1", "lib64/ld64.so.2", "lib/ld-linux.so.2")},
    "a later layer replaces a program": ([{"bin/a": ARM}, {"bin/a": AMD}], "arm64", "/bin/a (amd64)"),
    "its own": ([{"bin/a": ARM}], "arm64", ""),
    "a variant": ([{"bin/a": AMD}], "amd64/v3", ""),
    "a second interpreter": ([{"lib64/ld-linux-x86-64.so.2": AMD, "lib/ld-linux.so.2": program("386")}], "amd64", ""),
    "an emulator": ([{"usr/bin/qemu-aarch64-static": AMD, "bin/a": ARM}], "arm64", ""),
    "replaced": ([{"bin/a": AMD}, {"bin/a": ARM}], "arm64", ""),
    "deleted": ([{"bin/a": AMD, "bin/b": ARM}, {"bin/.wh.a": b""}], "arm64", ""),
    "elsewhere": ([{"opt/cross/ld": AMD, "bin/sub/a": AMD}], "arm64", None),
    "links and scripts": ([{"bin/sh": "/opt/sh", "opt/sh": AMD, "bin/script": b"#!/bin/sh\necho ELF\n" * 9}], "arm64",
                          None),
    "unknown architecture": ([{"bin/a": AMD}], "loong64", None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_for_another_platform_is_found_and_nothing_else(name: str) -> None:
    layers, architecture, found = CASES[name]
    said = results(*layers, platform=f"linux/{architecture}", path="/z:relative::/gone")
    expected = (not found, found or f"ELF for {architecture}")
    assert [(result.ok, result.found) for result in said] == ([] if found is None else [expected])
    assert all(bool(result.next) == bool(found) for result in said)


@pytest.mark.parametrize(
    ("platform", "where"),
    [("windows/amd64", HERE), ("", HERE), ("linux/arm64", "")],
    ids=["unknown system", "no platform", "no contract"],
)
def test_what_is_not_looked_at_gives_no_result(platform: str, where: str) -> None:
    assert results({"bin/a": AMD}, platform=platform, where=where) == ()


@pytest.mark.parametrize("step", [1, 19, 20, 511, 513, 532, 100_000])
def test_the_pieces_that_a_program_comes_in_do_not_matter(step: int) -> None:
    data = tar({"a": AMD, "b": AMD[:HEAD], "c": b"", "d": ARM, "e": b"\x7fELF", "f": AMD[: HEAD - 1]},
               pax(path="l/" + "g" * 200) + member("l", b"y"), mode=0o755)  # fmt: skip
    elf = {path: entry.elf for path, entry in listed(data, step).items()}
    assert elf == {"/a": "amd64", "/b": "amd64", "/c": "", "/d": "arm64", "/e": "", "/f": "", "/l/" + "g" * 200: ""}


def test_what_nobody_may_execute_is_not_looked_at() -> None:
    assert listed(tar({"lib/a.so": AMD}))["/lib/a.so"].elf == ""


@pytest.mark.parametrize("change", [(0, b"\0"), (4, b"\3"), (4, b"\0"), (5, b"\0")])
def test_a_head_that_no_kernel_takes_is_no_program(change: tuple[int, bytes]) -> None:
    begin, byte = change
    assert elf_of(AMD[:begin] + byte + AMD[begin + 1 : HEAD]) == ""
