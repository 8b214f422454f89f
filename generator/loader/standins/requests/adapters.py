"""Connections to one kind of address: they are kept, for several threads, and speak TLS as their context says."""

from __future__ import annotations

import base64
import contextlib
import errno
import http.client
import select
import socket
import ssl
import threading
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from .exceptions import ConnectionError, ConnectTimeout, ProxyError, ReadTimeout, RequestException, SSLError

_PORTS = {"http": 80, "https": 443}
_LINE = (OSError, http.client.HTTPException)
"""What happens on a line."""


class HTTPAdapter:
    """``context`` is the one that a subclass gives to ``init_poolmanager``."""

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None
        self._free: dict[tuple[str, str, int, str], list[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()
        self.init_poolmanager()

    def init_poolmanager(self, *_: Any, ssl_context: ssl.SSLContext | None = None, **_options: Any) -> None:
        self.context = ssl_context

    def proxy_manager_for(self, proxy: str, **_options: Any) -> None:
        """A proxy's connections are kept with the others."""

    def exchange(
        self,
        method: str,
        parts: SplitResult,
        headers: dict[str, str],
        body: Any,
        timeout: tuple[float, float],
        proxy: str,
    ) -> Exchange:
        """Sends a request and reads the head of its answer. ``proxy`` is ``[http://][user:password@]host[:port]``.

        ``timeout``: seconds to connect, and to send a piece or wait for the answer. A kept connection that ended
        meanwhile is opened again where nothing was answered and the body is bytes.
        Raises RequestException, and what reading ``body`` raises.
        """
        line = _Line(self.context, parts, timeout, proxy)
        target, sent = line.target(headers)
        while True:
            connection, kept = self._take(line)
            try:
                answer = _ask(connection, method, target, body, sent, timeout)
            except _LINE as error:
                connection.close()
                gone = isinstance(error, (BrokenPipeError, ConnectionResetError))  # RemoteDisconnected is one of these
                if kept and gone and isinstance(body, bytes):
                    continue
                raise translated(error) from error
            except BaseException:
                connection.close()  # half a request is on it
                raise
            return Exchange(self, line.key, connection, answer)

    def _take(self, line: _Line) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it was used before."""
        while True:
            with self._lock:
                waiting = self._free.get(line.key)
                connection = waiting.pop() if waiting else None
            if connection is None:
                return line.connected(), False
            if _is_open(connection):
                return connection, True
            connection.close()

    def keep(self, key: tuple[str, str, int, str], connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._free.setdefault(key, []).append(connection)


class Exchange:
    """An answer on its connection, which is kept when all of it is read. Reading raises RequestException."""

    def __init__(
        self,
        adapter: HTTPAdapter,
        key: tuple[str, str, int, str],
        connection: http.client.HTTPConnection,
        answer: http.client.HTTPResponse,
    ) -> None:
        self._adapter, self._key, self._connection, self.answer = adapter, key, connection, answer
        self._over = False

    def read(self, size: int | None = None, *, decode_content: bool = False) -> bytes:
        """Up to ``size`` bytes, b"" at the end; nothing is decoded."""
        try:
            data = self.answer.read(size)
        except _LINE as error:
            self.close()
            raise translated(error) from error
        if self.answer.isclosed() and not self._over:
            self._over = True
            if self._connection.sock is not None:
                self._adapter.keep(self._key, self._connection)
        return data

    def close(self) -> None:
        """Gives up what was not read."""
        if not self._over:
            self._over = True
            self.answer.close()
            self._connection.close()


class _Line:
    """How a host is reached. ``key`` tells which connections go there."""

    def __init__(
        self, context: ssl.SSLContext | None, parts: SplitResult, timeout: tuple[float, float], proxy: str
    ) -> None:
        self._context, self._parts, self.timeout = context, parts, timeout
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        self._proxy = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else None
        self.key = (parts.scheme, self._host, self._port, proxy)

    def target(self, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        """What stands in the request's first line, and its headers."""
        parts = self._parts._replace(netloc=self._parts.netloc.rpartition("@")[2], fragment="")
        sent = {"Host": parts.netloc, **headers}
        if self._proxy is not None and parts.scheme == "http":
            return parts._replace(path=parts.path or "/").geturl(), {**sent, **self._login()}
        return parts._replace(scheme="", netloc="", path=parts.path or "/").geturl(), sent

    def connected(self) -> http.client.HTTPConnection:
        connection = self._connection()
        try:
            connection.connect()
        except _LINE as error:
            # TLS is spoken with the registry: a proxy only carries it
            if self._proxy is not None and not isinstance(error, ssl.SSLError):
                raise ProxyError(error) from error
            raise translated(error, ConnectTimeout) from error
        return connection

    def _connection(self) -> http.client.HTTPConnection:
        seconds = self.timeout[0]
        host, port = self._host, self._port
        if self._proxy is not None:
            if self._proxy.scheme != "http" or not self._proxy.hostname:
                raise ProxyError(OSError(errno.EPROTONOSUPPORT, "only one that begins with http:// is supported"))
            host, port = self._proxy.hostname, self._proxy.port or _PORTS["http"]
        if self._parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=seconds)
        connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=self._context)
        if self._proxy is not None:
            connection.set_tunnel(self._host, self._port, headers=self._login())
        return connection

    def _login(self) -> dict[str, str]:
        if self._proxy is None or self._proxy.username is None:
            return {}
        pair = f"{unquote(self._proxy.username)}:{unquote(self._proxy.password or '')}"
        return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: Any,
    headers: dict[str, str],
    timeout: tuple[float, float],
) -> http.client.HTTPResponse:
    connection.sock.settimeout(timeout[1])
    # who hangs up while a body is sent may have answered before: too large, not allowed
    with contextlib.suppress(BrokenPipeError):
        connection.request(method, target, body or None, headers)
    return connection.getresponse()


def _is_open(connection: http.client.HTTPConnection) -> bool:
    """Whether nothing came on it since its last answer: what comes then is its end."""
    if connection.sock is None:
        return False
    waiting = select.poll()
    waiting.register(connection.sock, select.POLLIN)
    return not waiting.poll(0)


def translated(error: BaseException, timeout: type[RequestException] = ReadTimeout) -> RequestException:
    if isinstance(error, ssl.SSLError):
        return SSLError(error)
    if isinstance(error, socket.timeout):
        return timeout(error)
    return ConnectionError(error)
