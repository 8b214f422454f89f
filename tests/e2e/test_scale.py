"""Bundles of many images and of many gigabytes, killed saves, other surroundings: the same file each time."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from generator.bundle.format import TRAILER, header, members_of, padding
from generator.bundle.index import BundleIndex, arrange
from generator.bundle.reader import inspect, verify
from generator.images.layout import Layout as Directory
from generator.images.layout import SourceImage, read
from tests.bundle.layouts import TAR, Layout

PEAK = """
import atexit

def peak():
    with open("/proc/self/status") as status:
        print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:")))

atexit.register(peak)
"""
"""Makes the program after it print the bytes that it took at most, as its last line.

The kernel's ru_maxrss is no answer: a child begins with its parent's, and pytest grows (setmax_mm_hiwater_rss in exec).
"""
GIB = 1 << 30
MEMORY = 200 << 20
"""bytes that a process may take, whatever the size of the bundle"""

SAVE = """
import os, sys
from pathlib import Path
from generator.images.layout import SourceImage
from generator.bundle.save import save
layout, output, umask = sys.argv[1:]
os.umask(int(umask, 8))
save([SourceImage(("fgtest/big:1.0",), Path(layout), ("linux/amd64",))], Path(output), name="big")
"""
VERIFY = """
import sys
from pathlib import Path
from generator.bundle.reader import verify
verify(Path(sys.argv[1]))
"""
LOAD = """
import resource, sys
from pathlib import Path
from generator.bundle.engines import Present
from generator.bundle.load import Names, load

class Sink:  # takes all, has nothing
    def platform(self): return "linux/amd64"
    containerd_store = False
    def present(self, names=()): return Present()
    def inspect(self, names): return {}
    def load(self, platform, pieces): return "".join("" for piece in pieces)

# our own temporary files: at most 1 MB, else SIGXFSZ
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
Names.confirm = lambda self, output: ()
load(Path(sys.argv[1]), Sink())
"""


def run(script: str, *args: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> int:
    """Runs a script to its end; the bytes of memory that it took at most."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK + script, *map(str, args)],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split()[-1])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout of 40 MB that do not compress."""
    layout = Layout(tmp_path_factory.mktemp("big"))
    noise = random.Random(1)
    layers = []
    for _ in range(8):
        blob = layout.put(noise.randbytes(5 << 20), TAR)
        layers.append((blob, str(blob["digest"])))
    return layout.finish((layout.manifest(layers), "docker.io/fgtest/big:1.0"))


@pytest.mark.parametrize("kills", [5, pytest.param(25, marks=pytest.mark.full)])
def test_killed_at_any_moment_it_leaves_a_whole_file_or_none(big: Path, tmp_path: Path, kills: int) -> None:
    good, out = tmp_path / "good", tmp_path / "out"
    good.mkdir()
    out.mkdir()
    file, part = out / "big.fate.tar", out / ".big.fate.tar.part"
    moments = random.Random(2)
    killed = 0
    for _ in range(kills):
        child = subprocess.Popen([sys.executable, "-c", SAVE, str(big), str(file), "022"], stderr=subprocess.DEVNULL)
        # the first byte of the hidden file starts the clock, not Python's own start
        while not part.exists() and child.poll() is None:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.03))
        child.send_signal(signal.SIGKILL)
        child.wait()
        if file.exists():
            verify(file)
        else:
            killed += 1
        file.unlink(missing_ok=True)
        # what a kill leaves does not pile up
        assert {path.name for path in out.iterdir()} <= {part.name, f"{file.name}.sha256", f".{file.name}.sha256.part"}
    assert killed
    for directory in (good, out):
        run(SAVE, big, directory / file.name, "022")
    assert {p.name: digest(p) for p in out.iterdir()} == {p.name: digest(p) for p in good.iterdir()}
    assert {path.name for path in out.iterdir()} == {file.name, f"{file.name}.sha256"}


