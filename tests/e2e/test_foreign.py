"""Archives that real tools made of the same images: inspected right, verified right, converted to the same bundle, and
loaded where the table of loaders says so. And bombs of the real size.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.bundle.foreign.convert import Layers, convert
from generator.bundle.foreign.loaders import Verdict
from generator.bundle.foreign.recognise import recognise
from generator.bundle.foreign.survey import Survey, inspect_foreign, verify_foreign
from generator.errors import BundleError
from tests.bundle.tars import docker20, gzip_bomb, head, tar
from tests.e2e.archives import Archive, archives
from tests.e2e.conftest import Fategen
from tests.e2e.memory import PEAK

Archives = dict[str, Archive]
ENGINES = (
    ("FATEGEN_SANDBOX_DOCKER20", "Docker 20, graphdriver"),
    ("FATEGEN_SANDBOX_GRAPHDRIVER", "Docker 23 and later, graphdriver"),
    ("FATEGEN_SANDBOX_DOCKER28", "Docker 23 and later, graphdriver"),
    ("DOCKER_HOST", "Docker 26 and later, containerd store"),
    ("FATEGEN_SANDBOX_DOCKER28_CONTAINERD", "Docker 26 and later, containerd store"),
)
"""Engines, and what they are in the table of loaders."""


@pytest.fixture(scope="module")
def made(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archives]:
    with archives(tmp_path_factory.mktemp("archives"), registry) as found:
        yield found


def full_name(registry: str, letter: str) -> str:
    return f"{registry}/foreign-{os.getpid()}/{letter}:1.0"


def test_there_are_twenty_and_more(made: Archives) -> None:
    assert len(made) >= 24
    tools = {name.split(" ")[0] for name in made}
    assert tools >= {"docker", "buildx", "skopeo", "packed", "tar"}


def test_each_is_inspected_right(made: Archives, registry: str) -> None:
    for name, archive in made.items():
        with recognise(archive.path) as found:
            seen = inspect_foreign(found)
        assert seen.problems == (), name
        wanted = [()] if archive.nameless else [(full_name(registry, letter),) for letter in archive.images]
        assert sorted(image.names for image in seen.images) == wanted, name
        platforms = ["linux/amd64", "linux/arm64"] if archive.images == "m" else ["linux/amd64"]
        assert all([v.platform for v in image.variants] == platforms for image in seen.images), name


def test_the_command_reads_a_pipe_and_tells_a_wrong_name(made: Archives, fategen: Fategen, tmp_path: Path) -> None:
    for name in ("docker 20 misnamed", "docker 26 graphdriver misnamed", "docker 26 containerd misnamed"):
        ran = fategen("bundle", "inspect", str(made[name].path), cwd=tmp_path)
        assert ran.code == 0 and "a plain tar in spite of its name" in ran.err, (name, ran)
    with made["packed gz"].path.open("rb") as file:
        command = [sys.executable, "-m", "generator", "bundle", "inspect", "-", "--format", "json"]
        done = subprocess.run(command, stdin=file, capture_output=True, check=True)
    assert (json.loads(done.stdout)["compression"], len(json.loads(done.stdout)["images"])) == ("gzip", 2)


def test_each_is_verified_right(made: Archives) -> None:
    for archive in made.values():
        with recognise(archive.path) as found:
            assert verify_foreign(found).problems == ()


def test_a_flipped_bit_in_the_middle_of_each_is_found(made: Archives, tmp_path: Path) -> None:
    """The middle of each is in the shared layer of random bytes."""
    for name, archive in made.items():
        if archive.path.is_dir():
            continue
        data = bytearray(archive.path.read_bytes())
        data[len(data) // 2] ^= 4
        path = tmp_path / "flipped"
        path.write_bytes(data)
        with pytest.raises(BundleError), recognise(path) as found:
            verify_foreign(found)
            pytest.fail(f"not found in {name}")


@pytest.mark.parametrize("layers", ["raw", "gzip"])
def test_the_same_images_become_the_same_bundle(made: Archives, registry: str, tmp_path: Path, layers: Layers) -> None:
    bundles: dict[str, dict[str, list[str]]] = {}
    for name, archive in made.items():
        digest = bundle_of(archive, registry, tmp_path, layers)
        bundles.setdefault(archive.images, {}).setdefault(digest, []).append(name)
    assert {images: len(found) for images, found in bundles.items()} == dict.fromkeys(bundles, 1), bundles


def test_manifests_and_layers_stay_as_they_are(made: Archives, registry: str, tmp_path: Path) -> None:
    """buildx's manifest is the same in all archives whose tools keep it: so are the bundles, and the image's digest."""
    bundles: dict[tuple[str, str], dict[str, list[str]]] = {}
    for name, archive in made.items():
        if archive.kept:
            digest = bundle_of(archive, registry, tmp_path, "keep")
            bundles.setdefault((archive.images, archive.kept), {}).setdefault(digest, []).append(name)
    assert {key: len(found) for key, found in bundles.items()} == dict.fromkeys(bundles, 1), bundles


def bundle_of(archive: Archive, registry: str, directory: Path, layers: Layers) -> str:
    rename = (full_name(registry, archive.images),) if archive.nameless else ()
    with recognise(archive.path) as found:
        return convert(found, directory / "x.fate.tar", layers=layers, rename=rename).sha256


def test_a_converted_bundle_loads(made: Archives, registry: str, fategen: Fategen, tmp_path: Path) -> None:
    output = str(tmp_path / "new.fate.tar")
    ran = fategen("bundle", "convert", str(made["docker 20 ab"].path), "-o", output, "--layers", "gzip", cwd=tmp_path)
    assert ran.code == 0, ran.err
    try:
        ran = fategen("bundle", "load", output, cwd=tmp_path)
        assert ran.code == 0, ran.err
        assert full_name(registry, "b") in ran.out
    finally:
        for letter in "ab":
            docker(os.environ["DOCKER_HOST"], "image", "rm", "-f", full_name(registry, letter))


def docker(host: str, *args: str, stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOCKER_HOST": host}
    with (stdin or Path(os.devnull)).open("rb") as file:
        return subprocess.run(
            ["docker", *args], env=environment, stdin=file, capture_output=True, text=True, timeout=120
        )


def one_of_each_form(made: Archives) -> Iterator[tuple[str, Archive, Survey]]:
    """Archives that loaders see as different ones, and what inspect says of them."""
    seen = set()
    for name, archive in made.items():
        if not archive.nameless:
            with recognise(archive.path) as found:
                survey = inspect_foreign(found)
            form = (survey.format, survey.compression, survey.loaders)
            if form not in seen:
                seen.add(form)
                yield name, archive, survey


def verdict(survey: Survey, loader: str) -> Verdict:
    return next(verdict for verdict in survey.loaders if verdict.loader == loader)


@pytest.mark.parametrize(("engine", "loader"), ENGINES)
def test_docker_takes_what_the_table_says(made: Archives, registry: str, engine: str, loader: str) -> None:
    host = os.environ[engine]
    wrong = []
    for name, archive, survey in one_of_each_form(made):
        if archive.path.is_dir():
            continue
        names = [full_name(registry, letter) for letter in archive.images]
        done = docker(host, "load", stdin=archive.path)
        there = [docker(host, "image", "inspect", one).returncode == 0 for one in names]
        docker(host, "image", "rm", "-f", *names)
        said = verdict(survey, loader)
        if (done.returncode == 0 and all(there)) != said.takes:
            wrong.append(f"{name}: the table says {said}, docker {done.returncode}: {done.stdout}{done.stderr}")
    assert not wrong, "\n".join(wrong)


def test_podman_takes_what_the_table_says(made: Archives, registry: str) -> None:
    podman = shutil.which("podman")
    if not podman:
        pytest.skip("no podman on this machine")
    version = subprocess.run([podman, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    wrong = []
    for name, archive, survey in one_of_each_form(made):
        if archive.path.is_dir():
            continue
        names = [full_name(registry, letter) for letter in archive.images]
        with archive.path.open("rb") as file:
            done = subprocess.run([podman, "load", "-q"], stdin=file, capture_output=True, text=True, timeout=120)
        there = [subprocess.run([podman, "image", "exists", one]).returncode == 0 for one in names]
        subprocess.run([podman, "rmi", "-f", *names], capture_output=True, timeout=120)
        said = verdict(survey, f"podman {version.split('.')[0]}")
        if (done.returncode == 0 and all(there)) != said.takes:
            wrong.append(f"{name}: the table says {said}, podman {version} {done.returncode}: {done.stderr}")
    assert not wrong, "\n".join(wrong)


def test_skopeo_takes_what_the_table_says(made: Archives, registry: str, tmp_path: Path) -> None:
    skopeo = str(shutil.which("skopeo"))
    version = subprocess.run([skopeo, "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    wrong = []
    for name, archive, survey in one_of_each_form(made):
        said = verdict(survey, "skopeo")
        if "gzip" in said.why and version.startswith("1.9."):
            continue
        transport, _, rest = said.why.split(" ")[1].partition(":")
        name_there = f":{full_name(registry, archive.images[0])}" if ":NAME" in rest else ""
        source = f"{transport}:{archive.path}{name_there}"
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        command = [skopeo, "copy", "--insecure-policy", source, f"dir:{tmp_path}/out"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if (done.returncode == 0) != said.takes:
            wrong.append(f"{name}: the table says {said}, skopeo {version} {done.returncode}: {done.stderr}")
    assert not wrong, "\n".join(wrong)


# -- bombs of the real size: less than 200 MB of memory, less than 5 s, exit code 4


def bomb_layer(path: Path) -> None:
    path.write_bytes(tar({**docker20("a"), "a2/layer.tar": gzip_bomb(64 << 20, 160)}))


def bomb_file(path: Path) -> None:
    first = head("layer.tar", 10 << 30, field=b"\x80" + (10 << 30).to_bytes(11, "big"))
    path.write_bytes(gzip_bomb(64 << 20, 160, first))


def bomb_members(path: Path) -> None:
    """A million of them: a directory may stand there again and again."""
    with path.open("wb") as file:
        for _ in range(1000):
            file.write(head("d/", kind=b"5") * 1000)


def bomb_index(path: Path) -> None:
    with path.open("wb") as file:
        file.write(head("index.json", 100 << 20) + b'{"schemaVersion":2,"manifests":[')
        file.truncate((100 << 20) + 2048)


def bomb_documents(path: Path) -> None:
    with path.open("wb") as file:
        for number in range(500):
            file.write(head(f"{number}.json", 4 << 20) + b"[")
            file.seek((4 << 20) - 1, 1)
        file.truncate(file.tell() + 1024)


def bomb_deep(path: Path) -> None:
    path.write_bytes(tar({"manifest.json": b"[" * (4 << 20), "index.json": b'{"a":' * 800_000, "oci-layout": b"{}"}))


@pytest.mark.parametrize(
    "bomb", [bomb_layer, bomb_file, bomb_members, bomb_index, bomb_documents, bomb_deep], ids=lambda b: b.__name__
)
def test_a_bomb_takes_little_memory_and_time(bomb: object, tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar"
    bomb(path)  # type: ignore[operator]
    for source in (path, "-"):
        program = PEAK + "from generator.__main__ import main\nmain()"
        before = seconds()
        with path.open("rb") as file:
            done = subprocess.run(
                [sys.executable, "-c", program, "bundle", "verify", str(source)],
                stdin=file,
                capture_output=True,
                text=True,
            )
        assert done.returncode == 4, done.stderr
        assert int(done.stdout.split()[-1]) < 200 << 20, done.stdout
        assert seconds() - before < 5


def seconds() -> float:
    """The processor's time of all children so far, which other processes on the machine do not change."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
