"""``fategen-load.pyz`` where it is for: under Python 3.8, and in a bare root without a network.

The root is Debian 12 with python3-minimal (no json, no dataclasses, no shutil, no fategen); of the machine it has the
docker client and the engine's socket.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from generator.bundle.layout import SourceImage
from generator.bundle.members import contents
from generator.bundle.save import SaveResult, save
from generator.loader.build import NAME, place
from tests.bundle.layouts import simple
from tests.e2e.conftest import Fategen, Ran, docker

IMAGE = f"fgload-{os.getpid()}/b:1.0"

# Its mounts end with it; the network is a namespace of its own, with nothing in it.
ENTER = """
root=$1 work=$2 docker=$3 socket=$4
shift 4
mount -t tmpfs none "$root/run"
mkdir "$root/run/work" "$root/run/engine" "$root/run/bin"
touch "$root/run/bin/docker"
mount --bind "$work" "$root/run/work"
mount --bind "$(dirname "$socket")" "$root/run/engine"
mount --bind "$docker" "$root/run/bin/docker"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
exec chroot "$root" /usr/bin/env -i -C /run/work PATH=/usr/bin:/bin:/run/bin HOME=/run \
    DOCKER_HOST="unix:///run/engine/$(basename "$socket")" "$@"
"""


@dataclass(frozen=True)
class Host:
    """A directory with a bundle and its loader, and how a command is run there."""

    directory: Path
    saved: SaveResult
    run: Callable[..., Ran]
    shell: bool

    def load(self, *args: str) -> Ran:
        return self.run("python3", NAME, *args)


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


def old_python(directory: Path) -> Callable[..., Ran]:
    python = installed("3.8")

    def run(command: str, *args: str) -> Ran:
        assert command == "python3"
        return ran([python, "-I", *args], directory)

    return run


def bare_root(directory: Path) -> Callable[..., Ran]:
    root = os.environ.get("FATEGEN_SANDBOX_BARE", "")
    client = shutil.which("docker")
    if not Path(root, "usr/bin/python3").exists() or client is None:
        pytest.skip("no bare root: FATEGEN_SANDBOX_BARE is of the sandbox alone")
    socket = os.environ["DOCKER_HOST"].partition("unix://")[2]
    unshare = ("unshare", "--net", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child")

    def run(*command: str) -> Ran:
        return ran([*unshare, "sh", "-euc", ENTER, "enter", root, str(directory), client, socket, *command], directory)

    return run


def ran(command: list[str], directory: Path) -> Ran:
    done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(params=[old_python, bare_root])
def host(request: pytest.FixtureRequest, registry: str, tmp_path: Path) -> Iterator[Host]:
    site = tmp_path / "site"
    site.mkdir()
    run = request.param(site)
    source = SourceImage((IMAGE,), simple(tmp_path / "b", "b"), ("linux/amd64",))
    saved = save([source], site / "x.fate.tar", name="x", files={"compose.yaml": b"services: {}\n"})
    place(saved.path, saved.index)
    yield Host(site, saved, run, shell=request.param is bare_root)
    docker("image", "rm", "--force", IMAGE, check=False)


def test_the_bare_root_is_bare(registry: str, tmp_path: Path) -> None:
    run = bare_root(tmp_path)
    assert "No module named 'json'" in run("python3", "-c", "import json").err
    assert (
        "Network is unreachable"
        in run("python3", "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 5)").err
    )
    assert run("python3", "-c", "import generator").code == 1


def test_it_inspects(host: Host, fategen: Fategen) -> None:
    for args in ((), ("--format", "json"), ("--file", "compose.yaml")):
        here = fategen("bundle", "inspect", "x.fate.tar", *args, cwd=host.directory)
        assert host.load("inspect", "x.fate.tar", *args) == here
        assert here.code == 0


def test_it_verifies_and_names_damage(host: Host, fategen: Fategen) -> None:
    good = host.load("verify", "x.fate.tar")
    assert good.code == 0, good.err
    assert "x.fate.tar is whole: 1 image, 4 blobs" in good.out
    data = bytearray(host.saved.path.read_bytes())
    layer = next(member for member in contents(host.saved.index).members if member.role == "layer")
    data[layer.start] ^= 1
    host.saved.path.write_bytes(data)
    damaged = host.load("verify", "x.fate.tar")
    assert damaged == fategen("bundle", "verify", "x.fate.tar", cwd=host.directory)
    assert damaged.code == 4


def test_it_loads(host: Host) -> None:
    loaded = host.load("load", "x.fate.tar", "--format", "json")
    assert loaded.code == 0, loaded.err
    (image,) = json.loads(loaded.out)["images"]
    assert (image["reference"], image["state"]) == (f"docker.io/{IMAGE}", "new")
    assert docker("image", "inspect", "--format", "{{.Id}}", IMAGE) == image["id"]
    assert "was there" in host.load("load", "x.fate.tar").out


def test_of_a_damaged_bundle_nothing_is_loaded(host: Host) -> None:
    data = host.saved.path.read_bytes()
    host.saved.path.write_bytes(data[:-2000])
    refused = host.load("load", "x.fate.tar")
    assert refused.code == 4
    assert "nothing was loaded" in refused.err
    assert docker("image", "ls", "--quiet", IMAGE) == ""


def test_it_checks_deeply_and_reads_parts_and_pipes(host: Host, tmp_path: Path) -> None:
    assert host.load("verify", "x.fate.tar", "--deep").code == 0
    source = SourceImage((IMAGE,), tmp_path / "b", ("linux/amd64",))
    noise = random.Random(0).randbytes(3 << 20)
    save([source], host.directory / "y.fate.tar", name="y", files={"noise": noise}, split=1 << 20)
    assert not (host.directory / "y.fate.tar").exists()
    assert "y.fate.tar is whole" in host.load("verify", "y.fate.tar").out
    loaded = host.load("load", "y.fate.tar")
    assert loaded.code == 0, loaded.err
    piped = host.run("sh", "-c", f"cat y.fate.tar.[0-9]* | python3 {NAME} load -") if host.shell else loaded
    assert piped.code == 0, piped.err
    (host.directory / "y.fate.tar.002").unlink()
    missing = host.load("load", "y.fate.tar")
    assert (missing.code, "y.fate.tar.002 of" in missing.err) == (4, True)


def test_it_loads_a_delta_with_its_base(host: Host, tmp_path: Path) -> None:
    files = {"opt/new": b"new" * 100}
    newer = SourceImage((IMAGE,), simple(tmp_path / "new", "b", files=files), ("linux/amd64",))
    delta = save([newer], host.directory / "new.fate.tar", name="new", bases=[host.saved.index])
    assert delta.index.absent
    assert "a delta: 1 layers" in host.load("inspect", "new.fate.tar").out
    alone = host.load("load", "new.fate.tar")
    assert (alone.code, "x (root digest" in alone.err) == (2, True)
    both = host.load("load", "new.fate.tar", "x.fate.tar")
    assert both.code == 0, both.err
    assert docker("image", "inspect", "--format", "{{.Id}}", IMAGE) == delta.index.images[0].target.digest


def test_mistakes_are_told_without_a_traceback(host: Host) -> None:
    for args, code in (
        (("verify", "none"), 2),
        (("load", "x.fate.tar", "--only", "c"), 2),
        (("load", "x.fate.tar", "--platform", "linux/s390x"), 2),
        (("verify", "fategen-load.pyz"), 4),
        (("inspect", "x.fate.tar", "--file", "none"), 2),
    ):
        ran = host.load(*args)
        assert ran.code == code
        assert ran.err.startswith("error: ")
        assert "Traceback" not in ran.err


def test_it_asks_for_a_signature(host: Host, fategen: Fategen) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host.directory / "key"], check=True)
    unsigned = host.load("load", "x.fate.tar", "--require-signature", "key.pub")
    assert (unsigned.code, docker("image", "ls", "--quiet", IMAGE)) == (4, "")
    assert fategen("bundle", "sign", "x.fate.tar", "--key", "key", cwd=host.directory).code == 0
    signed = host.load("load", "x.fate.tar", "--require-signature", "key.pub")
    if "ssh-keygen is not installed" in signed.err:
        assert signed.code == 3  # the bare root: what cannot be checked is not loaded
        assert docker("image", "ls", "--quiet", IMAGE) == ""
    else:
        assert signed.code == 0, signed.err


def test_an_older_python_is_told_which_it_needs(registry: str, tmp_path: Path) -> None:
    source = SourceImage((IMAGE,), simple(tmp_path / "b", "b"), ("linux/amd64",))
    placed = place(tmp_path / "x", save([source], tmp_path / "x", name="x").index)
    refused = ran([installed("3.6"), str(placed.loader)], tmp_path)
    assert refused.err == "error: fategen-load.pyz needs Python 3.8 or later, this is 3.6\n"
