"""For which addresses no proxy is taken."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network
from urllib.parse import urlsplit


def should_bypass_proxies(url: str, no_proxy: str) -> bool:
    """Whether ``no_proxy`` has its host: names with all that is below them, and networks (``10.0.0.0/8``)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    entries = [entry for entry in no_proxy.replace(" ", "").split(",") if entry]
    address = _address(host)
    if address is not None and any(_has(entry, address) for entry in entries):
        return True
    names = [host] if address is not None or parts.port is None else [host, f"{host}:{parts.port}"]
    below = any(_below(name, entry.lstrip(".").lower()) for name in names for entry in entries)
    return below or entries == ["*"]


def _below(name: str, entry: str) -> bool:
    return bool(entry) and f".{name}".endswith(f".{entry}")


def _address(host: str) -> IPv4Address | None:
    try:
        found = ip_address(host)
    except ValueError:
        return None
    return found if isinstance(found, IPv4Address) else None


def _has(entry: str, address: IPv4Address) -> bool:
    if "/" not in entry:
        return entry == str(address)
    try:
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False
