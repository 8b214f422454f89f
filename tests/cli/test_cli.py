from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from pathlib import Path
from platform import python_version

import pytest

import generator.cli
from generator import __version__
from generator.__main__ import main as start
from tests.conftest import Run
from tests.fate_plan import LINES, put


@pytest.fixture
def run(project_dir: Path, fategen: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(project_dir)
    return fategen


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("bundel", "no such command 'bundel'; did you mean bundle?\n  next: fategen --help"),
        ("bundle sav", "no such command 'sav'; did you mean save?\n  next: fategen bundle --help"),
        ("build", "no such command 'build'; use bake\n  next: fategen --help"),
        ("push", "no such command 'push'; use bake --push, or bundle push for a bundle\n  next: fategen --help"),
        ("ls", "no such command 'ls'; use images\n  next: fategen --help"),
        ("bundle ls", "no such command 'ls'; use inspect\n  next: fategen bundle --help"),
        ("bake --no-cash", "no such option '--no-cash'; did you mean '--no-cache'?\n  next: fategen bake --help"),
        ("bundle load", "missing argument 'FILE [BASE]...'\n  next: fategen bundle load --help"),
        ("join x.json", "invalid value for 'FILE...': Path 'x.json' does not exist\n  next: fategen join --help"),
        ("doctor --format x", "invalid value for '--format': 'x' is not one of 'table', 'json'\n  next: fategen "
         "doctor --help"),
        ("images --set roll.platform=x", "--set: expected KEY=value, such as --set TAG=test; for an "
         "attribute of a target: docker buildx bake -f out/docker-bake.hcl --set"),
        ("bake --within 9", "--within: works only with --verify, which starts the services"),
        ("bake --push --load",
         "--load: --push and --load cannot be combined: run bake twice; the second run is cached"),
        ("bake --digests x.json", "--digests: works only with --push: FILE lists the uploaded images"),
        ("bake --push --digests gone/x.json", "--digests: gone is not a directory"),
        ("verify --bundle x --from registry", "--bundle: cannot be combined with --from"),
        ("verify --platform arm64", '--platform: "arm64" is not a platform such as linux/amd64: write linux/arm64'),
        ("verify roll --stack", "--stack: starts every component: roll cannot be combined with it\n  next: it takes "
         "--tag, --prefix and --within"),
    ],
)  # fmt: skip
def test_what_is_typed_wrongly_is_told_as_every_other_error(run: Run, typed: str, said: str) -> None:
    assert run(*typed.split()) == (2, "", f"error: {said}\n")


def test_the_project_is_named_before_or_after_the_command(fategen: Run, project_dir: Path) -> None:
    assert fategen("-C", project_dir, "images") == fategen("images", "-C", project_dir)
    assert fategen("-C", project_dir, "images")[0] == 0
    assert fategen("-C", project_dir) == (2, "", "error: no such option '-C'\n  next: fategen --help\n")


def test_dockers_config_is_where_the_caller_means_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker is started in the project's directory, which may be another."""
    monkeypatch.setenv("DOCKER_CONFIG", ".docker")
    run("images")
    assert os.environ["DOCKER_CONFIG"] == str(Path.cwd() / ".docker")


def test_help_is_a_command_too(run: Run) -> None:
    assert run("help") == run("--help")
    assert run("help", "bundle", "save") == run("bundle", "help", "save") == run("bundle", "save", "--help")
    assert run("bundle", "help") == run("bundle", "--help")


