"""For Pythons without ``requests``: what ``generator.registry.transport`` and the registry use of it, no more.

Made of http.client, so it needs the whole standard library. No redirect is followed, no cookie kept, and nothing is
taken from the environment: what ``trust_env = False`` means there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from . import adapters, exceptions, utils
from .exceptions import ChunkedEncodingError, ConnectionError, ReadTimeout

__all__ = ["Response", "Session", "adapters", "exceptions", "utils"]

_SAFE = "!#$%&'()*+,/:;=?@[]~"
"""What is not quoted in an address (RFC 3986, 2.2), since it has a meaning there or is quoted already."""
_BODY_EXPECTED = ("POST", "PUT", "PATCH", "DELETE")


class Headers:
    """Of an answer, whatever the case of their names; several of one name are one with commas."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._found: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            self._found[key] = f"{self._found[key]}, {value}" if key in self._found else value

    def get(self, name: str, default: Any = None) -> Any:
        return self._found.get(name.lower(), default)

    def __getitem__(self, name: str) -> str:
        return self._found[name.lower()]

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._found


class Response:
    """An answer; ``raw`` reads it as it comes."""

    def __init__(self, url: str, raw: adapters.Exchange) -> None:
        self.url, self.raw = url, raw
        self.status_code, self.reason = raw.answer.status, raw.answer.reason
        self.headers = Headers(raw.answer.getheaders())
        self._content: bytes | None = None

    @property
    def ok(self) -> bool:
        return self.status_code < 400

    @property
    def is_redirect(self) -> bool:
        return "Location" in self.headers and self.status_code in (301, 302, 303, 307, 308)

    @property
    def content(self) -> bytes:
        if self._content is None:
            self._content = b"".join(self.iter_content(1 << 16))
        return self._content

    def iter_content(self, size: int) -> Iterator[bytes]:
        try:
            while piece := self.raw.read(size):
                yield piece
        except ReadTimeout as error:
            raise ConnectionError(error) from error
        except ConnectionError as error:
            raise ChunkedEncodingError(error) from error
        if self.raw.answer.length:
            raise ChunkedEncodingError(f"{self.raw.answer.length} bytes did not come")

    def json(self) -> Any:
        """ValueError where it is none."""
        try:
            return json.loads(self.content.decode("utf-8"))
        except ValueError as error:
            raise exceptions.JSONDecodeError(error) from error

    def close(self) -> None:
        self.raw.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Cookies:
    """None are kept, whatever the policy."""

    def set_policy(self, _policy: object) -> None:
        pass


class Session:
    """For several threads. What is trusted says the context of the adapter for ``https://``, not ``verify``."""

    def __init__(self) -> None:
        self.trust_env = False
        self.verify = True
        self.cookies = _Cookies()
        self._adapters: dict[str, adapters.HTTPAdapter] = {"http://": adapters.HTTPAdapter()}

    def mount(self, prefix: str, adapter: adapters.HTTPAdapter) -> None:
        self._adapters[prefix] = adapter

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        proxies: Mapping[str, str],
        allow_redirects: bool,
        timeout: tuple[float, float],
        data: Any = b"",
        params: Mapping[str, Any] | None = None,
        stream: bool = False,
    ) -> Response:
        """``data`` is bytes, a form, or something with a length that gives bytes. RequestException: no answer."""
        parts, adapter = self._reached(quote(url, safe=_SAFE))
        if params:
            more = urlencode(params, doseq=True)
            parts = parts._replace(query=f"{parts.query}&{more}" if parts.query else more)
        sent = {"User-Agent": "fategen-load", "Accept": "*/*", **headers}
        if isinstance(data, Mapping):
            sent["Content-Type"], data = "application/x-www-form-urlencoded", urlencode(data, doseq=True).encode()
        if len(data) or method in _BODY_EXPECTED:
            sent["Content-Length"] = str(len(data))
        exchange = adapter.exchange(method, parts, sent, data, timeout, proxies.get(parts.scheme, ""))
        answer = Response(parts.geturl(), exchange)
        if not stream:
            _ = answer.content
        return answer

    def _reached(self, url: str) -> tuple[SplitResult, adapters.HTTPAdapter]:
        try:
            parts = urlsplit(url)
            if not parts.hostname or parts.port == 0:
                raise exceptions.InvalidURL(url)
        except ValueError as error:
            raise exceptions.InvalidURL(url) from error
        if f"{parts.scheme}://" not in self._adapters:
            raise exceptions.InvalidSchema(url)
        return parts, self._adapters[f"{parts.scheme}://"]
