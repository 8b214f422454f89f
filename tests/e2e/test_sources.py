"""Sources of every kind: git repositories that BuildKit fetches from a server, and local checkouts."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.checkouts import commit_all, git, make_checkout, served_sources
from tests.e2e.conftest import docker, fategen, layers_of, make_project, succeeded

IMAGES = ("python", "roll")
REVISION = '{{index .Config.Labels "org.opencontainers.image.revision"}}'


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings of sources that are git repositories at a server, each at a commit."""
    with served_sources(tmp_path_factory.mktemp("git")) as settings:
        yield settings


@pytest.fixture(scope="module")
def git_project(sources: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("git-project"), namespace="from-git", **sources)


def test_images_are_built_from_git_repositories(git_project: Path, sources: dict[str, str]) -> None:
    succeeded(fategen("bake", *IMAGES, "--load", "--platform", "linux/amd64", cwd=git_project))
    references = fategen("images", *IMAGES, "--format", "references", cwd=git_project).out.split()
    revisions = {r.split("/")[-1].split(":")[0]: docker("image", "inspect", "-f", REVISION, r) for r in references}
    assert revisions["python"] == sources["FATE_SOURCE"].partition("#")[2]
    assert revisions["roll"] == sources["EGGROLL_SOURCE"].partition("#")[2]


def test_plain_bake_builds_them_too(git_project: Path) -> None:
    done = subprocess.run(
        ["docker", "buildx", "bake", "-f", "out/docker-bake.hcl", "federation", "--set", "*.platform=linux/amd64"],
        cwd=git_project, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    # the CA of .env.local belongs to fategen bake: without it only a cached Maven run passes
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_commit_that_the_repository_lacks_is_named(git_project: Path, sources: dict[str, str]) -> None:
    url, missing = sources["FATE_SOURCE"].partition("#")[0], "f" * 40
    ran = fategen("bake", "python", "--set", f"FATE_SOURCE={url}#{missing}", cwd=git_project)
    assert ran.code == 1 and not ran.out
    assert missing in ran.err[ran.err.index("error: ") :]


def test_a_changed_java_file_changes_one_layer_of_each_image(own_sample: Path) -> None:
    images = ("roll", "egg")
    references = fategen("images", *images, "--format", "references", cwd=own_sample).out.split()

    [source] = (own_sample.parent / "sources/eggroll/core").rglob("LineServer.java")

    def built() -> list[list[str]]:
        """With another line, so that no build of another test has the same result already."""
        source.write_text(f"// {time.time_ns()}\n" + source.read_text(encoding="utf-8"), encoding="utf-8")
        succeeded(fategen("bake", *images, "--load", "--platform", "linux/amd64", cwd=own_sample))
        return [layers_of(reference) for reference in references]

    before = built()
    for old, new in zip(before, built(), strict=True):
        assert (new[:-1], new[-1] != old[-1]) == (old[:-1], True)


def test_uncommitted_changes_reach_no_release_tag(own_sample: Path) -> None:
    patched = make_checkout("fate", own_sample.parent / "FATE")
    (patched / "fate_flow" / "new.py").write_text("x = 1\n", encoding="utf-8")
    bake = ("bake", "python", "--push", "--source", "fate=../FATE", "--format", "json")
    # as in a git hook: the checkout's state is looked for in the checkout all the same
    refused = fategen(*bake, cwd=own_sample, env={"GIT_DIR": "/nowhere"})
    assert refused.code == 2
    assert "uncommitted: fate_flow/new.py" in refused.err and "nothing was started" in refused.err
    for more in (("--allow-dirty",), ("--set", "TAG=mine")):
        ran = succeeded(fategen(*bake, *more, cwd=own_sample))
        (built,) = json.loads(ran.out)
        assert built["uncommitted"] == ["fate"]
        docker("pull", "--quiet", built["references"][0])
        revision = docker("image", "inspect", "-f", REVISION, built["references"][0])
        assert revision == git(patched, "rev-parse", "HEAD") + "-dirty"


def test_what_is_not_committed_above_a_source_reaches_no_release_tag(own_sample: Path, tmp_path: Path) -> None:
    """A source in a directory of a larger checkout: its commit is not the source's, its changes are."""
    checkout = tmp_path / "monorepo"
    make_checkout("fate", checkout / "fate")
    (checkout / "fate/.git").rename(checkout / ".git")
    commit_all(checkout)
    (checkout / "elsewhere").touch()
    bake = ("bake", "python", "--push", "--source", "fate=../monorepo/fate", "--format", "json")
    ran = succeeded(fategen(*bake, "--set", "TAG=clean", cwd=own_sample))
    assert json.loads(ran.out)[0]["uncommitted"] == []
    (checkout / "fate/new.py").touch()
    refused = fategen(*bake, cwd=own_sample)
    assert refused.code == 2
    assert "uncommitted: fate/new.py" in refused.err and "nothing was started" in refused.err
