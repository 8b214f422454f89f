from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest

from generator.errors import InputError
from generator.project import Project, packaged_data
from generator.render.hcl import quote
from generator.render.tree import BAKE_FILE
from generator.workspace import load
from tests.catalogue.test_lines import NEWEST
from tests.fate_plan import plan_of, put, rendered, tree_of

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT, ROOT / "tests" / "golden" / "harbor", *sorted((ROOT / "releases").iterdir())]
EXAMPLES = sorted(env.parent for env in ROOT.glob("examples/*/.env"))
PYTHON = "dockerfiles/python.Dockerfile.j2"


def put_catalogue(project_dir: Path, line: str, old: str, new: str) -> None:
    """A catalogue of the project's own, with one change."""
    text = (packaged_data("catalogue") / f"{line}.yaml").read_text(encoding="utf-8")
    assert old in text
    put(project_dir, f"catalogue/{line}.yaml", text.replace(old, new))


def rendering(project_dir: Path) -> str:
    """What is wrong with a project."""
    with pytest.raises(InputError) as caught:
        load(Project(project_dir))
    return str(caught.value)


@pytest.mark.parametrize("project", [*PROJECTS, *EXAMPLES], ids=lambda path: path.name)
def test_what_is_committed_is_what_the_project_renders(project: Path) -> None:
    assert load(Project(project)).drift() == ()


def test_every_line_has_a_committed_project_or_changes_one_that_has() -> None:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "catalogue").glob("[0-9]*.yaml")}
    whole = {line for line, text in texts.items() if "\nextends:" not in text}
    assert whole <= {load(Project(project)).plan.line for project in PROJECTS}


