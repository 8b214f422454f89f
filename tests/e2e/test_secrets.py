"""Behind a proxy with a password and a CA of its own: twenty secrets go into a build, and none is found anywhere after.

Debian's packages come over http, Python's and Maven's over https that the proxy opens with the site's own certificate;
the index and the Maven repository ask for logins as well. Without any of the secrets the build could not pass.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import os
import secrets
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from tests.e2e.checkouts import git, make_checkout
from tests.e2e.conftest import Ran, bridge_address, docker, fategen, registry_get
from tests.e2e.mirror import Mirror, packages
from tests.fate_plan import put
from tests.loopback import tls
from tests.sample_project import make_sample_project

# it builds without a cache, for minutes
pytestmark = pytest.mark.full

NAMES = (
    "http-proxy", "https-proxy", "index", "other-index", "netrc-comment", "maven", "maven-key", "maven-comment",
    "maven-proxy", "ca-comment", "registry", "registry-basic", "registry-token", "env-local-comment", "git-token",
    "stray", "stray-http-proxy", "stray-index", "stray-cache", "stray-extra-index",
)  # fmt: skip

BEGIN = "s3cr3t-of-the-site"
"""Of every secret: most bytes that are looked through have nothing like it."""
GZIP, TAR = b"\x1f\x8b", b"ustar"
"""How what gzip made begins, and what a tar archive has at byte 257."""


def base64_forms(text: str) -> list[bytes]:
    """Of three, one is inside of whatever longer text was encoded with this in it."""
    return [base64.b64encode(b"x" * n + text.encode())[4:-4] for n in range(3)]


@pytest.fixture(scope="module")
def markers() -> dict[str, str]:
    """A secret each, with characters that a URL must escape."""
    return {name: f"{BEGIN}@{number:02}/{secrets.token_hex(6)}" for number, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def proxy(markers: dict[str, str], ca: trustme.CA) -> Iterator[Mirror]:
    with Mirror(
        address=bridge_address(),
        upstreams=packages(),
        certificate=tls(ca, "*.site.test"),
        proxy_logins={"web": markers["http-proxy"], "tls": markers["https-proxy"]},
        logins={"pypi.site.test": ("reader", markers["index"]), "maven.site.test": ("builder", markers["maven"])},
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def site(proxy: Mirror, ca: trustme.CA, markers: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of such a site. Its secrets are in ``.env.local`` and in the files that it names."""
    root = tmp_path_factory.mktemp("site")
    directory = make_sample_project(
        root / "project", namespace="secrets", FATE_SOURCE="../FATE", APT_MIRROR="http://debian.site.test/debian",
        PIP_INDEX_URL="https://pypi.site.test/simple", PROVENANCE="true",
    )  # fmt: skip
    checkout = make_checkout("fate", root / "FATE")
    git(checkout, "remote", "add", "origin", f"https://{quote(markers['git-token'], safe='')}@github.com/x/FATE.git")
    local = [
        f"# {markers['env-local-comment']}",
        f"HTTP_PROXY=http://web:{quote(markers['http-proxy'], safe='')}@{proxy.host}",
        f"HTTPS_PROXY=http://tls:{quote(markers['https-proxy'], safe='')}@{proxy.host}",
        "CA_BUNDLE=secret/ca.pem", "MAVEN_SETTINGS=secret/settings.xml", "PIP_NETRC=secret/netrc",
    ]  # fmt: skip
    put(directory, ".env.local", "\n".join(local) + "\n")
    put(directory, "secret/ca.pem", f"# {markers['ca-comment']}\n{ca.cert_pem.bytes().decode()}")
    logins = (
        f"# {markers['netrc-comment']}\n"
        f"machine pypi.site.test login reader password {markers['index']}\n"
        f"machine other.site.test login reader password {markers['other-index']}\n"
    )
    put(directory, "secret/netrc", logins)
    maven = f"""<settings><!-- {markers["maven-comment"]} -->
<proxies><proxy><id>old</id><active>false</active><host>old.site.test</host><port>1</port>
  <username>x</username><password>{markers["maven-proxy"]}</password></proxy></proxies>
<servers><server><id>site</id><username>builder</username><password>{markers["maven"]}</password></server>
  <server><id>key</id><passphrase>{markers["maven-key"]}</passphrase></server></servers>
<mirrors><mirror><id>site</id><mirrorOf>*</mirrorOf><url>https://maven.site.test/maven2</url></mirror></mirrors>
</settings>"""
    put(directory, "secret/settings.xml", maven)
    return directory


