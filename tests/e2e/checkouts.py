"""The sample's sources as git has them: checkouts of their own, and a server for them that builds can reach."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from generator.config.settings import key_of
from tests.e2e.conftest import bridge_address, wait_for
from tests.sample_project import SAMPLE

NAMES = ("fate", "eggroll", "fateboard", "lmdb-safe")


def git(directory: Path, *args: str) -> str:
    """Its output. Commits are the same each time, so that a builder has what an earlier run built of them."""
    identity = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    dates = {f"GIT_{who}_DATE": "2024-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")}
    env = {**os.environ, **identity, **dates}
    done = subprocess.run(["git", *args], cwd=directory, env=env, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit_all(directory: Path) -> None:
    """Makes it a checkout, if it is none."""
    git(directory, "init", "--quiet")
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "-m", "the sample")


def make_checkout(name: str, directory: Path) -> Path:
    """A checkout of its own of one of the sample's sources, with one commit."""
    shutil.copytree(SAMPLE / name, directory, ignore=shutil.ignore_patterns("target"))
    commit_all(directory)
    return directory


@contextlib.contextmanager
def served_sources(
    directory: Path, address: str = "", before: Sequence[str] = (), log: Path | None = None
) -> Iterator[dict[str, str]]:
    """The settings that name each source, at its commit, at a ``git daemon`` for new checkouts in ``directory``.

    It listens on the gateway of docker's bridge: a RUN step has a loopback interface of its own. Elsewhere ``address``
    says where, and ``before`` is the command that leads there. What was asked of it is written to ``log``.
    """
    commits = {name: git(make_checkout(name, directory / f"{name}.git"), "rev-parse", "HEAD") for name in NAMES}
    git(directory / "fate.git", "tag", "v1.3.0")
    port = 9418
    if not before:
        address = bridge_address()
        with socket.socket() as free:
            free.bind((address, 0))
            port = free.getsockname()[1]
    url = f"git://{address}:{port}"
    command = ["git", "daemon", "--export-all", f"--base-path={directory}", f"--listen={address}", f"--port={port}"]
    with (log or Path(os.devnull)).open("wb") as said:
        server = subprocess.Popen(
            [*before, *command, "--verbose", "--reuseaddr", str(directory)], start_new_session=True, stderr=said
        )
    try:
        ask = [*before, "git", "ls-remote", f"{url}/fate.git"]
        wait_for(lambda: subprocess.run(ask, capture_output=True).returncode == 0, 10)
        yield {key_of(name, "_SOURCE"): f"{url}/{name}.git#{commit}" for name, commit in commits.items()}
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