def test_a_template_is_compiled_once_and_again_when_its_cache_is_damaged_or_cannot_be_written(
    project_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    first = load(Project(project_dir)).tree
    kept = [file for file in cache.rglob("*") if file.is_file()]
    assert kept
    with monkeypatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", None)
        assert load(Project(project_dir)).tree == first
    for number, file in enumerate(kept):
        file.write_bytes(file.read_bytes()[: number * 40])
    assert load(Project(project_dir)).tree == first
    monkeypatch.setenv("XDG_CACHE_HOME", str(project_dir / ".env"))
    assert load(Project(project_dir)).tree == first
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    assert load(Project(project_dir)).tree == first


def test_a_value_is_text_to_bake_whatever_is_in_it() -> None:
    value = 'https://h/a"b\\c%{if}'
    assert f"  default = {quote(value)}\n" in rendered(plan_of(others=(("PIP_INDEX_URL", value),)))[BAKE_FILE]


@pytest.mark.parametrize("release", NEWEST)
def test_every_file_is_clean_and_names_no_frontend_image(release: str) -> None:
    """An air-gapped builder would have to pull a frontend."""
    for path, text in tree_of(release).items():
        assert text.endswith("\n") and not text.endswith("\n\n"), path
        assert not [line for line in text.splitlines() if line != line.rstrip() or "# syntax=" in line], path


@pytest.mark.parametrize("release", NEWEST)
def test_every_stage_has_a_name_and_every_script_begins_with_what_it_does(release: str) -> None:
    for path, text in tree_of(release).items():
        assert not re.findall(r"(?m)^FROM (?!.* AS \w).*$", text), path
        assert not re.findall(r"(?m)^(?:RUN .*)?<<'EOF'\n(?!# \w).*$", text), path


FLASK, BOARD = "Flask==2.0.3: Flask==2.0.3 Werkzeug>=2.0,<3", 'pip: ["notebook>=6.5,<7", setuptools<71]'
AMD64, ARM64 = 'a==2+cpu;platform_machine=="x86_64"', 'a==2;platform_machine=="aarch64"'


@pytest.mark.parametrize(
    ("old", "new", "image", "said"),
    [
        (FLASK, "torch==1.13.1+cpu: torch==1.13.1", "", r"torch==1\.13\.1\+cpu["),
        (FLASK, f"a==1: {AMD64} {ARM64}", "", rf"'s/^a==1[[:space:]]*$/{AMD64}\n{ARM64}/'"),
        (BOARD, """pip: ["a; python_version < '3.9'"]""", "", r"""'a; python_version < '"'"'3.9'"'"''"""),
        ("packages: [strace]", 'packages: ["strace=6.*", g++]', "eggroll", " apt-install 'strace=6.*' g++\n"),
        ("packages: [strace]", "packages: []", "eggroll", "    apt-install\n"),
    ],
)
def test_a_pin_or_a_package_reaches_the_shell_as_it_is(
    project_dir: Path, old: str, new: str, image: str, said: str
) -> None:
    put_catalogue(project_dir, "1.11", old, new)
    tree = load(Project(project_dir), sets=["FATE_VERSION=1.11.4"]).tree
    assert said in "".join(text for path, text in tree.items() if image in path)


WORKSPACES = "[fate-board, fate-tools, fate-ui-component, fate-visualization]"


@pytest.mark.parametrize(
    ("release", "key", "items", "text"),
    [
        ("1.11.4", "drop-npm", "[hmac_sha1]", "hmac_sha1"),
        ("1.11.4", "packages", "[strace]", "strace"),
        ("1.8.0", "only-nn", "[tensorflow, torch, torch-model-archiver, torchvision, pytorch-lightning]", "torch"),
        ("2.2.0", "npm-workspaces", WORKSPACES, "fate-board"),
    ],
)
def test_a_text_where_a_list_is_meant_is_told(project_dir: Path, release: str, key: str, items: str, text: str) -> None:
    put(project_dir, ".env", f"PREFIX=a\nBASE_TAG=1\nTAG=1\nFATE_VERSION={release}\n")
    put_catalogue(project_dir, release.rpartition(".")[0], f"{key}: {items}", f"{key}: {text}")
    assert f": '{text}' is text; expected a list: [{text}]" in rendering(project_dir)


@pytest.mark.parametrize(
    ("release", "tag", "named"),
    [
        ("1.3.0", "1.3.1-release", "1.3.1"), ("1.3.0", "v1.3.1", "1.3.1"), ("1.3.0", "1.3.10", "1.3.10"),
        ("1.3.0", "1.3.0", ""), ("1.3.0", "1.3.0-mine", ""), ("1.3.0", "v1.3.0.2", ""), ("1.3.0", "2", ""),
        ("1.3.0", "2026.11.28", ""), ("1.11.4", "1.3.0-release", "1.3"),
    ],
)  # fmt: skip
def test_a_tag_of_another_release_is_a_warning(project_dir: Path, release: str, tag: str, named: str) -> None:
    put(project_dir, ".env", f"PREFIX=a\nBASE_TAG=1.3.1-release\nTAG={tag}\nFATE_VERSION={release}\n")
    # base images may keep their tag within a line
    warned = [(2, "BASE_TAG", "1.3.1-release", "1.3" if release == "1.11.4" else ""), (3, "TAG", tag, named)]
    assert [str(warning) for warning in load(Project(project_dir)).warnings] == [
        f".env:{line}: {key}: {value} is a tag of FATE {other}, but FATE_VERSION is {release}: correct one of them"
        for line, key, value, other in warned
        if other
    ]


def test_private_values_never_reach_a_rendered_file(project_dir: Path) -> None:
    committed = load(Project(project_dir)).tree
    (project_dir / ".env.local").write_text(
        "HTTP_PROXY=http://user:marker-password@proxy.example.com:3128\nCA_BUNDLE=/marker/ca.crt\n", encoding="utf-8"
    )
    workspace = load(Project(project_dir))
    assert workspace.tree == committed
    assert {v.name: v.value for v in workspace.plan.variables}["CA_BUNDLE"] == "/marker/ca.crt"


def test_a_stage_that_a_dockerfile_does_not_have_is_told(project_dir: Path) -> None:
    put(project_dir, "catalogue/1.3.yaml", 'line: "1.3"\nextends: packaged\nimages: {roll: {stage: finl}}\n')
    assert "roll: stage: finl is not a stage of its Dockerfile; it has " in rendering(project_dir)


MACROS = "{% macro apt_stage() %}\n{{ nothing }}\n{% endmacro %}\n{% macro source_stages(s) %}{% endmacro %}\n"
BLOCK = f'{{% extends "packaged/{PYTHON}" %}}\n{{% block finl %}}\n{{{{ super() }}}}\n{{% endblock %}}\n'
BASE_IMAGE = "dockerfiles/base-image.Dockerfile.j2"
HYPHEN = 'did you mean python-base?; write bases["python-base"]: to Jinja a hyphen is a minus (rendering base-image'
HEAD = "# {{ header }}\n"
NO_NAME = "python has no parent, base, source or stage with this name; it has base-image"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (PYTHON, "FROM x\n{% if %}\n", ":2: not a template: "),
        (PYTHON, "FROM x\n\nRUN {{ imagee.name }}\n", ":3: 'imagee' is undefined; did you mean image?"),
        (PYTHON, "{{ image.name | uper }}\n", ":1: not a template: No filter named 'uper'; did you mean upper?"),
        ("macros.j2", MACROS, ":2: 'nothing' is undefined"),
        # not in the packaged macro that it is given to
        (
            PYTHON,
            '{% import "macros.j2" as m %}\n{{ m.source_stages(image.sourcez) }}\n',
            ":2: Target has no attribute 'sourcez'; did you mean sources? (in packaged templates/macros.j2:",
        ),
        (
            PYTHON,
            '{% import "macros.j2" as m %}{{ m.apt_stage() }}\n{{ m.apt_install("curl git", "debian") }}\n',
            ":2: 'curl git' is text; expected a list: [curl, git] (in packaged templates/macros.j2:",
        ),
        (
            PYTHON,
            "{{ keys.PIP_INDEX_URI }}{{ header }}\n",
            ":1: params, bases and keys have no PIP_INDEX_URI; did you mean PIP_INDEX_URL?",
        ),
        (PYTHON, '\n{% include "../../etc/passwd" %}\n', ":2: templates/../../etc/passwd does not exist"),
        (PYTHON, BLOCK, f":2: packaged/{PYTHON} has no block finl; did you mean final?"),
        (PYTHON, '{% import "macro.j2" as m %}\n', ":1: templates/macro.j2 does not exist"),
        *(
            (PYTHON, f"{HEAD}{text}\n", f":2: {said}")
            for text, said in (
                ("{{ cycler.__init__.__globals__.os.system('id') }}", "access to attribute '__init__' of 'type'"),
                ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str'"),
                ("{{ plan.__dict__ }}", "access to attribute '__dict__' of 'Plan'"),
                (f"{{% include '{PYTHON}' %}}", "it includes or calls itself without end"),
                ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "it includes or calls itself without end"),
                ("{{ 'a' * 10 ** 10 }}", "** is not available"),
                ("{{ 'a' * 10000000000 }}", "* makes 10000000000 characters"),
                ("{{ 10000000000 * [1] }}", "* makes 10000000000 characters"),
                ("{% for _ in range(10000000) %}{% endfor %}", "Range too big"),
                ("{{ plan.target('none') }}", "FATE 1.3.0 has no image none; a catalogue that drops it must drop"),
            )
        ),
        *(
            (PYTHON, f"{HEAD}{{{{ {half} }}}}\n", ": it renders half of a UTF-16 pair")
            for half in (r"'\ud800'", r"'x\udfffy' | hcl", r"'\ud800' | comment", r"['\ud800'] | exec_form")
        ),
        # without it, the file could not be told from the user's
        (PYTHON, "FROM base-image\n", ":1: renders no header"),
        # BuildKit would pull each of these
        *(
            (PYTHON, f"{HEAD}FROM base-image\n{line}\n", f":3: {name}: {NO_NAME}")
            for line, name in (
                ("FROM roll", "roll"),
                ("COPY --from=fatte a b", "fatte"),
                ("RUN --mount=type=bind,from=egg,target=/x true", "egg"),
                ("RUN --mount=type=bind,From=egg,target=/x true", "egg"),
                ("COPY --from=1 a b", "1"),
            )
        ),
        (
            PYTHON,
            f"{HEAD}FROM base-image\nCOPY --from=requirements a b\n",
            ":3: requirements: .env does not set REQUIREMENTS, so there is no such file",
        ),
        (BASE_IMAGE, f"{HEAD}FROM {{{{ bases.python }}}}\n", f":2: params, bases and keys have no python; {HYPHEN}"),
        (PYTHON, f"{HEAD}FROM a:1 AS b\nFROM c:1 AS B\n", ": AS b: two stages of python"),
        (PYTHON, f"{HEAD}FROM a:1 AS Base-image\n", ": AS base-image: python has a parent"),
    ],
)
def test_what_is_wrong_in_a_template_is_told_with_its_place(project_dir: Path, name: str, text: str, said: str) -> None:
    put(project_dir, f"templates/{name}", text)
    assert rendering(project_dir).startswith(f"templates/{name}{said}")


