"""A build where nothing but the site's own mirrors can be reached: an engine in a network namespace without a route."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.checkouts import served_sources
from tests.e2e.mirror import PORT, Mirror, environment, inside, listen, packages

SETTINGS = """<settings><mirrors><mirror>
  <id>site</id><mirrorOf>*</mirrorOf><url>http://{address}/maven2</url>
</mirror></mirrors></settings>
"""


@pytest.fixture(scope="module")
def namespace() -> tuple[str, str]:
    """(a process in the namespace, the address there that builds reach)"""
    if "FATEGEN_SANDBOX_OFFLINE_PID" not in os.environ:
        pytest.fail('no engine without a network: eval "$(python3 tests/sandbox use --engine offline)"')
    pid = os.environ["FATEGEN_SANDBOX_OFFLINE_PID"]
    routes = Path(f"/proc/{pid}/net/route").read_text(encoding="ascii").splitlines()[1:]
    assert all(route.split()[1] != "00000000" for route in routes), "it has a default route"
    return pid, os.environ["FATEGEN_SANDBOX_OFFLINE_ADDRESS"]


@pytest.fixture(scope="module")
def mirror(namespace: tuple[str, str], registry: str) -> Iterator[Mirror]:
    pid, address = namespace
    upstreams = {"/v2/": f"http://{registry}/v2/", **packages()}
    with Mirror(listener=listen(address, f"/proc/{pid}/ns/net"), upstreams=upstreams) as served:
        yield served


@pytest.fixture(scope="module")
def project(namespace: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose sources, bases, packages and libraries all come from the mirrors."""
    pid, address = namespace
    directory = tmp_path_factory.mktemp("site")
    site = f"{address}:{PORT}"
    with served_sources(directory / "git", address, inside(pid, []), directory / "git.log") as sources:
        lines = [
            f"PREFIX={site}/federatedai", "BASE_TAG=1.3.0-release", "TAG=1.3.0-release", f"BASE_REGISTRY={site}",
            f"APT_MIRROR=http://{site}/debian", f"PIP_INDEX_URL=http://{site}/simple", f"PIP_TRUSTED_HOST={address}",
            *(f"{key}={source}" for key, source in sources.items()),
        ]  # fmt: skip
        (directory / ".env").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (directory / ".env.local").write_text("MAVEN_SETTINGS=settings.xml\n", encoding="utf-8")
        (directory / "settings.xml").write_text(SETTINGS.format(address=site), encoding="utf-8")
        yield directory


def fategen(project: Path, namespace: tuple[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    """The command, inside of the namespace and on its engine."""
    return subprocess.run(
        inside(namespace[0], [sys.executable, "-m", "generator", *args]),
        cwd=project,
        env=environment(DOCKER_HOST=os.environ["FATEGEN_SANDBOX_OFFLINE"]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )


def seen(paths: list[str], site: str) -> set[tuple[str, str]]:
    """What was asked of the mirrors, as ``fategen images --external`` names it; a path of no kind stays as it is."""
    found = set()
    for path in paths:
        if path == "/v2/" or re.match(r"/v2/.*/(blobs|manifests)/sha256:", path):
            continue
        if manifest := re.fullmatch(r"/v2/(.+)/manifests/([^/?]+)(\?.*)?", path):
            found.add(("image", f"{site}/{manifest[1]}:{manifest[2]}"))
        elif re.match("/debian(-security)?/", path):
            found.add(("apt", f"http://{site}/debian"))
        elif path.startswith(("/simple/", "/files/")):
            found.add(("pip", f"http://{site}/simple"))
        elif path.startswith("/maven2/"):
            found.add(("maven", f"http://{site}/maven2"))
        else:
            found.add(("", path))
    return found


@pytest.mark.full
def test_everything_is_built_from_mirrors_and_they_are_asked_for_what_is_listed(
    project: Path, mirror: Mirror, namespace: tuple[str, str]
) -> None:
    assert fategen(project, namespace, "render").returncode == 0
    # cold: no layer, no download and no commit of an earlier run is used
    host = environment(DOCKER_HOST=os.environ["FATEGEN_SANDBOX_OFFLINE"])
    subprocess.run(["docker", "builder", "prune", "--all", "--force"], env=host, check=True, capture_output=True)
    ran = fategen(project, namespace, "bake", "all", "third-party", "--no-cache", "--platform", "linux/amd64")
    assert ran.returncode == 0, ran.stderr
    listed = json.loads(fategen(project, namespace, "images", "--external", "--format", "json").stdout)
    asked = seen([path for _, path, _ in mirror.asked], f"{namespace[1]}:{PORT}")
    git_log = (project / "git.log").read_text(encoding="utf-8")
    asked |= {("git", path) for path in re.findall(r"Request upload-pack for '(/.+?)'", git_log)}
    wanted = {(row["kind"], row["asked"]) for row in listed if row["kind"] != "git"}
    wanted |= {("git", urlsplit(row["asked"]).path) for row in listed if row["kind"] == "git"}
    assert asked == wanted
