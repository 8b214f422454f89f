"""Images of line 1.3 that break their contract: each is found by the check that is meant for it, with its line.

An image is two layers in memory: one that has all that the catalogue's contract asks for, and one that breaks it.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from generator.catalogue.contract import Contract
from generator.project import packaged_data
from generator.verify.checks import check
from generator.verify.evidence import Evidence, overlaid, parse_settings
from generator.verify.layers import Entry, read_layer
from generator.verify.results import Result
from tests.fate_plan import plan_of

HOME = "/data/projects/fate"
Files = Mapping[str, Mapping[str, object]]
"""path -> attributes of its tar header; a ``linkname`` makes it a link"""
DIRECTORY = {"type": tarfile.DIRTYPE, "mode": 0o755}


@dataclass(frozen=True)
class Broken:
    """An image, the layer and the settings that break it, the check that fails first, and what its line says."""

    image: str
    check: str
    asks: str
    found: str = ""
    layer: Files = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)


def removed(path: str) -> Files:
    directory, _, name = path.rpartition("/")
    return {f"{directory}/.wh.{name}": {}}


CASES = {
    "a file of conf is missing": Broken(
        "federation", f"{HOME}/federation/conf/log4j2.properties", "conf/log4j2.properties: {type: file}", "not there",
        removed(f"{HOME}/federation/conf/log4j2.properties"),
    ),
    "a file that Helm mounts over is missing": Broken(
        "proxy", f"mounted over: {HOME}/proxy/conf/route_table.json", "conf/route_table.json: file", "not there",
        removed(f"{HOME}/proxy/conf/route_table.json"),
    ),
    "a file belongs to somebody else": Broken(
        "roll", f"{HOME}/roll/conf/*", 'conf/*: {type: file, mode: "644", owner: "0:0"}',
        f"{HOME}/roll/conf/roll.properties: file, mode 644, owner 1000:1000",
        {f"{HOME}/roll/conf/roll.properties": {"uid": 1000, "gid": 1000}},
    ),
    "everybody may write to a jar": Broken(
        "meta-service", f"{HOME}/meta-service/lib/*.jar", 'lib/*.jar: {type: file, mode: "644", owner: "0:0"}', "",
        {f"{HOME}/meta-service/lib/a.jar": {"mode": 0o666}},
    ),
    "something more is setuid": Broken(
        "fateboard", "setuid and setgid", "/usr/bin/chage", "/usr/bin/env (mode 4755, owner 0:0)",
        {"/usr/bin/env": {"mode": 0o4755}},
    ),
    "start-egg cannot be executed": Broken(
        "egg", "/usr/local/bin/start-egg", "/usr/local/bin/start-egg: {type: file", "file, mode 644, owner 0:0",
        {"/usr/local/bin/start-egg": {}},
    ),
    "a directory that KubeFATE mounts over is a file": Broken(
        "python", f"mounted over: {HOME}/python/eggroll/conf", "eggroll/conf: directory", "file",
        {f"{HOME}/python/eggroll/conf": {}},
    ),
    "the requirements are not what pip was given": Broken(
        "base-image", "/data/projects/python/requirements.txt", "/data/projects/python/requirements.txt: {type: file",
        "", removed("/data/projects/python/requirements.txt"),
    ),
    "a port too many": Broken(
        "proxy", "exposed ports", 'port: "9370"', "22/tcp 9370/tcp",
        config={"ExposedPorts": {"22/tcp": {}, "9370/tcp": {}}},
    ),
    "another command": Broken("roll", "command", "command: [java, -cp", config={"Cmd": ["java", "-jar", "roll.jar"]}),
    "a shell in front of it": Broken(
        "meta-service", "entrypoint", "entrypoint: []", config={"Entrypoint": ["sh", "-c"]}
    ),
    "another directory to run in": Broken(
        "fateboard", "workdir", "workdir: /data/projects/fate/${i", config={"WorkingDir": "/tmp"}
    ),
    "another user": Broken("egg", "user", 'user: ""', config={"User": "nobody"}),
    "another title": Broken(
        "python", "label org.opencontainers.image.title", "org.opencontainers.image.title: ${image}", "egg",
        config={"Labels": {"org.opencontainers.image.title": "egg"}},
    ),
    "another virtual environment": Broken(
        "base-image", "environment venv_dir", "venv_dir: /data/projects/python/venv", "/venv",
        config={"Env": ["PATH=/data/projects/python/venv/bin:", "venv_dir=/venv"]},
    ),
    "the link to the jar leads nowhere": Broken(
        "federation", f"{HOME}/federation/fate-federation-*.jar", "fate-federation-*.jar: {type: file", "not there",
        removed(f"{HOME}/federation/fate-federation-x.jar"),
    ),
    "the link to the jar is a copy of it": Broken(
        "proxy", f"{HOME}/proxy/fate-proxy.jar", 'fate-proxy.jar: {type: link, target: "fate-proxy-*.jar"}', "file",
        {f"{HOME}/proxy/fate-proxy.jar": {}},
    ),
    "a build secret stayed": Broken(
        "roll", "absent: /run/secrets/**", "/run/secrets/**: a build secret", "/run/secrets/netrc",
        {"/run/secrets/netrc": {}},
    ),
    "Maven's settings stayed": Broken(
        "meta-service", "absent: /**/settings.xml", "/**/settings.xml: Maven's settings", "",
        {"/opt/maven/settings.xml": {}},
    ),
    "apt's lists stayed": Broken(
        "fateboard", "absent: /var/lib/apt/lists/*_*", "/var/lib/apt/lists/*_*: apt's lists", "",
        {"/var/lib/apt/lists/deb.debian.org_debian_dists_trixie_InRelease": {}},
    ),
    "sources of the build stayed": Broken(
        "egg", f"absent: {HOME}/eggroll/storage-service-cxx/**/*.cc", "storage-service-cxx/**/*.cc: sources of",
        "", {f"{HOME}/eggroll/storage-service-cxx/storage-service.cc": {}},
    ),
    "a compiler stayed": Broken(
        "python", "absent: /usr/bin/*gcc*", "/usr/bin/*gcc*: a compiler", "", {"/usr/bin/x86_64-linux-gnu-gcc-10": {}}
    ),
    "pip's cache stayed": Broken(
        "base-image", "absent: /root/.cache/**", "/root/.cache/**: a build cache", "",
        {"/root/.cache/pip/http/1": {}},
    ),
}  # fmt: skip


def listed(files: Files) -> dict[str, Entry]:
    """The layer that has these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, attributes in files.items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.type = tarfile.SYMTYPE if "linkname" in attributes else tarfile.REGTYPE
            for name, value in attributes.items():
                setattr(info, name, value)
            tar.addfile(info)
    return dict(read_layer([out.getvalue()])[1])


