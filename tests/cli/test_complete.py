"""What the shells are told when someone presses Tab: click's protocol, through the console script's own entry."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from generator.__main__ import main
from tests.fate_plan import put

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(project_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complete:
    """What bash is offered for the last word of a command line; nothing may be said on stderr."""
    monkeypatch.chdir(project_dir)
    # a worker of pytest has more threads, for which no command waits
    monkeypatch.setattr(os, "_exit", sys.exit)

    def run(line: str, shell: str = "bash") -> list[str]:
        words = line.split(" ")
        monkeypatch.setattr(sys, "argv", ["fategen"])
        monkeypatch.setenv("_FATEGEN_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words) - 1))
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        said = capsys.readouterr()
        assert said.err == ""
        return [row.removeprefix("plain,") for row in said.out.splitlines() if row]

    return run


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        *((f"{command} {begun}", [name]) for command in ("bake", "images")
          for begun, name in (("ro", "roll"), ("co", "components"))),
        ("bundle save --image r", ["roll"]),
        ("bundle save third-party --image ", ["mysql", "redis"]),
        ("b", ["bake", "bundle"]),
        ("bake --lo", ["--load"]),
    ],
)  # fmt: skip
def test_commands_options_images_and_groups_that_begin_so(complete: Complete, line: str, offered: list[str]) -> None:
    assert complete(f"fategen {line}") == offered


@pytest.mark.parametrize(
    ("line", "offered", "not_offered"),
    [
        *((f"{command} ", {"egg", "base-image", "all"}, set()) for command in ("bake", "images")),
        *((f"{command} egg ", {"all"}, {"egg"}) for command in ("bake", "images")),  # it is on the line
        ("bundle save all --image ", {"mysql", "base-image"}, {"all"}),
        ("explain ", {"roll", "base-image", "mysql"}, {"all"}),
        ("override ", {"roll", "base-image"}, {"all", "mysql"}),  # it has no template
    ],
)
def test_what_a_command_takes_and_has_not_yet(
    complete: Complete, line: str, offered: set[str], not_offered: set[str]
) -> None:
    found = set(complete(f"fategen {line}"))
    assert offered <= found and not not_offered & found


def test_a_bundle_of_groups_that_a_platform_has_not(complete: Complete, project_dir: Path) -> None:
    put(project_dir, ".env", "PREFIX=a\nBASE_TAG=1\nTAG=1\nPLATFORMS=linux/arm64\n")
    found = complete("fategen bundle save all --image ")
    assert "roll" in found and "mysql" in found and "base-image" not in found


def test_outside_of_a_project_nothing_is_offered_or_said_without_the_directory_of_one(
    complete: Complete, project_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert complete(f"fategen bake -C {project_dir} ro") == ["roll"]
    for line in ("bake -C nowhere ro", "bake ", "bundle save --image "):
        assert complete(f"fategen {line}") == []


@pytest.mark.parametrize("env", [b"TAG=a b\n", b"\xff\n", b"PREFIX=a\nBASE_TAG=1\nTAG=1\nFATE_VERSION=9.9.9\n", b""])
def test_nothing_is_offered_or_said_where_env_is_broken(complete: Complete, project_dir: Path, env: bytes) -> None:
    (project_dir / ".env").write_bytes(env)
    assert complete("fategen bake ") == []


def test_zsh_and_fish_show_what_an_image_is_for(complete: Complete) -> None:
    assert complete("fategen bake ro", shell="zsh") == ["plain", "roll", "eggroll's scheduler of table operations"]
    assert "roll" in complete("fategen bake ro", shell="fish")[0]


def test_images_of_a_catalogue_of_the_project_s_own_and_no_template_is_read_while_the_shell_waits(
    complete: Complete, project_dir: Path
) -> None:
    head = 'line: "1.3"\nreleases: {1.3.0: {}}\nsources: {}\nbases: {jre: {image: "jre:8"}}\n'
    put(project_dir, "catalogue/1.3.yaml", f"{head}images: {{my-tools: {{kind: component, from: jre}}}}\n")
    put(project_dir, "templates/docker-bake.hcl.j2", "{{ broken")
    assert complete("fategen bake my") == ["my-tools"]
