"""What a registry answers to a push, asked of one that answers as Harbor does, on loopback."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from generator.docker.credentials import Login
from generator.registry.explain import find_push_problems
from generator.registry.http import trusting
from generator.registry.session import Access
from tests.harbor import Harbor
from tests.loopback import error_of, says, tls

pytestmark = pytest.mark.usefixtures("one_authority", "no_waits")

WRITER = Login("writer", "right-horse")
READER = Login("reader", "right-mule")
WRONG = Login("writer", "wrong-horse")
PATHS = ("fate/nested/egg", "fate/nested/roll")
REFUSED, DENIED = "it refuses the login of writer (401 ", "writer may not push fate/nested/egg, fate/nested/roll ("
NO_LOGIN, UNKNOWN = "a push needs a login", "cannot tell whether it accepts a push: "
AUTHORITY = "its certificate is signed by an unknown authority"


def ask(harbor: Harbor, login: Login | None, *trusted: Path, insecure: bool = False) -> str:
    """Why a push to both repositories would be refused, in words; "" if it would not."""
    refused = find_push_problems(Access(harbor.host, login, {}, trusted, insecure), PATHS)
    assert len(refused) <= 1, "both repositories are refused for one reason"
    return "".join(refusal.what for refusal in refused)


# what Harbor says


def test_with_a_wrong_password_no_upload_begins(harbor: Harbor, ca_file: Path) -> None:
    """Harbor gives a client with a wrong password tokens all the same."""
    assert ask(harbor, WRONG, ca_file).startswith(REFUSED)
    assert not harbor.paths("POST")


def test_every_upload_that_was_begun_is_canceled(harbor: Harbor, ca_file: Path) -> None:
    ask(harbor, WRITER, ca_file)
    assert len(harbor.paths("POST")) == len(PATHS)
    assert harbor.uploads == {}


def test_nothing_is_deleted_where_an_answer_leads_elsewhere(harbor: Harbor, ca_file: Path, ca: trustme.CA) -> None:
    with Harbor(tls=tls(ca, "127.0.0.1")) as other:
        places = (f"https://{other.host}/v2/fate/blobs/uploads/1", "/v2/fate/manifests/1.0")
        for place in places:
            harbor.lies[:] = [says("POST uploads", 202, headers={"Location": place})]
            assert ask(harbor, WRITER, ca_file) == ""
        assert not harbor.paths("DELETE") and not other.asked


# other registries


def test_basic_authentication_tells_a_wrong_password_too(ca: trustme.CA, ca_file: Path) -> None:
    with Harbor(tls=tls(ca, "127.0.0.1"), auth="basic") as htpasswd:
        assert ask(htpasswd, WRITER, ca_file) == ""
        assert ask(htpasswd, WRONG, ca_file).startswith(REFUSED)
        assert ask(htpasswd, None, ca_file).startswith(NO_LOGIN)


def test_one_that_lets_everybody_read_asks_for_the_login_when_an_upload_begins(harbor: Harbor, ca_file: Path) -> None:
    harbor.lies.append(says("GET ^/v2/$", 200))
    assert ask(harbor, WRITER, ca_file) == ""
    assert ask(harbor, READER, ca_file).startswith("reader may not push fate/nested/egg, fate/nested/roll (401 ")


UPLOAD, TOKEN = "POST uploads", "GET /service/token.*scope="


@pytest.mark.parametrize(
    ("asked", "status", "code", "words"),
    [
        (UPLOAD, 404, "NAME_UNKNOWN", "it has no project fate (404 "),
        (UPLOAD, 403, "DENIED", DENIED),
        (UPLOAD, 405, "UNSUPPORTED", DENIED),
        (UPLOAD, 404, "", UNKNOWN),
        (UPLOAD, 429, "TOOMANYREQUESTS", UNKNOWN),
        (UPLOAD, 500, "UNKNOWN", UNKNOWN),
        (UPLOAD, 307, "", UNKNOWN),
        # the token service gives none
        (TOKEN, 401, "", REFUSED),
        (TOKEN, 403, "", DENIED),
        (TOKEN, 500, "", UNKNOWN),
        (TOKEN, 200, "", UNKNOWN),
        # an upload that cannot be canceled is no finding
        ("DELETE /blobs/uploads/", 401, "UNAUTHORIZED", ""),
    ],
)
def test_only_definite_answers_are_more_than_unknown(
    harbor: Harbor, ca_file: Path, asked: str, status: int, code: str, words: str
) -> None:
    harbor.lies.append(says(asked, status, error_of(code, "as it is")))
    found = ask(harbor, WRITER, ca_file)
    assert found.startswith(words) and bool(found) == bool(words)


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_registry_that_does_not_answer_as_one_is_unknown(harbor: Harbor, ca_file: Path, status: int) -> None:
    harbor.lies.append(says("GET ^/v2/$", status, error_of("", "maintenance")))
    # and plain http is not tried instead
    assert ask(harbor, WRITER, ca_file, insecure=True) == f"{UNKNOWN}{status} maintenance"


def test_an_identity_token_is_exchanged_for_a_token(harbor: Harbor, ca_file: Path) -> None:
    harbor.refresh["renews-itself"] = "writer"
    assert ask(harbor, Login("<token>", "renews-itself", identity=True), ca_file) == ""
    assert ask(harbor, Login("<token>", "has-expired", identity=True), ca_file).startswith("it refuses docker's login")


# between here and there


def test_an_unknown_authority(harbor: Harbor) -> None:
    assert ask(harbor, WRITER).startswith(AUTHORITY)
    assert not harbor.asked, "no password goes to a host that proves nothing"


@pytest.mark.parametrize(("name", "said"), [("harbor.example.com", "127.0.0.1"), ("", "TLS")])
def test_a_certificate_for_another_name_or_none(ca: trustme.CA, ca_file: Path, name: str, said: str) -> None:
    with Harbor(tls=tls(ca, name) if name else None) as harbor:
        found = ask(harbor, WRITER, ca_file)
    assert found.startswith("no secure connection: ") and said in found


def test_the_engine_may_trust_an_insecure_registry_that_the_token_client_does_not(harbor: Harbor) -> None:
    """buildx fetches the token, and knows nothing of the engine's insecure-registries."""
    assert ask(harbor, WRITER, insecure=True).startswith(AUTHORITY)


def test_a_file_without_certificates_is_left_out(harbor: Harbor, ca_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.crt").write_text("nothing\n", encoding="utf-8")
    assert ask(harbor, WRITER, tmp_path / "empty.crt", ca_file) == ""
    assert trusting([tmp_path / "gone.crt"], {}).verify_mode == ssl.CERT_REQUIRED


def test_netrc_and_other_tools_settings_play_no_part(
    harbor: Harbor, ca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login writer password right-horse\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    assert ask(harbor, None, ca_file).startswith(NO_LOGIN)
