"""Sending a blob; what a bundle's push makes of it is in tests/bundle/test_push.py."""

from __future__ import annotations

import pytest

from generator.docker.credentials import Login
from generator.registry.session import Access
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
