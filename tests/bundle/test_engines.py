"""What docker says of images, read. (What engines do: tests/e2e.)"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from generator.bundle.engines import DockerEngine, EngineImage
from generator.docker.process import Completed, Docker
from generator.errors import EngineError

ID = "sha256:" + "a" * 64
LAYER = "sha256:" + "1" * 64


@dataclass(frozen=True)
class Answering(Docker):
    """A docker whose commands print what ``answer`` says of their arguments, and fail if that has an error."""

    binary: str = "docker"
    answer: Callable[[Sequence[str]], tuple[str, str]] = lambda _: ("", "")

    def run(self, args: Sequence[str], **_: Any) -> Completed:
        output, error = self.answer(args)
        return Completed(tuple(args), int(bool(error)), output, error)

    @contextlib.contextmanager
    def start(self, args: Sequence[str], **_: Any) -> Iterator[Any]:
        yield SimpleNamespace(pipe=io.BytesIO(), finish=lambda: self.run(args))


def saying(output: str) -> DockerEngine:
    return DockerEngine(Answering(answer=lambda _: (output, "")))


LOADED = "Loaded image: fgtest/b:1.0\n"
NOT_UNPACKED = (
    'Error unpacking image fgtest/b:1.0: apply layer error for "docker.io/fgtest/b:1.0": failed to extract layer '
    "sha256:60fa: unexpected EOF\n"
)
FALSE_ALARM = "Error unpacking image fgtest/b:1.0: NotFound: content digest sha256:fba3: not found\n"


def test_a_layer_that_docker_28_cannot_unpack_is_an_error_although_it_exits_with_0() -> None:
    with pytest.raises(EngineError, match=r"Error unpacking image fgtest/b:1\.0: apply layer error .*unexpected EOF"):
        saying(LOADED + NOT_UNPACKED).load("linux/amd64", [b"x"])


def test_of_a_child_of_an_index_that_is_not_loaded_docker_28_may_complain_in_vain() -> None:
    assert saying(LOADED + FALSE_ALARM).load("", [b"x"]) == LOADED + FALSE_ALARM


def shown(name: str, **more: Any) -> dict[str, Any]:
    image = {"Id": ID, "RepoTags": [name], "Os": "linux", "Architecture": "amd64"}
    return {**image, "RootFS": {"Type": "layers", "Layers": [LAYER]}, **more}


@pytest.mark.parametrize(
    ("answer", "layers", "platform"),
    [
        pytest.param({}, (LAYER,), "linux/amd64", id="whole"),
        pytest.param({"RootFS": {"Type": "layers"}}, (), "linux/amd64", id="without layers"),
        pytest.param({"RootFS": {}, "Os": "", "Architecture": ""}, (), "/", id="a blob is missing"),
        pytest.param({"Config": {"Labels": {"a": "b\x85c\u2028\t"}}}, (LAYER,), "linux/amd64", id="odd labels"),
        pytest.param({"RepoTags": None}, (LAYER,), "linux/amd64", id="no name"),
        pytest.param({"Architecture": "arm", "Variant": "v6"}, (LAYER,), "linux/arm/v6", id="a variant"),
    ],
)
def test_an_image_is_read_and_does_not_hide_the_others(
    answer: dict[str, Any], layers: tuple[str, ...], platform: str
) -> None:
    known = {"x:1": shown("x:1", **answer), ID: shown("x:1", **answer), "y:1": shown("y:1")}

    def inspect(args: Sequence[str]) -> tuple[str, str]:
        assert args[:4] == ["image", "inspect", "--format", "{{json .}}"], "a template fails if an image has no layers"
        lines = [json.dumps(known[name], ensure_ascii=False) for name in args[4:] if name in known]
        errors = [f"Error response from daemon: No such image: {name}" for name in args[4:] if name not in known]
        return "".join(f"{line}\n" for line in lines), "".join(f"{error}\n" for error in errors)

    engine = DockerEngine(Answering(answer=inspect))
    expected = EngineImage(ID, layers, platform)
    assert engine.inspect([ID]) == {ID: expected}
    images = engine.inspect(["docker.io/library/x:1", "x:1", "y:1", "z:1"])
    assert images["x:1"] == expected
    assert images["y:1"] == EngineImage(ID, (LAYER,), "linux/amd64")
    assert "z:1" not in images


@pytest.mark.parametrize("name", ["[::1]:5000/x:1", "[2001:db8::1]/a/b:1.0", "10.0.0.5:8443/a/b:1.0"])
def test_a_registry_that_is_an_ipv6_address_is_no_pattern(name: str) -> None:
    def ls(args: Sequence[str]) -> tuple[str, str]:
        """One image; a reference in a filter is a pattern of Go's path.Match."""
        patterns = [arg.removeprefix("--filter=reference=") for arg in args if arg.startswith("--filter=")]
        literal = [re.sub(r"\\(.)", r"\1", pattern) for pattern in patterns if not re.search(r"(?<!\\)[\[*?]", pattern)]
        return (f"{name}\n" if name in literal else ""), ""

    assert DockerEngine(Answering(answer=ls)).listed([name]) == {name}


CONTAINERD = [["driver-type", "io.containerd.snapshotter.v1"]]


@pytest.mark.parametrize(
    ("version", "status", "reads"),
    [("20.10.24", [], False), ("22.9", [], False), ("23.0.0", [], True), ("28.1.1", [], True),
     ("22.9", CONTAINERD, True), ("4.9.3", [], True), ("dev", [], True)],
)  # fmt: skip
def test_zstd_is_read_by_containerd_stores_docker_from_23_on_and_podman_on_dockers_socket(
    version: str, status: list[list[str]], reads: bool
) -> None:
    engine = saying(json.dumps({"ServerVersion": version, "DriverStatus": status}))
    assert (engine.reads_zstd(), engine.containerd_store) == (reads, status == CONTAINERD)
