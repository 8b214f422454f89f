"""Which platforms are lost with what a push replaced: asked after it, and never in its way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.bake.results import Built
from generator.bake.rights import with_lost
from tests.bake.test_rights import facts
from tests.fate_plan import BOTH
from tests.loopback import Loopback, sha256

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
pytestmark = pytest.mark.usefixtures("one_authority", "no_trace")


@pytest.fixture
def no_trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a thread raises would be printed behind the result of a push."""
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: raised.append(hook.exc_value))
    yield
    assert not raised


def index_of(*platforms: str) -> tuple[str, bytes]:
    entries = []
    for platform in (*platforms, "unknown/unknown"):
        system, _, machine = platform.partition("/")
        entries.append({"digest": sha256(platform.encode()), "platform": {"os": system, "architecture": machine}})
    return OCI_INDEX, json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


class Pushed:
    """A registry that had something else under the name of an image that was pushed for arm64."""

    def __init__(self, registry: Loopback, directory: Path, before: tuple[str, bytes]) -> None:
        self.environment = {"DOCKER_CONFIG": str(directory), "HOME": str(directory)}
        self.before = sha256(before[1])
        registry.manifests["fate/roll"] = {self.before: before}
        self.roll = built(f"{registry.host}/fate/roll:1", replaced=self.before)

    def lost(self, *others: Built) -> list[tuple[str, ...]]:
        return [one.lost for one in with_lost([self.roll, *others], facts(), self.environment)]


def built(reference: str, replaced: str = "") -> Built:
    new = "sha256:" + "1a" * 32
    return Built("roll", (reference,), new, ("linux/arm64",), (), 0.0, "pushed", replaced=replaced)


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with Loopback() as registry:
        yield registry


def test_platforms_that_a_push_replaced_and_does_not_have_are_lost(loopback: Loopback, tmp_path: Path) -> None:
    index = index_of(*BOTH, "windows/amd64", "linux/s390x")
    assert Pushed(loopback, tmp_path, index).lost() == [("linux/amd64", "linux/s390x")]


def test_a_platform_that_an_index_has_under_two_names_is_told_once(loopback: Loopback, tmp_path: Path) -> None:
    assert Pushed(loopback, tmp_path, index_of("linux/arm", "linux/x86_64", "linux/amd64")).lost() == [
        ("linux/arm/v7", "linux/amd64")
    ]


def test_only_what_was_replaced_is_asked_for(loopback: Loopback, tmp_path: Path) -> None:
    pushed = Pushed(loopback, tmp_path, index_of(*BOTH))
    assert pushed.lost(built(f"{loopback.host}/fate/egg:1")) == [("linux/amd64",), ()]
    assert loopback.paths("GET") == ["/v2/", f"/v2/fate/roll/manifests/{pushed.before}"]
    loopback.asked.clear()
    assert with_lost([built("r/egg:1")], facts(), {}) == (built("r/egg:1"),) and not loopback.asked


@pytest.mark.parametrize(
    "before",
    [
        (OCI_INDEX, b"no JSON"),
        (OCI_INDEX, b"[]"),
        (OCI_INDEX, b'{"manifests": 5}'),
        (OCI_INDEX, b'{"manifests": ["x"]}'),
        (OCI_INDEX, b'{"manifests": [{"platform": {"os": "linux", "architecture": 5}}]}'),
        (OCI_INDEX, b'{"manifests": [{"platform": "linux"}]}'),
        (OCI_INDEX, b'{"manifests": [{"platform": {"architecture": "x"}}]}'),
        (OCI_INDEX, b'{"manifests": [{"platform": {"os": "linux", "architecture": "\\u001b[31mred"}}]}'),
        (OCI_INDEX, b'{"manifests": ' + b"[" * 100_000),
        ("application/vnd.oci.image.manifest.v1+json", b'{"layers": []}'),
    ],
    ids=["text", "list", "number", "word", "machine", "platform", "system", "escape", "deep", "one image"],
)
def test_what_is_no_index_of_platforms_is_passed_over(
    loopback: Loopback, tmp_path: Path, before: tuple[str, bytes]
) -> None:
    assert Pushed(loopback, tmp_path, before).lost() == [()]


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_registry_that_refuses_to_say_what_was_replaced_is_passed_over(
    loopback: Loopback, tmp_path: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generator.bake.rights.PATIENCE", 0.3)
    loopback.lies.append(lambda handler: handler.answer(status) is None)
    assert Pushed(loopback, tmp_path, index_of(*BOTH)).lost() == [()]


def test_a_registry_that_is_gone_after_a_push_is_passed_over(tmp_path: Path) -> None:
    with Loopback() as registry:
        pushed = Pushed(registry, tmp_path, index_of(*BOTH))
    assert pushed.lost() == [()]


def test_a_registry_that_is_silent_after_a_push_is_not_waited_for(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generator.bake.rights.PATIENCE", 0.3)
    silent = threading.Event()
    loopback.lies.append(lambda handler: "manifests" in handler.path and silent.wait(10))
    started = time.monotonic()
    assert Pushed(loopback, tmp_path, index_of(*BOTH)).lost() == [()]
    assert time.monotonic() - started < 3
    silent.set()


def test_one_silent_name_does_not_hide_another(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generator.bake.rights.PATIENCE", 1.0)
    silent = threading.Event()
    loopback.lies.append(lambda handler: "fate/egg/manifests" in handler.path and silent.wait(10))
    pushed = Pushed(loopback, tmp_path, index_of(*BOTH))
    egg = built(f"{loopback.host}/fate/egg:1", replaced=pushed.before)
    assert [one.lost for one in with_lost([egg, pushed.roll], facts(), pushed.environment)] == [(), ("linux/amd64",)]
    silent.set()
