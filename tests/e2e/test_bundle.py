"""Bundles on real engines: what bake built is saved, carried, damaged and loaded, on both image stores of Docker.

Engines: the one in ``DOCKER_HOST`` (a containerd store in the sandbox), and Docker 20.10 with a graphdriver, as
Debian 12 has it (``FATEGEN_SANDBOX_DOCKER20``). Every test has names of its own and takes its images away.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from generator.bundle.check import inspect
from generator.bundle.format.members import Contents, Expected, contents
from generator.bundle.save import save
from generator.images.layout import SourceImage
from tests.bundle.layouts import BASE, Layout, sha256
from tests.e2e.conftest import Fategen
from tests.sample_project import make_sample_project

SPACE = f"fgtest-{os.getpid()}"
A, LATEST, B = f"{SPACE}/a:1.0", f"{SPACE}/a:latest", f"{SPACE}/b:1.0"
AMD, ARM = "linux/amd64", "linux/arm64"
NAMES = {"containerd store": "DOCKER_HOST", "graphdriver 20.10": "FATEGEN_SANDBOX_DOCKER20"}


@dataclass(frozen=True)
class Engine:
    host: str

    def docker(self, *args: str, check: bool = True) -> str:
        done = subprocess.run(
            ["docker", *args],
            env={**os.environ, "DOCKER_HOST": self.host},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if check and done.returncode:
            pytest.fail(f"docker {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def ours(self) -> dict[str, str]:
        """Name -> ID of the images of this run, also of those that an engine does not list."""
        found = {}
        for name in (A, LATEST, B):
            identity = self.docker("image", "inspect", "--format", "{{.Id}}", name, check=False)
            if identity:
                found[name] = identity
        return found

    def file_in(self, image: str, path: str) -> str:
        """The content of a file in an image without a shell."""
        container = self.docker("create", image, "/none")
        try:
            done = subprocess.run(
                ["docker", "cp", f"{container}:{path}", "-"],
                env={**os.environ, "DOCKER_HOST": self.host},
                capture_output=True,
                check=True,
            )
            # one tar header, then the file
            size = int(done.stdout[124:135], 8)
            return done.stdout[512 : 512 + size].decode()
        finally:
            self.docker("rm", container)

    def clean(self) -> None:
        for name in (A, LATEST, B):
            self.docker("image", "rm", "--force", name, check=False)


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Each engine in turn, with ``DOCKER_HOST`` set to it."""
    variable = NAMES[request.param]
    if variable not in os.environ:
        pytest.fail(f'no {request.param}: eval "$(python3 tests/sandbox env)" sets {variable}; or run scripts/test')
    found = Engine(os.environ[variable])
    monkeypatch.setenv("DOCKER_HOST", found.host)
    found.clean()
    yield found
    found.clean()


