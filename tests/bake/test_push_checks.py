"""What the registry says of a push: before the build and in the doctor whether it takes it, after it what is there."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from generator.bake.push_checks import (
    certain,
    client_trust,
    platforms_of,
    push_problems,
    pushed_manifests,
    registry_checks,
    tagged_digests,
)
from generator.docker.engine import Builder, Engine, Facts, Node, parse_engine
from generator.docker.hints import explain_push
from generator.docker.process import Completed, Docker
from generator.plan.plan import Plan
from generator.project import Project
from generator.registry.http import ErrorKind
from generator.workspace import Workspace, load
from tests.fate_plan import BOTH, plan_of
from tests.harbor import Harbor
from tests.loopback import Loopback, sha256

pytestmark = pytest.mark.usefixtures("one_authority")


def facts(driver: str = "docker", endpoint: str = "default", *, proxied: bool = False, insecure: str = "") -> Facts:
    engine = Engine("26", "26", "containerd", "linux/amd64", proxied=proxied, insecure=(insecure,) if insecure else ())
    return Facts(engine, (0, 29, 1), Builder("farm", driver, (Node("n", endpoint, "running", "", BOTH),)))


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def harbor(ca: trustme.CA) -> Iterator[Harbor]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with Harbor(tls=context) as running:
        yield running


class Asked:
    """docker's directory and a plan whose PREFIX is at ``host``; ``notes`` is what was said."""

    def __init__(self, directory: Path, host: str, login: str = "") -> None:
        self.notes: list[str] = []
        self.host, self.directory = host, directory
        auths = {host: {"auth": base64.b64encode(login.encode()).decode()}} if login else {}
        (directory / "config.json").write_text(json.dumps({"auths": auths}), encoding="utf-8")
        self.environment = {"DOCKER_CONFIG": str(directory), "HOME": str(directory)}

    def trust(self, ca: trustme.CA) -> Asked:
        (self.directory / "certs.d" / self.host).mkdir(parents=True)
        ca.cert_pem.write_to_path(str(self.directory / "certs.d" / self.host / "ca.crt"))
        return self

    def problems(self, path: str = "fate/nested", known: Facts | None = None, bundle: Path | None = None) -> list[str]:
        plan = replace_prefix(plan_of(), f"{self.host}/{path}")
        targets = [target for target in plan.targets if target.name in ("roll", "proxy", "mysql", "packages")]
        found = push_problems(Docker("docker"), targets, known or facts(), self.environment, bundle, self.notes.append)
        return [str(problem) for problem in found]


def replace_prefix(plan: Plan, prefix: str) -> Plan:
    return replace(
        plan,
        targets=tuple(
            replace(target, tags=tuple(tag.replace(plan.settings.prefix, prefix, 1) for tag in target.tags))
            for target in plan.targets
        ),
    )


def test_who_may_push_reads_nothing_of_it(harbor: Harbor, ca: trustme.CA, tmp_path: Path) -> None:
    asked = Asked(tmp_path, harbor.host, "writer:right-horse").trust(ca)
    assert asked.problems() == [] and asked.notes == []
    begun = [line for line in harbor.lines if line.startswith("POST")]
    assert sorted(begun) == [f"POST /v2/fate/nested/{image}/blobs/uploads/" for image in ("proxy", "roll")]


@pytest.mark.parametrize(
    ("login", "path", "says", "next_step"),
    [
        ("", "fate", "needs a login", "docker login {host}"),
        ("writer:wrong-horse", "fate", "refuses the login of writer", "docker login {host}"),
        ("reader:right-mule", "fate", "reader may not push fate/", "ask for permission to push to project fate"),
        ("writer:right-horse", "nosuch/nested", "no project nosuch", "create project nosuch in Harbor"),
    ],
)
def test_what_any_push_would_be_told_stops_it_with_the_next_step(
    harbor: Harbor, ca: trustme.CA, tmp_path: Path, login: str, path: str, says: str, next_step: str
) -> None:
    asked = Asked(tmp_path, harbor.host, login).trust(ca)
    [problem] = asked.problems(path, facts("remote", "tcp://farm:1234"))
    assert problem.startswith(f"{harbor.host}: ") and says in problem
    assert next_step.format(host=harbor.host) in problem
    assert asked.notes == []


def test_no_message_has_a_password(harbor: Harbor, ca: trustme.CA, tmp_path: Path) -> None:
    """Not even in a registry's own words."""
    encoded = base64.b64encode(b"reader:right-mule").decode()
    harbor.hooks["POST", "uploads"] = (403, "DENIED", f"Basic {encoded} is reader:right-mule")
    [problem] = Asked(tmp_path, harbor.host, "reader:right-mule").trust(ca).problems()
    assert "right-mule" not in problem and encoded not in problem and "***" in problem


