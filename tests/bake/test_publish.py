"""What the registry says of a push, before the build and in the doctor."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import trustme

from generator.bake.publish import (
    base_problems,
    check_tags,
    client_trust,
    media_type_note,
    push_access,
    push_problems,
    registry_checks,
)
from generator.docker.hints import explain_push
from generator.project import Project
from generator.registry.session import Access
from generator.workspace import Workspace
from tests.bundle.layouts import INDEX, MANIFEST, image, multi
from tests.fate_plan import facts_of, plan_of, put
from tests.harbor import Harbor
from tests.loopback import Loopback, error_of, says, sha256

pytestmark = pytest.mark.usefixtures("one_authority")


WRITER = "writer:right-horse"


class Asked:
    """docker's directory, which is that of a project whose PREFIX is at ``host`` too."""

    def __init__(self, directory: Path, host: str, login: str = "") -> None:
        self.host, self.directory = host, directory
        self.configure({"auths": {host: auth(login)} if login else {}})
        self.environment = {"DOCKER_CONFIG": str(directory), "HOME": str(directory)}

    def trust(self, ca: trustme.CA) -> Asked:
        put(self.directory, f"certs.d/{self.host}/ca.crt", ca.cert_pem.bytes().decode())
        return self

    def configure(self, config: object) -> None:
        put(self.directory, "config.json", config if isinstance(config, str) else json.dumps(config))

    def workspace(self, path: str = "fate", **settings: object) -> Workspace:
        return Workspace(Project(self.directory), plan_of(prefix=f"{self.host}/{path}", **settings), {}, ())

    def problems(self, path: str = "fate/nested", **settings: object) -> list[str]:
        workspace = self.workspace(path, **settings)
        targets = [t for t in workspace.plan.targets if t.name in ("roll", "proxy", "mysql", "packages")]
        access = push_access(workspace, self.environment, ())
        problems = [refusal.problem for refusal in push_problems(targets, access)]
        if not problems:
            problems, _ = check_tags(targets, access, lambda _: False)
        return [str(problem) for problem in problems]


def auth(login: str) -> dict[str, str]:
    return {"auth": base64.b64encode(login.encode()).decode()}


def test_who_may_push_reads_nothing_of_it(harbor: Harbor, ca: trustme.CA, tmp_path: Path) -> None:
    assert Asked(tmp_path, harbor.host, WRITER).trust(ca).problems() == []
    begun = [f"/v2/fate/nested/{image}/blobs/uploads/" for image in ("proxy", "roll")]
    assert sorted(harbor.paths("POST")) == begun
    assert push_problems([], Access("127.0.0.1:1")) == [], "nothing to push asks nobody"


@pytest.mark.parametrize(
    ("login", "path", "says", "next_step"),
    [
        ("", "fate", "needs a login", "docker login {host}"),
        ("writer:wrong-horse", "fate", "refuses the login of writer (401 UNAUTHORIZED): ", "docker login {host}"),
        ("reader:right-mule", "fate", "reader may not push fate/proxy, fate/roll (401 UNAUTHORIZED: unauthorized to "
         "access repository: fate/proxy, action: push): ", "ask for permission to push to project fate"),
        (WRITER, "nosuch/nested", "no project nosuch (401 UNAUTHORIZED: project nosuch not found): ",
         "create project nosuch in Harbor"),
    ],
)  # fmt: skip
def test_what_any_push_would_be_told_stops_it_with_the_next_step(
    harbor: Harbor, ca: trustme.CA, tmp_path: Path, login: str, path: str, says: str, next_step: str
) -> None:
    [problem] = Asked(tmp_path, harbor.host, login).trust(ca).problems(path)
    assert problem.startswith(f"{harbor.host}: ") and says in problem
    assert next_step.format(host=harbor.host) in problem


def test_a_config_of_docker_that_is_not_json_is_why_there_is_no_login(
    harbor: Harbor, ca: trustme.CA, tmp_path: Path
) -> None:
    asked = Asked(tmp_path, harbor.host).trust(ca)
    asked.configure('{"auths": {')
    [problem] = asked.problems()
    assert f"docker has none for it in {tmp_path / 'config.json'} (it cannot be read: Expecting" in problem


