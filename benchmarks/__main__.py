"""``python -m benchmarks [NAME…]``: runs the measurements and prints a table; exit 1 where a bound is missed."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import carried
from benchmarks.measure import Failed, Row, faster, run, seconds, slower, within
from benchmarks.old_way import OldWay
from generator.bake.run import passing
from generator.project import Project
from generator.text import table
from generator.workspace import load
from tests.sample_project import SAMPLE, make_sample_project

EXAMPLES = Path(__file__).parent.parent / "examples"
FATEGEN = [sys.executable, "-m", "generator"]


class Bench:
    def __init__(self, work: Path) -> None:
        self.work = work
        self.sample = work / "sources"
        shutil.copytree(SAMPLE, self.sample, ignore=shutil.ignore_patterns("target"))
        self.project = make_sample_project(work / "project", namespace="bench", sample=self.sample)
        self.ca = os.environ.get("FATEGEN_SANDBOX_CA", "")
        self.bases = {
            base.name: base.reference
            for target in load(Project(self.project)).plan.targets
            for base in target.bases
            if target.kind != "third-party"
        }
        with (self.project / ".env").open("a", encoding="utf-8") as env:
            for name in self.bases:
                env.write(f"{name.upper().replace('-', '_')}_IMAGE={self.salted(name)}\n")
        self.cool()
        run([*FATEGEN, "render"], self.project)

    def salted(self, base: str) -> str:
        return f"{os.environ['FATEGEN_SANDBOX_REGISTRY']}/bench/{base}:1"

    def cool(self, ballast: int = 0) -> None:
        """Makes every layer cold and leaves the download caches warm: each base image gets another file.

        (``--no-cache`` would start with empty cache mounts too.) ``ballast`` MB that do not compress go into each, as
        wheels and jars do not: the sample's own images are much smaller than FATE's.
        """
        for name, reference in self.bases.items():
            dockerfile = self.work / f"{name}.Dockerfile"
            heavy = f"RUN head -c {ballast}M /dev/urandom > /ballast\n" if ballast else ""
            dockerfile.write_text(
                f"FROM {reference}\nCOPY <<EOF /salt\n{time.time_ns()}\nEOF\n{heavy}", encoding="utf-8"
            )
            options = ["--platform", "linux/amd64", "--provenance=false", "--push", "-t", self.salted(name)]
            run(["docker", "buildx", "build", *options, "-f", str(dockerfile), str(self.work / "project")])

    def fategen(self, *args: str) -> None:
        run([*FATEGEN, *args], self.project)

    def raw(self, *args: str) -> None:
        """docker's own bake, with what fategen would give it; once more if the engine failed, as fategen does."""
        given = ["env", f"CA_BUNDLE={self.ca}", "BUILDX_BAKE_ENTITLEMENTS_FS=0"]
        command = [*given, "docker", "buildx", "bake", "-f", "out/docker-bake.hcl", *args]
        try:
            run(command, self.project)
        except Failed as error:
            if not passing(str(error)):
                raise
            run(command, self.project)

    def start(self) -> list[Row]:
        """A cold process each time: what a person waits for."""
        python = [sys.executable, "-c"]
        imports = seconds(lambda: run([*python, "import jinja2, yaml, click, dotenv"]), 15)
        render = seconds(lambda: run([*FATEGEN, "render"], self.project), 15)
        bare = seconds(lambda: run([*python, "pass"]), 15)
        version = seconds(lambda: run([*FATEGEN, "--version"]), 15)
        return [
            slower("render, against importing its libraries", render, imports, 2),
            slower("--version, against bare Python", version, bare, 4),
        ]

    def scale(self) -> list[Row]:
        """The monorepo of examples/ with more services: nothing may grow faster than they do."""
        took = []
        for count in (1000, 10_000):
            project = self.work / f"services-{count}"
            shutil.copytree(EXAMPLES / "monorepo", project)
            line = project / "catalogue/1.0.yaml"
            head, _, _ = line.read_text(encoding="utf-8").partition("      -cart:")
            services = "".join(f"      -s{number}: {{name: s{number}}}\n" for number in range(count))
            line.write_text(head + services, encoding="utf-8")
            run([*FATEGEN, "render"], project)
            took.append(seconds(lambda where=project: run([*FATEGEN, "render"], where), 3))  # type: ignore[misc]
        return [
            within("render of 1,000 images", took[0], 1),
            slower("render of 10,000 images, against ten times that", took[1], 10 * took[0], 1.2),
        ]

    def cached(self) -> list[Row]:
        """Nothing to do: what fategen adds to bake."""
        self.fategen("bake", "all")
        theirs = seconds(lambda: self.raw("all", "--set", "*.output=type=cacheonly"), 5)
        ours = seconds(lambda: self.fategen("bake", "all"), 5)
        return [slower("bake, everything cached, against raw bake", ours, theirs, 1.1, 0.3)]

    def push(self) -> list[Row]:
        """A release of cached images under new tags, then the same release again."""
        env, host = self.project / ".env", ["--platform", "linux/amd64"]
        text = env.read_text(encoding="utf-8")
        self.fategen("bake", "all", "--push", "--overwrite", *host)

        def release(tag: str) -> None:
            env.write_text(text.replace("1.3.0-release", tag), encoding="utf-8")
            self.fategen("render")

        def measure() -> tuple[float, ...]:
            release(f"raw-{time.time_ns()}")
            theirs = seconds(lambda: self.raw("all", "--push", "--set", "*.platform=linux/amd64"))
            release(f"ours-{time.time_ns()}")
            ours, again = (seconds(lambda: self.fategen("bake", "all", "--push", *host)) for _ in range(2))
            return ours, theirs, again

        ours, theirs, again = map(statistics.median, zip(*(measure() for _ in range(5)), strict=True))
        release("1.3.0-release")
        return [
            slower("cached images pushed under new tags, against raw bake --push", ours, theirs, 1.1, 0.5),
            within("the same release pushed again", again, 2),
        ]

    def build(self) -> list[Row]:
        """The whole family for this machine's platform, then again after one Python file changed."""
        old = OldWay(self.sample, self.project / "old-way", load(Project(self.project)), self.ca)
        old.warm()
        old.everything()
        self.fategen("bake", "all", "--load", "--platform", "linux/amd64")
        self.cool()
        full = seconds(old.everything)
        self.edit(old.source)
        modules = seconds(old.modules)
        self.cool()
        ours = seconds(lambda: self.fategen("bake", "all", "--load", "--platform", "linux/amd64"))
        rows = [faster("full build, layers cold, downloads warm", ours, full, 1.5)]
        self.edit(self.sample / "fate")
        ours = seconds(lambda: self.fategen("bake", "components", "--load", "--platform", "linux/amd64"))
        self.edit(self.sample / "fate")
        one = seconds(lambda: self.fategen("bake", "python", "--load", "--platform", "linux/amd64"))
        return [
            *rows,
            faster("one Python file changed: its image, against the script's modules", one, modules, 10),
            faster("one Python file changed: every image, against the script's modules", ours, modules, 3),
        ]

    def loop(self) -> list[Row]:
        """A developer's: one Python file changed, until the container of its image runs."""
        host = ["--load", "--platform", "linux/amd64"]
        reference = f"{os.environ['FATEGEN_SANDBOX_REGISTRY']}/bench/python:1.3.0-release"
        start = ["docker", "run", "--detach", "--name", "fategen-bench", reference]
        self.fategen("bake", "python", *host)

        def ours() -> None:
            self.edit(self.sample / "fate")
            self.fategen("bake", "python", *host)
            run(start)

        def theirs() -> None:
            self.edit(self.sample / "fate")
            self.raw("python", "--load", "--set", "*.platform=linux/amd64")
            run(start)

        measured = []
        for _ in range(5):
            times = []
            for way in (ours, theirs):
                times.append(seconds(way))
                run(["docker", "rm", "--force", "fategen-bench"])
            measured.append(times)
        mine, bake = (statistics.median(column) for column in zip(*measured, strict=True))
        return [slower("one Python file changed, to a running container, against raw bake", mine, bake, 1.3)]

    def verify(self) -> list[Row]:
        """Eight images against their contracts: met for the first time, and met before."""
        self.fategen("bake", "all", "--load", "--platform", "linux/amd64")
        listed = self.references("all")
        look = ("verify", "--no-start", "--quiet")
        first, saves, again = [], [], []
        for _ in range(3):
            saves.append(
                seconds(lambda: run(["bash", "-c", "for one; do docker save $one > /dev/null; done", "-", *listed]))
            )
            shutil.rmtree(self.project / ".fategen/verify", ignore_errors=True)
            first.append(seconds(lambda: self.fategen(*look)))
            again.append(seconds(lambda: self.fategen(*look)))
        return [
            slower(
                "verify --no-start of eight new images, against docker save of each",
                statistics.median(first), statistics.median(saves), 1.2,
            ),
            within("the same images once more", statistics.median(again), 1),
        ]  # fmt: skip

    def references(self, *names: str) -> list[str]:
        return subprocess.run(
            [*FATEGEN, "images", *names, "--format", "references"],
            cwd=self.project, capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip

    def habit(self, listed: list[str], *engine: str) -> float:
        """What FATE's README teaches; the file is on the disk when it ends, as fategen's is."""
        script = 'set -o pipefail; docker "$@" | gzip > theirs.tar.gz && sync theirs.tar.gz'
        return seconds(lambda: run(["bash", "-c", script, "-", *engine, "save", *listed], self.project))

    def edit(self, tree: Path) -> None:
        with (tree / "fate_flow" / "settings.py").open("a", encoding="utf-8") as file:
            file.write(f"# edited {time.time_ns()}\n")

    def bundle(self) -> list[Row]:
        """All that a site needs in one file, against the habit that FATE's README teaches."""
        # the sample is so small that most of the time is bake's own, looking through its cache
        rows = self.saved("sample")
        self.cool(ballast=400)
        return [*rows, *self.saved("1 GB, nearer to FATE's size")]

    def saved(self, what: str) -> list[Row]:
        # what the bundle "all" holds
        same = ("base-image", "components", "third-party")
        self.fategen("bake", *same, "--load", "--platform", "linux/amd64")
        listed = self.references(*same)

        theirs = self.habit(listed)
        ours = seconds(lambda: self.fategen("bundle", "save", "all", "-o", "ours.fate.tar"))
        shutil.rmtree(self.project / ".fategen/layouts")
        engine = seconds(lambda: self.fategen("bundle", "save", "all", "--from", "engine", "-o", "ours.fate.tar"))
        rows = [
            faster(f"bundle save ({what}), against docker save | gzip", ours, theirs, 2),
            faster(f"bundle save --from engine ({what}), against docker save | gzip", engine, theirs, 1.5),
        ]
        if classic := os.environ.get("FATEGEN_SANDBOX_DOCKER20"):
            run(["docker", "-H", classic, "load", "-i", "ours.fate.tar"], self.project)
            theirs = self.habit(listed, "-H", classic)
            shutil.rmtree(self.project / ".fategen/layouts")
            here, os.environ["DOCKER_HOST"] = os.environ["DOCKER_HOST"], classic
            engine = seconds(lambda: self.fategen("bundle", "save", "all", "--from", "engine", "-o", "ours.fate.tar"))
            os.environ["DOCKER_HOST"] = here
            rows += [
                faster(f"bundle save ({what}), against the same on Docker 20.10's graphdriver", ours, theirs, 2),
                faster(f"bundle save --from engine ({what}), both on Docker 20.10's graphdriver", engine, theirs, 3),
            ]
            run(["docker", "-H", classic, "rmi", "-f", *listed], self.project)
        return rows

    def registry(self) -> list[Row]:
        """The same file from what was pushed, with an empty cache."""
        self.cool(ballast=150)
        platform = ["--platform", "linux/amd64"]
        self.fategen("bake", "components", "--load", *platform)
        self.fategen("bake", "components", "--push", "--overwrite", *platform)
        habit = self.habit(self.references("components"))

        def save() -> None:
            self.fategen("bundle", "save", "--from", "registry", *platform, "-o", "ours.fate.tar")

        def forget() -> None:
            (self.project / "ours.fate.tar").unlink()
            shutil.rmtree(self.project / ".fategen/layouts")

        save()
        ours = seconds(save, 3, forget)
        return [faster("bundle save --from registry, against docker save | gzip", ours, habit, 10)]


def main(names: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="fategen-bench-") as directory:
        bench = Bench(Path(directory))
        parts = {
            "start": bench.start,
            "scale": bench.scale,
            "cached": bench.cached,
            "push": bench.push,
            "build": bench.build,
            "loop": bench.loop,
            "verify": bench.verify,
            "bundle": bench.bundle,
            "carried": lambda: carried.measure(Path(directory) / "carried"),
            "registry": bench.registry,
        }
        if unknown := [n for n in names if n not in parts]:
            raise SystemExit(f"no such measurement: {' '.join(unknown)}; there are {' '.join(parts)}")
        rows: list[Row] = []
        failed = ""
        for name in names or parts:
            try:
                rows += parts[name]()
            except Failed as error:
                # what was measured before it took minutes
                failed += f"{name}: {error}\n"
    cells = []
    for r in rows:
        ours, theirs = f"{r.ours:.2f} {r.unit}", f"{r.theirs:.2f} {r.unit}"
        cells.append((r.name, ours, theirs, r.ratio, r.bound, "" if r.met else "missed"))
    print(table(("WHAT", ">FATEGEN", ">OTHER", ">RATIO", ">BOUND", ""), cells))
    print(failed, end="", file=sys.stderr)
    return 0 if all(r.met for r in rows) and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