def test_an_unknown_authority_names_the_file_for_it(harbor: Harbor, tmp_path: Path) -> None:
    [problem] = Asked(tmp_path, harbor.host, "writer:right-horse").problems()
    assert f"put the CA at /etc/docker/certs.d/{harbor.host}/ca.crt" in problem


def test_ca_bundle_is_not_what_a_builder_reads_and_that_is_a_note(
    harbor: Harbor, ca: trustme.CA, tmp_path: Path
) -> None:
    """The token service's authority, on an insecure registry: only the client must know it."""
    ca.cert_pem.write_to_path(str(tmp_path / "bundle.pem"))
    asked = Asked(tmp_path, harbor.host, "reader:right-mule")
    [problem] = asked.problems(bundle=tmp_path / "bundle.pem")
    assert "reader may not push" in problem
    assert [note for note in asked.notes if "its CA is only in CA_BUNDLE" in note]


def test_what_is_not_known_is_a_note_and_the_push_goes_on(harbor: Harbor, ca: trustme.CA, tmp_path: Path) -> None:
    harbor.hooks["POST", "uploads"] = (503, "UNAVAILABLE", "later")
    asked = Asked(tmp_path, harbor.host, "writer:right-horse").trust(ca)
    assert asked.problems() == []
    [note] = asked.notes
    assert (
        note.startswith(f"note: {harbor.host}: ")
        and "503 UNAVAILABLE: later" in note
        and "trying the push anyway" in note
    )


def test_a_registry_that_only_a_remote_builder_reaches_is_a_note(tmp_path: Path) -> None:
    asked = Asked(tmp_path, "127.0.0.1:1")
    assert asked.problems(known=facts("remote", "tcp://farm:1234")) == []
    assert "cannot be reached: Connection refused" in asked.notes[0]
    [problem] = asked.problems(known=facts())
    assert "cannot be reached: Connection refused" in problem


@pytest.mark.parametrize(
    ("kind", "known", "host", "expected"),
    [
        ("unreachable", facts(), "", True),
        ("unreachable", facts(), "unix:///run/docker.sock", True),
        ("unreachable", facts("docker-container", "unix:///run/docker.sock"), "", True),
        ("unreachable", facts(), "ssh://elsewhere", False),
        ("unreachable", facts(endpoint="desktop-linux"), "", False),
        ("unreachable", facts(proxied=True), "", False),
        ("unreachable", facts("kubernetes", "kubernetes:///x"), "", False),
        ("authority", facts(), "", True),
        ("authority", facts("docker-container", "unix:///run/docker.sock"), "", False),
        ("certificate", facts(), "ssh://elsewhere", False),
        ("denied", facts("remote", "tcp://farm:1"), "ssh://elsewhere", True),
        ("unknown", facts(), "", False),
    ],
)
def test_what_fails_here_stops_a_push_only_where_the_builder_must_meet_it(
    kind: ErrorKind, known: Facts, host: str, expected: bool
) -> None:
    assert certain(kind, known, {"DOCKER_HOST": host}) == expected


def test_a_registry_on_plain_http_is_taken_where_the_engine_takes_it(tmp_path: Path) -> None:
    with Harbor(auth="none") as plain:
        asked = Asked(tmp_path, plain.host)
        assert asked.problems() == [] and asked.notes == []


def test_nothing_to_push_asks_nobody(tmp_path: Path) -> None:
    assert push_problems(Docker("docker"), [], facts(), {}, None, pytest.fail) == []


def test_what_the_engine_says_of_registries_and_its_proxy() -> None:
    config = {
        "InsecureRegistryCIDRs": ["127.0.0.0/8"],
        "IndexConfigs": {"docker.io": {"Secure": True}, "plain.example.com": {"Secure": False}},
    }
    info = {"ServerVersion": "26", "RegistryConfig": config, "HttpsProxy": "http://proxy:3128"}
    engine, _ = parse_engine(Completed(("docker",), 0, json.dumps(info), ""))
    assert engine.insecure == ("plain.example.com", "127.0.0.0/8") and engine.proxied


