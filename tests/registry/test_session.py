"""What a conversation with a registry believes and tells: redirects, challenges, answers that are none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from generator.config.reference import parse_reference
from generator.docker.credentials import Login
from generator.images.oci import Descriptor
from generator.registry.client import Registries, Registry
from generator.registry.explain import find_push_problems
from generator.registry.http import RegistryError
from generator.registry.session import RETRY_DELAYS, Access, Stopped
from generator.registry.transfer import Content, OpenUploads, Upload
from tests.loopback import Handler, Loopback, error_of, says, sha256, tls, when

pytestmark = pytest.mark.usefixtures("one_authority")
LOGIN = Login("writer", "right-horse")


def refusal(registry: Loopback) -> str:
    """Why a push would be refused; "" if it would not."""
    return "".join(r.what for r in find_push_problems(Access(registry.host, LOGIN, insecure=True), ["fate/egg"]))


def upload(client: Registry, data: bytes, state: Path, content: Content | None = None, mount: str = "") -> bool:
    blob = Descriptor(sha256(data), len(data), "")
    return Upload(client, "a", blob, content or (lambda: iter([data])), OpenUploads(state / "uploads.json")).run(mount)


# who sees the password


def test_the_password_goes_no_further_than_the_address_for_tokens(registry: Loopback) -> None:
    registry.token = "good"
    with Loopback() as stranger:
        stranger.token = "good"
        registry.lies.append(says(" ^/token", 307, headers={"Location": f"http://{stranger.host}/token"}))
        refusal(registry)
    assert ("GET", "/token?service=loopback&client_id=fategen", f"Basic {LOGIN.basic}") in registry.asked
    assert [authorization for _, _, authorization in stranger.asked] == [""] * len(stranger.asked) != []


def test_docker_hubs_own_images_are_in_library(ca: trustme.CA, ca_file: Path) -> None:
    names = ("registry-1.docker.io", "127.0.0.1")
    with (
        Loopback(tls=tls(ca, *names), token="good") as hub,
        Loopback(lies=[lambda handler: handler.tunnel(hub.host) is None]) as proxy,
    ):
        client = Registry(Access("docker.io", None, {"HTTPS_PROXY": f"http://{proxy.host}"}, (ca_file,)))
        assert not client.has_blob("mysql", sha256(b"")) and not client.has_blob("team/tool", sha256(b""))
    assert {path.partition("/blobs/")[0] for path in hub.paths("HEAD")} == {"/v2/library/mysql", "/v2/team/tool"}
    scopes = [path.partition("scope=")[2] for path in hub.paths("GET") if path.startswith("/token")]
    assert scopes == ["repository%3Alibrary%2Fmysql%3Apull", "repository%3Ateam%2Ftool%3Apull"]


def test_a_blob_is_mounted_with_a_token_for_both_repositories(registry: Loopback, tmp_path: Path) -> None:
    registry.token = "good"
    registry.put("b", b"12345")
    assert not upload(registry.client(LOGIN), b"12345", tmp_path, mount="b")
    assert "scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull" in registry.paths("GET")[-1]


def test_another_hosts_401_asks_for_no_login(registry: Loopback) -> None:
    """Storage that a registry sends on to has no say in who is asked for the password."""
    registry.token = "good"
    with Loopback() as storage:
        challenge = f'Bearer realm="http://{storage.host}/steal"'
        storage.lies.append(says("", 401, headers={"WWW-Authenticate": challenge}))
        registry.lies.append(says(" /blobs/", 307, headers={"Location": f"http://{storage.host}/blob"}))
        with pytest.raises(RegistryError):
            registry.client(LOGIN).has_blob("a", sha256(b""))
    assert storage.paths("HEAD") == ["/blob"]
    assert storage.paths("GET") == []


# challenges


def test_of_several_challenges_the_bearer_one_with_its_own_realm_counts(registry: Loopback) -> None:
    registry.token = "good"

    def lie(handler: Handler) -> bool:
        if handler.url.path == "/token" or handler.headers.get("Authorization") == "Bearer good":
            return False
        own = f'Bearer realm="http://{registry.host}/token",service="x"'
        handler.answer(401, headers={"WWW-Authenticate": own, "www-authenticate": 'Basic realm="Gitea"'})
        return True

    registry.lies.append(lie)
    assert refusal(registry) == ""


def test_a_token_that_is_over_is_asked_for_once_by_all_threads(registry: Loopback) -> None:
    registry.token = "old"
    client = registry.client(LOGIN)
    client.has_blob("a", sha256(b""))
    registry.token = "new"
    before, ready = len(registry.asked), threading.Barrier(4)

    def late(handler: Handler) -> bool:
        if handler.headers.get("Authorization") == "Bearer old":
            ready.wait(5)
        return False

    registry.lies.append(late)
    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(client.has_blob, "aaaa", [sha256(b"")] * 4))
    assert sum(path.startswith("/token") for _, path, _ in registry.asked[before:]) == 1


def test_a_token_may_go_out_of_date_while_a_blob_is_sent(registry: Loopback, tmp_path: Path) -> None:
    registry.token = "old"
    registry.lies.append(when("PUT ", lambda _: setattr(registry, "token", "new")))
    assert upload(registry.client(LOGIN), b"12345", tmp_path)
    assert registry.blobs["a"] == {sha256(b"12345"): b"12345"}


@pytest.mark.parametrize("status", [503, 0])
def test_a_token_service_that_fails_is_asked_as_often_as_any_server(registry: Loopback, status: int) -> None:
    """And not as often again by each request that needs the token."""
    registry.token = "good"
    registry.lies.append(says(" ^/token", status))
    with pytest.raises(RegistryError):
        registry.client(LOGIN).has_blob("a", sha256(b""))
    assert registry.slept == list(RETRY_DELAYS)


# answers that are none


def test_an_upload_that_begins_nowhere(registry: Loopback, tmp_path: Path) -> None:
    registry.lies.append(says("POST", 202, headers={"Location": "http://[x/"}))
    assert refusal(registry) == ""
    with pytest.raises(RegistryError, match="invalid address"):
        upload(registry.client(), b"x", tmp_path)


TOKENS = ('{"token": "日本"}', '{"token": "a\\r\\nX: y"}', '{"token": ["a"]}', "[1]", "[" * 100_000)
# one may repeat a login
ADDRESSES = ("http://[x/", "http://h:99999/", "http://bob:hunter2@[x/")
NO_REALM = {"WWW-Authenticate": 'Bearer realm="https://[x/token"'}


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize(
    ("asked", "status", "body", "headers", "said"),
    [
        *((" ^/token", 200, body.encode(), {}, "no token from {host}: 200 OK") for body in TOKENS),
        *((" ^/v2/$", 307, b"", {"Location": address}, "it sent an invalid address") for address in ADDRESSES),
        (" ^/v2/$", 307, b"", {"Location": "ftp://bob:hunter2@x/"}, "it sent an address that is not http (ftp:)"),
        ("", 401, b"", NO_REALM, "it sent an invalid address"),
        ("", 401, bytes(5 << 20), {"Content-Length": str(1 << 40)}, "a response of more than 4,194,304 bytes"),
        ("", 500, b'{"errors":' + b"[" * 100_000, {}, "500 Internal Server Error"),
        ("", 500, error_of("DENIED", "\x1b[2Kall was pushed\x07"), {}, "500 DENIED: ?[2Kall was pushed?"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_no_refusal_is_told_in_printable_words(
    registry: Loopback, asked: str, status: int, body: bytes, headers: dict[str, str], said: str
) -> None:
    registry.token = "good"
    registry.lies.append(says(asked, status, body, headers))
    assert refusal(registry) == f"cannot tell whether it accepts a push: {said.format(host=registry.host)}"


def test_a_redirect_without_end(registry: Loopback) -> None:
    headers = {"Location": "/elsewhere", "Content-Length": str(1 << 40)}
    registry.lies.append(says(" /blobs/", 307, bytes(5 << 20), headers))
    with pytest.raises(RegistryError, match="more than 4,194,304 bytes"):
        registry.client().request("GET", f"/v2/a/blobs/{sha256(b'')}", stream=True)


def test_a_registry_that_cannot_be_connected_to_is_told_at_once() -> None:
    slept: list[float] = []
    with pytest.raises(RegistryError, match="Connection refused"):
        Registry(Access("127.0.0.1:1", insecure=True), sleep=slept.append)
    assert slept == []


# its end


def test_who_was_stopped_asks_for_nothing_more(registry: Loopback) -> None:
    client = registry.client()
    client.stop()
    before = list(registry.asked)
    with pytest.raises(Stopped):
        client.has_blob("a", sha256(b""))
    assert registry.asked == before


def test_a_registry_that_does_not_answer_keeps_no_other_waiting(registry: Loopback) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        registries = Registries({"DOCKER_CONFIG": "/nonexistent", "HOME": "/"})
        waiting = pool.submit(registries.of, parse_reference(f"127.0.0.1:{silent.getsockname()[1]}/a:1"))
        connection, _ = silent.accept()
        assert registries.of(parse_reference(f"{registry.host}/fate/roll:1")) and not waiting.done()
        registries.stop()
        connection.close()


def test_registries_that_were_stopped_give_no_client(registry: Loopback) -> None:
    registries = Registries({"DOCKER_CONFIG": "/nonexistent", "HOME": "/"})
    registries.stop()
    with pytest.raises(Stopped):
        registries.of(parse_reference(f"{registry.host}/fate/roll:1"))


def test_an_upload_ends_when_the_session_is_ended(registry: Loopback, tmp_path: Path) -> None:
    pieces_read: list[int] = []
    client = registry.client()

    def content() -> Iterator[bytes]:
        for number in range(9):
            pieces_read.append(number)
            yield b"x"
            client.stop()

    with pytest.raises(Stopped):
        upload(client, bytes(9), tmp_path, content)
    assert pieces_read == [0, 1]