SURROUNDINGS = {
    "hash seed 0": ({"PYTHONHASHSEED": "0"}, "022"),
    "hash seed 1": ({"PYTHONHASHSEED": "1"}, "077"),
    "time zone": ({"TZ": "Asia/Shanghai", "SOURCE_DATE_EPOCH": "1"}, "000"),
    "locale C": ({"LC_ALL": "C", "PYTHONUTF8": "0"}, "027"),
    "locale de_DE": ({"LC_ALL": "de_DE.UTF-8"}, "022"),
}


def test_the_same_file_in_all_surroundings(big: Path, tmp_path: Path) -> None:
    found = set()
    for number, (env, umask) in enumerate(SURROUNDINGS.values()):
        directory = tmp_path / str(number)
        directory.mkdir()
        # another directory, too
        run(SAVE, big, "big.fate.tar", umask, env=env, cwd=directory)
        found.add(digest(directory / "big.fate.tar"))
    assert len(found) == 1


@pytest.fixture(scope="session")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout of 10 GB that takes no room on the disk: one layer of 9 GiB, and smaller ones."""
    layout = Layout(tmp_path_factory.mktemp("huge"))
    layers = []
    for number, size in enumerate([9 * GIB, *[100 << 20] * 10]):
        path = layout.path / f"hole{number}"
        with path.open("wb") as file:
            file.truncate(size)
            file.write(b"%d" % number)
        hexadecimal = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
        path.rename(layout.path / "blobs/sha256" / hexadecimal)
        blob: dict[str, object] = {"mediaType": TAR, "digest": f"sha256:{hexadecimal}", "size": size}
        layers.append((blob, f"sha256:{hexadecimal}"))
    return layout.finish((layout.manifest(layers), "docker.io/fgtest/big:1.0"))


@pytest.mark.full
def test_ten_gigabytes_in_little_memory_and_no_temporary_disk(huge: Path, tmp_path: Path) -> None:
    file = tmp_path / "big.fate.tar"
    assert run(SAVE, huge, file, "022") < MEMORY
    try:
        assert file.stat().st_size > 10 * 10**9
        assert inspect(file).size == file.stat().st_size
        assert run(VERIFY, file) < MEMORY
        assert run(LOAD, file) < MEMORY
        # tar reads a member of 8 GiB and more
        listed = subprocess.run(["tar", "-tvf", str(file)], capture_output=True, text=True, check=True).stdout
        assert str(9 * GIB) in listed
    finally:
        file.unlink()


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """A bundle of 107 GB, five layers of 20 GiB, of which the disk holds the ends: written as the format says."""
    layout = Layout(tmp_path / "layout")
    zeros = hashlib.sha256()
    for _ in range(20 << 4):
        zeros.update(bytes(64 << 20))
    layers = []
    for number in range(5):
        end = zeros.copy()
        end.update(b"%d" % number)
        blob: dict[str, object] = {"mediaType": TAR, "digest": f"sha256:{end.hexdigest()}", "size": 20 * GIB + 1}
        layers.append((blob, str(blob["digest"])))
    layout.finish((layout.manifest(layers), "docker.io/fgtest/big:1.0"))
    found = read(SourceImage(("fgtest/big:1.0",), layout.path, ("linux/amd64",)))
    members = members_of(arrange(BundleIndex("sparse", (found.image,))))
    with (tmp_path / "sparse.fate.tar").open("wb") as file:
        for member in members:
            file.seek(member.offset)
            file.write(header(member.name, member.size))
            if member.role == "layer":
                number = [str(blob["digest"]) for blob, _ in layers].index(member.digest)
                file.seek(member.end - padding(member.size) - 1)
                file.write(b"%d" % number)
            elif member.role != "directory":
                content = member.content
                file.write(content or Directory(layout.path).blob_path(member.digest).read_bytes())
        file.seek(members[-1].end)
        file.write(TRAILER)
    return tmp_path / "sparse.fate.tar"


@pytest.mark.full
def test_a_hundred_gigabytes_are_inspected_and_verified_in_little_memory(sparse: Path) -> None:
    assert inspect(sparse).size == sparse.stat().st_size > 107 * 10**9
    assert run(VERIFY, sparse) < MEMORY