def test_an_authority_is_that_of_ca_bundle_or_the_file_for_it_is_named(
    harbor: Harbor, ca: trustme.CA, tmp_path: Path
) -> None:
    asked = Asked(tmp_path, harbor.host, WRITER)
    [problem] = asked.problems()
    assert f"put the CA at /etc/docker/certs.d/{harbor.host}/ca.crt" in problem
    ca.cert_pem.write_to_path(str(tmp_path / "bundle.pem"))
    assert asked.problems(ca_bundle="bundle.pem") == []


def tag_roll(registry: Loopback, *entries: object) -> str:
    """The tag of roll, which an index with these entries has now."""
    tag = next(target.tags[0] for target in plan_of().targets if target.name == "roll").rpartition(":")[2]
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    registry.manifests["fate/roll"] = {tag: (INDEX, index), sha256(index): (INDEX, index)}
    return tag


def test_a_tag_that_would_lose_a_platform_stops_a_push_before_the_build(registry: Loopback, tmp_path: Path) -> None:
    platform = {"os": "windows", "architecture": "amd64"}
    tag = tag_roll(registry, {"mediaType": MANIFEST, "digest": sha256(b""), "size": 1, "platform": platform})
    [problem] = Asked(tmp_path, registry.host).problems("fate")
    assert f"{registry.host}/fate/roll:{tag}: has windows/amd64, which this image does not have" in problem


@pytest.mark.parametrize("may_move", [False, True])
def test_a_tag_that_exists_is_told_before_the_build_unless_it_may_move(registry: Loopback, may_move: bool) -> None:
    tag = tag_roll(registry)
    plan = plan_of(prefix=f"{registry.host}/fate")
    _, fixed = check_tags(plan.targets, Access(registry.host, insecure=True), lambda _: may_move)
    assert fixed == ([] if may_move else [f"roll:{tag}"])


def test_a_base_with_one_platform_is_told_of_images_with_others(registry: Loopback, tmp_path: Path) -> None:
    registry.put_layout("alone", "1", image(tmp_path, "alone").layout)
    registry.put_layout("both", "1", multi(tmp_path / "both", "both"))
    images = [("JRE_IMAGE", f"{registry.host}/both:1"), ("PYTHON_BASE_IMAGE", f"{registry.host}/alone:1")]
    images += [("MAVEN_IMAGE", f"{registry.host}/alone:1"), ("REDIS_IMAGE", f"{registry.host}/gone:1")]
    plan = plan_of(others=(("REQUIREMENTS", "own.txt"),), images=tuple(images))
    environment = {"DOCKER_CONFIG": str(tmp_path)}
    targets = [target for target in plan.targets if target.name in ("base-image", "roll", "packages", "redis")]
    [problem] = base_problems(targets, environment, (), (registry.host,))
    assert str(problem) == (
        f"{registry.host}/alone:1: it exists only for linux/amd64: base-image for linux/arm64 would contain "
        "its binaries; set PYTHON_BASE_IMAGE to an image with all platforms, or add --platform linux/amd64"
    )
    assert not [path for method, path, _ in registry.asked if method == "GET" and "both" in path], "that is a pull"


@pytest.mark.parametrize(
    ("host", "types", "warned"),
    [
        ("swr.cn-north-4.myhuaweicloud.com", "oci", True),
        ("swr.cn-north-4.myhuaweicloud.com", "docker", False),
        ("harbor.example.com", "oci", False),
    ],
)
def test_what_a_registry_does_not_take_is_told_before_the_build(host: str, types: str, warned: bool) -> None:
    assert ("MEDIA_TYPES=docker" in media_type_note(host, types)) == warned


