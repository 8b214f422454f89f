"""Programs for another platform than their image's: what layers show of them, and what is said of an image then."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from collections.abc import Callable, Mapping

import pytest

from generator.catalogue.contract import Contract
from generator.verify.checks import check
from generator.verify.evidence import Evidence, Settings, overlaid
from generator.verify.layers import HEAD, BadLayer, Entry, LayerReader, elf_of
from generator.verify.results import Result
from tests.bundle.layouts import zstd

HERE = "c.yaml:7"
ARM = "linux/arm64"
MACHINES = {  # bits, byte order of struct, e_machine
    "amd64": (64, "<", 62),
    "arm64": (64, "<", 183),
    "arm/v7": (32, "<", 40),
    "386": (32, "<", 3),
    "ppc64le": (64, "<", 21),
    "s390x": (64, ">", 22),
    "riscv64": (64, "<", 243),
}


def head(bits: int, order: str, machine: int) -> bytes:
    """The first bytes of a program: e_ident, e_type, e_machine."""
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]) + bytes(9)
    return ident + struct.pack(f"{order}HH", 3, machine)


def program(architecture: str) -> bytes:
    return head(*MACHINES[architecture]) + b"code" * 300


def layer(files: Mapping[str, bytes | str], mode: int = 0o755) -> bytes:
    """A tar; a text is a link's target."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mode = mode
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def listed(data: bytes, step: int = 1 << 20) -> dict[str, Entry]:
    reader = LayerReader()
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
    return dict(reader.end())


def results(
    *layers: Mapping[str, bytes | str], platform: str = ARM, path: str = "", contract: Contract | None = None
) -> tuple[Result, ...]:
    """What is said of the image that these layers make."""
    settings = Settings("", "/", (), {}, {"PATH": path} if path else {}, (), ())
    files = overlaid([listed(layer(files)) for files in layers])
    return check("one", platform, contract or Contract(where=HERE), Evidence(settings, files, 0))


def one(*layers: Mapping[str, bytes | str], platform: str = ARM, path: str = "") -> tuple[bool, str]:
    """(passed, what was found) of the only check."""
    (result,) = results(*layers, platform=platform, path=path)
    assert (result.check, result.where) == ("binaries", HERE)
    return result.ok, result.found


@pytest.mark.parametrize("architecture", MACHINES)
def test_a_program_is_for_its_own_platform_and_no_other(architecture: str) -> None:
    image = {"bin/a": program(architecture)}
    for other in MACHINES:
        assert one(image, platform=f"linux/{other}")[0] == (other == architecture)


def test_it_is_told_which_program_is_for_which_platform_and_what_the_cause_may_be() -> None:
    (result,) = results({"opt/jre/bin/java": program("amd64")}, path="/opt/jre/bin:/bin")
    assert (result.expected, result.found) == ("ELF for arm64", "/opt/jre/bin/java (amd64)")
    assert "a base image has no linux/arm64" in result.next
    assert "docker buildx imagetools inspect REFERENCE" in result.next
    assert "fategen images one --external" in result.next and "<NAME>_IMAGE or BASE_REGISTRY" in result.next


def test_what_passes_has_no_next_step() -> None:
    (result,) = results({"bin/a": program("arm64")})
    assert (result.ok, result.found, result.next) == (True, "ELF for arm64", "")


def test_of_many_the_first_on_the_path_are_named() -> None:
    files = {f"{place}/{name}": program("amd64") for place in ("bin", "z") for name in "ab"}
    assert one(files, path="/z") == (False, "/z/a (amd64), /z/b (amd64), /bin/a (amd64) and 1 more")


@pytest.mark.parametrize(
    ("bits", "order", "machine", "said"),
    [
        (64, ">", 21, "64-bit MSB machine 21"),
        (64, "<", 8, "64-bit LSB machine 8"),
        (32, "<", 62, "32-bit LSB machine 62"),
    ],
)
def test_a_machine_of_no_platform_is_told_by_its_number(bits: int, order: str, machine: int, said: str) -> None:
    assert one({"bin/a": head(bits, order, machine)}, platform="linux/amd64") == (False, f"/bin/a ({said})")


def test_one_foreign_program_among_others_is_found() -> None:
    assert one({"bin/a": program("arm64"), "bin/b": program("amd64")}) == (False, "/bin/b (amd64)")


