"""Sending a blob; what a bundle's push makes of it is in tests/bundle/test_push.py."""

from __future__ import annotations

import socket
import time

import pytest

from generator.docker.credentials import Login
from generator.registry import upload
from generator.registry.session import Access
from tests.loopback import Handler, Loopback, sha256


def test_no_byte_goes_behind_the_end_of_a_body() -> None:
    """A server would read the next request there."""
    sent = bytearray()
    with pytest.raises(ValueError, match="more than 10 bytes"):
        for piece in upload._Body(iter([b"12345", b"6789012"]), 10):
            sent += piece
    assert sent == b"12345"


def test_a_slow_line_has_time_for_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "_SECONDS", (0.1, 5.0))
    data = bytes(12 << 20)

    def slow(handler: Handler) -> bool:
        if handler.command != "PUT":
            return False
        # a small window: else the system takes megabytes before it has the sender wait
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        left, until = len(data), time.monotonic() + 0.25
        while left:
            left -= len(handler.rfile.read(min(left, 1 << 16)))
            # 3 MB a second: no line on which a whole chunk is sent in the time to connect
            time.sleep(0.02 if time.monotonic() < until else 0)
        handler.send_response(201)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    chunks = [data[: 1 << 20]] * 12
    with Loopback(lies=[slow]) as registry:
        state = upload.push_blob(registry.client(), "slow/a", sha256(data), len(data), lambda: iter(chunks))
        assert (state, registry.slept) == ("pushed", [])


def test_a_token_may_go_out_of_date_while_a_blob_is_sent() -> None:
    def over(handler: Handler) -> bool:
        if handler.command == "PUT" and registry.token == "old":
            registry.token = "new"
        return False

    with Loopback(token="old", lies=[over]) as registry:
        client = registry.client(Access(registry.host, Login("writer", "right-horse"), insecure=True))
        assert upload.push_blob(client, "a", sha256(b"12345"), 5, lambda: iter([b"12345"])) == "pushed"
        assert registry.blobs["a"] == {sha256(b"12345"): b"12345"}