def test_buildx_is_given_the_systems_authorities_and_the_registrys(tmp_path: Path, ca: trustme.CA) -> None:
    asked = Asked(tmp_path, "h.example.com").trust(ca)
    given = client_trust("h.example.com", asked.environment, None, tmp_path)
    assert ca.cert_pem.bytes().decode() in Path(given["SSL_CERT_FILE"]).read_text(encoding="utf-8")
    assert client_trust("other.example.com", asked.environment, None, tmp_path) == {}


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (
            'failed to fetch oauth token: Post "https://h:1/service/token": tls: x509: certificate signed by unknown',
            "update-ca-certificates",
        ),
        ("tls: failed to verify certificate: x509: certificate signed by unknown", "/etc/docker/certs.d/h:1/ca.crt"),
        ("unexpected status from PUT request to https://h:1/v2/: 403 Forbidden", "docker login h:1, or ask for pe"),
        ("server message: insufficient_scope: authorization failed", "push to project fate"),
        ("dial tcp: lookup h: no such host", "check that the builder can reach h:1"),
        ("no space left on device", ""),
    ],
)
def test_a_push_that_fails_all_the_same_says_the_next_step(said: str, advice: str) -> None:
    found = explain_push(said, "h:1/fate/nested/egg")
    assert advice in found and bool(found) == bool(advice)


# the doctor


@pytest.fixture
def workspace(project_dir: Path) -> Workspace:
    return load(Project(project_dir))


def at(workspace: Workspace, prefix: str) -> Workspace:
    """The same project with another PREFIX."""
    (workspace.project.root / ".env").write_text(f"PREFIX={prefix}\nBASE_TAG=1\nTAG=1\n", encoding="utf-8")
    return load(workspace.project)


def auth(login: str) -> dict[str, str]:
    return {"auth": base64.b64encode(login.encode()).decode()}


