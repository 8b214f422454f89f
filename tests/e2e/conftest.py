"""Fixtures of the end-to-end tests: a real engine (scripts/test starts one), the sample project, the command.

They fail, and do not skip, where there is not an engine: whoever selects them wants them run.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from generator.registry.client import ACCEPT
from tests.sample_project import SAMPLE, make_sample_project


def pytest_configure() -> None:
    # what a shell starts in the background ignores Ctrl-C, and so would every process that the tests start
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


LONGEST = ("test_docs", "test_scale", "test_verify", "test_secrets", "test_offline", "test_stack", "test_lines")
"""These start first, so that no worker is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session")
def registry() -> str:
    """``host:port`` of the loopback registry; the same is FATEGEN_BASE_REGISTRY, the mirror of base images."""
    if "FATEGEN_SANDBOX_REGISTRY" not in os.environ:
        pytest.fail("no engine: run scripts/test, or see tests/sandbox/README.md")
    return os.environ["FATEGEN_SANDBOX_REGISTRY"]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def succeeded(ran: Ran) -> Ran:
    assert ran.code == 0, ran.out + ran.err
    return ran


FATEGEN = (sys.executable, "-m", "generator")


def start(*args: str, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    """``fategen ARGS`` in a directory, in the background."""
    return subprocess.Popen([*FATEGEN, *args], cwd=cwd, stdin=subprocess.DEVNULL, text=True, **options)


def fategen(*args: str, cwd: Path, env: dict[str, str] | None = None) -> Ran:
    """Runs ``fategen ARGS`` in a directory, with changes to the environment."""
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(
        [*FATEGEN, *args],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def docker(*args: str, check: bool = True, timeout: float = 300) -> str:
    """Runs docker and returns its stdout; a failure fails the test with what docker said."""
    done = subprocess.run(["docker", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode:
        pytest.fail(f"docker {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds} s")
        time.sleep(0.1)


def bridge_address() -> str:
    """Of this machine, as containers and builds reach it: what listens on the loopback is out of their reach."""
    return docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")


def registry_get(registry: str, path: str) -> Any:
    """JSON of the registry's API, for manifests of every kind."""
    request = urllib.request.Request(f"http://{registry}/v2/{path}", headers={"Accept": ACCEPT})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def is_pushed(registry: str, repository: str) -> bool:
    """Whether the registry has anything in a repository."""
    try:
        registry_get(registry, f"{repository}/tags/list")
    except urllib.error.HTTPError as error:
        assert error.code == 404
        return False
    return True


def digest_of(reference: str) -> str:
    """The digest that a tag points to, in the words of another tool."""
    shown = docker("buildx", "imagetools", "inspect", reference, "--format", "{{.Manifest.Digest}}")
    # buildx 0.13 prints all that it knows of a manifest that no index names, the digest first
    return re.findall("sha256:[0-9a-f]{64}", shown)[0]


def layers_of(reference: str) -> list[str]:
    """The diff IDs of an image in the engine."""
    found: list[str] = json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", reference))
    return found


def make_project(directory: Path, *commands: tuple[str, ...], **sample: Any) -> Path:
    """A rendered project of the sample sources, after these commands of fategen."""
    make_sample_project(directory, **sample)
    for command in (("render",), *commands):
        succeeded(fategen(*command, cwd=directory))
    return directory


@pytest.fixture(scope="session")
def sample(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered project of the sample sources. Tests that change it take ``own_sample``."""
    return make_project(tmp_path_factory.mktemp("sample"), namespace="federatedai")


_NUMBERS = itertools.count(1)


@pytest.fixture
def own_sample(registry: str, tmp_path: Path) -> Path:
    """A rendered project with a copy of the sample sources that the test may break, and a namespace of its own."""
    copy = tmp_path / "sources"
    shutil.copytree(SAMPLE, copy, ignore=shutil.ignore_patterns("target"))
    namespace = f"own-{os.getpid()}-{next(_NUMBERS)}"
    return make_project(tmp_path / "project", namespace=namespace, sample=copy)


@pytest.fixture(scope="session")
def pushed(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample project, all of whose images are in the registry: by the worker that comes first, the other waits."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    with (directory / "pushed").open("a") as done:
        fcntl.flock(done, fcntl.LOCK_EX)
        if not done.seek(0, os.SEEK_END):
            succeeded(fategen("bake", "all", "--push", "--overwrite", cwd=sample))
            done.write("done")
    return sample
