"""The registry of a name, talked to as docker on this machine would: its login, its certificates, its proxies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from generator.config.reference import Reference
from generator.docker.config import docker_config
from generator.docker.credentials import HUB, certificates, find_login
from generator.errors import EngineError
from generator.registry.session import Access, Registry
from generator.registry.transport import Refused, is_insecure


def access_to(host: str, environment: Mapping[str, str], insecure: Sequence[str] | None = None) -> Access:
    """``host`` is ``host[:port]``, or ``docker.io``; ``insecure`` are the engine's insecure-registries (None: it is
    asked, where there is one). Loopback addresses are insecure anyway.

    Raises EngineError where a credential helper does not answer.
    """
    login = find_login(docker_config(environment), host, environment)
    known = is_insecure(host, insecure or ()) or (insecure is None and is_insecure(host, _engines_insecure()))
    return Access(host, login, environment, tuple(certificates(host, environment)), known)


def host_of(reference: Reference) -> str:
    """The registry that has it."""
    return reference.full.domain or HUB


def _engines_insecure() -> tuple[str, ...]:
    from generator.docker.engine import ask_engine
    from generator.docker.process import find_docker

    try:
        return ask_engine(find_docker()).insecure
    except EngineError:
        return ()


class Registries:
    """One conversation with each registry, begun when it is first needed, as docker with this environment has it.

    ``authorities`` are files with certificates besides docker's own; ``connect`` is for tests.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        authorities: Sequence[Path] = (),
        connect: Callable[[Access], Registry] = Registry,
    ) -> None:
        self._environment, self._authorities, self._connect = environment, tuple(authorities), connect
        self._known: dict[str, Registry | Refused] = {}
        self._lock = threading.Lock()

    def of(self, source: Reference) -> Registry:
        """Raises Refused, the same for all images of a registry; EngineError where a credential helper is silent."""
        host = host_of(source)
        with self._lock:
            if host not in self._known:
                self._known[host] = self._open(host)
            found = self._known[host]
        if isinstance(found, Refused):
            raise found
        return found

    def stop(self) -> None:
        """Ends what they are asked for, from another thread."""
        # without the lock, which is held while one is connected to
        for registry in list(self._known.values()):
            if isinstance(registry, Registry):
                registry.stop()

    def _open(self, host: str) -> Registry | Refused:
        access = access_to(host, self._environment)
        try:
            registry = self._connect(replace(access, trusted=(*access.trusted, *self._authorities)))
            registry.log_in()
        except Refused as refused:
            return refused
        return registry
