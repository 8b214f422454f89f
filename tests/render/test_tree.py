from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from generator.errors import EngineError, InputError
from generator.render.tree import HEADER, Change, compare, write
from tests.fate_plan import put

TEXT = f"# {HEADER}\nFROM scratch\n"


def write_tree(root: Path, files: dict[str, str]) -> tuple[Change, ...]:
    changes = compare(files, root)
    write(changes, root)
    return changes


def test_a_first_write_makes_every_file_and_a_second_one_nothing(tmp_path: Path) -> None:
    files = {"dockerfiles/a/Dockerfile": TEXT, "out/docker-bake.hcl": TEXT}
    assert [(c.sign, c.path) for c in write_tree(tmp_path, files)] == [("+", path) for path in sorted(files)]
    assert write_tree(tmp_path, files) == ()


@pytest.mark.parametrize("new", [f"{TEXT}# by hand\n", TEXT.replace("\n", "\r\n"), TEXT.rstrip("\n"), f"{TEXT} "])
def test_a_changed_file_is_seen_and_written_if_only_line_ends_or_spaces_differ(tmp_path: Path, new: str) -> None:
    write_tree(tmp_path, {"out/a": TEXT})
    (tmp_path / "out/a").write_bytes(new.encode())
    assert [(c.kind, c.path) for c in write_tree(tmp_path, {"out/a": TEXT})] == [("changed", "out/a")]
    assert (tmp_path / "out/a").read_bytes() == TEXT.encode()


def test_a_generated_file_that_is_no_longer_rendered_goes_with_its_empty_directory(tmp_path: Path) -> None:
    write_tree(tmp_path, {"dockerfiles/old/Dockerfile": TEXT, "out/a": TEXT})
    assert [(c.sign, c.path) for c in write_tree(tmp_path, {"out/a": TEXT})] == [("-", "dockerfiles/old/Dockerfile")]
    assert not (tmp_path / "dockerfiles").exists()
    assert tmp_path.exists()


def test_what_is_stale_stays_until_everything_else_is_written(tmp_path: Path) -> None:
    write_tree(tmp_path, {"dockerfiles/old/Dockerfile": TEXT})
    (tmp_path / "out").touch()
    with pytest.raises(EngineError):
        write_tree(tmp_path, {"out/a": TEXT})
    assert (tmp_path / "dockerfiles/old/Dockerfile").is_file()


def test_a_file_of_the_user_s_in_the_way_is_not_overwritten_and_nothing_is_written(tmp_path: Path) -> None:
    put(tmp_path, "out/b", "FROM mine\n")
    with pytest.raises(InputError, match="out/b: is not a generated file"):
        write_tree(tmp_path, {"out/a": TEXT, "out/b": TEXT})
    assert not (tmp_path / "out" / "a").exists()
    assert (tmp_path / "out" / "b").read_text(encoding="utf-8") == "FROM mine\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("out/compose.yaml", f"# what begins with\n# {HEADER}\n# is not to be edited\n"),
        ("out/compose.yaml", f'echo "# {HEADER}"\n'),
        ("dockerfiles/a/Dockerfile.mine", TEXT),
        ("out/docker-bake.hcl.orig", TEXT),
        ("out/.docker-bake.hcl.x1y2", TEXT),  # another fategen is writing it
    ],
)
def test_a_file_that_only_quotes_the_header_or_is_a_copy_is_not_stale(tmp_path: Path, path: str, text: str) -> None:
    put(tmp_path, path, text)
    assert compare({}, tmp_path) == ()


def test_a_generated_file_may_begin_with_directives_for_buildkit(tmp_path: Path) -> None:
    write_tree(tmp_path, {"out/compose.yaml": f"# escape=`\n#check=skip=all\n{TEXT}"})
    assert [change.kind for change in compare({}, tmp_path)] == ["stale"]


@pytest.mark.parametrize("link", ["out", "out/docker-bake.hcl"])
def test_nothing_is_written_or_removed_through_a_link(tmp_path: Path, link: str) -> None:
    root, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    write_tree(elsewhere, {"out/docker-bake.hcl": TEXT})
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    (root / link).symlink_to(elsewhere / link)
    assert compare({}, root) == ()
    with pytest.raises(InputError, match=f"^{link}: is a link, "):
        compare({"out/docker-bake.hcl": TEXT + "# new\n"}, root)


@pytest.mark.parametrize(
    ("make", "said"), [(os.mkfifo, "is not a file, but"), (Path.mkdir, "cannot be read: Is a directory")]
)
def test_a_pipe_or_a_directory_where_a_file_belongs_is_an_error_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    (tmp_path / "out").mkdir()
    make(tmp_path / "out/a")
    with pytest.raises(InputError, match=f"^out/a: {said}"):
        compare({"out/a": TEXT}, tmp_path)


def test_two_that_write_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    files = {f"dockerfiles/{name}/Dockerfile": TEXT for name in "abcd"} | {"out/docker-bake.hcl": TEXT}
    old = {"dockerfiles/old/Dockerfile": TEXT, "out/compose.yaml": TEXT}

    for project in (tmp_path / str(number) for number in range(20)):
        write_tree(project, old)
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(write_tree, project, files) for _ in range(2)]:
                done.result()
        assert compare(files, project) == ()


def test_a_diff_shows_what_rendering_would_change_and_a_new_file_from_nothing() -> None:
    assert Change("out/a", "changed", "a\nb\n", "a\nc\n").diff() == (
        "--- a/out/a\n+++ b/out/a\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    )
    assert Change("out/a", "missing", "", "a").diff() == (
        "--- /dev/null\n+++ b/out/a\n@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n"
    )
