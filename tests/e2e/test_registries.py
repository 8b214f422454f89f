"""Bundles out of a registry and into one."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from generator.bundle.reader import inspect
from generator.bundle.save import save
from tests.bundle.layouts import image
from tests.e2e.conftest import docker, fategen, make_project, start, succeeded
from tests.loopback import Handler, Loopback

AMD = "linux/amd64"


def test_third_party_images_come_from_the_mirror_under_their_own_names_and_others_from_where_they_are(
    sample: Path, registry: str, tmp_path: Path
) -> None:
    output, mirrored = tmp_path / "third.fate.tar", f"{registry}/library/redis:5"
    flags = ("--from", "registry", "--add", mirrored, "--platform", AMD, "-q", "-o", str(output))
    succeeded(fategen("bundle", "save", "third-party", *flags, cwd=sample))
    images = {name: image.target.digest for image in inspect(output).index.images for name in image.references}
    redis = "docker.io/library/redis:5"
    assert set(images) == {"docker.io/library/mysql:8", redis, mirrored}
    # its own digest, and those of its platforms
    top = json.loads(docker("buildx", "imagetools", "inspect", mirrored, "--format", "{{json .Manifest}}"))
    published = {top["digest"], *(child["digest"] for child in top.get("manifests", ()))}
    assert {images[redis], images[mirrored]} <= published


@pytest.mark.full
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes(pushed: Path, tmp_path: Path) -> None:
    """kill -9 at random moments of the fetch: what came is kept, and nothing that came is wrong."""
    save_two = ("bundle", "save", "--image", "roll", "--image", "proxy", "--platform", AMD, "-q", "--from", "registry")
    succeeded(fategen(*save_two, "-o", str(tmp_path / "filled.fate.tar"), cwd=pushed))
    with Loopback() as registry:
        for name in ("roll", "proxy"):
            registry.put_layout(f"killed/{name}", "1.3.0-release", pushed / ".fategen/layouts" / name)
        save_two = (*save_two, "--set", f"PREFIX={registry.host}/killed", "-o")
        succeeded(fategen(*save_two, str(tmp_path / "whole.fate.tar"), cwd=pushed))
        whole = (tmp_path / "whole.fate.tar").read_bytes()
        other = make_project(tmp_path / "other")
        output, blobs = other / "x.fate.tar", other / ".fategen/layouts/shared/sha256"
        registry.pace = 0.1
        chance = random.Random(seed := random.randrange(1 << 32))
        killed, grew = 0, 0
        for _ in range(20):
            nowhere = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            process = start(*save_two, str(output), cwd=other, **nowhere)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.4 + chance.random())
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
            grew += any(blobs.glob("*.partial"))
            if output.exists():
                # it came to its end in time, or was killed behind it: all from the beginning
                assert output.read_bytes() == whole, f"seed {seed}"
                output.unlink()
                shutil.rmtree(other / ".fategen/layouts")
        assert killed > 10 and grew > 5, f"{killed} of 20 runs were killed, {grew} while they fetched (seed {seed})"
        registry.pace = 0
        succeeded(fategen(*save_two, str(output), cwd=other))
    assert output.read_bytes() == whole, f"seed {seed}"
    assert not list(blobs.glob("*.partial"))


@pytest.mark.parametrize("command", ["push", "save"])
def test_ctrl_c_does_not_wait_for_a_registry_that_says_nothing(sample: Path, command: str, tmp_path: Path) -> None:
    asked, ended = threading.Event(), threading.Event()

    def silent(handler: Handler) -> bool:
        if (handler.command, command) not in (("PUT", "push"), ("GET", "save")) or handler.path == "/v2/":
            return False
        asked.set()
        return ended.wait()

    with Loopback(lies=[silent]) as registry:
        prefix, file = f"{registry.host}/fate", str(tmp_path / "x.fate.tar")
        arguments = ["push", file, prefix]
        if command == "push":
            save([image(tmp_path, "a")], Path(file), name="a")
        else:
            arguments = ["save", "--from", "registry", "--platform", AMD, "--set", f"PREFIX={prefix}", "-o", file]
        process = start("bundle", *arguments, cwd=sample, stderr=subprocess.PIPE)
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1].endswith("stopped\n")
        assert process.returncode == 130
        ended.set()
