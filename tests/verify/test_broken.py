"""Images of line 1.3 that break their contract: each is found by the check that is meant for it, with its line.

An image is two layers: one that has all that the catalogue's contract asks for, and one that breaks it.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping

import pytest

from generator.project import packaged_data
from generator.verify.checks import check
from generator.verify.layers import Content, Entry, Listing, overlaid, parse_settings
from generator.verify.results import Result
from tests.fate_plan import plan_of

HOME = "/data/projects/fate"
FILE = Entry("file", 0o644, 0, 0, 1, "")
DIRECTORY = Entry("directory", 0o755, 0, 0, 0, "")


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


def results(name: str, layer: Listing, changes: Mapping[str, object]) -> tuple[Result, ...]:
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
    checked = results(name, {}, {})
    assert [result for result in checked if not result.ok] == [] and len(checked) > 30


@pytest.mark.parametrize(("image", "change", "name", "asks", "found"), CASES, ids=[f"{c[0]} {c[2]}" for c in CASES])
def test_what_breaks_a_contract_is_found_first_with_the_line_that_asks_for_it(
    image: str, change: dict[str, object], name: str, asks: str, found: str
) -> None:
    layer = {path: entry for path, entry in change.items() if isinstance(entry, Entry)}
    settings = {key: value for key, value in change.items() if key not in layer}
    first = next(result for result in results(image, layer, settings) if not result.ok)
    assert first.check == name and found in first.found
    file, _, number = first.where.partition(":")
    lines = (packaged_data("catalogue") / file).read_text(encoding="utf-8").splitlines()
    assert asks in lines[int(number) - 1]
