"""Checks that need no start: of made-up content, of programs in layers, of images of line 1.3 and what breaks them."""

from __future__ import annotations

import json
import posixpath
import re
import struct
from collections.abc import Mapping

import pytest

from generator.catalogue.contract import Contract, File, Item, Named
from generator.project import packaged_data
from generator.verify.checks import check, matching
from generator.verify.layers import (
    HEAD,
    Content,
    Entry,
    Listing,
    Room,
    Settings,
    elf_of,
    overlaid,
    parse_settings,
    read_layer,
)
from generator.verify.results import Result
from tests.bundle.tars import member, pax, tar
from tests.fate_plan import plan_of

HERE = "c.yaml:7"
FILE = Entry("file", 0o644, 0, 0, 10, "")
DIRECTORY = Entry("directory", 0o755, 0, 0, 0, "")
SETTINGS = Settings(
    user="",
    workdir="/app",
    ports=("80/tcp",),
    labels={"title": "one"},
    environment={"PATH": "/venv/bin:/bin"},
    command=("run", "a b"),
    entrypoint=(),
)
FILES = {
    "/app": DIRECTORY,
    "/app/a.conf": FILE,
    "/app/b.conf": FILE._replace(uid=5),
    "/app/now": Entry("link", 0o777, 0, 0, 0, "a.conf"),
    "/app/dead": Entry("link", 0o777, 0, 0, 0, "gone"),
    "/tmp/empty": DIRECTORY,
    "/usr/bin/su": FILE._replace(mode=0o4755),
    "/usr/bin/env": FILE._replace(mode=0o2755, gid=42),
    "/var/mail": Entry("directory", 0o2775, 0, 8, 0, ""),  # a directory with that bit is an ordinary thing
}


def results(contract: Contract) -> tuple[Result, ...]:
    return check("one", "linux/amd64", contract, Content(SETTINGS, FILES, 25_000_000))


def one(contract: Contract) -> tuple[bool, str]:
    """(passed, what was found) of the only check that a contract makes."""
    (result,) = results(contract)
    assert (result.image, result.platform, result.where) == ("one", "linux/amd64", HERE)
    return result.ok, result.found


def file(name: str, type: str = "", mode: str = "", owner: str = "", target: str = "") -> Contract:
    return Contract(files=(File(name, type, mode, owner, target, HERE),))


def ports(*names: str) -> Contract:
    return Contract(ports=Named("ports", tuple(Item(name, HERE) for name in names), HERE))


def setuid(*names: str) -> Contract:
    return Contract(setuid=Named("setuid", tuple(Item(name, HERE) for name in names), HERE))


def test_a_contract_that_asks_for_nothing_checks_nothing() -> None:
    assert results(Contract()) == ()