def test_buildx_is_given_the_systems_authorities_and_the_registrys(
    tmp_path: Path, ca: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(tmp_path, "h.example.com").trust(ca)
    given = client_trust("h.example.com", asked.environment, (), tmp_path)
    assert ca.cert_pem.bytes().decode() in Path(given["SSL_CERT_FILE"]).read_text(encoding="utf-8")
    system, own = (f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n" for name in ("system", "own"))
    (tmp_path / "system.pem").write_text(system, encoding="utf-8")
    key = "-----BEGIN PRIVATE KEY-----\nkey\n-----END PRIVATE KEY-----\n"
    (tmp_path / "own.pem").write_text(f"# a remark\n{key}{own.rstrip()}", encoding="utf-8")
    environment = {"SSL_CERT_FILE": str(tmp_path / "system.pem")}
    given = client_trust("other.example.com", environment, [tmp_path / "own.pem"], tmp_path)
    assert Path(given["SSL_CERT_FILE"]).read_text(encoding="utf-8") == system + own
    assert client_trust("other.example.com", asked.environment, (), tmp_path) == {}
    # docker's daemon alone may read it
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "ca.crt")
    assert client_trust("h.example.com", asked.environment, (), tmp_path) == {}


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ('failed to fetch oauth token: Post "https://h:1/service/token": tls: x509: certificate signed by unknown',
         "update-ca-certificates"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown", "/etc/docker/certs.d/h:1/ca.crt"),
        ("remote error: tls: bad certificate", "/etc/docker/certs.d/h:1/ca.crt"),
        ("unexpected status from PUT request to https://h:1/v2/: 403 Forbidden", "docker login h:1, or ask for pe"),
        ("403 Forbidden: adding 9 MiB of storage will exceed the configured upper limit", "free space in project fate"),
        ("server message: insufficient_scope: authorization failed", "push to project fate"),
        ("dial tcp: lookup h: no such host", "check that the builder can reach h:1"),
        ("no space left on device", ""),
    ],
)  # fmt: skip
def test_a_push_that_fails_all_the_same_says_the_next_step(said: str, advice: str) -> None:
    found = explain_push(said, "h:1/fate/nested/egg")
    assert advice in found and bool(found) == bool(advice)


# the doctor


@pytest.mark.parametrize(
    ("config", "host", "state", "found"),
    [
        ({}, "10.0.0.5:8443", "note", "none"),
        ({"auths": {"10.0.0.5:8443": auth("robot$fate:secret")}}, "10.0.0.5:8443", "ok", "robot$fate"),
        ({"auths": {"https://index.docker.io/v1/": auth("me:secret")}}, "federatedai", "ok", "me"),
        ({"auths": {"10.0.0.5:8443": {"identitytoken": "secret"}}}, "10.0.0.5:8443", "ok", "a token"),
    ],
)
def test_the_doctor_names_dockers_login_for_the_registry(
    config: object, host: str, state: str, found: str, tmp_path: Path
) -> None:
    asked = Asked(tmp_path, host)
    asked.configure(config)
    [login] = registry_checks(None, asked.workspace(), asked.environment)
    assert (login.name, login.state, found in login.found) == ("login", state, True)
    assert "secret" not in json.dumps(login.as_json())


@pytest.mark.parametrize(
    ("login", "path", "state", "said", "get"),
    [
        (WRITER, "fate", "ok", "accepts a push of every image", ""),
        ("reader:right-mule", "fate", "note", "reader may not push fate/", "ask for permission to push"),
        (WRITER, "busy", "note", "405 UNSUPPORTED: later", "ask for permission to push"),
        (WRITER, "weak", "note", "may not push weak/", "ask for permission to push"),
        (WRITER, "locked", "note", "accepts no pushes at the moment (403 DENIED: the system is in read", "wait"),
    ],
)
def test_the_doctor_asks_what_a_push_would_ask(
    login: str, path: str, state: str, said: str, get: str, tmp_path: Path
) -> None:
    busy = says("POST busy/.*uploads", 405, error_of("UNSUPPORTED", "later"))
    locked = says("POST locked/.*uploads", 403, error_of("DENIED", "the system is in read only mode"))
    weak = says("POST weak/.*uploads", 403, error_of("DENIED", "the deploy token has read-only access"))
    with Harbor(lies=[busy, locked, weak]) as harbor:
        asked = Asked(tmp_path, harbor.host, login)
        _, registry = registry_checks(facts_of(), asked.workspace(path), asked.environment)
    assert (registry.state, said in registry.found, get in registry.get) == (state, True, True), registry
    assert "right-" not in json.dumps(registry.as_json())


def test_a_registry_that_takes_pushes_from_all_needs_no_login(registry: Loopback, tmp_path: Path) -> None:
    asked = Asked(tmp_path, registry.host)
    login, pushes = registry_checks(facts_of(), asked.workspace(), asked.environment)
    assert (login.state, login.found, pushes.state) == ("ok", "none; it accepts pushes from everybody", "ok")
