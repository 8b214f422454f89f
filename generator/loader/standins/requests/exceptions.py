"""What a request ends with where no answer comes; its cause is the first argument, as requests has it."""

from __future__ import annotations


class RequestException(OSError):
    """The first of all of them."""


class ConnectionError(RequestException):
    """No connection, or it ended before the answer did."""


class ProxyError(ConnectionError):
    """The proxy cannot be reached."""


class SSLError(ConnectionError):
    """No TLS, or not with whom it should be."""


class Timeout(RequestException):
    """It took too long."""


class ConnectTimeout(ConnectionError, Timeout):
    """To connect took too long."""


class ReadTimeout(Timeout):
    """The answer took too long."""


class ChunkedEncodingError(RequestException):
    """An answer ended before its end."""


class InvalidSchema(RequestException, ValueError):
    """An address that is neither http nor https."""


class InvalidURL(RequestException, ValueError):
    """An address without a host, or with an impossible port."""


class JSONDecodeError(RequestException, ValueError):
    """An answer is no JSON."""