@pytest.mark.parametrize(
    ("ok", "contract", "found"),
    [
        (True, Contract(command=Named("command", ("run", "a b"), HERE)), '["run", "a b"]'),
        (True, Contract(entrypoint=Named("entrypoint", (), HERE)), "none"),
        (True, Contract(workdir=Item("/app", HERE)), "/app"),
        (True, Contract(user=Item("", HERE)), "root"),
        (True, ports("80"), "80/tcp"),
        (True, ports("80/tcp"), "80/tcp"),
        (True, Contract(labels=(Named("title", "one", HERE),)), "one"),
        (True, Contract(environment=(Named("PATH", "*:/bin", HERE),)), "/venv/bin:/bin"),
        (True, file("/app"), "there"),
        (True, file("/app/a.conf", "file", "0644", "0:0"), "file, mode 644, owner 0:0"),
        (True, file("/app/now", "link", target="*.conf"), "link, to *.conf"),
        (True, file("/app/now", "file"), "file"),
        (True, file("/app/*.conf", "file"), "file"),
        (True, Contract(mounted=(Named("/app", "directory", HERE),)), "directory"),
        (True, Contract(absent=(Named("/root/**", "a cache", HERE),)), "not there"),
        (True, Contract(absent=(Named("/tmp/**", "a leftover", HERE),)), "not there"),
        (True, setuid("/usr/bin/*"), "only the allowed ones"),
        (True, Contract(size=Item("25 MB", HERE)), "25 MB"),
        (True, Contract(size=Item("1GB", HERE)), "25 MB"),
        (False, Contract(command=Named("command", ("run", "a", "b"), HERE)), '["run", "a b"]'),
        (False, Contract(entrypoint=Named("entrypoint", ("tini",), HERE)), "none"),
        (False, Contract(workdir=Item("/", HERE)), "/app"),
        (False, Contract(user=Item("fate", HERE)), "root"),
        (False, ports("80", "81"), "80/tcp"),
        (False, ports("80/udp"), "80/tcp"),
        (False, ports(), "80/tcp"),
        (False, Contract(labels=(Named("title", "two", HERE),)), "one"),
        (False, Contract(labels=(Named("version", "*", HERE),)), "not set"),
        (False, Contract(environment=(Named("PATH", "/bin", HERE),)), "/venv/bin:/bin"),
        (False, file("/app/c.conf"), "not there"),
        (False, file("/app/*.xml"), "not there"),
        (False, file("/app", "file"), "directory"),
        (False, file("/app/a.conf", "directory"), "file"),
        (False, file("/app/a.conf", mode="600"), "file, mode 644"),
        (False, file("/app/b.conf", "file", owner="0:0"), "file, owner 5:0"),
        (False, file("/app/*.conf", owner="0:0"), "/app/b.conf: file, owner 5:0"),
        (False, file("/app/now", target="b.conf"), "link, to a.conf"),
        (False, file("/app/dead", "file"), "a link to gone, which does not exist"),
        (False, Contract(mounted=(Named("/app/a.conf", "directory", HERE),)), "file"),
        (False, Contract(absent=(Named("/app/*.conf", "", HERE),)), "/app/a.conf, /app/b.conf"),
        (False, Contract(absent=(Named("/app/now", "", HERE),)), "/app/now"),
        (False, Contract(absent=(Named("/tmp/*", "", HERE),)), "/tmp/empty"),
        (False, setuid("/usr/bin/su"), "/usr/bin/env (mode 2755, owner 0:42)"),
        (False, setuid(), "/usr/bin/env (mode 2755, owner 0:42), /usr/bin/su (mode 4755, owner 0:0)"),
        (False, Contract(size=Item("24 MB", HERE)), "25 MB"),
    ],
)
def test_each_check_passes_or_fails_and_says_what_is_there(ok: bool, contract: Contract, found: str) -> None:
    assert one(contract) == (ok, found)


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("/a/*.cc", ["/a/x.cc"]),
        ("/a/**/*.cc", ["/a/b/c/z.cc", "/a/b/y.cc", "/a/x.cc"]),
        ("/a/?/*", ["/a/b/y.cc"]),
        ("/bin/gcc*", ["/usr/bin/gcc-12"]),
    ],
)
def test_a_star_stops_at_a_slash_two_do_not_and_a_directory_may_be_a_link(pattern: str, paths: list[str]) -> None:
    files = dict.fromkeys(["/a/x.cc", "/a/b/y.cc", "/a/b/c/z.cc", "/b/x.cc", "/usr/bin", "/usr/bin/gcc-12"], FILE)
    link = Entry("link", 0o777, 0, 0, 0, "usr/bin")
    assert matching(pattern, Content(SETTINGS, {**files, "/bin": link}, 0)) == paths


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


def said_of(*layers: Files, platform: str = "linux/arm64", path: str = "", where: str = HERE) -> tuple[Result, ...]:
    """What is said of the image that these layers make."""
    settings = Settings("", "/", (), {}, {"PATH": path} if path else {}, (), ())
    files = overlaid([listed(tar(files, mode=0o755)) for files in layers])
    return check("one", platform, Contract(where=where), Content(settings, files, 0))


@pytest.mark.parametrize("architecture", MACHINES)
def test_a_program_is_for_its_own_platform_and_no_other(architecture: str) -> None:
    for other in MACHINES:
        (result,) = said_of({"bin/a": program(architecture)}, platform=f"linux/{other}")
        assert result.ok == (other == architecture)