def bake(directory: Path, version: str) -> list[SourceImage]:
    """Two images on scratch with a layer in common; ``a`` has two platforms. Written as ``fategen bake`` does."""
    (directory / "shared.txt").write_text("shared by both\n" * 5000)
    for name in "ab":
        (directory / f"{name}.txt").write_text(f"{name} {version}")
    (directory / "bake.hcl").write_text(
        f"""
        group "default" {{ targets = ["a", "b"] }}
        target "a" {{
          dockerfile-inline = "FROM scratch\\nCOPY shared.txt /shared\\nCOPY a.txt /own\\n"
          tags = ["{A}", "{LATEST}"]
          platforms = ["{AMD}", "{ARM}"]
        }}
        target "b" {{
          dockerfile-inline = "FROM scratch\\nCOPY shared.txt /shared\\nCOPY b.txt /own\\n"
          tags = ["{B}"]
          platforms = ["{AMD}"]
        }}
        """
    )
    (directory / "shared/sha256").mkdir(parents=True, exist_ok=True)
    sets = []
    for name in "ab":
        (directory / name).mkdir(exist_ok=True)
        (directory / name / "index.json").unlink(missing_ok=True)
        if not (directory / name / "blobs").is_symlink():
            (directory / name / "blobs").symlink_to("../shared")
        sets += ["--set", f"{name}.output=type=oci,tar=false,dest={name}"]
    done = subprocess.run(
        ["docker", "buildx", "bake", "-f", "bake.hcl", "--provenance=false", *sets],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [SourceImage((A, LATEST), directory / "a", (AMD, ARM)), SourceImage((B,), directory / "b", (AMD,))]


@dataclass(frozen=True)
class Bundle:
    path: Path
    data: bytes
    plan: Contents

    def one(self, role: str, label: str) -> Expected:
        """The member of this role that only this image has."""
        return [m for m in self.plan.members if m.role == role and m.images == (label,)][-1]

    def written(self, directory: Path, data: bytes) -> Path:
        path = directory / "damaged.fate.tar"
        path.write_bytes(data)
        return path


def bundle(sources: list[SourceImage], path: Path) -> Bundle:
    save(sources, path, name="test")
    return Bundle(path, path.read_bytes(), contents(inspect(path).index))


@pytest.fixture(scope="session")
def layouts(registry: str, tmp_path_factory: pytest.TempPathFactory) -> list[SourceImage]:
    return bake(tmp_path_factory.mktemp("bake"), "new")


@pytest.fixture(scope="session")
def good(layouts: list[SourceImage], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle(layouts, tmp_path_factory.mktemp("bundle") / "test.fate.tar")


@pytest.fixture(scope="session")
def old(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same names with other content."""
    return bundle(bake(tmp_path_factory.mktemp("bake"), "old"), tmp_path_factory.mktemp("bundle") / "old.fate.tar")


def test_saved_again_it_is_the_same_file(good: Bundle, layouts: list[SourceImage], tmp_path: Path) -> None:
    again = bake(layouts[0].layout.parent, "new")
    assert save(again, tmp_path / "x.fate.tar", name="test").sha256 == hashlib.sha256(good.data).hexdigest()


def test_load(engine: Engine, good: Bundle, fategen: Fategen, tmp_path: Path) -> None:
    ran = fategen("bundle", "load", str(good.path), cwd=tmp_path)
    assert (ran.code, ran.err) == (0, ""), ran.err
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == [A, LATEST, B]
    assert set(engine.ours()) == {A, LATEST, B}
    assert engine.file_in(A, "/own") == "a new"
    assert engine.file_in(B, "/own") == "b new"
    assert engine.file_in(B, "/shared").startswith("shared by both")
    again = fategen("bundle", "load", str(good.path), "--format", "json", cwd=tmp_path)
    assert {image["state"] for image in json.loads(again.out)["images"]} == {"same"}


def test_docker_load_alone(engine: Engine, good: Bundle) -> None:
    said = engine.docker("load", "--input", str(good.path))
    assert f"Loaded image: {B}" in said
    assert set(engine.ours()) == {A, LATEST, B}
    assert engine.file_in(A, "/own") == "a new"
    assert engine.file_in(B, "/own") == "b new"


def test_only_one_image(engine: Engine, good: Bundle, fategen: Fategen, tmp_path: Path) -> None:
    ran = fategen("bundle", "load", str(good.path), "--only", "b", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert set(engine.ours()) == {B}


def test_another_platform(engine: Engine, good: Bundle, fategen: Fategen, tmp_path: Path) -> None:
    ran = fategen("bundle", "load", str(good.path), "--platform", ARM, cwd=tmp_path)
    assert ran.code == 2
    assert "b: is in the bundle for linux/amd64, not linux/arm64" in ran.err
    assert engine.ours() == {}
    ran = fategen("bundle", "load", str(good.path), "--platform", ARM, "--only", "a", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert engine.docker("image", "inspect", "--format", "{{.Architecture}}", A) == "arm64"


def swapped_config(good: Bundle) -> bytes:
    config = good.one("config", "b")
    content = good.data[config.start : config.start + config.size]
    other = content.replace(b'"Env":["PATH=/usr', b'"Env":["PATH=/evl')
    assert other != content
    return good.data[: config.start] + other + good.data[config.start + config.size :]


def damage(good: Bundle, how: str) -> bytes:
    layer = good.one("layer", "b")
    end = good.plan.members[-4].end
    data = bytearray(good.data)
    if how == "flipped layer":
        data[layer.start + layer.size // 2] ^= 1
    elif how == "flipped manifest":
        data[good.one("manifest", "b").start + 20] ^= 1
    elif how == "flipped index.json":
        data[good.plan.members[-2].start + 20] ^= 1
    elif how == "cut in a layer":
        data = data[: layer.start + 10]
    elif how == "cut before the metadata":
        data = data[:end]
    elif how == "cut after the metadata":
        data = data[:-1024]
    elif how == "swapped config":
        data = bytearray(swapped_config(good))
    return bytes(data)


DAMAGE = [
    "flipped layer", "flipped manifest", "flipped index.json", "cut in a layer", "cut before the metadata",
    "cut after the metadata", "swapped config",
]  # fmt: skip


@pytest.mark.parametrize("how", DAMAGE)
def test_no_tag_appears(engine: Engine, good: Bundle, fategen: Fategen, tmp_path: Path, how: str) -> None:
    path = good.written(tmp_path, damage(good, how))
    verified = fategen("bundle", "verify", str(path), cwd=tmp_path)
    loaded = fategen("bundle", "load", str(path), cwd=tmp_path)
    assert (verified.code, loaded.code) == (4, 4)
    assert "nothing was loaded" in loaded.err
    assert "Traceback" not in verified.err + loaded.err
    # an engine that goes on with what it got would name something only a moment later
    time.sleep(0.5)
    assert engine.ours() == {}


@pytest.mark.parametrize("how", ["flipped layer", "swapped config", "cut in a layer"])
def test_what_was_there_stays(
    engine: Engine, good: Bundle, old: Bundle, fategen: Fategen, tmp_path: Path, how: str
) -> None:
    assert fategen("bundle", "load", str(old.path), cwd=tmp_path).code == 0
    before = engine.ours()
    assert fategen("bundle", "load", str(good.written(tmp_path, damage(good, how))), cwd=tmp_path).code == 4
    assert engine.ours() == before
    assert engine.file_in(B, "/own") == "b old"


def test_a_new_version_replaces_the_old(
    engine: Engine, good: Bundle, old: Bundle, fategen: Fategen, tmp_path: Path
) -> None:
    assert fategen("bundle", "load", str(old.path), cwd=tmp_path).code == 0
    before = engine.ours()
    ran = fategen("bundle", "load", str(good.path), "--format", "json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert {image["before"] for image in json.loads(ran.out)["images"]} == set(before.values())
    assert engine.file_in(B, "/own") == "b new"
    assert "fategen.invalid" not in engine.docker("image", "ls")
    for identity in set(before.values()):
        engine.docker("image", "rm", identity, check=False)


def crafted(directory: Path) -> Path:
    """A bundle in which every digest is right, and one layer does not unpack to what its config says."""
    sources = []
    for name, names, wrong in (("a", (A, LATEST), False), ("b", (B,), True)):
        layout = Layout(directory / name)
        layer, diff_id = layout.layer({"own": name.encode()})
        manifest = layout.manifest([layout.layer(BASE), (layer, sha256(b"") if wrong else diff_id)])
        layout.finish((manifest, ",".join(f"docker.io/{n}" for n in names)))
        sources.append(SourceImage(names, directory / name, (AMD,)))
    save(sources, directory / "crafted.fate.tar", name="crafted")
    return directory / "crafted.fate.tar"


@pytest.mark.parametrize("before", ["nothing", "older images"])
def test_an_engine_that_refuses_what_was_whole(
    engine: Engine, old: Bundle, fategen: Fategen, tmp_path: Path, before: str
) -> None:
    """Engines keep the images that they had taken before the one that they refuse; no name of the bundle may stay."""
    if before == "older images":
        assert fategen("bundle", "load", str(old.path), cwd=tmp_path).code == 0
    there = engine.ours()
    ran = fategen("bundle", "load", str(crafted(tmp_path)), cwd=tmp_path)
    assert ran.code == 3
    assert "every name is what it was before" in ran.err
    assert engine.ours() == there
    assert "fategen.invalid" not in engine.docker("image", "ls")
    if there:
        assert engine.file_in(B, "/own") == "b old"


def test_an_engine_that_is_not_there(good: Bundle, fategen: Fategen, tmp_path: Path) -> None:
    ran = fategen("bundle", "load", str(good.path), cwd=tmp_path, env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert ran.code == 3
    assert "Traceback" not in ran.err


SAVE = """
import sys
from pathlib import Path
from generator.images.layout import SourceImage
from generator.bundle.save import save
layout, output = map(Path, sys.argv[1:])
save([SourceImage(("fgtest/big:1.0",), layout, ("linux/amd64",))], output, name="big")
"""


def test_killed_at_any_moment_it_leaves_no_file(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "big")
    layers = [layout.layer({"big": os.urandom(1 << 20) * 40, "n": bytes([n])}) for n in range(3)]
    layout.finish((layout.manifest(layers), "docker.io/fgtest/big:1.0"))
    output = tmp_path / "out" / "big.fate.tar"
    output.parent.mkdir()
    command = [sys.executable, "-c", SAVE, str(layout.path), str(output)]
    part = output.with_name(f".{output.name}.part")
    killed = 0
    for moment in (0, 0.005, 0.01, 0.02, 0.05, 0.1):
        child = subprocess.Popen(command)
        # the first byte of the hidden file starts the clock, not Python's own start
        while not part.exists() and child.poll() is None:
            time.sleep(0.001)
        time.sleep(moment)
        child.send_signal(signal.SIGKILL)
        child.wait()
        if child.returncode == -signal.SIGKILL and not output.exists():
            killed += 1
            assert {p.name for p in output.parent.iterdir()} <= {part.name}
        else:
            output.unlink(missing_ok=True)
            output.with_name(output.name + ".sha256").unlink(missing_ok=True)
        # where the disk was faster than the signal, the file had its name already
        part.unlink(missing_ok=True)
    assert killed >= 2
    subprocess.run(command, check=True)
    assert sorted(p.name for p in output.parent.iterdir()) == [output.name, output.name + ".sha256"]
    subprocess.run(["sha256sum", "--check", "--quiet", output.name + ".sha256"], cwd=output.parent, check=True)


def test_the_third_party_bundle_of_a_project(registry: str, fategen: Fategen, tmp_path: Path) -> None:
    """From .env to a file, twice: the same file; then what it holds, from a pipe."""
    project = make_sample_project(tmp_path / "project", namespace=SPACE)
    assert fategen("render", cwd=project).code == 0
    first = fategen("bundle", "save", "third-party", "-q", cwd=project)
    assert first.code == 0, first.err
    path = project / "third-party-1.3.0-release.fate.tar"
    second = fategen("bundle", "save", "third-party", "-o", "again.fate.tar", "--format", "json", cwd=project)
    assert second.code == 0, second.err
    assert path.read_bytes() == (project / "again.fate.tar").read_bytes()
    assert json.loads(second.out)["sha256"] in path.with_name(path.name + ".sha256").read_text()
    assert fategen("bundle", "verify", path.name, cwd=project).code == 0
    found = json.loads(fategen("bundle", "inspect", path.name, "--format", "json", cwd=project).out)
    assert [image["name"] for image in found["images"]] == ["mysql", "redis"]
    only = fategen("bundle", "save", "third-party", "--image", "redis", "-o", "r.fate.tar", cwd=project)
    assert only.code == 0, only.err
    assert inspect(project / "r.fate.tar").index.images[0].label == "redis"
    wrong = fategen("bundle", "save", "third-party", "--image", "rediss", cwd=project)
    assert (wrong.code, "did you mean redis?" in wrong.err) == (2, True)
    lacking = fategen("bundle", "save", "--platform", "linux/s390x", cwd=project)
    assert lacking.code == 2


def test_a_project_for_another_platform_than_the_engines_is_saved_for_its_own(
    registry: str, fategen: Fategen, tmp_path: Path
) -> None:
    project = make_sample_project(tmp_path / "project", namespace=SPACE)
    with (project / ".env").open("a", encoding="utf-8") as file:
        file.write("PLATFORMS=linux/arm64\n")
    assert fategen("render", cwd=project).code == 0
    ran = fategen("bundle", "save", "--image", "roll", cwd=project)
    assert ran.code == 0, ran.err
    assert "for linux/arm64, the only one of PLATFORMS; the engine's is linux/amd64" in ran.err
    [image] = inspect(project / "fate-roll-1.3.0-release.fate.tar").index.images
    assert [variant.platform for variant in image.variants] == ["linux/arm64"]