LOOP = "{% set l = range(50000) | list %}{% for a in l %}{% for b in l %}{% endfor %}{% endfor %}"
LARGE = "{% for a in range(90000) %}{{ 'a' * 10000 }}{% endfor %}"


@pytest.mark.parametrize(
    ("bound", "text", "said"),
    [("SECONDS", LOOP, "0 s: is there an endless loop?"), ("MEMORY_KB", LARGE, "1 GB of memory")],
)
def test_a_template_that_would_go_on_and_on_ends_in_an_error(
    project_dir: Path, monkeypatch: pytest.MonkeyPatch, bound: str, text: str, said: str
) -> None:
    monkeypatch.setattr(f"generator.render.render.{bound}", 0)
    put(project_dir, f"templates/{PYTHON}", f"{HEAD}{text}\n")
    by = " (rendering python in the catalogue)"
    assert rendering(project_dir) == f"templates/{PYTHON}:2: it takes more than {said}{by}"


@pytest.mark.parametrize(("link", "included"), [("secret", "secret"), ("deep", "deep/secret")])
def test_a_template_reads_no_file_outside_of_templates_through_a_link(
    project_dir: Path, link: str, included: str
) -> None:
    for name in ("secret", "deep/secret"):
        put(project_dir, name, "hunter2\n")
    put(project_dir, f"templates/{PYTHON}", f"{HEAD}{{% include '{included}' %}}\n")
    (project_dir / "templates" / link).symlink_to(project_dir / link)
    said = rendering(project_dir)
    assert said.endswith("is a link that leads out of templates/") and "hunter2" not in said


