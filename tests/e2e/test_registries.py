"""Bundles out of a registry and into one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from generator.bundle.reader import inspect
from generator.bundle.save import save
from generator.images.layout import SourceImage
from tests.bundle.layouts import simple
from tests.e2e.conftest import Fategen, docker, succeeded
from tests.loopback import Handler, Loopback

AMD = "linux/amd64"


def test_third_party_images_come_from_the_mirror_under_their_own_names_and_others_from_where_they_are(
    sample: Path, fategen: Fategen, registry: str, tmp_path: Path
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
            save([SourceImage(("fgtest/a:1.0",), simple(tmp_path / "a", "a"), (AMD,))], Path(file), name="a")
        else:
            arguments = ["save", "--from", "registry", "--platform", AMD, "--set", f"PREFIX={prefix}", "-o", file]
        process = subprocess.Popen(
            [sys.executable, "-m", "generator", "bundle", *arguments],
            cwd=sample, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1].endswith("stopped\n")
        assert process.returncode == 130
        ended.set()
