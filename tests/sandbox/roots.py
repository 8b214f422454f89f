"""The file systems that the sandbox is made of: each is built under a temporary name and renamed when it is complete.

mmdebstrap and not debootstrap: it makes the engine's root with all its packages in one go (27 s instead of 25 + 16 s),
and its `extract` variant unpacks packages of any suite or architecture without running them, which is all that an arm64
root, a second Docker version and a newer buildx need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import machine
from .base import BIN, CACHE, HERE, STATE, TMP, digest, remove_tree, run, say, step, write

ENGINE = CACHE / "engine"
PODMAN = CACHE / "podman"
DEBIAN_TARS = {"amd64": CACHE / "debian-amd64.tar", "arm64": CACHE / "debian-arm64.tar"}
PLUGINS = "usr/libexec/docker/cli-plugins"
PLUGIN = f"{PLUGINS}/docker-buildx"
TOOLS = CACHE / "tools"
QEMU = TOOLS / "usr/bin/qemu-aarch64"
COMPOSE = TOOLS / PLUGINS / "docker-compose"
CLIENTS = {"old": ENGINE / PLUGIN, "new": CACHE / "buildx-new" / PLUGIN}  # version of buildx → plugin

_NO_DOCS = ("--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*")  # fmt: skip
_MAN = 'mkdir -p "$1/usr/share/man/man1"'  # a JRE's postinst makes links there and fails without it
_FAST = ("--dpkgopt=force-unsafe-io", *_NO_DOCS)
# An extracted root was never configured: give it what the postinst scripts would have made and a shell script may need.
_STALE = '--aptopt=Acquire::Check-Valid-Until "false"'  # sid's Release file may be older than it says it is valid for
_CONFIGURE = (
    'cp "$1/usr/share/base-passwd/passwd.master" "$1/etc/passwd"',
    'cp "$1/usr/share/base-passwd/group.master" "$1/etc/group"',
    'ln -sf mawk "$1/usr/bin/awk"',
    'cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/" 2>/dev/null || :',
)


@dataclass(frozen=True)
class Root:
    """`options` and `suite` go to mmdebstrap; `only` are the files that are kept, all where it is empty."""

    target: Path
    suite: str
    options: tuple[str, ...]
    only: tuple[str, ...] = ()

    @property
    def recipe(self) -> str:
        return digest(self.suite, self.options, self.only, machine.debian_mirror())

    @property
    def stamp(self) -> Path:
        return CACHE / f".{self.target.name}.recipe"

    def complete(self) -> bool:
        return self.target.exists() and self.stamp.exists() and self.stamp.read_text() == self.recipe


def _extract(*packages: str) -> tuple[str, ...]:
    return ("--variant=extract", *_NO_DOCS, *(f"--include={name}" for name in packages))


# What the first engine and its stand-ins need; longest first, since they are built two at a time.
FIRST = (
    Root(ENGINE, "trixie", ("--variant=apt", *_FAST, "--include=docker.io,docker-cli,docker-buildx,docker-registry,"
                            "skopeo,iptables,iproute2,tini,ca-certificates,mount,kmod,git,xz-utils,procps")),
    Root(DEBIAN_TARS["amd64"], "trixie", ("--variant=minbase", *_FAST, "--include=ca-certificates", "--skip=output/dev",
                                          "--format=tar", f"--customize-hook={_MAN}")),
    Root(DEBIAN_TARS["arm64"], "trixie", (
        *_extract("?essential", "ca-certificates,libstdc++6,zlib1g"), "--architectures=arm64", "--skip=check/qemu",
        "--skip=output/dev", "--format=tar", *(f"--extract-hook={line}" for line in _CONFIGURE[:3]))),
    Root(TOOLS, "trixie", (*_extract("qemu-user,docker-compose"), "--dpkgopt=path-exclude=/usr/bin/*",
                           "--dpkgopt=path-include=/usr/bin/qemu-aarch64"),
         only=("usr/bin/qemu-aarch64", f"{PLUGINS}/docker-compose")),
)  # fmt: skip
# What else tests need, made while the stand-ins are built.
SECOND = (
    # only loads images: no runtime and no network are needed
    Root(PODMAN, "trixie", (
        *_extract("?essential", "podman,ca-certificates"),
        *(f"--extract-hook={line}" for line in (*_CONFIGURE[:2], 'mkdir -p "$1/mnt"')))),
    Root(CACHE / "buildx-new", "sid", (*_extract("docker-buildx"), _STALE), only=(PLUGIN,)),
)  # fmt: skip
_OTHER_DOCKER = (*_extract("?essential", "docker.io,containerd,runc,tini,iptables,ca-certificates,xz-utils,mount,kmod"),
                 *(f"--extract-hook={line}" for line in _CONFIGURE))  # fmt: skip
EXTRA_ROOTS = {
    "docker20": Root(CACHE / "docker20", "bookworm", _OTHER_DOCKER),
    "docker28": (_sid := Root(CACHE / "docker28", "sid", (*_OTHER_DOCKER, _STALE))),
    "docker28_containerd": _sid,
}
"""Engines that are not of Debian 13: name → root."""


def of(service: str) -> Path:
    """The root that a service runs in."""
    return EXTRA_ROOTS[service].target if service in EXTRA_ROOTS else ENGINE


# In a pid namespace that ends with us, even by SIGKILL: else it would go on writing where the next `up` works.
_TIED = ("setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def _build(root: Root) -> None:
    name = root.target.name
    temporary = TMP / name
    command = [*_TIED, "mmdebstrap", "--mode=root", *root.options]
    if machine.DEBIAN_KEYRING.exists():
        command.append(f"--keyring={machine.DEBIAN_KEYRING}")
    mirror = machine.debian_mirror()
    with step(f"{name}: {root.suite} by mmdebstrap"):
        run([*command, root.suite, temporary, *([mirror] if mirror else [])], name,
            env={**os.environ, "TMPDIR": str(TMP)},
            hint="see whether this machine reaches its Debian mirror (`apt-get update`)")  # fmt: skip
        if root.only:
            kept = TMP / f"{name}.only"
            for file in root.only:
                (kept / file).parent.mkdir(parents=True)
                (temporary / file).rename(kept / file)
            remove_tree(temporary)
            temporary = kept
        root.stamp.unlink(missing_ok=True)
        remove_tree(root.target)
        CACHE.mkdir(parents=True, exist_ok=True)
        temporary.rename(root.target)
        write(root.stamp, root.recipe)


def build(wanted: tuple[Root, ...], before_rebuild: Callable[[Root], None]) -> None:
    """Makes what is missing or out of date, two at a time. `before_rebuild` stops whoever still uses an old one."""
    todo = [root for root in wanted if not root.complete()]
    if not todo:
        return
    machine.install_packages()
    for root in todo:
        if root.target.exists():
            say(f"{root.target.name} is out of date and is made again")
            before_rebuild(root)
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
        for future in [pool.submit(_build, root) for root in todo]:
            future.result()


def install_clients() -> None:
    """The docker client; compose with each of two versions of buildx, as DOCKER_CONFIG directories; ctr; podman, which
    runs in its root; skopeo, with its root's libraries: of those whose roots are made. The others are statically linked
    but for libc (2.34 or newer): they run on the machine itself."""
    pairs = [(ENGINE / "usr/bin" / name, BIN / name) for name in ("docker", "ctr")]
    write(BIN / "podman", (HERE / "podman.sh").read_text().replace("@ROOT@", str(PODMAN)), mode=0o755)
    for version, plugin in CLIENTS.items():
        plugins = STATE / "clients" / version / "cli-plugins"
        pairs += [(plugin, plugins / "docker-buildx"), (COMPOSE, plugins / "docker-compose")]
        config = STATE / "clients" / version / "config.json"
        if not config.exists():
            write(config, "{}\n")
    for source, target in pairs:
        if source.exists() and (not target.exists() or target.stat().st_mtime != source.stat().st_mtime):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.new")
            shutil.copy2(source, temporary)
            temporary.rename(target)  # a running client keeps the old file
    loader = next((ENGINE / "usr/lib").glob("*-linux-gnu*/ld-linux-*"))
    command = f"{loader} --library-path {loader.parent} {ENGINE}/usr/bin/skopeo"
    write(BIN / "skopeo", f'#!/bin/sh\nexec {command} "$@"\n', 0o755)


def prepare(root: Path) -> None:
    """What may have changed on the machine since the root was made: name servers and certificates."""
    write(root / "etc/resolv.conf", machine.resolv_conf())
    write(root / "etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
    if machine.CA_BUNDLE.is_file():
        shutil.copyfile(machine.CA_BUNDLE, root / "etc/ssl/certs/ca-certificates.crt")


def apt_mirror() -> str:
    """Also where this machine names none: then it is mmdebstrap's default."""
    return machine.debian_mirror() or "http://deb.debian.org/debian"