def test_a_failure_names_the_program_its_platform_and_the_likely_cause() -> None:
    (result,) = said_of({"opt/jre/bin/java": AMD}, path="/opt/jre/bin:/bin")
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
PROGRAMS: dict[str, tuple[list[Files], str, str | None]] = {
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


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_for_another_platform_is_found_and_nothing_else(name: str) -> None:
    layers, architecture, found = PROGRAMS[name]
    said = said_of(*layers, platform=f"linux/{architecture}", path="/z:relative::/gone")
    expected = (not found, found or f"ELF for {architecture}")
    assert [(result.ok, result.found) for result in said] == ([] if found is None else [expected])
    assert all(result.expected == f"ELF for {architecture}" for result in said)
    assert all(bool(result.next) == bool(found) for result in said)


@pytest.mark.parametrize(
    ("platform", "where"),
    [("windows/amd64", HERE), ("", HERE), ("linux/arm64", "")],
    ids=["unknown system", "no platform", "no contract"],
)
def test_what_is_not_looked_at_gives_no_result(platform: str, where: str) -> None:
    assert said_of({"bin/a": AMD}, platform=platform, where=where) == ()


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


# An image of line 1.3 is two layers: one that has all that the catalogue's contract asks for, and one that breaks it.
HOME = "/data/projects/fate"


def added(path: str) -> Listing:
    return {path: FILE}


def removed(path: str) -> Listing:
    directory, _, name = path.rpartition("/")
    return {f"{directory}/.wh.{name}": FILE}


CASES: list[tuple[str, Listing | dict[str, object], str, str, str]] = [
    # image, layer or settings that break it, the check that fails first, its line, what it found
    ("federation", removed(f"{HOME}/federation/conf/log4j2.properties"),
     f"file: {HOME}/federation/conf/log4j2.properties", "conf/log4j2.properties: {type: file}", "not there"),
    ("proxy", removed(f"{HOME}/proxy/conf/route_table.json"),
     f"mounted over: {HOME}/proxy/conf/route_table.json", "conf/route_table.json: file", "not there"),
    ("roll", {f"{HOME}/roll/conf/roll.properties": FILE._replace(uid=1000, gid=1000)},
     f"file: {HOME}/roll/conf/*", 'conf/*: {type: file, mode: "644", owner: "0:0"}',
     f"{HOME}/roll/conf/roll.properties: file, mode 644, owner 1000:1000"),
    ("meta-service", {f"{HOME}/meta-service/lib/a.jar": FILE._replace(mode=0o666)},
     f"file: {HOME}/meta-service/lib/*.jar", 'lib/*.jar: {type: file, mode: "644", owner: "0:0"}', ""),
    ("fateboard", {"/usr/bin/env": FILE._replace(mode=0o4755)},
     "setuid and setgid", "setuid:", "/usr/bin/env (mode 4755, owner 0:0)"),
    ("egg", added("/usr/local/bin/start-egg"),
     "file: /usr/local/bin/start-egg", "/usr/local/bin/start-egg: {type: file", "file, mode 644, owner 0:0"),
    ("python", added(f"{HOME}/python/eggroll/conf"),
     f"mounted over: {HOME}/python/eggroll/conf", "eggroll/conf: directory", "file"),
    ("base-image", removed("/data/projects/python/requirements.txt"),
     "file: /data/projects/python/requirements.txt", "/data/projects/python/requirements.txt: {type: file", ""),
    ("proxy", {"ExposedPorts": {"22/tcp": {}, "9370/tcp": {}}}, "exposed ports", 'port: "9370"', "22/tcp 9370/tcp"),
    ("roll", {"Cmd": ["java", "-jar", "roll.jar"]}, "command", "command: [java, -cp", ""),
    ("meta-service", {"Entrypoint": ["sh", "-c"]}, "entrypoint", "entrypoint: []", ""),
    ("fateboard", {"WorkingDir": "/tmp"}, "workdir", "workdir: /data/projects/fate/${i", ""),
    ("egg", {"User": "nobody"}, "user", 'user: ""', ""),
    ("python", {"Labels": {"org.opencontainers.image.title": "egg"}},
     "label org.opencontainers.image.title", "org.opencontainers.image.title: ${image}", "egg"),
    ("base-image", {"Env": ["PATH=/data/projects/python/venv/bin:", "venv_dir=/venv"]},
     "environment venv_dir", "venv_dir: /data/projects/python/venv", "/venv"),
    ("federation", removed(f"{HOME}/federation/fate-federation-x.jar"),
     f"file: {HOME}/federation/fate-federation-*.jar", "fate-federation-*.jar: {type: file", "not there"),
    ("proxy", added(f"{HOME}/proxy/fate-proxy.jar"),
     f"file: {HOME}/proxy/fate-proxy.jar", 'fate-proxy.jar: {type: link, target: "fate-proxy-*.jar"}', "file"),
    ("roll", added("/run/secrets/netrc"),
     "absent: /run/secrets/**", "/run/secrets/**: a build secret", "/run/secrets/netrc"),
    ("meta-service", added("/opt/maven/settings.xml"),
     "absent: /**/settings.xml", "/**/settings.xml: Maven's settings", ""),
    ("fateboard", added("/var/lib/apt/lists/deb.debian.org_debian_dists_trixie_InRelease"),
     "absent: /var/lib/apt/lists/*_*", "/var/lib/apt/lists/*_*: apt's lists", ""),
    ("egg", added(f"{HOME}/eggroll/storage-service-cxx/storage-service.cc"),
     f"absent: {HOME}/eggroll/storage-service-cxx/**/*.cc", "storage-service-cxx/**/*.cc: sources of", ""),
    ("python", added("/usr/bin/x86_64-linux-gnu-gcc-10"),
     "absent: /usr/bin/*gcc*", "/usr/bin/*gcc*: a compiler", ""),
    ("base-image", added("/root/.cache/pip/http/1"), "absent: /root/.cache/**", "/root/.cache/**: a build cache", ""),
]  # fmt: skip


def without_signs(pattern: str) -> str:
    return re.sub(r"\*\*/|\*\*|\*|\?", lambda sign: "" if sign[0] == "**/" else "x", pattern)


def broken(name: str, layer: Listing, changes: Mapping[str, object]) -> tuple[Result, ...]:
    """Of the image that has all that its contract asks for, changed by a layer and by settings."""
    contract = next(target for target in plan_of(platforms=("linux/amd64",)).targets if target.name == name).contract
    files: dict[str, Entry] = {}
    for file in contract.files:
        uid, gid = (int(number) for number in (file.owner or "0:0").split(":"))
        kind, target = file.type or ("link" if file.target else "file"), without_signs(file.target)
        path = posixpath.normpath(without_signs(file.name))
        files[path] = Entry(kind, int(file.mode or "644", 8), uid, gid, 1, target)
    for pair in contract.mounted:
        files.setdefault(pair.name, DIRECTORY if pair.value == "directory" else FILE)
    config: dict[str, object] = {
        "User": contract.user.name if contract.user else "",
        "WorkingDir": contract.workdir.name if contract.workdir else "/",
        "ExposedPorts": {f"{port.name}/tcp": {} for port in contract.ports.value} if contract.ports else {},
        "Cmd": list(contract.command.value) if contract.command else None,
        "Entrypoint": list(contract.entrypoint.value) if contract.entrypoint else None,
        "Labels": {label.name: label.value.replace("*", "x") for label in contract.labels},
        "Env": [f"{variable.name}={variable.value.replace('*', 'x')}" for variable in contract.environment],
    }
    labels = {**config["Labels"], **changes.get("Labels", {})}  # type: ignore[dict-item]
    data = json.dumps({"config": {**config, **changes, "Labels": labels}}).encode()
    return check(name, "linux/amd64", contract, Content(parse_settings(data), overlaid([files, layer]), 0))


@pytest.mark.parametrize("name", sorted({case[0] for case in CASES}))
def test_an_image_that_has_all_that_its_contract_asks_for_passes(name: str) -> None:
    checked = broken(name, {}, {})
    assert [result for result in checked if not result.ok] == [] and len(checked) > 30


@pytest.mark.parametrize(("image", "change", "name", "asks", "found"), CASES, ids=[f"{c[0]} {c[2]}" for c in CASES])
def test_what_breaks_a_contract_is_found_first_with_the_line_that_asks_for_it(
    image: str, change: dict[str, object], name: str, asks: str, found: str
) -> None:
    layer = {path: entry for path, entry in change.items() if isinstance(entry, Entry)}
    settings = {key: value for key, value in change.items() if key not in layer}
    first = next(result for result in broken(image, layer, settings) if not result.ok)
    assert first.check == name and found in first.found
    file, _, number = first.where.partition(":")
    lines = (packaged_data("catalogue") / file).read_text(encoding="utf-8").splitlines()
    assert asks in lines[int(number) - 1]