@pytest.fixture(scope="module")
def environment(markers: dict[str, str], registry: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Logins in docker's configuration, and what people have in their shells."""
    config = tmp_path_factory.mktemp("docker")
    shutil.copytree(os.environ["DOCKER_CONFIG"], config, dirs_exist_ok=True)
    basic = base64.b64encode(f"robot:{markers['registry-basic']}".encode()).decode()
    logins = {
        "one.site.test": {"username": "robot", "password": markers["registry"]},
        "two.site.test": {"auth": basic},
        "three.site.test": {"auth": "", "identitytoken": markers["registry-token"]},
    }
    (config / "config.json").write_text(json.dumps({"auths": logins}), encoding="utf-8")
    escaped = {name: quote(text, safe="") for name, text in markers.items()}
    return {
        "DOCKER_CONFIG": str(config),
        "SOME_TOKEN": markers["stray"],
        "HTTP_PROXY": f"http://me:{escaped['stray-http-proxy']}@127.0.0.1:9",
        "NO_PROXY": "localhost,127.0.0.1",
        "PIP_INDEX_URL": f"https://me:{escaped['stray-index']}@elsewhere.test/simple",
        "CACHE_TO": f"https://me:{escaped['stray-cache']}@elsewhere.test/cache",
        "PIP_EXTRA_INDEX_URL": f"https://me:{escaped['stray-extra-index']}@elsewhere.test/simple",
    }


class Search:
    """Looks for every form that a secret can have: as it is, escaped in a URL, in base64."""

    def __init__(self, markers: dict[str, str]) -> None:
        self._forms = {}
        for name, text in markers.items():
            forms = {text, quote(text), quote(text, safe=""), text.replace("/", "\\/")}
            self._forms[name] = [form.encode() for form in forms] + base64_forms(text)
        self._begins = [BEGIN.encode(), *base64_forms(BEGIN)]
        self.looked_at = 0
        self.found: set[str] = set()

    def bytes(self, data: bytes, where: str) -> None:
        """These, and what is compressed or archived in them from the inside."""
        self.looked_at += len(data)
        if any(begin in data for begin in self._begins):
            for name, forms in self._forms.items():
                if any(form in data for form in forms):
                    self.found.add(f"{name} in {where}")
        if data[:2] == GZIP:
            inside = b""
            with contextlib.suppress(OSError, EOFError, zlib.error):  # it may only begin like one
                inside = gzip.decompress(data)
            self.bytes(inside, where)
        elif data[257:262] == TAR:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for member in filter(tarfile.TarInfo.isfile, tar):
                    begin, end = member.offset_data, member.offset_data + member.size
                    if data[begin : begin + 2] == GZIP or data[begin + 257 : begin + 262] == TAR:
                        self.bytes(data[begin:end], f"{where}: {member.name}")

    def text(self, text: str, where: str) -> None:
        self.bytes(text.encode(), where)

    def tree(self, directory: Path) -> None:
        for path in sorted(directory.rglob("*")):
            if path.is_file() and not path.is_symlink():
                self.bytes(path.read_bytes(), str(path))


IMAGES = ("base-image", "federation")


@pytest.fixture(scope="module")
def runs(site: Path, environment: dict[str, str]) -> list[Ran]:
    """Everything that a user of the site does, in its order."""
    bake = ("bake", *IMAGES, "--no-cache", "--platform", "linux/amd64", "-v")
    done = [
        fategen(*command, cwd=site, env=environment)
        for command in (
            ("render",),
            (*bake, "--push", "--overwrite"),
            ("bake", *IMAGES, "--load", "--platform", "linux/amd64"),
            ("bake", *IMAGES, "--print"),
            ("bundle", "save", "--image", "federation", "-o", "out.fate.tar"),
            ("images", "--external"),
            ("images", "--format", "json"),
            ("doctor",),
        )
    ]
    assert [ran.code for ran in done[:-1]] == [0] * (len(done) - 1), [ran.err[-3000:] for ran in done[:-1] if ran.code]
    return done


@pytest.fixture
def search(runs: list[Ran], markers: dict[str, str]) -> Search:
    return Search(markers)


def test_no_secret_is_in_what_was_printed_or_kept_in_the_project(search: Search, runs: list[Ran], site: Path) -> None:
    for number, ran in enumerate(runs):
        search.text(ran.out, f"output {number}")
        search.text(ran.err, f"messages {number}")
    for directory in (".fategen", "dockerfiles", "out"):
        search.tree(site / directory)
    search.bytes((site / "out.fate.tar").read_bytes(), "the bundle")
    assert search.found == set() and search.looked_at > 300_000_000


def references(site: Path) -> list[str]:
    return fategen("images", *IMAGES, "--format", "references", cwd=site).out.split()


def test_no_secret_is_in_an_image_its_history_or_its_layers(search: Search, site: Path) -> None:
    for reference in references(site):
        search.text(docker("history", "--no-trunc", "--format", "json", reference), f"history of {reference}")
        search.text(docker("image", "inspect", reference), f"configuration of {reference}")
        saved = subprocess.run(["docker", "save", reference], check=True, capture_output=True).stdout
        search.bytes(saved, reference)
    assert search.found == set() and search.looked_at > 300_000_000


def test_no_secret_is_in_the_registry_not_even_in_an_attestation(search: Search, site: Path, registry: str) -> None:
    attestations = 0
    for reference in references(site):
        repository, _, tag = reference.removeprefix(f"{registry}/").rpartition(":")
        for entry in registry_get(registry, f"{repository}/manifests/{tag}")["manifests"]:
            manifest = registry_get(registry, f"{repository}/manifests/{entry['digest']}")
            search.text(json.dumps(manifest), f"manifest of {reference}")
            attestations += (entry.get("annotations") or {}).get("vnd.docker.reference.type") == "attestation-manifest"
            for blob in (manifest["config"], *manifest["layers"]):
                if "json" in blob["mediaType"]:
                    content = registry_get(registry, f"{repository}/blobs/{blob['digest']}")
                    search.text(json.dumps(content, ensure_ascii=False), f"{blob['mediaType']} of {reference}")
    assert search.found == set() and attestations == len(IMAGES)


def test_no_secret_is_in_the_builders_records(search: Search) -> None:
    search.text(docker("buildx", "du", "--verbose"), "buildx du")
    assert search.found == set() and search.looked_at > 10_000


def test_a_build_that_the_proxy_refuses_says_so_without_the_password(
    search: Search,
    site: Path,
    proxy: Mirror,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proxy, "proxy_logins", {})
    ran = fategen("bake", "base-image", "--no-cache", cwd=site, env=environment)
    assert ran.code == 1
    assert "407" in ran.err
    search.text(ran.out + ran.err, "messages")
    search.tree(site / ".fategen" / "logs")
    assert search.found == set()


def test_the_secrets_were_needed(runs: list[Ran], proxy: Mirror) -> None:
    assert {"debian.site.test", "pypi.site.test", "maven.site.test"} <= proxy.hosts
