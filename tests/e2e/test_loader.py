"""``fategen-load.pyz`` where it is for: under Python 3.8 with nothing installed, and a real engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from generator.bundle.save import SaveResult, save
from generator.loader.build import LOADER, modules, write_loader
from tests.bundle.conftest import made_of
from tests.bundle.layouts import BASE, image, own
from tests.e2e.conftest import Ran, docker, fategen, succeeded
from tests.e2e.into import KINDS

SPACE = f"fgload-{os.getpid()}"
IMAGE = f"{SPACE}/b:1.0"


def installed(version: str) -> str:
    """A Python that pyenv has, or one on PATH (pyenv's own there only says that it has it)."""
    root = (
        subprocess.run(["pyenv", "root"], capture_output=True, text=True).stdout.strip()
        if shutil.which("pyenv")
        else ""
    )
    found = next(map(str, Path(root).glob(f"versions/{version}.*/bin/python{version}")), None) if root else None
    found = found or shutil.which(f"python{version}")
    if found is None:
        pytest.skip(f"no python{version} on PATH or in pyenv")
    return found


@dataclass(frozen=True)
class Host:
    """A directory with a bundle and its loader, and a Python that sees its standard library alone."""

    directory: Path
    saved: SaveResult
    python: str

    def run(self, *args: str, bundle: Path | None = None) -> Ran:
        """Run Python here, with ``bundle`` on its standard input."""
        with (bundle or Path(os.devnull)).open("rb") as stdin:
            done = subprocess.run([self.python, "-I", "-S", *args], cwd=self.directory, stdin=stdin,
                                  capture_output=True, text=True, timeout=120)  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def load(self, *args: str, bundle: Path | None = None) -> Ran:
        return self.run(LOADER, *args, bundle=bundle)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    monkeypatch.setenv("DOCKER_HOST", os.environ[KINDS["docker 28, containerd store"]])
    site = tmp_path / "site"
    site.mkdir()
    source = image(tmp_path, "b", space=SPACE)
    saved = save([source], site / "x.fate.tar", name="x", files={"compose.yaml": b"services: {}\n"})
    write_loader(saved.path, saved.index)
    yield Host(site, saved, installed("3.8"))
    docker("image", "rm", "--force", IMAGE, check=False)


def test_it_imports_each_of_its_modules_and_prints_what_fategen_prints(host: Host) -> None:
    script = "import importlib, sys\nsys.path.append(sys.argv[1])\n"
    succeeded(host.run("-c", script + "for name in sys.argv[2:]: importlib.import_module(name)", LOADER, *modules()))
    made = made_of(host.saved.path)
    (host.directory / "damaged.fate.tar").write_bytes(made.flipped(made.member("layer:b").start))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host.directory / "key"], check=True)
    signed = ("verify", "x.fate.tar", "--require-signature", "key.pub")
    for args in (
        ("inspect", "x.fate.tar"),
        ("inspect", "x.fate.tar", "--file", "compose.yaml"),
        ("verify", LOADER),
        ("verify", "damaged.fate.tar"),
        signed,
    ):
        assert host.load(*args) == fategen("bundle", *args, cwd=host.directory)
    succeeded(fategen("bundle", "sign", "x.fate.tar", "--key", "key", cwd=host.directory))
    assert "signed by key.pub" in succeeded(host.load(*signed)).out


def test_it_loads_from_a_file_and_from_a_pipe(host: Host) -> None:
    loaded = succeeded(host.load("load", "x.fate.tar", "--format", "json"))
    (image,) = json.loads(loaded.out)["images"]
    assert (image["reference"], image["state"]) == (f"docker.io/{IMAGE}", "new")
    assert docker("image", "inspect", "--format", "{{.Id}}", IMAGE) == image["id"]
    assert "was there" in host.load("load", "-", bundle=host.saved.path).out


def test_it_loads_a_delta_with_its_base(host: Host, tmp_path: Path) -> None:
    newer = image(tmp_path / "new", "b", BASE, own("new"), space=SPACE)
    delta = save([newer], host.directory / "new.fate.tar", name="new", bases=[host.saved.index])
    assert delta.index.missing
    alone = host.load("load", "new.fate.tar")
    assert (alone.code, "x (root digest" in alone.err) == (2, True)
    succeeded(host.load("load", "new.fate.tar", "x.fate.tar"))
    assert docker("image", "inspect", "--format", "{{.Id}}", IMAGE) == delta.index.images[0].target.digest


def test_an_older_python_is_told_which_it_needs(tmp_path: Path) -> None:
    source = image(tmp_path, "b", space=SPACE)
    write_loader(tmp_path / "x", save([source], tmp_path / "x", name="x").index)
    refused = subprocess.run([installed("3.6"), tmp_path / LOADER], stderr=subprocess.PIPE, text=True)
    assert refused.stderr == "error: fategen-load.pyz needs Python 3.8 or later, this is 3.6\n"
