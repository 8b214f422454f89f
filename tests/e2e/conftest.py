"""Fixtures of the end-to-end tests: a real engine (scripts/test starts one), the sample project, the command.

They fail, and do not skip, where there is no engine: whoever selects them wants them run.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sample_project import SAMPLE, make_sample_project


def pytest_configure() -> None:
    # what a shell starts in the background ignores Ctrl-C, and so would every process that the tests start
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def registry() -> str:
    """``host:port`` of the loopback registry."""
    if "FATEGEN_SANDBOX_REGISTRY" not in os.environ:
        pytest.fail('no engine: eval "$(python3 tests/sandbox use)" first, or run scripts/test')
    return os.environ["FATEGEN_SANDBOX_REGISTRY"]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Fategen = Callable[..., Ran]


@pytest.fixture(scope="session")
def fategen() -> Fategen:
    """Runs ``fategen ARGS`` in a directory, with changes to the environment (None takes a variable away)."""

    def run(*args: str, cwd: Path, env: dict[str, str | None] | None = None, timeout: float = 900) -> Ran:
        environment = {k: v for k, v in {**os.environ, **(env or {})}.items() if v is not None}
        done = subprocess.run(
            [sys.executable, "-m", "generator", *args],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def docker(*args: str, check: bool = True, timeout: float = 300) -> str:
    """Runs docker and returns its stdout; a failure fails the test with what docker said."""
    done = subprocess.run(["docker", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode:
        pytest.fail(f"docker {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def registry_get(registry: str, path: str) -> object:
    """JSON of the registry's API, for manifests of every kind."""
    kinds = (
        "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
    request = urllib.request.Request(f"http://{registry}/v2/{path}", headers={"Accept": ", ".join(kinds)})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture(scope="session")
def sample(registry: str, fategen: Fategen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered project of the sample sources. Tests that change it take ``own_sample``."""
    directory = make_sample_project(tmp_path_factory.mktemp("sample"), namespace="federatedai")
    ran = fategen("render", cwd=directory)
    assert ran.code == 0, ran.err
    return directory


_NUMBERS = itertools.count(1)


@pytest.fixture
def own_sample(registry: str, fategen: Fategen, tmp_path: Path) -> Path:
    """A rendered project with a copy of the sample sources that the test may break, and a namespace of its own."""
    copy = tmp_path / "sources"
    shutil.copytree(SAMPLE, copy, ignore=shutil.ignore_patterns("target"))
    directory = make_sample_project(tmp_path / "project", namespace=f"own-{os.getpid()}-{next(_NUMBERS)}", sample=copy)
    ran = fategen("render", cwd=directory)
    assert ran.code == 0, ran.err
    return directory


@pytest.fixture(scope="session")
def pushed(sample: Path, fategen: Fategen) -> Path:
    """The sample project after ``fategen bake all --push``."""
    ran = fategen("bake", "all", "--push", cwd=sample)
    assert ran.code == 0, ran.err
    return sample
