"""What a registry answers to a push, asked of one that answers as Harbor does, on loopback."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from generator.docker.credentials import Login
from generator.registry.answers import Challenge, parse_challenge
from generator.registry.rights import check_push
from generator.registry.session import Access
from generator.registry.transport import Finding, is_insecure, proxies, trusting
from tests.harbor import Harbor

pytestmark = pytest.mark.usefixtures("one_authority")

WRITER = Login("writer", "right-horse")
READER = Login("reader", "right-mule")
WRONG = Login("writer", "wrong-horse")
PATHS = ("fate/nested/egg", "fate/nested/roll")


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    ca.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    return tmp_path / "ca.crt"


def server_tls(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def harbor(ca: trustme.CA) -> Iterator[Harbor]:
    with Harbor(tls=server_tls(ca, "127.0.0.1")) as running:
        yield running


def ask(harbor: Harbor, login: Login | None, *trusted: Path, paths: tuple[str, ...] = PATHS) -> dict[str, Finding]:
    return check_push(Access(harbor.host, login, {}, trusted), paths)


def kinds(found: dict[str, Finding]) -> set[str]:
    return {finding.kind for finding in found.values()}


# what Harbor says


def test_a_login_with_the_right_to_push_may_push_every_repository(harbor: Harbor, ca_file: Path) -> None:
    found = ask(harbor, WRITER, ca_file)
    assert found == {path: Finding("ok") for path in PATHS}


def test_every_upload_that_was_begun_is_cancelled(harbor: Harbor, ca_file: Path) -> None:
    ask(harbor, WRITER, ca_file)
    assert sorted(line for line in harbor.asked if line.startswith("DELETE")) == [
        f"DELETE /v2/{path}/blobs/uploads/upload-1" for path in PATHS
    ]


def test_an_upload_that_cannot_be_cancelled_is_no_finding(harbor: Harbor, ca_file: Path) -> None:
    harbor.hooks["DELETE", "/blobs/uploads/"] = (401, "UNAUTHORIZED", "action: delete")
    assert kinds(ask(harbor, WRITER, ca_file)) == {"ok"}


def test_a_wrong_password_is_refused_once_although_harbor_gives_such_a_client_tokens(
    harbor: Harbor, ca_file: Path
) -> None:
    assert ask(harbor, WRONG, ca_file) == {"": Finding("refused", "401 UNAUTHORIZED")}
    assert not [line for line in harbor.asked if "uploads" in line]


def test_without_a_login_the_registry_asks_for_one(harbor: Harbor, ca_file: Path) -> None:
    assert kinds(ask(harbor, None, ca_file)) == {"no login"}


def test_an_account_that_only_reads_is_denied_in_the_registrys_words(harbor: Harbor, ca_file: Path) -> None:
    found = ask(harbor, READER, ca_file, paths=PATHS[:1])
    [finding] = found.values()
    assert finding.kind == "denied"
    assert finding.said == "401 UNAUTHORIZED: unauthorized to access repository: fate/nested/egg, action: push"


def test_a_missing_project_is_not_a_missing_right(harbor: Harbor, ca_file: Path) -> None:
    found = ask(harbor, WRITER, ca_file, paths=("elsewhere/egg",))
    assert found == {"elsewhere/egg": Finding("missing", "401 UNAUTHORIZED: project elsewhere not found")}


def test_rights_are_told_for_each_repository(harbor: Harbor, ca_file: Path) -> None:
    harbor.hooks["POST", "/roll/"] = (403, "DENIED", "can not push artifact to a proxy project: fate")
    found = ask(harbor, WRITER, ca_file)
    assert [found[path].kind for path in PATHS] == ["ok", "denied"]


# other registries


def test_basic_authentication_tells_a_wrong_password_too(ca: trustme.CA, ca_file: Path) -> None:
    with Harbor(tls=server_tls(ca, "127.0.0.1"), auth="basic") as htpasswd:
        assert kinds(ask(htpasswd, WRITER, ca_file)) == {"ok"}
        assert kinds(ask(htpasswd, WRONG, ca_file)) == {"refused"}
        assert kinds(ask(htpasswd, None, ca_file)) == {"no login"}


def test_a_loopback_registry_may_speak_plain_http_and_take_pushes_from_all() -> None:
    with Harbor(auth="none") as plain:
        assert kinds(check_push(Access(plain.host, None, {}, insecure=True), PATHS)) == {"ok"}


def test_one_that_lets_everybody_read_asks_for_the_login_when_an_upload_begins(harbor: Harbor, ca_file: Path) -> None:
    harbor.hooks["GET", "^/v2/$"] = (200, "", "")
    assert kinds(ask(harbor, WRITER, ca_file)) == {"ok"}
    assert kinds(ask(harbor, READER, ca_file)) == {"denied"}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NAME_UNKNOWN", "missing"),
        (405, "UNSUPPORTED", "denied"),
        (404, "", "unknown"),
        (429, "TOOMANYREQUESTS", "unknown"),
        (500, "UNKNOWN", "unknown"),
        (307, "", "unknown"),
    ],
)
def test_only_definite_answers_are_more_than_unknown(
    harbor: Harbor, ca_file: Path, status: int, code: str, kind: str
) -> None:
    harbor.hooks["POST", "uploads"] = (status, code, "as it is")
    assert kinds(ask(harbor, WRITER, ca_file)) == {kind}


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_registry_that_does_not_answer_as_one_is_unknown(harbor: Harbor, ca_file: Path, status: int) -> None:
    harbor.hooks["GET", "^/v2/$"] = (status, "", "maintenance")
    assert ask(harbor, WRITER, ca_file) == {"": Finding("unknown", f"{status} : maintenance".replace(" : ", " "))}


@pytest.mark.parametrize(("status", "kind"), [(401, "refused"), (403, "denied"), (500, "unknown"), (200, "unknown")])
def test_a_token_service_that_gives_none_for_the_push(harbor: Harbor, ca_file: Path, status: int, kind: str) -> None:
    harbor.hooks["GET", "/service/token.*scope="] = (status, "", "no")
    assert kinds(ask(harbor, WRITER, ca_file)) == {kind}


def test_an_identity_token_is_exchanged_for_a_token(harbor: Harbor, ca_file: Path) -> None:
    harbor.refresh["renews-itself"] = "writer"
    assert kinds(ask(harbor, Login("<token>", "renews-itself", identity=True), ca_file)) == {"ok"}
    assert kinds(ask(harbor, Login("<token>", "has-expired", identity=True), ca_file)) == {"refused"}


# between here and there


def test_an_unknown_authority(harbor: Harbor) -> None:
    found = ask(harbor, WRITER)
    assert kinds(found) == {"authority"}
    assert not harbor.asked, "no password goes to a host that proves nothing"


def test_a_certificate_for_another_name(ca: trustme.CA, ca_file: Path) -> None:
    with Harbor(tls=server_tls(ca, "harbor.example.com")) as harbor:
        [finding] = ask(harbor, WRITER, ca_file).values()
    assert finding.kind == "certificate" and "127.0.0.1" in finding.said


def test_plain_http_where_tls_is_expected() -> None:
    with Harbor() as plain:
        [finding] = ask(plain, WRITER).values()
    assert finding.kind == "certificate" and "TLS" in finding.said


def test_the_engine_may_trust_an_insecure_registry_that_the_token_client_does_not(harbor: Harbor) -> None:
    """buildx fetches the token, and knows nothing of the engine's insecure-registries."""
    assert kinds(check_push(Access(harbor.host, WRITER, {}, insecure=True), PATHS)) == {"authority"}


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        assert check_push(Access(host, WRITER), PATHS) == {"": Finding("unreachable", "Connection refused")}


