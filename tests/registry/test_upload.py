"""Sending a blob; what a bundle's push makes of it is in tests/bundle/test_push.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from generator.docker.credentials import Login
from generator.registry.session import Access, Stopped
from generator.registry.transfer import pieces
from tests.loopback import Handler, Loopback, sha256


def test_no_byte_goes_behind_the_end_of_a_body() -> None:
    """A server would read the next request there."""
    sent = bytearray()
    with pytest.raises(ValueError, match="more than 10 bytes"):
        for piece in pieces(iter([b"12345", b"6789012"]), 0, 10):
            sent += piece
    assert sent == b"12345"


def test_a_token_may_go_out_of_date_while_a_blob_is_sent() -> None:
    def over(handler: Handler) -> bool:
        if handler.command == "PUT" and registry.token == "old":
            registry.token = "new"
        return False

    with Loopback(token="old", lies=[over]) as registry:
        client = registry.client(Access(registry.host, Login("writer", "right-horse"), insecure=True))
        assert client.push_blob("a", sha256(b"12345"), 5, lambda: iter([b"12345"])) == "pushed"
        assert registry.blobs["a"] == {sha256(b"12345"): b"12345"}


def test_an_upload_ends_when_the_session_is_ended() -> None:
    pieces_read: list[int] = []

    def content() -> Iterator[bytes]:
        for number in range(9):
            pieces_read.append(number)
            yield b"x"
            client.stop()

    with Loopback() as registry:
        client = registry.client()
        with pytest.raises(Stopped):
            client.push_blob("a", sha256(bytes(9)), 9, content)
    assert pieces_read == [0, 1]