def test_templates_may_themselves_be_a_link(project_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    put(project_dir, f"templates/{PYTHON}", f"{HEAD}FROM base-image\n")
    elsewhere = tmp_path_factory.mktemp("shared") / "templates"
    (project_dir / "templates").rename(elsewhere)
    (project_dir / "templates").symlink_to(elsewhere)
    assert load(Project(project_dir)).tree["dockerfiles/python/Dockerfile"].endswith("\nFROM base-image\n")


def test_a_stage_is_known_by_its_name_in_any_case_and_by_its_number(project_dir: Path) -> None:
    text = f"{HEAD}FROM a:1 AS Build\nFROM b:1\nFROM base-image\n" + "".join(
        f"COPY --from={name} /x /y\n" for name in ("build", "BUILD", "0", "1")
    )
    put(project_dir, f"templates/{PYTHON}", text)
    assert "FROM a:1 AS Build" in load(Project(project_dir)).tree["dockerfiles/python/Dockerfile"]


def test_a_missing_template_says_which_image_wants_it(project_dir: Path) -> None:
    put_catalogue(project_dir, "1.3", "template: java.Dockerfile.j2", "template: jawa.Dockerfile.j2")
    expected = "templates/dockerfiles/jawa.Dockerfile.j2: does not exist, used by federation in the catalogue"
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$") as caught:
        load(Project(project_dir))
    assert caught.value.hint == "write it, or correct its name"


def test_an_env_that_is_not_utf_8_names_the_line(project_dir: Path) -> None:
    (project_dir / ".env").write_bytes(b"PREFIX=x\nTAG=\xff\n")
    assert rendering(project_dir) == ".env:2: is not UTF-8; save it as UTF-8"


@pytest.mark.parametrize("release", NEWEST)
def test_the_bake_file_is_aligned_as_hclfmt_does(release: str) -> None:
    """What stands line by line and is whole: the equals sign one column after the longest name."""
    bake = tree_of(release)[BAKE_FILE]
    for lines in re.findall(r"(?m)(?:^ +\S+ += .*[^({\n]\n)+", bake):
        names = [line.split(" = ")[0] for line in lines.splitlines()]
        assert {len(name) for name in names} == {max(len(name.rstrip()) for name in names)}, lines


def test_a_license_that_the_catalogue_does_not_name_is_no_label(project_dir: Path) -> None:
    put_catalogue(project_dir, "1.3", "eggroll.git\n    licenses: Apache-2.0\n", "eggroll.git\n")
    bake = load(Project(project_dir)).tree["out/docker-bake.hcl"]
    with_label = re.findall(r'image\.title" += "(.*)"\n.*\n.*\n +"org\.opencontainers\.image\.licenses', bake)
    assert with_label == ["base-image", "federation", "proxy", "fateboard", "python"]
