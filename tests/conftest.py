"""Shared fixtures. A unit test that starts a process fails: only tests/e2e may."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    import trustme

    from tests.harbor import Harbor
    from tests.loopback import Loopback

# how long an example takes is the machine's business
hypothesis.settings.register_profile("fategen", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("fategen")

ROOT = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also run the end-to-end tests that are marked full")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of tests/e2e are marked e2e; those that are marked full are left out without ``--full``."""
    for item in items:
        if ROOT / "tests/e2e" in item.path.parents:
            item.add_marker("e2e")
    if not config.getoption("--full"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("full")])
        items[:] = [item for item in items if not item.get_closest_marker("full")]


@pytest.fixture(autouse=True)
def no_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting a process in a unit test is an error, whichever way it is tried."""
    if request.node.get_closest_marker("e2e"):
        return

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"a unit test started a process: {args[1:]}")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    for name in ("system", "posix_spawn", "posix_spawnp", "fork", "forkpty", "execv", "execve"):
        monkeypatch.setattr(os, name, refuse)


@pytest.fixture(scope="session", autouse=True)
def own_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Unit tests keep compiled templates in a directory of their own; the sandbox of e2e tests has its cache there."""
    with pytest.MonkeyPatch.context() as patch:
        if not any(item.get_closest_marker("e2e") for item in request.session.items):
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import trustme

    file = tmp_path_factory.mktemp("system") / "authorities.crt"
    trustme.CA().cert_pem.write_to_path(str(file))
    return file


@pytest.fixture
def one_authority(authorities: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system trusts one authority, a stranger: to read a real one's hundreds takes longer than the test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    import trustme

    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    ca.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    return tmp_path / "ca.crt"


@pytest.fixture
def harbor(ca: trustme.CA) -> Iterator[Harbor]:
    from tests.harbor import Harbor
    from tests.loopback import tls

    with Harbor(tls=tls(ca, "127.0.0.1")) as running:
        yield running


@pytest.fixture
def registry() -> Iterator[Loopback]:
    from tests.loopback import Loopback

    with Loopback() as running:
        yield running


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fategen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``fategen ARGS`` in this process, as the console script does: exit code, stdout, stderr."""
    import generator.cli

    def run(*args: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fategen", *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            generator.cli.main()
        return int(stopped.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def project_dir(tmp_path: Path) -> Path:
    """A project with the smallest .env."""
    (tmp_path / ".env").write_text("PREFIX=federatedai\nBASE_TAG=1.3.0-release\nTAG=1.3.0-release\n", encoding="utf-8")
    return tmp_path
