"""``fategen bake --push`` to a registry behind TLS with a CA of its own, tokens, accounts and projects, as Harbor is.

It is a registry in memory that answers as Harbor does (tests/harbor.py, a thread of the tests), at the address of the
engine's bridge: docker checks no certificate at 127.0.0.1. The engine finds the CA where docker's manual says; it looks
there for each push, so it is not restarted.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.e2e.conftest import Ran, bridge_address, fategen, make_project, succeeded
from tests.harbor import Harbor
from tests.loopback import tls

IMAGES = ("roll", "proxy")
NESTED = "fate/nested/deeper"


@dataclass(frozen=True)
class Site:
    """The registry, a project whose PREFIX is in it, and docker's directory, without a login, of who works there."""

    harbor: Harbor
    ca: trustme.CA
    project: Path
    config: Path

    def docker(self, *args: str, input: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DOCKER_CONFIG": str(self.config)}
        return subprocess.run(["docker", *args], env=environment, input=input, capture_output=True, text=True)

    def login(self, account: str, password: str) -> None:
        done = self.docker("login", self.harbor.host, "-u", account, "--password-stdin", input=password)
        assert done.returncode == 0, done.stderr

    def push(self, path: str = NESTED, *flags: str, env: dict[str, str] | None = None) -> Ran:
        self.harbor.asked.clear()
        prefix = f"PREFIX={self.harbor.host}/{path}"
        environment = {"DOCKER_CONFIG": str(self.config), **(env or {})}
        return fategen(
            "bake", *IMAGES, "--push", "--overwrite", "--set", prefix, *flags, cwd=self.project, env=environment
        )


@pytest.fixture
def site(registry: str, ca: trustme.CA, tmp_path: Path) -> Iterator[Site]:
    address = bridge_address()
    config = tmp_path / "docker"
    config.mkdir()
    # buildx 0.13 pushes a second time through Docker 26, which fetches a token and reads no certs.d for that
    (config / "cli-plugins").symlink_to(Path(os.environ["FATEGEN_SANDBOX_BUILDX_NEW"]) / "cli-plugins")
    project = make_project(tmp_path / "project")
    engine = Path(os.environ["FATEGEN_SANDBOX_STATE"]) / "cache/engine/etc/docker/certs.d"
    with Harbor(tls=tls(ca, address), address=address) as harbor:
        places = (engine / harbor.host, config / "certs.d" / harbor.host)
        try:
            for place in places:
                place.mkdir(parents=True)
                ca.cert_pem.write_to_path(str(place / "ca.crt"))
            yield Site(harbor, ca, project, config)
        finally:
            shutil.rmtree(places[0])


def test_basic_authentication_and_a_wrong_password(site: Site) -> None:
    site.harbor.auth = "basic"
    site.login("writer", "right-horse")
    pushed = succeeded(site.push())
    logins = {"auths": {site.harbor.host: {"auth": base64.b64encode(b"writer:wrong-horse").decode()}}}
    (site.config / "config.json").write_text(json.dumps(logins), encoding="utf-8")
    ran = site.push()
    assert ran.code == 3 and "refuses the login of writer" in ran.err and "nothing was started" in ran.err
    assert "error: --set: PREFIX: " in ran.err
    kept = b"".join(file.read_bytes() for file in (site.project / ".fategen").rglob("*") if file.is_file())
    shown = kept + "".join((pushed.out, pushed.err, ran.out, ran.err)).encode()
    for password in (b"right-horse", b"wrong-horse"):
        assert password not in shown and base64.b64encode(b"writer:" + password) not in shown


def test_the_login_of_a_credential_helper_is_used(site: Site, tmp_path: Path) -> None:
    """A helper as docker-credential-helpers describes them: ``get``, the host on stdin, JSON on stdout."""
    helper = tmp_path / "bin/docker-credential-fategentest"
    helper.parent.mkdir()
    answer = json.dumps({"ServerURL": site.harbor.host, "Username": "reader", "Secret": "right-mule"})
    helper.write_text(f'#!/bin/sh\n[ "$1 $(cat)" = "get {site.harbor.host}" ] && echo \'{answer}\'\n', encoding="utf-8")
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    (site.config / "config.json").write_text(json.dumps({"credsStore": "fategentest"}), encoding="utf-8")
    ran = site.push(env={"PATH": f"{helper.parent}:{os.environ['PATH']}"})
    assert ran.code == 3, ran.err
    error = ran.err[ran.err.index("error: ") :]
    for text in ("reader may not push", *IMAGES, "ask for permission to push to project fate", "nothing was started"):
        assert text in error
    assert not list((site.project / ".fategen").rglob("*.log")), "no bake was run"
    missing = site.push("nosuch")
    assert missing.code == 3 and "docker-credential-fategentest cannot be started" in missing.err


def test_the_commands_of_the_how_to_page(site: Site) -> None:
    """docs/harbor.md as it stands, but for the host, the place of the CA (this machine's own is left alone), the
    sample's sources in place of FATE's, and two images in place of all."""
    page = (Path(__file__).parents[2] / "docs/harbor.md").read_text(encoding="utf-8")
    for theirs, ours in (
        ("harbor.example.com", site.harbor.host),
        ("/etc/docker/certs.d", f"{site.config}/certs.d"),
        ("fategen init", "true"),
        ("bake all", f"bake {' '.join(IMAGES)}"),
    ):
        assert theirs in page
        page = page.replace(theirs, ours)
    commands = [line.removeprefix("$ ") for line in page.splitlines() if line.startswith("$ ")]
    assert len(commands) == 7
    shutil.rmtree(site.config / "certs.d")
    site.ca.cert_pem.write_to_path(str(site.project / "company-ca.pem"))
    (site.project / "robot-secret").write_text("robots-dream", encoding="utf-8")
    site.harbor.accounts["robot$fate+ci"] = ("robots-dream", True)
    environment = {**os.environ, "DOCKER_CONFIG": str(site.config)}
    done = subprocess.run(
        ["bash", "-ec", "\n".join(commands)], cwd=site.project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"FATE 1.3.0 → {site.harbor.host}/fate/release" in done.stderr
    assert "/v2/fate/release/roll/blobs/uploads/" in site.harbor.paths("POST")
