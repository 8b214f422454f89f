"""``fategen-load.pyz`` where it is for: under Python 3.8, and in a bare root without a network.

The root is Debian 12 with python3-minimal (no json, no dataclasses, no shutil, no fategen); of the machine it has the
docker client and the engine's socket. What pushes is a Python that has its standard library and no requests.
"""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import ssl
import subprocess
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from generator.bundle.format.members import contents
from generator.bundle.save import SaveResult, save
from generator.images.layout import SourceImage
from generator.loader.build import NAME, modules, place, pyz
from tests.bundle.layouts import simple
from tests.e2e.conftest import Fategen, Ran, docker, registry_get
from tests.harbor import Harbor

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
    assert "a delta: 1 layer is" in host.load("inspect", "new.fate.tar").out
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


@pytest.fixture(params=["3.8", "3.13"])
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """A Python that sees the standard library alone: no requests, no urllib3."""
    python, site = installed(request.param), tmp_path / "site"
    site.mkdir()
    source = SourceImage((IMAGE,), simple(tmp_path / "b", "b"), ("linux/amd64",))
    saved = save([source], site / "x.fate.tar", name="x")
    place(saved.path, saved.index)

    def run(command: str, *args: str) -> Ran:
        return ran([python, "-I", "-S", *args], site)

    assert run("python3", "-c", "import requests").code == 1
    assert run("python3", "-c", "import urllib3").code == 1
    yield Host(site, saved, run, shell=False)


def test_it_pushes_what_the_registry_lacks_digests_kept(alone: Host, registry: str, fategen: Fategen) -> None:
    prefix = f"{registry}/fgload-{os.getpid()}-{alone.directory.parent.name}"
    path = f"{prefix.partition('/')[2]}/b"
    pushed = alone.load("push", "x.fate.tar", prefix, "--format", "json")
    assert pushed.code == 0, pushed.err
    (image,) = json.loads(pushed.out)["images"]
    target = alone.saved.index.images[0].target
    assert (image["references"], image["digest"], image["state"]) == ([f"{prefix}/b:1.0"], target.digest, "pushed")
    assert image["sent"] > 0
    assert registry_get(registry, f"{path}/manifests/1.0") == registry_get(
        registry, f"{path}/manifests/{target.digest}"
    )
    again = alone.load("push", "x.fate.tar", prefix)
    assert again == fategen("bundle", "push", "x.fate.tar", prefix, cwd=alone.directory)
    assert again.code == 0 and "was there" in again.out and " 0 B" in again.out
    docker("pull", "--quiet", f"{prefix}/b@{target.digest}")
    docker("image", "rm", "--force", f"{prefix}/b@{target.digest}", check=False)


def test_it_pushes_with_docker_s_login_and_certificates(
    alone: Host, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, config = trustme.CA(), alone.directory / "docker"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    with Harbor(tls=context, upstream=registry) as harbor:
        # loopback is insecure to docker, its token service is not: that certificate is checked
        prefix = f"{harbor.host}/fate/fgload-{os.getpid()}-{alone.directory.parent.name}"
        unknown = alone.load("push", "x.fate.tar", prefix)
        assert (unknown.code, "authority that is not known here" in unknown.err) == (3, True)
        certificates = config / "certs.d" / harbor.host
        certificates.mkdir(parents=True)
        authority.cert_pem.write_to_path(str(certificates / "ca.crt"))
        for password, code in (("wrong-horse", 3), ("right-horse", 0)):
            auth = base64.b64encode(f"writer:{password}".encode()).decode()
            (config / "config.json").write_text(json.dumps({"auths": {harbor.host: {"auth": auth}}}), encoding="utf-8")
            pushed = alone.load("push", "x.fate.tar", prefix)
            assert pushed.code == code, pushed.err
            assert ("refuses the login of writer" in pushed.err) == bool(code)
        assert alone.saved.index.images[0].target.digest in pushed.out


def test_it_pushes_a_delta_with_its_base_and_only_what_is_signed(
    alone: Host, registry: str, fategen: Fategen, tmp_path: Path
) -> None:
    prefix = f"{registry}/fgload-{os.getpid()}-{alone.directory.parent.name}-delta"
    newer = SourceImage((IMAGE,), simple(tmp_path / "new", "b", files={"opt/new": b"new" * 100}), ("linux/amd64",))
    delta = save([newer], alone.directory / "new.fate.tar", name="new", bases=[alone.saved.index])
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", alone.directory / "key"], check=True)
    asked = ("push", "new.fate.tar", prefix, "--base", "x.fate.tar", "--require-signature", "key.pub")
    unsigned = alone.load(*asked)
    assert (unsigned.code, "new.fate.tar.sig" in unsigned.err) == (4, True)
    assert fategen("bundle", "sign", "new.fate.tar", "--key", "key", cwd=alone.directory).code == 0
    without = alone.load("push", "new.fate.tar", prefix)
    assert (without.code, "is in x (root digest" in without.err) == (2, True)
    pushed = alone.load(*asked)
    assert (pushed.code, delta.index.images[0].target.digest in pushed.out) == (0, True), pushed.err


def test_of_a_damaged_bundle_no_manifest_is_pushed(alone: Host, registry: str) -> None:
    data = bytearray(alone.saved.path.read_bytes())
    layer = next(member for member in contents(alone.saved.index).members if member.role == "layer")
    data[layer.start] ^= 1
    alone.saved.path.write_bytes(data)
    path = f"fgload-{os.getpid()}-{alone.directory.parent.name}-damaged"
    refused = alone.load("push", "x.fate.tar", f"{registry}/{path}")
    assert (refused.code, layer.digest in refused.err) == (4, True)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        registry_get(registry, f"{path}/b/manifests/1.0")


def test_python3_minimal_does_not_push_and_says_what_does(registry: str, tmp_path: Path) -> None:
    run = bare_root(tmp_path)
    source = SourceImage((IMAGE,), simple(tmp_path / "b", "b"), ("linux/amd64",))
    saved = save([source], tmp_path / "x.fate.tar", name="x")
    place(saved.path, saved.index)
    refused = run("python3", NAME, "push", "x.fate.tar", "localhost:5000/fate")
    assert (refused.code, refused.out) == (3, ""), refused.err
    message = "push needs Python's standard library, and this Python has no http"
    assert refused.err == f"error: {message}\n  next: apt-get install python3\n"


def test_python_3_8_imports_each_of_its_modules(registry: str, tmp_path: Path) -> None:
    """Those too that a command imports only when it comes to them."""
    (tmp_path / NAME).write_bytes(pyz())
    script = (
        "import importlib, sys\n"
        f"sys.path += ['{NAME}', '{NAME}/standins']\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "import requests\n"
        "assert '/standins/' in requests.__file__"
    )
    done = ran([installed("3.8"), "-I", "-S", "-c", script, *modules()], tmp_path)
    assert done.code == 0, done.err


def test_an_older_python_is_told_which_it_needs(registry: str, tmp_path: Path) -> None:
    source = SourceImage((IMAGE,), simple(tmp_path / "b", "b"), ("linux/amd64",))
    placed = place(tmp_path / "x", save([source], tmp_path / "x", name="x").index)
    refused = ran([installed("3.6"), str(placed.loader)], tmp_path)
    assert refused.err == "error: fategen-load.pyz needs Python 3.8 or later, this is 3.6\n"