@pytest.mark.parametrize(
    ("config", "prefix", "state", "found"),
    [
        ({}, "10.0.0.5:8443/fate", "note", "none"),
        ({"auths": {"10.0.0.5:8443": auth("robot$fate:secret")}}, "10.0.0.5:8443/fate", "ok", "robot$fate"),
        ({"auths": {"https://index.docker.io/v1/": auth("me:secret")}}, "federatedai", "ok", "me"),
        ({"auths": {"10.0.0.5:8443": {"identitytoken": "secret"}}}, "10.0.0.5:8443/fate", "ok", "a token"),
    ],
)
def test_the_doctor_names_dockers_login_for_the_registry(
    config: object, prefix: str, state: str, found: str, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    environment = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    [login] = registry_checks(None, at(workspace, prefix), environment)
    assert (login.name, login.state, found in login.found) == ("login", state, True)
    assert "secret" not in json.dumps(login.as_json())


@pytest.mark.parametrize(
    ("login", "path", "state", "says", "get"),
    [
        ("writer:right-horse", "fate", "ok", "accepts a push of every image", ""),
        ("reader:right-mule", "fate", "note", "reader may not push fate/", "ask for permission to push"),
        ("writer:right-horse", "busy", "note", "503 UNAVAILABLE: later", "try it"),
    ],
)
def test_the_doctor_asks_what_a_push_would_ask(
    login: str, path: str, state: str, says: str, get: str, workspace: Workspace, tmp_path: Path
) -> None:
    with Harbor(hooks={("POST", "busy/.*uploads"): (503, "UNAVAILABLE", "later")}) as harbor:
        asked = Asked(tmp_path, harbor.host, login)
        _, registry = registry_checks(facts(), at(workspace, f"{harbor.host}/{path}"), asked.environment)
    assert (registry.state, says in registry.found, get in registry.get) == (state, True, True), registry
    assert "right-" not in json.dumps(registry.as_json())


def test_a_registry_that_takes_pushes_from_all_needs_no_login(workspace: Workspace, tmp_path: Path) -> None:
    with Harbor(auth="none") as plain:
        environment = Asked(tmp_path, plain.host).environment
        login, registry = registry_checks(facts(), at(workspace, f"{plain.host}/fate"), environment)
    assert (login.state, login.found, registry.state) == ("ok", "none; it accepts pushes from everybody", "ok")


# what was tagged before a push, and what is there after it

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with Loopback() as registry:
        yield registry


def descriptor(data: bytes, media_type: str, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


def index_of(*platforms: str) -> tuple[str, bytes]:
    entries = []
    for platform in (*platforms, "unknown/unknown"):
        system, _, machine = platform.partition("/")
        place = {"os": system, "architecture": machine}
        entries.append(descriptor(platform.encode(), MANIFEST, platform=place))
    return INDEX, json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


def test_what_the_tags_name_before_a_push(loopback: Loopback, tmp_path: Path) -> None:
    plan = replace_prefix(plan_of(), f"{loopback.host}/fate")
    targets = [target for target in plan.targets if target.name in ("roll", "proxy", "mysql", "packages")]
    name = next(target.tags[0] for target in targets if target.name == "roll")
    loopback.manifests["fate/roll"] = {name.rpartition(":")[2]: (INDEX, b"{}")}
    environment = Asked(tmp_path, loopback.host).environment
    assert tagged_digests(targets, facts(), environment) == {name: sha256(b"{}")}
    loopback.lies.append(lambda handler: handler.answer(403) is None)
    assert tagged_digests(targets, facts(), environment) == {}, "what is refused is the push's to tell"


def test_the_manifests_of_what_was_pushed(loopback: Loopback, tmp_path: Path) -> None:
    layers = [descriptor(bytes(size), "application/vnd.oci.image.layer.v1.tar+gzip") for size in (10, 20)]
    config = descriptor(b"{}", "application/vnd.oci.image.config.v1+json")
    manifest = json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()
    entry = descriptor(manifest, MANIFEST, platform={"os": "linux", "architecture": "amd64"})
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    loopback.manifests["fate/a"] = {sha256(manifest): (MANIFEST, manifest), sha256(index): (INDEX, index)}
    digests = {f"{loopback.host}/fate/{name}:1": sha256(data) for name, data in (("a", index), ("b", b"gone"))}
    pushed = pushed_manifests(digests, facts(), Asked(tmp_path, loopback.host).environment)
    [(reference, by_platform)] = pushed.items()
    assert reference.endswith("/fate/a:1") and list(by_platform) == ["linux/amd64"]
    assert [layer.size for layer in by_platform["linux/amd64"].layers] == [10, 20]
    assert by_platform["linux/amd64"].config.digest == sha256(b"{}")
    digests = {reference: sha256(manifest)}
    assert list(pushed_manifests(digests, facts(), Asked(tmp_path, loopback.host).environment)[reference]) == [""]


class Before:
    """A registry that has an image which a push is to replace."""

    def __init__(self, registry: Loopback, directory: Path, before: tuple[str, bytes]) -> None:
        self.environment = {"DOCKER_CONFIG": str(directory), "HOME": str(directory)}
        self.digest = sha256(before[1])
        registry.manifests["fate/roll"] = {self.digest: before}
        self.digests = {f"{registry.host}/fate/roll:1": self.digest}

    def platforms(self, patience: float = 5.0) -> list[list[str]]:
        return list(platforms_of(self.digests, facts(), self.environment, patience).values())


@pytest.mark.parametrize(
    ("platforms", "known"),
    [
        ((*BOTH, "windows/amd64", "linux/s390x"), [*BOTH, "linux/s390x"]),
        (("linux/arm", "linux/x86_64", "linux/amd64"), ["linux/arm/v7", "linux/amd64"]),
    ],
)
def test_the_platforms_of_what_a_push_replaces(
    loopback: Loopback, tmp_path: Path, platforms: tuple[str, ...], known: list[str]
) -> None:
    before = Before(loopback, tmp_path, index_of(*platforms))
    assert before.platforms() == [known]
    assert loopback.paths("GET") == ["/v2/", f"/v2/fate/roll/manifests/{before.digest}"]


@pytest.mark.parametrize(
    "before",
    [
        (INDEX, b"no JSON"),
        (INDEX, b"[]"),
        (INDEX, b'{"schemaVersion": 2, "manifests": 5}'),
        (INDEX, b'{"schemaVersion": 2, "manifests": ["x"]}'),
        (INDEX, index_of("linux/amd64")[1].replace(b'"amd64"', b"5")),
        (INDEX, index_of("linux/amd64")[1].replace(b'"amd64"', b'"\\u001b[31mred"')),
        (INDEX, b'{"manifests": ' + b"[" * 100_000),
        (MANIFEST, b'{"schemaVersion": 2, "layers": []}'),
    ],
    ids=["text", "list", "number", "word", "machine", "escape", "deep", "one image"],
)
def test_what_is_no_index_of_platforms_is_passed_over(
    loopback: Loopback, tmp_path: Path, before: tuple[str, bytes]
) -> None:
    assert not any(Before(loopback, tmp_path, before).platforms())


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_registry_that_refuses_to_say_what_was_replaced_is_passed_over(
    loopback: Loopback, tmp_path: Path, status: int
) -> None:
    loopback.lies.append(lambda handler: handler.answer(status) is None)
    assert Before(loopback, tmp_path, index_of(*BOTH)).platforms(patience=0.3) == []


def test_a_silent_name_is_not_waited_for_and_hides_no_other(loopback: Loopback, tmp_path: Path) -> None:
    silent = threading.Event()
    loopback.lies.append(lambda handler: "fate/egg/manifests" in handler.path and silent.wait(10))
    before = Before(loopback, tmp_path, index_of(*BOTH))
    before.digests[f"{loopback.host}/fate/egg:1"] = before.digest
    assert before.platforms(patience=1.0) == [[*BOTH]]
    assert not silent.is_set()
    silent.set()