@pytest.mark.parametrize("place", ["bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "own/bin"])
def test_programs_are_looked_for_on_the_path_and_where_they_always_are(place: str) -> None:
    assert one({f"{place}/a": program("amd64")}, path="/own/bin:relative::/gone")[0] is False


def test_a_directory_of_the_path_may_be_a_link() -> None:
    image: dict[str, bytes | str] = {"opt/jre": "/usr/lib/jvm/8", "usr/lib/jvm/8/bin/java": program("amd64")}
    assert one(image, path="/opt/jre/bin") == (False, "/usr/lib/jvm/8/bin/java (amd64)")


def test_programs_elsewhere_are_nobodys_concern() -> None:
    assert results({"opt/cross/ld": program("amd64"), "bin/sub/a": program("amd64")}) == ()


def test_links_and_scripts_are_no_programs() -> None:
    assert results({"bin/sh": "/opt/sh", "opt/sh": program("amd64"), "bin/script": b"#!/bin/sh\necho ELF\n" * 9}) == ()


def test_an_interpreter_for_another_platform_is_found_through_its_links() -> None:
    image: dict[str, bytes | str] = {
        "lib64": "usr/lib64",
        "usr/lib64/ld-linux-x86-64.so.2": "../lib/x86_64-linux-gnu/ld-2.31.so",
        "usr/lib/x86_64-linux-gnu/ld-2.31.so": program("amd64"),
    }
    assert one(image) == (False, "/usr/lib64/ld-linux-x86-64.so.2 (amd64)")


@pytest.mark.parametrize("name", ["lib/ld-musl-x86_64.so.1", "lib64/ld64.so.2", "lib/ld-linux.so.2"])
def test_interpreters_have_these_names(name: str) -> None:
    assert one({name: program("amd64")}) == (False, f"/{name} (amd64)")


def test_a_second_interpreter_beside_the_platforms_own_is_no_fault() -> None:
    image = {"lib64/ld-linux-x86-64.so.2": program("amd64"), "lib/ld-linux.so.2": program("386")}
    assert one(image, platform="linux/amd64") == (True, "ELF for amd64")


def test_an_emulator_is_for_another_machine_on_purpose() -> None:
    assert one({"usr/bin/qemu-aarch64-static": program("amd64"), "bin/a": program("arm64")})[0] is True


def test_a_later_layer_replaces_a_program() -> None:
    assert one({"bin/a": program("amd64")}, {"bin/a": program("arm64")})[0] is True
    assert one({"bin/a": program("arm64")}, {"bin/a": program("amd64")})[0] is False


def test_a_program_that_a_later_layer_deletes_is_not_there() -> None:
    first = {"bin/a": program("amd64"), "bin/b": program("arm64")}
    assert one(first, {"bin/.wh.a": b""}) == (True, "ELF for arm64")


@pytest.mark.parametrize("platform", ["linux/loong64", "windows/amd64", ""])
def test_of_a_platform_that_is_not_known_nothing_is_asked(platform: str) -> None:
    assert results({"bin/a": program("386")}, platform=platform) == ()


@pytest.mark.parametrize("platform", ["linux/amd64/v3", "linux/amd64"])
def test_a_variant_has_the_programs_of_its_architecture(platform: str) -> None:
    assert one({"bin/a": program("amd64")}, platform=platform)[0] is True


def test_an_image_without_a_contract_is_held_against_nothing() -> None:
    assert results({"bin/a": program("amd64")}, contract=Contract()) == ()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd])
def test_programs_are_seen_in_layers_of_every_form(pack: Callable[[bytes], bytes]) -> None:
    found = listed(pack(layer({"bin/a": program("s390x")})))
    assert found["/bin/a"].elf == "64-bit MSB machine 22"


@pytest.mark.parametrize("step", [1, 19, 20, 511, 513, 532, 100_000])
def test_the_pieces_that_a_program_comes_in_do_not_matter(step: int) -> None:
    data = layer({"a": program("amd64"), "b": program("amd64")[:HEAD], "c": b"", "d": program("arm64")})
    found = {path: entry.elf for path, entry in listed(data, step).items()}
    amd, arm = "64-bit LSB machine 62", "64-bit LSB machine 183"
    assert found == {"/a": amd, "/b": amd, "/c": "", "/d": arm}


@pytest.mark.parametrize("content", [b"", b"\x7fELF", program("amd64")[: HEAD - 1]])
def test_a_file_that_is_too_short_is_no_program(content: bytes) -> None:
    assert listed(layer({"bin/a": content, "bin/b": program("386")}))["/bin/a"].elf == ""


def test_what_nobody_may_execute_is_not_looked_at() -> None:
    assert listed(layer({"lib/a.so": program("amd64")}, mode=0o644))["/lib/a.so"].elf == ""


def test_a_hard_link_is_the_program_that_it_is_a_name_of() -> None:
    out = io.BytesIO(layer({"bin/busybox": program("amd64")}))
    with tarfile.open(fileobj=out, mode="a") as tar:
        info = tarfile.TarInfo("bin/sh")
        info.type, info.linkname = tarfile.LNKTYPE, "bin/busybox"
        tar.addfile(info)
    assert listed(out.getvalue())["/bin/sh"].elf == "64-bit LSB machine 62"


def test_a_layer_that_ends_where_a_program_begins_is_refused() -> None:
    with pytest.raises(BadLayer, match="ends in the middle"):
        listed(layer({"a": program("amd64")})[:512])


@pytest.mark.parametrize("change", [(0, b"\0"), (4, b"\3"), (4, b"\0"), (5, b"\0")])
def test_a_head_that_no_kernel_takes_is_no_program(change: tuple[int, bytes]) -> None:
    begin, byte = change
    data = program("amd64")[:HEAD]
    assert elf_of(data[:begin] + byte + data[begin + 1 :]) == ""
