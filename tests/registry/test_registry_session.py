"""What a conversation with a registry believes and tells: redirects, challenges, answers that are none."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from generator.docker.credentials import Login
from generator.registry import session, transport
from generator.registry.pull import get_manifest, has_blob
from generator.registry.rights import check_push
from generator.registry.session import Access, Registry, Stopped
from generator.registry.transport import Finding, Refused
from generator.registry.upload import push_blob
from tests.loopback import Handler, Loopback, sha256

LOGIN = Login("writer", "right-horse")


@pytest.fixture
def registry() -> Iterator[Loopback]:
    with Loopback() as running:
        yield running


def redirect(path: str, to: str) -> Callable[[Handler], bool]:
    def answer(handler: Handler) -> bool:
        if handler.url.path != path:
            return False
        handler.answer(307, headers={"Location": to})
        return True

    return answer


def challenging(handler: Handler, *challenges: str) -> None:
    """401 with these, each in a header of its own."""
    handler.send_response(401)
    for one in challenges:
        handler.send_header("WWW-Authenticate", one)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def asked_by(registry: Loopback, login: Login | None = LOGIN) -> Finding:
    found = check_push(Access(registry.host, login, insecure=True), ["fate/egg"])
    return found.get("", found.get("fate/egg", Finding("unknown")))


# who sees the password


def test_the_password_goes_no_further_than_the_address_for_tokens(registry: Loopback) -> None:
    registry.token = "good"
    with Loopback() as stranger:
        stranger.token = "good"
        registry.lies.append(redirect("/token", f"http://{stranger.host}/token"))
        asked_by(registry)
    assert [authorization for _, _, authorization in stranger.asked] == [""] * len(stranger.asked) != []


def test_the_password_is_not_sent_on_from_https_to_http(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def send(
        _session: object, _method: str, url: str, _environment: object, headers: dict[str, str], **_: object
    ) -> object:
        seen.append((url, headers.get("Authorization", "")))
        if url.startswith("https://registry.example/"):
            return Answer(401, {"WWW-Authenticate": 'Bearer realm="https://auth.example/token"'})
        if url.startswith("https://auth.example/"):
            return Answer(302, {"Location": "http://auth.example/token"})
        return Answer(200, {}, b'{"token": "good"}')

    monkeypatch.setattr(session, "send", send)
    Registry(Access("registry.example", LOGIN)).log_in()
    assert seen[-2:] == [
        ("https://auth.example/token", f"Basic {LOGIN.basic}"),
        ("http://auth.example/token", ""),
    ]


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.status_code, self.headers, self._body, self.url, self.reason = status, headers, body, "", ""

    @property
    def ok(self) -> bool:
        return self.status_code < 400

    @property
    def is_redirect(self) -> bool:
        return "Location" in self.headers

    def json(self) -> object:
        return json.loads(self._body)

    def close(self) -> None:
        pass


def test_another_hosts_401_asks_for_no_login(registry: Loopback) -> None:
    """Storage that a registry sends on to has no say in who is asked for the password."""
    registry.token = "good"
    with Loopback() as storage:
        storage.lies.append(lambda handler: challenging(handler, f'Bearer realm="http://{storage.host}/steal"') is None)
        registry.lies.append(redirect(f"/v2/a/blobs/{sha256(b'')}", f"http://{storage.host}/blob"))
        client = registry.client(Access(registry.host, LOGIN, insecure=True))
        with pytest.raises(Refused):
            has_blob(client, "a", sha256(b""))
    assert storage.paths("HEAD") == ["/blob"]
    assert storage.paths("GET") == []


def test_what_a_registry_repeats_of_the_login_is_hidden() -> None:
    assert LOGIN.hide(f"you sent {LOGIN.basic} for {LOGIN.password}") == "you sent *** for ***"


# challenges


def test_of_several_challenges_the_bearer_one_with_its_own_realm_counts(registry: Loopback) -> None:
    registry.token = "good"

    def lie(handler: Handler) -> bool:
        if handler.url.path == "/token" or handler.headers.get("Authorization") == "Bearer good":
            return False
        challenging(handler, f'Bearer realm="http://{registry.host}/token",service="x"', 'Basic realm="Gitea"')
        return True

    registry.lies.append(lie)
    assert asked_by(registry) == Finding("ok")


def test_a_token_that_is_over_is_asked_for_once_by_all_threads(registry: Loopback) -> None:
    registry.token = "old"
    client = registry.client(Access(registry.host, LOGIN, insecure=True))
    has_blob(client, "a", sha256(b""))
    registry.token = "new"
    before, ready = len(registry.asked), threading.Barrier(4)

    def late(handler: Handler) -> bool:
        if handler.headers.get("Authorization") == "Bearer old":
            ready.wait(5)
        return False

    registry.lies.append(late)
    threads = [threading.Thread(target=has_blob, args=(client, "a", sha256(b""))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(path.startswith("/token") for _, path, _ in registry.asked[before:]) == 1


# answers that are none


@pytest.mark.parametrize("address", ["http://[x/", "http://h:99999/"])
def test_an_address_that_is_none(registry: Loopback, address: str) -> None:
    registry.lies.append(redirect("/v2/", address))
    found = asked_by(registry)
    assert (found.kind, "it sends on to what is no address" in found.said) == ("unknown", True)


def test_a_realm_that_is_no_address(registry: Loopback) -> None:
    registry.lies.append(lambda handler: challenging(handler, 'Bearer realm="https://[x/token"') is None)
    assert asked_by(registry).kind == "unknown"


def test_an_upload_that_begins_nowhere(registry: Loopback) -> None:
    def lie(handler: Handler) -> bool:
        if handler.command == "POST":
            handler.answer(202, headers={"Location": "http://[x/"})
        return handler.command == "POST"

    registry.lies.append(lie)
    assert asked_by(registry).kind == "ok"
    with pytest.raises(Refused, match="no address"):
        push_blob(registry.client(), "a", sha256(b"x"), 1, lambda: iter([b"x"]))


@pytest.mark.parametrize(
    "body", ['{"token": "日本"}', '{"token": "a\\r\\nX: y"}', '{"token": ["a"]}', "[1]", "[" * 100_000]
)
def test_a_token_that_is_none(registry: Loopback, body: str) -> None:
    registry.token = "good"

    def lie(handler: Handler) -> bool:
        if handler.url.path == "/token":
            handler.answer(200, body.encode())
        return handler.url.path == "/token"

    registry.lies.append(lie)
    assert asked_by(registry) == Finding("unknown", f"no token from {registry.host}: 200 OK")


def test_an_error_nested_without_end(registry: Loopback) -> None:
    registry.lies.append(lambda handler: handler.answer(500, b'{"errors":' + b"[" * 100_000) is None)
    assert asked_by(registry) == Finding("unknown", "500 Internal Server Error")


def test_an_answer_without_end(registry: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LIMIT", 1 << 16)

    def lie(handler: Handler) -> bool:
        handler.send_response(401)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(1 << 16))

    registry.lies.append(lie)
    assert asked_by(registry) == Finding("unknown", "an answer of more than 65,536 bytes")


def test_a_registrys_words_cannot_move_the_cursor(registry: Loopback) -> None:
    error = {"errors": [{"code": "DENIED", "message": "\x1b[2Kall images were pushed\x07"}]}
    registry.lies.append(lambda handler: handler.answer(500, json.dumps(error).encode()) is None)
    assert asked_by(registry).said == "500 DENIED: ?[2Kall images were pushed?"


# its end


def test_who_was_stopped_asks_for_nothing_more(registry: Loopback) -> None:
    client = registry.client()
    client.stop()
    before = list(registry.asked)
    with pytest.raises(Stopped):
        has_blob(client, "a", sha256(b""))
    assert registry.asked == before


def test_a_manifest_that_does_not_come_to_its_end_is_not_waited_for(registry: Loopback) -> None:
    waiting = threading.Event()

    def lie(handler: Handler) -> bool:
        if "/manifests/" not in handler.path:
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"{")
        handler.wfile.flush()
        waiting.set()
        time.sleep(5)
        return True

    registry.lies.append(lie)
    client = registry.client()
    threading.Thread(target=lambda: (waiting.wait(5), time.sleep(0.05), client.stop()), daemon=True).start()
    began = time.monotonic()
    with pytest.raises((Stopped, Refused)):
        get_manifest(client, "a", "1")
    assert time.monotonic() - began < 4


def test_a_redirect_without_end(registry: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LIMIT", 1 << 16)

    def lie(handler: Handler) -> bool:
        if "/blobs/" not in handler.path:
            return False
        handler.send_response(307)
        handler.send_header("Location", "/elsewhere")
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(1 << 16))

    registry.lies.append(lie)
    with pytest.raises(Refused, match="more than 65,536 bytes"):
        registry.client().request("GET", f"/v2/a/blobs/{sha256(b'')}", stream=True)