def without_signs(pattern: str) -> str:
    return re.sub(r"\*\*/|\*\*|\*|\?", lambda sign: "" if sign[0] == "**/" else "x", pattern)


def as_asked(contract: Contract) -> Files:
    """Every path that a contract asks for."""
    files: dict[str, Mapping[str, object]] = {}
    for file in contract.files:
        uid, gid = (int(number) for number in (file.owner or "0:0").split(":"))
        link = {"linkname": without_signs(file.target)} if file.target else {}
        kind = DIRECTORY if file.type == "directory" else link
        mode = {"mode": int(file.mode, 8)} if file.mode else {}
        files[without_signs(file.name)] = {**kind, **mode, "uid": uid, "gid": gid}
    for pair in contract.mounted:
        files.setdefault(pair.name, DIRECTORY if pair.value == "directory" else {})
    return files


def results(name: str, layer: Files, changes: Mapping[str, object]) -> tuple[Result, ...]:
    target = next(target for target in plan_of(platforms=("linux/amd64",)).targets if target.name == name)
    contract = target.contract
    config: dict[str, object] = {
        "User": contract.user.name if contract.user else "",
        "WorkingDir": contract.workdir.name if contract.workdir else "/",
        "ExposedPorts": {f"{port.name}/tcp": {} for port in contract.ports},
        "Cmd": list(contract.command.words) if contract.command else None,
        "Entrypoint": list(contract.entrypoint.words) if contract.entrypoint else None,
        "Labels": {label.name: label.value.replace("*", "x") for label in contract.labels},
        "Env": [f"{variable.name}={variable.value.replace('*', 'x')}" for variable in contract.environment],
    }
    labels = {**config["Labels"], **changes.get("Labels", {})}  # type: ignore[dict-item]
    data = json.dumps({"config": {**config, **changes, "Labels": labels}}).encode()
    files = overlaid([listed(as_asked(contract)), listed(layer)])
    return check(name, "linux/amd64", contract, Evidence(parse_settings(data), files, 0))


@pytest.mark.parametrize("name", sorted({case.image for case in CASES.values()}))
def test_an_image_that_has_all_that_its_contract_asks_for_passes(name: str) -> None:
    found = results(name, {}, {})
    assert [result for result in found if not result.ok] == []
    assert len(found) > 30


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_breaks_a_contract_is_found_first_with_the_line_that_asks_for_it(case: Broken) -> None:
    first = next(result for result in results(case.image, case.layer, case.config) if not result.ok)
    assert first.check == case.check
    assert case.found in first.found
    file, _, number = first.where.partition(":")
    lines = (packaged_data("catalogue") / file).read_text(encoding="utf-8").splitlines()
    assert case.asks in lines[int(number) - 1]
