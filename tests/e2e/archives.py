"""The same images in archives of as many tools as there are: docker on three engines, buildx, skopeo, podman, crane.

``a`` and ``b`` share a layer; ``m`` is for two platforms. They are built once, from scratch, and their name is that of
the loopback registry, since skopeo and crane take them from there.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ENGINES = {"docker 20": "FATEGEN_SANDBOX_DOCKER20", "docker 26 graphdriver": "FATEGEN_SANDBOX_GRAPHDRIVER",
           "docker 26 containerd": "DOCKER_HOST", "docker 28 graphdriver": "FATEGEN_SANDBOX_DOCKER28",
           "docker 28 containerd": "FATEGEN_SANDBOX_DOCKER28_CONTAINERD"}  # fmt: skip
NULL = Path(os.devnull)
PACKERS = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}


@dataclass(frozen=True)
class Archive:
    """``images``: the letters of the images in it; ``nameless``: the tool writes no names.

    ``kept``: it has the manifests that buildx made, in OCI's media types or in Docker's; "" where it has others.
    """

    path: Path
    images: str
    nameless: bool = False
    kept: str = ""


@dataclass
class Maker:
    directory: Path
    space: str
    layer_size: int = 1 << 20
    made: dict[str, Archive] = field(default_factory=dict)

    def name(self, letter: str) -> str:
        return f"{self.space}/{letter}:1.0"

    def run(self, *args: str | Path, host: str = "", stdin: Path = NULL, stdout: Path = NULL) -> None:
        command = [str(arg) for arg in args]
        environment = {**os.environ, **({"DOCKER_HOST": host} if host else {}), "SOURCE_DATE_EPOCH": "1700000000"}
        with stdin.open("rb") as source, stdout.open("wb") as target:
            done = subprocess.run(command, env=environment, stdin=source, stdout=target, stderr=subprocess.PIPE,
                                  text=True, timeout=300)  # fmt: skip
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")

    def add(self, name: str, file: str, images: str, nameless: bool = False, kept: str = "") -> Path:
        path = self.directory / file
        self.made[name] = Archive(path, images, nameless, kept)
        return path

    def context(self) -> Path:
        context = self.directory / "context"
        context.mkdir()
        for letter in "abm":
            (context / f"{letter}.txt").write_text(f"{letter} " * (self.layer_size // 10))
        (context / "shared.bin").write_bytes(os.urandom(self.layer_size))
        (context / "Dockerfile").write_text(
            "FROM scratch\nARG IMAGE TARGETARCH\nCOPY shared.bin /shared\nCOPY $IMAGE.txt /own\n"
            'ENV ARCH=$TARGETARCH\nCMD ["/own"]\n'
        )
        return context

    def build(self, letter: str, *options: str) -> None:
        platforms = "linux/amd64,linux/arm64" if letter == "m" else "linux/amd64"
        self.run("docker", "buildx", "build", "--provenance=false", f"--platform={platforms}", "--build-arg",
                 f"IMAGE={letter}", "--tag", self.name(letter), *options, self.directory / "context")  # fmt: skip

    def buildx(self) -> None:
        for letter in "abm":
            path = self.add(f"buildx oci {letter}", f"buildx-{letter}.tar", letter, kept="oci")
            self.build(letter, "--output", f"type=oci,dest={path}")
            # OCI's media types: skopeo writes a new config, another image then, where it has to change them
            self.build(letter, "--output", "type=image,push=true,oci-mediatypes=true")
        path = self.add("buildx docker", "buildx-docker.tar", "a", kept="docker")
        self.build("a", "--output", f"type=docker,dest={path}")
        layout = self.add("buildx directory", "buildx-dir", "a", kept="oci")
        self.build("a", "--output", f"type=oci,tar=false,dest={layout}")
        path = self.add("buildx zstd", "buildx-zstd.tar", "a")
        self.build("a", "--output", f"type=oci,compression=zstd,force-compression=true,dest={path}")
        with tarfile.open(self.add("tar of the directory", "dir.tar", "a", kept="oci"), "w") as tar:
            tar.add(layout, "./")

    def docker(self) -> None:
        loadable = self.directory / "loadable.tar"
        for engine, variable in ENGINES.items():
            host = os.environ.get(variable, "")
            if not host:
                raise AssertionError(f'{variable} is not set: eval "$(python3 tests/sandbox env)", or scripts/test')
            store = engine.endswith("containerd")
            for letter in "ab":
                self.build(letter, "--output", f"type=docker,dest={loadable}")
                self.run("docker", "load", "-i", loadable, host=host)
            file = engine.replace(" ", "-")
            for images in ("a", "ab"):
                path = self.add(f"{engine} {images}", f"{file}-{images}.tar", images, kept="docker" if store else "")
                self.run("docker", "save", "-o", path, *map(self.name, images), host=host)
            path = self.add(f"{engine} misnamed", f"{file}.tar.gz", "a", kept="docker" if store else "")
            self.run("docker", "save", "-o", path, self.name("a"), host=host)
            self.run("docker", "image", "rm", "-f", self.name("a"), self.name("b"), host=host)
        loadable.unlink()

    def packed(self) -> None:
        plain = self.made["docker 26 containerd ab"].path.read_bytes()
        for ending, packer in PACKERS.items():
            path = self.add(f"packed {ending}", f"packed.tar.{ending}", "ab", kept="docker")
            with packer(path, "wb") as file:
                file.write(plain)
        if shutil.which("zstd"):
            path = self.add("packed zst", "packed.tar.zst", "ab", kept="docker")
            self.run("zstd", "-q", self.made["docker 26 containerd ab"].path, "-o", path)

    def skopeo(self, skopeo: str) -> None:
        copy = (skopeo, "copy", "--insecure-policy", "--src-tls-verify=false", f"docker://{self.name('a')}")
        path = self.add("skopeo docker-archive", "skopeo.tar", "a")
        self.run(*copy, f"docker-archive:{path}:{self.name('a')}")
        path = self.add("skopeo oci-archive", "skopeo-oci.tar", "a", kept="oci")
        self.run(*copy, f"oci-archive:{path}:{self.name('a')}")
        path = self.add("skopeo directory", "skopeo-dir", "a", kept="oci")
        self.run(*copy, f"oci:{path}:{self.name('a')}")
        path = self.add("skopeo nameless", "skopeo-tag.tar", "a", nameless=True, kept="oci")
        self.run(*copy, f"oci-archive:{path}:1.0")

    def podman(self, podman: str) -> None:
        """Through pipes: the sandbox's podman sees no files of this machine."""
        names = [self.name(letter) for letter in "ab"]
        for letter in "ab":
            self.run(podman, "load", "-q", stdin=self.made[f"buildx oci {letter}"].path)
        try:
            for form in ("docker-archive", "oci-archive"):
                path = self.add(f"podman {form}", f"podman-{form}.tar", "a")
                self.run(podman, "save", "-q", "--format", form, names[0], stdout=path)
            self.run(podman, "save", "-q", "-m", *names, stdout=self.add("podman several", "podman-ab.tar", "ab"))
        finally:
            self.run(podman, "rmi", "-f", *names)

    def crane(self, crane: str) -> None:
        for form in ("tarball", "oci", "legacy"):
            layout = form == "oci"
            path = self.add(f"crane {form}", f"crane-{form}", "a", nameless=layout, kept="oci" if layout else "")
            self.run(crane, "pull", "--insecure", f"--format={form}", self.name("a"), path)
        path = self.add("crane several", "crane-ab.tar", "ab")
        self.run(crane, "pull", "--insecure", self.name("a"), self.name("b"), path)


@contextmanager
def archives(directory: Path, registry: str, layer_size: int = 1 << 20) -> Iterator[dict[str, Archive]]:
    """Makes them all. skopeo must be there; podman and crane are used where they are."""
    maker = Maker(directory, f"{registry}/foreign-{os.getpid()}", layer_size)
    try:
        maker.context()
        maker.buildx()
        maker.docker()
        maker.packed()
        skopeo = shutil.which("skopeo")
        if not skopeo:
            raise AssertionError("no skopeo: the sandbox has one, python3 tests/sandbox up puts it on PATH")
        maker.skopeo(skopeo)
        if podman := shutil.which("podman"):
            maker.podman(podman)
        if crane := shutil.which("crane"):
            maker.crane(crane)
        yield maker.made
    finally:
        names = [maker.name(letter) for letter in "abm"]
        subprocess.run(["docker", "image", "rm", "--force", *names], capture_output=True)
