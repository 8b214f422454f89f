"""What git says of local sources, and what follows from it. The real git runs in tests/e2e/test_sources.py."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from generator.bake.prepare import revision_labels
from generator.docker.git import Checkout, changes, commit_time, look, parse_status
from generator.docker.process import Completed, Docker
from generator.errors import EngineError
from generator.plan.plan import Plan, PlannedSource
from tests.fate_plan import job_of, plan_of

COMMIT = "1a2b3c4d5e6f" + "0" * 28


@pytest.fixture
def plan() -> Plan:
    return plan_of(sources=(("FATE_SOURCE", "../FATE"),))


@pytest.fixture
def source(plan: Plan) -> PlannedSource:
    return next(s for s in plan.target("python").sources if s.name == "fate")


def status(*entries: str) -> str:
    return "\0".join((f"# branch.oid {COMMIT}", "# branch.head main", *entries, ""))


def test_changed_renamed_and_untracked_paths_are_listed_as_they_are_called_now() -> None:
    text = status(
        "1 .M N... 100644 100644 100644 aaaa bbbb a b.py",
        "2 R. N... 100644 100644 100644 aaaa bbbb R100 new.py",
        "old.py",
        "u UU N... 100644 100644 100644 100644 a b c both.py",
        "? notes.txt",
    )
    assert parse_status(text) == (COMMIT, ("a b.py", "new.py", "both.py", "notes.txt"))


def test_a_clean_checkout_has_a_commit_and_no_changes_and_a_new_one_has_no_commit() -> None:
    assert parse_status(status()) == (COMMIT, ())
    assert parse_status("# branch.oid (initial)\0? a\0") == ("", ("a",))


def test_a_directory_that_is_no_checkout_at_all(source: PlannedSource, tmp_path: Path) -> None:
    assert look(tmp_path, source) == Checkout(source, versioned=False)


@pytest.mark.parametrize("at_release", [False, True])
def test_git_changes_nothing_starts_nothing_and_looks_nowhere_else(
    at_release: bool, source: PlannedSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, commit = [], source.release_commit if at_release else COMMIT
    changes = [] if at_release else ["1 .M N... 100644 100644 100644 aaaa bbbb a.py"]

    def run(git: Docker, args: Sequence[str], *, env: Mapping[str, str], timeout: float) -> Completed:
        asked.append(tuple(args))
        assert git.cwd == str(tmp_path)
        assert env["PATH"] == str(tmp_path / "bin") and [name for name in env if name.startswith("GIT_")] == [
            "GIT_CONFIG_COUNT"
        ]
        if "show" in args:
            return Completed(tuple(args), 0, "1585000000\n", "")
        # 128: this clone does not have the release's commit
        code = 128 if "diff-tree" in args else 0
        return Completed(tuple(args), code, status(*changes).replace(COMMIT, commit), "")

    (tmp_path / ".git").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, "/elsewhere/.git")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "0")
    monkeypatch.setattr(Docker, "run", run)
    found = look(tmp_path, source)
    assert (found.commit, found.changed, found.time) == (
        commit,
        *(((), "1585000000") if at_release else (("a.py",), "")),
    )
    for args, command in zip(asked, ("status", "show" if at_release else "diff-tree"), strict=True):
        flags = args[: args.index(command)]
        assert "--no-optional-locks" in flags
        assert {("-c", "core.fsmonitor=false"), ("-c", "core.quotePath=false")} <= set(itertools.pairwise(flags))


def test_what_git_cannot_tell_of_other_commits_makes_no_checkout_dirty(
    source: PlannedSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a partial clone it may wait for a network."""

    def run(git: Docker, args: Sequence[str], **_: object) -> Completed:
        if "status" not in args:
            raise EngineError("git: no answer in 60 s")
        return Completed(tuple(args), 0, status(), "")

    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(Docker, "run", run)
    assert look(tmp_path, source) == Checkout(source, COMMIT)


@pytest.mark.parametrize(("code", "paths"), [(0, (".env", "out/new")), (128, ())])
def test_what_a_directory_has_that_is_not_committed(
    code: int, paths: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = status("1 .M N... 100644 100644 100644 aaaa bbbb .env", "? out/new")
    monkeypatch.setattr(
        Docker, "run", lambda _, args, **__: Completed(tuple(args), code, answer, "not a git repository")
    )
    assert changes(tmp_path, (".env", "out")) == paths


def test_the_description_names_commit_release_and_changes(source: PlannedSource) -> None:
    said = Checkout(source, COMMIT, ("a", "b", "c", "d", "e")).describe()
    at = "fate: ../FATE at commit 1a2b3c4d5e6f, not the release's e8a4a8c6d16d"
    assert said == f"{at}; uncommitted: a, b, c and 2 more"
    assert Checkout(source, source.release_commit).describe() == "fate: ../FATE at commit e8a4a8c6d16d"
    assert Checkout(source, COMMIT, same_files=True).describe() == "fate: ../FATE at commit 1a2b3c4d5e6f"


def test_a_checkout_that_git_cannot_read_counts_as_dirty(source: PlannedSource) -> None:
    state = Checkout(source, unknown="git is not installed")
    assert state.dirty and "committed: git is not installed" in state.describe()


def test_an_image_is_created_when_its_commit_was_made_unless_it_has_changes(plan: Plan, source: PlannedSource) -> None:
    def created(image: str, state: Checkout) -> str:
        job = job_of(plan, image)
        return commit_time(plan.target(image), job.sources(plan.target(image)), {"fate": state})

    assert created("python", Checkout(source, COMMIT, time="1585000000")) == "1585000000"
    assert created("python", Checkout(source, COMMIT, ("a",))) == ""
    assert created("python", Checkout(source, COMMIT, ("a",), time="1585000000")) == ""
    assert created("roll", Checkout(source, COMMIT, time="1585000000")) == "", "fate is not roll's main source"


def labels(plan: Plan, state: Checkout) -> list[str]:
    return list(revision_labels(job_of(plan, "python", "roll"), {"fate": state}))


def test_an_image_is_labeled_with_the_commit_that_is_checked_out(plan: Plan, source: PlannedSource) -> None:
    label = f"python.labels.org.opencontainers.image.revision={COMMIT}"
    assert label in labels(plan, Checkout(source, COMMIT))
    assert f"{label}-dirty" in labels(plan, Checkout(source, COMMIT, ("a",)))


def test_an_image_of_another_source_is_marked_when_a_part_of_it_is_dirty(plan: Plan, source: PlannedSource) -> None:
    eggroll = plan.target("roll").main_source
    assert eggroll is not None
    dirty = f"roll.labels.org.opencontainers.image.revision={eggroll.revision}-dirty"
    assert dirty in labels(plan, Checkout(source, COMMIT, ("a",)))
    assert not [label for label in labels(plan, Checkout(source, COMMIT)) if label.startswith("roll.")]


def test_no_label_is_made_up_where_the_commit_is_not_known(plan: Plan, source: PlannedSource) -> None:
    assert labels(plan, Checkout(source)) == []