@pytest.mark.parametrize("asked", ["--version", "version"])
def test_a_version_and_with_v_where_it_runs_from(
    asked: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = f"fategen, version {__version__}\n"
    long = f"{short}from {Path(generator.__file__).parent}\nby {sys.executable}, Python {python_version()}\n"
    for words, said in (([asked], short), ([asked, "-v"], long), (["-v", asked], long)):
        monkeypatch.setattr(sys, "argv", ["fategen", *words])
        start()
        assert capsys.readouterr().out == said


def test_render_writes_every_file_and_says_which(run: Run, project_dir: Path) -> None:
    code, out, _ = run("render")
    assert code == 0
    assert out.startswith("rendered 11 files for FATE 1.3.0 (11 changed)\n  + dockerfiles/base-image/Dockerfile\n")
    assert (project_dir / "out" / "docker-bake.hcl").is_file()
    assert run("render") == (0, "rendered 11 files for FATE 1.3.0 (no change)\n", "")
    assert run("render", "--check") == (0, "", "")


def test_render_says_which_image_it_leaves_out_and_why(run: Run, project_dir: Path) -> None:
    put(project_dir, ".env", "PREFIX=a\nBASE_TAG=1\nTAG=1\nPLATFORMS=linux/riscv64\n")
    code, out, err = run("render")
    assert (code, "dockerfiles/python/" in out) == (0, False)
    assert "python is not rendered: no linux/riscv64: it is built only for linux/amd64\n" in err


def test_a_reader_of_the_result_that_goes_away_ends_a_command_as_a_pipe_does(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w", encoding="utf-8", buffering=1)
    with contextlib.suppress(BrokenPipeError), pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        code, _, _ = run("images")
    assert code == 141


def test_check_lists_every_missing_changed_and_stale_file_and_writes_nothing(run: Run, project_dir: Path) -> None:
    run("render")
    (project_dir / "dockerfiles" / "egg" / "Dockerfile").unlink()
    bake = project_dir / "out" / "docker-bake.hcl"
    bake.write_text(bake.read_text(encoding="utf-8") + "# by hand\n", encoding="utf-8")
    put(project_dir, "dockerfiles/old/Dockerfile", "# Generated by fategen from .env and catalogue/1.2.yaml\n")
    code, out, err = run("render", "--check")
    assert (code, out) == (1, "")
    assert "  + dockerfiles/egg/Dockerfile   missing\n" in err
    assert "  ~ out/docker-bake.hcl   changed\n" in err
    assert "  - dockerfiles/old/Dockerfile   stale\n" in err
    assert "next: fategen render --diff" in err
    assert not (project_dir / "dockerfiles" / "egg" / "Dockerfile").exists()


def test_diff_shows_the_lines_and_bytes_that_are_no_text_escaped(run: Run, project_dir: Path) -> None:
    run("render")
    env, bake_file = project_dir / ".env", project_dir / "out/docker-bake.hcl"
    env.write_text(env.read_text(encoding="utf-8").replace("\nTAG=1.3.0-release", "\nTAG=1.3.0-x"), encoding="utf-8")
    bake_file.write_bytes(bake_file.read_bytes() + b"# caf\xe9\n")
    code, out, _ = run("render", "--diff")
    assert code == 0
    assert '-  default = "1.3.0-release"\n+  default = "1.3.0-x"\n' in out
    assert out.endswith("-# caf\\udce9\n")


def test_an_unknown_key_is_a_warning_and_with_strict_an_error(run: Run, project_dir: Path) -> None:
    put(project_dir, ".env", "PREFIX=a\nBASE_TAG=1\nTAG=1\nWHATEVER=1\n")
    code, _, err = run("render")
    assert code == 0 and err.startswith("warning: .env:4: WHATEVER")
    assert run("render", "--strict")[0] == 2


def test_outside_a_project_the_message_names_init(
    fategen: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = fategen("render")
    assert code == 2 and "no .env in this directory or above" in err and "fategen init" in err


@pytest.mark.parametrize(
    ("asked", "said", "lines", "keys"),
    [
        ((), "11 files for FATE 1.3.0", {"PREFIX=federatedai", "FATE_VERSION=1.3.0"}, {"#LMDB_SAFE_SOURCE"}),
        (("--release", "1.8.0"), "9 files for FATE 1.8.0", {"TAG=1.8.0-release"}, {"#FATEFLOW_SOURCE", "#NODE_IMAGE"}),
        (("--release", "1.11.2"), "8 files for FATE 1.11.2", {"BASE_TAG=1.11.2-release", "TAG=1.11.2-release"},
         {"#FATEFLOW_SOURCE", "#NODE_IMAGE"}),
    ],
)  # fmt: skip
def test_init_writes_the_env_of_a_release_with_the_keys_that_its_line_has_and_renders(
    run: Run, project_dir: Path, asked: tuple[str, ...], said: str, lines: set[str], keys: set[str]
) -> None:
    code, out, _ = run("init", "new", *asked)
    assert (code, out.splitlines()[0]) == (0, f"wrote .env and {said}")
    written = (project_dir / "new/.env").read_text(encoding="utf-8").splitlines()
    assert lines <= set(written)
    known = {line.partition("=")[0] for line in written}
    assert known & {"#LMDB_SAFE_SOURCE", "#FATEFLOW_SOURCE", "#NODE_IMAGE"} == keys and "#MYSQL_IMAGE" in known
    assert run("render", "-C", "new", "--check")[0] == 0


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ("1.11.9", "1.11.9 is unknown; available: 1.11.0, 1.11.1"),
        ("1.2.0", f"no catalogue/1.2.yaml; there are lines {', '.join(LINES)}"),
        ("v1.11.2", 'is not a release such as 1.0.0: leave out the "v"'),
        ("1.11", "1.11 is unknown; available: 1.11.0, 1.11.1, 1.11.2, 1.11.3, 1.11.4"),
        ("9.9", "no catalogue/9.9.yaml; there are lines 1.3"),
    ],
)
def test_init_of_a_release_that_is_none_writes_nothing(run: Run, project_dir: Path, release: str, said: str) -> None:
    code, _, err = run("init", "new", "--release", release)
    assert (code, said in err, (project_dir / "new").exists()) == (2, True, False)


def test_a_family_that_cannot_be_begun_leaves_nothing_behind(run: Run, project_dir: Path) -> None:
    put(project_dir, "new/app/mine")
    code, _, err = run("init", "new", "--family", "Shop", "--release", "2.0.0")
    assert (code, "no catalogue/2.0.yaml; there are lines 1.0" in err) == (2, True)
    left = [path for path in (project_dir / "new").rglob("*") if path.name != "mine"]
    assert left == [project_dir / "new/app"]
    assert run("init", "new", "--family", " ")[2].startswith("error: --family: the family needs a name")


def test_init_never_writes_over_an_env(run: Run, project_dir: Path) -> None:
    before = (project_dir / ".env").read_bytes()
    code, _, err = run("init")
    assert code == 2 and "already exists and was not changed" in err
    assert (project_dir / ".env").read_bytes() == before


def test_an_interrupted_publication_is_put_back_later_or_forgotten(run: Run, project_dir: Path) -> None:
    tag = {"path": "fate/roll", "name": "1", "before": "", "digest": "sha256:" + "1" * 64}
    put(project_dir, ".env", "PREFIX=127.0.0.1:1/fate\nBASE_TAG=1\nTAG=1\n")
    put(project_dir, ".fategen/publish.json", json.dumps({"registry": "127.0.0.1:1", "tags": [tag]}))
    code, _, said = run("rollback")
    assert code == 3 and "127.0.0.1:1: " in said and "fategen rollback --forget" in said
    assert (project_dir / ".fategen/publish.json").exists()
    forgotten = "the interrupted publication is forgotten; its tags stay as they are\n  127.0.0.1:1/fate/roll:1\n"
    assert run("rollback", "--forget") == (0, forgotten, "")
    assert run("rollback")[1].startswith("no publication was interrupted here")


def test_images_lists_what_is_built_why_not_for_arm64_and_the_groups_that_bake_takes(run: Run) -> None:
    code, out, err = run("images")
    assert code == 0
    assert "federation    component    1.3.0-release  linux/amd64 linux/arm64  packages, jre\n" in out
    assert "\nbase images and components are federatedai/IMAGE:TAG\n" in out
    assert max(map(len, (out + err).splitlines())) <= 80
    assert err.startswith("no linux/arm64 for base-image, egg, python: tensorflow")
    groups = [line for line in out.rpartition("\n\n")[2].splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in groups] == ["GROUP", "default", "base", "components", "third-party", "all"]
    assert "mysql, redis" in groups[4]
    assert "GROUP" not in run("images", "egg")[1]


def test_a_project_above_is_named(run: Run, project_dir: Path) -> None:
    (project_dir / "below").mkdir()
    assert run("images", "mysql", "-C", "below")[2] == f"note: using the project in {project_dir}\n"
    assert run("images", "mysql")[2] == ""


def test_images_as_references_and_json(run: Run) -> None:
    assert run("images", "third-party", "--format", "references") == (0, "mysql:8\nredis:5\n", "")
    assert run("images", "egg", "--format", "references", "--set", "TAG=other")[1] == "federatedai/egg:other\n"
    assert "/egg:" not in run("images", "--format", "references", "--set", "PLATFORMS=linux/arm64")[1]
    (image,) = json.loads(run("images", "egg", "--format", "json")[1])
    assert image["tags"] == ["federatedai/egg:1.3.0-release"]
    assert image["skipped"][0]["platform"] == "linux/arm64"


@pytest.mark.parametrize(
    ("mine", "end"), [(b"mine", b"\n"), (b"caf\xe9\r\n.fategen/\r\n", b"\r\n"), (b"caf\xe9\r\n.fategen/", b"\r\n")]
)
def test_init_keeps_passwords_and_bundles_out_of_git_and_leaves_the_bytes_and_line_ends_of_a_gitignore(
    run: Run, project_dir: Path, mine: bytes, end: bytes
) -> None:
    file = project_dir / ".gitignore"
    (project_dir / ".env").unlink()
    file.write_bytes(mine)
    assert run("init")[0] == 0
    ignored = [b".env.local", b".fategen/", b"*.fate.tar", b"*.fate.tar.*", b"fategen-load.*"]
    lines = [*mine.splitlines(), *(line for line in ignored if line not in mine)]
    assert file.read_bytes() == end.join(lines) + end


@pytest.mark.parametrize(("in_the_way", "code"), [(".gitignore/x", 3), ("out/docker-bake.hcl", 2)])
def test_an_init_that_failed_can_be_run_again(run: Run, project_dir: Path, in_the_way: str, code: int) -> None:
    file = project_dir / "new" / in_the_way
    file.parent.mkdir(parents=True)
    file.write_text("somebody's", encoding="utf-8")
    assert run("init", "new")[0] == code
    file.unlink()
    file.parent.rmdir()
    assert run("init", "new")[0] == 0


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped\n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), ".fategen/logs/bake.log"), 3,
         "error: .fategen/logs/bake.log cannot be written: No space left on device\n  next: free some space there and "
         "in the temporary directory (TMPDIR), then run the same command again\n"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", ".env"), 3,
         "error: .env cannot be written: Disk quota exceeded\n  next: free some space there and "
         "in the temporary directory (TMPDIR), then run the same command again\n"),
        (PermissionError(errno.EACCES, "Permission denied", ".fategen"), 3,
         "error: .fategen: Permission denied\n  next: check its owner and permissions\n"),
        (OSError(errno.EIO, "Input/output error"), 3, "error: Input/output error\n"),
        (TimeoutError("timed out"), 3, "error: timed out\n"),
    ],
)  # fmt: skip
def test_what_ends_a_command_is_said_whatever_it_was_doing(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def end(**_: object) -> None:
        raise error

    monkeypatch.setattr(generator.cli, "cli", end)
    assert run("bake") == (code, "", said)
