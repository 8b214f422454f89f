"""What a registry's answer says: where it sends on to, for what it asks, how long to wait, and why it refuses.

Sources: distribution/distribution (docs: errors), RFC 9110 (11.6.1 challenges, 10.2.3 Retry-After).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from generator.docker.credentials import Login
from generator.registry.transport import Refused
from generator.text import printable

if TYPE_CHECKING:
    import requests

LONGEST = 60.0
"""Seconds that a registry may ask to wait; one that asks for more is asked again after this."""


@dataclass(frozen=True)
class Challenge:
    """``scheme`` is ``bearer``, ``basic``, or "" where a registry asks for nothing."""

    scheme: str
    parameters: Mapping[str, str]


def origin(url: str) -> tuple[str, str]:
    """Scheme, host and port: who sees what is sent there."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def joined(base: str, address: str) -> str:
    """Where ``address`` leads to from ``base``. Refused for what is no address."""
    try:
        url = urljoin(base, address)
        urlsplit(url).port  # noqa: B018 - it is read here to be checked
    except ValueError as error:
        raise Refused("unknown", f"it sends on to what is no address: {printable(address)[:80]}") from error
    return url


def challenge(answer: requests.Response) -> Challenge:
    return parse_challenge(answer.headers.get("WWW-Authenticate", ""))


def parse_challenge(header: str) -> Challenge:
    """``WWW-Authenticate`` (RFC 9110, 11.6.1); of several challenges the Bearer one."""
    found = re.search(r"\bBearer\s+(?=\w+=)", header, re.IGNORECASE)
    if found is None:
        return Challenge("basic" if re.match(r"\s*Basic\b", header, re.IGNORECASE) else "", {})
    parameters: dict[str, str] = {}
    for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header[found.end() :]):
        # the first of a name: a challenge of another scheme may follow, with a realm of its own
        parameters.setdefault(name.lower(), quoted or plain)
    return Challenge("bearer", parameters)


def retry_after(answer: requests.Response, otherwise: float) -> float:
    """Seconds that an answer asks to wait, as a number or as a date, but never more than ``LONGEST``."""
    text = answer.headers.get("Retry-After", "")
    seconds = otherwise
    if text.isdecimal():
        seconds = float(text)
    elif text:
        with contextlib.suppress(ValueError, TypeError):
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
    return min(max(seconds, 0.0), LONGEST)


def words(answer: requests.Response, login: Login | None) -> str:
    """What a registry says (distribution's spec, "Errors": a list of code and message); at most a line."""
    try:
        first = told(answer)["errors"][0]
        text = f"{first.get('code') or ''}: {first.get('message') or ''}".strip(": ")
    except (LookupError, TypeError, AttributeError):
        text = ""
    said = printable(" ".join(f"{answer.status_code} {text or answer.reason or ''}".split()))
    return (login.hide(said) if login else said)[:200]


def told(answer: requests.Response) -> Any:
    """The JSON of an answer; None where it is none."""
    try:
        return answer.json()
    except (ValueError, RecursionError):
        return None


def refusal(answer: requests.Response, login: Login | None) -> Refused:
    """Why a registry did not give what was asked for: a login, a right, the thing itself, or something else."""
    status = answer.status_code
    if status in (401, 403):
        return Refused("denied" if login else "no login", words(answer, login))
    return Refused("missing" if status == 404 else "unknown", words(answer, login))
