"""A load through the engine's own socket: what the engine reads, what it answers, and what becomes of either's end."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.bundle.engines.docker_socket import SocketPipe
from generator.docker.process import Docker
from generator.docker.socket import connect, response
from generator.errors import EngineError

LOADED = {"stream": "Loaded image: localhost/one:1\n"}
DOCKER = Docker("docker", secrets=("hunter2",))


class Engine:
    """Reads one load and answers it; with ``patience``, as soon as it has that many bytes of the archive."""

    def __init__(self, path: Path, patience: int = 1 << 30) -> None:
        self.head, self.archive, self.whole = b"", b"", False
        self.answer = self.reply(LOADED)
        self._patience = patience
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @staticmethod
    def reply(*lines: dict[str, object], status: str = "200 OK") -> bytes:
        body = "".join(json.dumps(line) + "\r\n" for line in lines).encode()
        return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def wait(self) -> None:
        self._thread.join(10)
        self._listening.close()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection, connection.makefile("rb") as stream:
            while (line := stream.readline()) != b"\r\n":
                self.head += line
            while len(self.archive) < self._patience:
                size = stream.readline()
                if not size:
                    return
                chunk = stream.read(int(size, 16))
                stream.readline()
                if not chunk:
                    self.whole = True
                    break
                self.archive += chunk
            connection.sendall(self.answer)


@contextlib.contextmanager
def loading(tmp_path: Path, patience: int = 1 << 30) -> Iterator[tuple[Engine, SocketPipe]]:
    engine = Engine(tmp_path / "engine.sock", patience)
    connection = connect(str(tmp_path / "engine.sock"))
    assert connection is not None
    with contextlib.closing(connection):
        yield engine, SocketPipe(DOCKER, connection, "the next step")
    engine.wait()


def test_the_engine_reads_what_was_written_and_its_answer_is_given(tmp_path: Path) -> None:
    with loading(tmp_path) as (engine, pipe):
        for piece in (b"header", b"", bytes(1 << 20), b"end"):
            pipe.write(piece)
        assert pipe.finish() == "Loaded image: localhost/one:1"
    assert engine.head.startswith(b"POST /images/load?quiet=1 HTTP/1.1\r\n")
    assert engine.whole and engine.archive == b"header" + bytes(1 << 20) + b"end"


def test_an_answer_may_come_in_chunks(tmp_path: Path) -> None:
    with loading(tmp_path) as (engine, pipe):
        chunks = b'14\r\n{"stream":"Loaded "}\r\n8\r\n\n{"strea\r\n7\r\nm":"x"}\r\n0\r\n\r\n'
        engine.answer = b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        assert pipe.finish() == "Loaded\nx"


def test_an_answer_ends_where_its_length_says_and_not_with_the_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(1)
        theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        assert response(ours) == (200, b"{}")


def test_an_answer_that_is_cut_is_a_failure(tmp_path: Path) -> None:
    with loading(tmp_path) as (engine, pipe):
        engine.answer = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{"stream":"Loaded "}\r\n'
        with pytest.raises(EngineError, match="the engine closed the connection"):
            pipe.finish()


def test_an_error_in_its_answer_is_the_engines_failure_without_any_secret(tmp_path: Path) -> None:
    with loading(tmp_path) as (engine, pipe):
        engine.answer = engine.reply(LOADED, {"errorDetail": {}, "error": "no space left for hunter2"})
        with pytest.raises(EngineError, match="docker load failed: no space left for \\*\\*\\*") as caught:
            pipe.finish()
    assert caught.value.hint == "the next step"


def test_an_engine_that_refuses_says_why(tmp_path: Path) -> None:
    with loading(tmp_path) as (engine, pipe):
        engine.answer = engine.reply({"message": "invalid archive"}, status="400 Bad Request")
        with pytest.raises(EngineError, match="invalid archive"):
            pipe.finish()


def test_an_engine_that_stops_reading_in_the_middle_says_why(tmp_path: Path) -> None:
    with loading(tmp_path, patience=1) as (engine, pipe):
        engine.answer = engine.reply({"message": "no space left on device"}, status="500 Internal Server Error")
        with pytest.raises(EngineError, match="no space left on device"):
            for _ in range(1000):
                pipe.write(bytes(1 << 20))


def test_an_engine_that_goes_without_a_word_has_failed(tmp_path: Path) -> None:
    with loading(tmp_path, patience=1) as (engine, pipe):
        engine.answer = b""
        with pytest.raises(EngineError, match="docker load failed: the engine closed the connection"):
            for _ in range(1000):
                pipe.write(bytes(1 << 20))


def test_a_load_that_is_cut_off_has_no_end_for_the_engine(tmp_path: Path) -> None:
    with loading(tmp_path) as (engine, pipe):
        pipe.write(b"half of it")
        pipe.abort()
    assert engine.archive == b"half of it" and not engine.whole


def test_where_nobody_listens_docker_is_left_to_say_so(tmp_path: Path) -> None:
    assert connect(str(tmp_path / "none.sock")) is None
