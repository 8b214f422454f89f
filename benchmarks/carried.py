"""What happens to a bundle after it was saved: it is checked, loaded, loaded again, and followed by a delta."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import Row, run, seconds, slower
from generator.bundle.reader import verify
from generator.bundle.save import save
from generator.images.layout import SourceImage
from tests.bundle.layouts import Layout

_FATEGEN = [sys.executable, "-m", "generator"]
_IMAGES, _LAYERS, _SIZE = 5, 8, 25 << 20
"""images, layers of each, bytes of a layer: 1 GB, as the components of a release are"""


def measure(work: Path) -> list[Row]:
    """Rows for a bundle of 1 GB that is in the page cache."""
    work.mkdir()
    names = [f"localhost:5000/carried/{number}:1" for number in range(_IMAGES)]
    sources = [_image(work / str(number), name, number) for number, name in enumerate(names)]
    file = work / "whole.fate.tar"
    save(sources, file, name="whole")
    rows = [_verify(file)]
    for engine, variable in (("containerd store", "DOCKER_HOST"), ("graphdriver", "FATEGEN_SANDBOX_GRAPHDRIVER")):
        if variable in os.environ:
            rows += _load(file, names, engine, os.environ[variable])
    return [*rows, _delta(work, sources, file)]


def _verify(file: Path) -> Row:
    cores = len(os.sched_getaffinity(0))

    def sums() -> None:
        running = [subprocess.Popen(["sha256sum", file], stdout=subprocess.DEVNULL) for _ in range(cores)]
        for one in running:
            one.wait()

    run(["sha256sum", str(file)])
    ours, theirs = [], []
    for _ in range(5):
        ours.append(seconds(lambda: verify(file)))
        theirs.append(seconds(sums) / cores)
    name = f"bundle verify of 1 GB, against sha256sum on each of {cores} cores"
    return slower(name, statistics.median(ours), statistics.median(theirs), 1.25)


def _load(file: Path, names: list[str], engine: str, host: str) -> list[Row]:
    docker = ["docker", "--host", host]

    def ours() -> None:
        run(["env", f"DOCKER_HOST={host}", *_FATEGEN, "bundle", "load", str(file)])

    def theirs() -> None:
        run([*docker, "load", "--input", str(file)])

    def forget() -> None:
        run([*docker, "image", "rm", "--force", *names])
        # what one load left to be written would slow down the next
        os.sync()

    first, again, raw = [], [], []
    for _ in range(5):
        first.append(seconds(ours))
        again.append(seconds(ours))
        forget()
        raw.append(seconds(theirs))
        forget()
    new, there, plain = (statistics.median(times) for times in (first, again, raw))
    return [
        slower(f"bundle load of 1 GB ({engine}), against docker load", new, plain, 1.15),
        slower(f"bundle load of what is there ({engine}), against the first load", there, new, 0.2),
    ]


def _delta(work: Path, sources: list[SourceImage], file: Path) -> Row:
    """One layer of one image is new."""
    changed = [_image(work / "changed", sources[0].references[0], 0, salt=1), *sources[1:]]
    delta = work / "delta.fate.tar"
    save(changed, delta, name="delta", bases=[verify(file).index])
    small, large = delta.stat().st_size / 1e6, file.stat().st_size / 1e6
    return Row("a delta with one new layer, against the whole", small, large, f"{small / large:.3f} x", "≤ 0.05 x",
               small <= large * 0.05, "MB")  # fmt: skip


def _image(path: Path, name: str, number: int, salt: int = 0) -> SourceImage:
    layout = Layout(path)
    layers = []
    for place in range(_LAYERS):
        # the last one is the component's own code
        seed = (number * _LAYERS + place) * 2 + (salt if place == _LAYERS - 1 else 0)
        layers.append(layout.layer({f"opt/{place}": random.Random(seed).randbytes(_SIZE)}))
    layout.finish((layout.manifest(layers), name))
    return SourceImage((name,), path, ("linux/amd64",))