def test_a_file_without_certificates_is_left_out(harbor: Harbor, ca_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.crt").write_text("nothing\n", encoding="utf-8")
    assert kinds(ask(harbor, WRITER, tmp_path / "empty.crt", ca_file)) == {"ok"}
    assert trusting([tmp_path / "gone.crt"], {}).verify_mode == ssl.CERT_REQUIRED


def test_netrc_and_other_tools_settings_play_no_part(
    harbor: Harbor, ca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login writer password right-horse\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    assert kinds(ask(harbor, None, ca_file)) == {"no login"}


# small parts


def test_a_challenge_is_read_as_rfc_9110_writes_it() -> None:
    header = 'Bearer realm="https://h/t?a=b,c",service="harbor-registry",scope="repository:a/b:pull,push"'
    assert parse_challenge(header) == Challenge(
        "bearer", {"realm": "https://h/t?a=b,c", "service": "harbor-registry", "scope": "repository:a/b:pull,push"}
    )
    assert parse_challenge('Basic realm="x", Bearer realm="https://h/t"').parameters == {"realm": "https://h/t"}
    assert parse_challenge('basic realm="harbor"') == Challenge("basic", {})
    assert parse_challenge("") == parse_challenge("Negotiate") == Challenge("", {})


@pytest.mark.parametrize(
    ("host", "insecure"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.9.9.9:80", True),
        ("[::1]:5000", True),
        ("10.1.2.3:80", True),
        ("plain.example.com", True),
        ("11.0.0.1", False),
        ("harbor.example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_insecure_registries_are_those_of_the_engine_and_loopback(host: str, insecure: bool) -> None:
    assert is_insecure(host, ("plain.example.com", "10.0.0.0/8")) == insecure


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("https://h.example.com/v2/", {"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:1"}, "http://p:1"),
        ("https://h.example.com/v2/", {"HTTPS_PROXY": "", "https_proxy": "http://q:1"}, "http://q:1"),
        ("https://h.example.com/v2/", {"HTTP_PROXY": "http://p:1"}, ""),
        ("https://10.0.0.5:8443/v2/", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, ""),
        ("https://h.example.com/v2/", {"HTTPS_PROXY": "http://p:1", "no_proxy": ".example.com"}, ""),
        ("https://127.0.0.1:5000/v2/", {"HTTPS_PROXY": "http://p:1"}, ""),
        ("https://localhost/v2/", {"HTTPS_PROXY": "http://p:1"}, ""),
        ("https://[::1]:5000/v2/", {"HTTPS_PROXY": "http://p:1"}, ""),
        ("https://u:p@[::1]/v2/", {"HTTPS_PROXY": "http://p:1"}, ""),
    ],
)
def test_proxies_are_those_of_bakes_environment(url: str, environment: dict[str, str], expected: str) -> None:
    assert proxies(url, environment) == ({"https": expected} if expected else {})


def test_threads_that_ask_for_a_proxy_leave_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    within = threading.Lock()

    def bypass(_url: str, _excluded: str) -> bool:
        assert within.acquire(blocking=False), "two at once: requests sets no_proxy and takes it out again"
        time.sleep(0.001)
        within.release()
        return False

    monkeypatch.setattr("requests.utils.should_bypass_proxies", bypass)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: proxies("http://h/", {"http_proxy": "http://p:1", "no_proxy": "x"}), range(8)))
    assert found == [{"http": "http://p:1"}] * 8
