"""The questions that are asked inside a party, at sockets that have said their part already."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from generator.verify import probe

SETTINGS = probe.frame(4, 0, 0, b"")
GRPC = {"call": "a.B/c", "message": "{}", "headers": {}, "says": ""}


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(5)
        yield here, there


Ends = tuple[socket.socket, socket.socket]


def grpc(ends: Ends, *frames: bytes, says: str = "") -> tuple[bool, str]:
    here, there = ends
    there.sendall(SETTINGS + b"".join(frames))
    there.shutdown(socket.SHUT_WR)
    with here.makefile("rb") as reader:
        return probe.grpc(here, reader, {**GRPC, "says": says})


@pytest.mark.parametrize(
    ("fields", "encoded"),
    [
        ({"1": "ab"}, b"\x0a\x02ab"),
        ({"2": 300}, b"\x10\xac\x02"),
        ({"1": {"3": 1}}, b"\x0a\x02\x18\x01"),
        ({"4": ["a", "b"]}, b"\x22\x01a\x22\x01b"),
        ({"16": 1}, b"\x80\x01\x01"),
    ],
)
def test_a_message_is_encoded_by_the_numbers_of_its_fields(fields: dict[str, object], encoded: bytes) -> None:
    assert probe.encode(fields) == encoded


def test_a_long_header_has_its_length_in_front() -> None:
    assert probe.text("a" * 126)[:2] == b"\x7ea"
    assert probe.text("a" * 127)[:3] == b"\x7f\x00a"
    assert probe.text("a" * 300)[:4] == b"\x7f\xad\x01a"


def test_a_line_that_says_ok_is_an_answer(ends: Ends) -> None:
    ends[1].sendall(b"roll 1.1 ok\negg 1.1 ok\n")
    with ends[0].makefile("rb") as reader:
        assert probe.line(ends[0], reader, "egg") == (True, "egg 1.1 ok")
    assert ends[1].recv(100) == b"egg\n"


def test_a_line_that_says_error_is_none(ends: Ends) -> None:
    ends[1].sendall(b"roll 1.1 ok\nerror: egg:7888: this is not ok\n")
    with ends[0].makefile("rb") as reader:
        assert probe.line(ends[0], reader, "egg") == (False, "error: egg:7888: this is not ok")


def test_a_message_is_an_answer_of_grpc(ends: Ends) -> None:
    data, trailers = probe.frame(0, 0, 1, b"\0\0\0\0\x02ab"), probe.frame(1, 5, 1, b"\x88")
    assert grpc(ends, data, trailers) == (True, "an answer of 2 bytes")


@pytest.mark.parametrize(("says", "well"), [("egg_pair", True), ("roll_pair", False)])
def test_an_answer_of_grpc_has_in_it_what_it_is_to_say(ends: Ends, says: str, well: bool) -> None:
    data = probe.frame(0, 1, 1, b"\0\0\0\0\x0b..egg_pair.")
    assert grpc(ends, data, says=says) == (well, "an answer of 11 bytes" if well else "an answer without roll_pair")


def test_an_empty_message_is_an_answer_too(ends: Ends) -> None:
    assert grpc(ends, probe.frame(0, 1, 1, b"\0\0\0\0\0")) == (True, "an answer of 0 bytes")


def test_trailers_alone_are_a_call_that_failed(ends: Ends) -> None:
    assert grpc(ends, probe.frame(1, 5, 1, b"\x88")) == (False, "the call failed")


@pytest.mark.parametrize("kind", [3, 7], ids=["RST_STREAM", "GOAWAY"])
def test_a_call_that_is_broken_off_failed(ends: Ends, kind: int) -> None:
    assert grpc(ends, probe.frame(kind, 0, 1, b"\0\0\0\1")) == (False, "the call was broken off")


def test_a_connection_that_ends_is_a_call_that_failed(ends: Ends) -> None:
    assert grpc(ends) == (False, "the connection was closed")


def test_settings_and_pings_are_acknowledged(ends: Ends) -> None:
    grpc(ends, probe.frame(6, 0, 0, b"12345678"), probe.frame(0, 1, 1, b"\0\0\0\0\0"))
    sent = ends[1].recv(1000)
    assert probe.frame(4, 1, 0, b"") in sent
    assert probe.frame(6, 1, 0, b"12345678") in sent


@pytest.mark.parametrize(
    ("status", "body", "well", "said"),
    [
        (200, '{"retcode": 101}', True, "200"),
        (200, '{"code": 0}', False, '{"code": 0}'),
        (200, "<html>", True, "200"),
        (500, "no database", False, "500 no database"),
    ],
)
def test_an_answer_of_http_is_judged_by_its_own_code(status: int, body: str, well: bool, said: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        question = {"call": "/", "message": "{}", "code": 101}
        assert probe.http("127.0.0.1", server.server_port, question) == (well, said)


def test_python_finds_others_by_its_own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arch" / "conf").mkdir(parents=True)
    servers = {"servers": {"roll": {"host": "roll", "port": 8011}}}
    (tmp_path / "arch/conf/server_conf.json").write_text(json.dumps(servers), encoding="utf-8")
    (tmp_path / "fate_flow").mkdir()
    settings = "import nowhere\nREDIS = {\n    'host': 'redis',\n    'port': 6379, 'password': 'p'\n}\n"
    (tmp_path / "fate_flow/settings.py").write_text(settings, encoding="utf-8")
    assert probe.address("roll") == ("roll", 8011)
    assert probe.address("redis") == ("redis", 6379)


def test_a_component_that_does_not_listen_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    question = {**GRPC, "from": "127.0.0.1", "to": "egg", "port": str(port), "speaks": "rpc", "question": "egg"}
    there, well, said = probe.probe(question)
    assert (there, well) == (False, False)
    assert said.endswith("Connection refused")


def test_a_component_that_says_nothing_is_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TIMEOUT", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = str(mute.getsockname()[1])
        question = {**GRPC, "from": "127.0.0.1", "to": "egg", "port": port, "speaks": "rpc", "question": "egg"}
        there, well, said = probe.probe(question)
    assert (there, well) == (False, False)
    assert said.endswith("timed out")


def test_the_file_that_is_sent_needs_nothing_newer_than_python_3_6() -> None:
    import ast

    source = Path(probe.__file__).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    assert "from __future__ import annotations" not in source
