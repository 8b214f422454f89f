"""What is a family's own is in its catalogue: another family's project says nothing of FATE."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import generator
from generator.catalogue.line import parse_family, parse_line
from generator.cli import cli
from generator.errors import InputError
from generator.project import Project
from generator.workspace import load
from tests.fate_plan import problems_of, put

FAMILY = """\
family: My Tools
release: 2.0.0
labels: {org.opencontainers.image.vendor: Example, com.example.team: tools}
keys:
  CARGO_INDEX: {type: url, doc: index of crates, example: "https://crates.example.com", group: Crates}
  CARGO_LOGIN: {type: secret-file, doc: logins for it}
  LOCKFILE: {type: file, doc: lock file to use}
"""
LINE = """\
line: "2.0"
releases: {2.0.0: {code: {ref: v2, commit: "0123456789012345678901234567890123456789"}}}
sources: {code: {git: "https://example.com/code.git"}}
bases: {debian: {image: "debian:12"}}
images:
  tool: {kind: component, description: a tool, from: debian, files: [LOCKFILE], template: tool.j2}
"""
TEMPLATE = (
    "# {{ header }}\nFROM {{ bases.debian }} AS final\n{% if keys.LOCKFILE %}COPY --from=lockfile x y\n{% endif %}"
)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    put(tmp_path, "catalogue/family.yaml", FAMILY)
    put(tmp_path, "catalogue/2.0.yaml", LINE)
    put(tmp_path, "templates/dockerfiles/tool.j2", TEMPLATE)
    return tmp_path


def run(*arguments: object) -> str:
    ran = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    return ran.output + str(ran.exception or "")


def test_another_family_is_begun_rendered_and_listed_without_a_word_of_fate(tools: Path) -> None:
    said = run("init", tools) + run("images", "-C", tools) + run("render", "-C", tools)
    assert "wrote .env and 2 files for My Tools 2.0.0" in said
    files = [tools / name for name in (".env", ".gitignore", "out/docker-bake.hcl", "dockerfiles/tool/Dockerfile")]
    env, ignored, hcl, _ = texts = [file.read_text(encoding="utf-8") for file in files]
    assert "MY_TOOLS_VERSION=2.0.0\n" in env and "\nTAG=2.0.0\n" in env and "\n## Crates\n" in env
    assert "*.my-tools.tar" in ignored
    assert not re.findall("(?i).*fate(?!gen).*|.*(?:pip|maven)_.*", "".join([said, *texts]))
    assert '"com.example.team"                     = "tools"' in hcl and '"id=cargo-login,src=${CARGO_LOGIN}"' in hcl
    assert 'CARGO_INDEX != "" ? CARGO_INDEX : null' in hcl and "LOCKFILE" not in hcl


def test_a_project_that_lost_its_family_is_not_rendered_as_the_packaged_one(tools: Path) -> None:
    run("init", tools)
    before = (tools / "out/docker-bake.hcl").read_bytes()
    (tools / "catalogue/family.yaml").unlink()
    said = run("render", "-C", tools)
    assert "MY_TOOLS_VERSION: unknown key; the release of FATE is FATE_VERSION" in said
    assert (tools / "out/docker-bake.hcl").read_bytes() == before


def test_a_project_of_it_has_its_keys_and_not_those_of_the_packaged_family(tools: Path) -> None:
    run("init", tools)
    (tools / ".env.local").write_text("CARGO_LOGIN=login\n", encoding="utf-8")
    with (tools / ".env").open("a", encoding="utf-8") as env:
        env.write("LOCKFILE=locks/a.lock\n")
    assert "(2 changed)" in run("render", "-C", tools)
    assert '"lockfile" = "locks"' in (tools / "out/docker-bake.hcl").read_text(encoding="utf-8")
    for change, said in {
        "PIP_NETRC=x": "--set: PIP_NETRC: unknown key",
        "CARGO_INDEX=x": "--set: CARGO_INDEX: it is not an http:// or https:// URL",
        "MY_TOOLS_VERSION=1.3.0": "--set: MY_TOOLS_VERSION: no catalogue/1.3.yaml; there are lines 2.0",
    }.items():
        with pytest.raises(InputError, match=f"^{re.escape(said)}"):
            load(Project(tools), sets=[change])


ROOT = Path(generator.__file__).parents[1]
OF_ANOTHER = re.compile("(?i).*(?:fate(?!gen)|apache|eggroll|federated).*")
"""What no project of a family of its own has."""


@pytest.mark.parametrize("name", ["Greetings", "My Shop: Größe 2", "3D", "東京"])
def test_a_family_of_ones_own_is_begun_with_its_name_alone(name: str, tmp_path: Path) -> None:
    said = run("init", tmp_path, "--family", name)
    assert said.startswith(f"wrote .env, catalogue/, templates/ and app/, and rendered 4 files for {name} 1.0.0\n")
    for command in ("images", "override", "explain hello", "render --check", "images --external"):
        said += run(*command.split(), "-C", tmp_path)
    assert "hello    component  1.0.0  linux/amd64 linux/arm64  runtime\n" in said and "rror" not in said
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not OF_ANOTHER.findall("".join([said, *(file.read_text(encoding="utf-8") for file in files)]))


def test_it_is_begun_as_the_example_is(tmp_path: Path) -> None:
    run("init", tmp_path, "--family", "Greetings")
    begun = {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert begun.pop(Path("catalogue/schema.json")) == (ROOT / "catalogue/schema.json").read_bytes()
    example = ROOT / "examples/three-images"
    assert {file.relative_to(example): file.read_bytes() for file in example.rglob("*") if file.is_file()} == begun


@pytest.mark.parametrize("existing", ["catalogue/family.yaml", "app/hello.sh", "catalogue/schema.json"])
def test_it_is_not_begun_over_files_that_exist(existing: str, tmp_path: Path) -> None:
    put(tmp_path, existing, "mine")
    assert f"{existing}: already exists" in run("init", tmp_path, "--family", "Greetings")
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / existing]


def test_a_name_of_the_packaged_family_has_not_its_template(tools: Path) -> None:
    line = tools / "catalogue/2.0.yaml"
    more = "".join(f"  {name}: {{kind: component, from: debian}}\n" for name in ("python", "egg"))
    line.write_text(line.read_text(encoding="utf-8") + more, encoding="utf-8")
    said = run("init", tools)
    for name in ("python", "egg"):
        assert f"templates/dockerfiles/{name}.Dockerfile.j2: does not exist, used by {name} in the catalogue" in said


@pytest.mark.parametrize(
    "example", sorted(env.parent for env in ROOT.glob("examples/*/.env")), ids=lambda path: path.name
)
def test_an_example_has_no_word_of_the_packaged_family(example: Path) -> None:
    files = [file for file in example.rglob("*") if file.is_file()]
    assert files and not OF_ANOTHER.findall("".join(file.read_text(encoding="utf-8") for file in files))


@pytest.mark.parametrize(
    ("example", "row"),
    [
        ("three-images", ["hello", "component", "1.0.0"]),
        ("versions", ["greeter-1", "component", "greeter:1.4.9"]),
        ("monorepo", ["shop-cart", "component", "shop/cart:1.0.0"]),
    ],
)
def test_images_are_listed_with_names_of_their_own(example: str, row: list[str]) -> None:
    said = run("images", "-C", ROOT / "examples" / example)
    assert row in [line.split()[:3] for line in said.splitlines()]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("family: My Tools\n", "family: A\nfamly: B\n", "2: famly: unknown key; did you mean family?"),
        ("release: 2.0.0", "release: 2.0", '2: "2.0" is not a release such as 1.0.0: did you mean 2.0.0?'),
        ("type: url", "type: ulr", '5: "ulr" is not a type: '),
        ('"https://crates.example.com"', "crates", "5: CARGO_INDEX: it is not an http:// or https:// URL"),
        ("LOCKFILE", "lockfile", '7: "lockfile" is not a key'),
        ("LOCKFILE", "CA_BUNDLE", "7: CA_BUNDLE: every project has this key; choose another name"),
        ("LOCKFILE", "LOCK_IMAGE", "7: LOCK_IMAGE: every project has this key; choose another name"),
        ("com.example.team", "org.opencontainers.image.title", "3: org.opencontainers.image.title: every "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_family_is_said_with_its_line(old: str, new: str, said: str) -> None:
    [problem] = problems_of(lambda: parse_family(FAMILY.replace(old, new), "catalogue/family.yaml"))
    assert problem.startswith(f"catalogue/family.yaml:{said}")


@pytest.mark.parametrize("version", ["../2.0/x", "/etc/passwd", "2.0", "${x}"])
def test_a_version_that_is_none_names_no_file(tools: Path, version: str) -> None:
    run("init", tools)
    with pytest.raises(InputError, match=r"^--set: MY_TOOLS_VERSION: .*(is not a release|is not allowed)"):
        load(Project(tools), sets=[f"MY_TOOLS_VERSION={version}"])


def test_all_releases_are_listed_with_the_platforms_of_their_images(tools: Path) -> None:
    (tools / "catalogue/notes.yaml").write_text("notes: [a stray file is no line]\n", encoding="utf-8")
    assert "1.3   1.3.0 " in run("init", "--release")
    assert [line.split() for line in run("init", tools, "--release").splitlines()] == [
        ["LINE", "RELEASES", "PLATFORMS", "IMAGES"],
        ["2.0", "2.0.0", "linux/amd64", "linux/arm64", "tool"],
    ]


OWN_SOURCE = """\
line: "2.0"
releases: {2.0.0: {}}
sources: {code: {path: services/api}}
bases: {debian: {image: "debian:12"}}
images:
  tool: {kind: component, from: debian, sources: [code], home: code, template: tool.j2}
"""


def test_a_source_may_be_a_directory_of_the_project(tools: Path) -> None:
    (tools / "catalogue/2.0.yaml").write_text(OWN_SOURCE, encoding="utf-8")
    run("init", tools)
    plan = load(Project(tools)).plan
    assert [(source.location, source.local) for source in plan.target("tool").sources] == [("services/api", True)]
    hcl = (tools / "out/docker-bake.hcl").read_text(encoding="utf-8")
    assert 'variable "CODE_SOURCE" {\n  default = "services/api"\n}' in hcl
    assert "image.source" not in hcl and "image.revision" not in hcl
    plan = load(Project(tools), sources=["code=../other"]).plan
    assert plan.target("tool").sources[0].location == "../other"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("path: services/api", "path: ../api", '3: "../api" is not a path inside the project'),
        ("path: services/api", "path: a/..", '3: "a/.." is not a path inside the project'),
        ("path: services/api", "path: /api", '3: "/api" is not a path inside the project'),
        ("path: services/api", "licenses: MIT", "3: expected one of git, path"),
        ("path: s", 'git: "https://h/x.git", path: s', "3: expected one of git, path"),
        ("2.0.0: {}", "2.0.0: {code: {ref: a, commit: 0123456789012345678901234567890123456789}}", "2: code: is a dir"),
    ],
)
def test_what_is_wrong_with_such_a_source_is_said_with_its_line(old: str, new: str, said: str) -> None:
    found = problems_of(lambda: parse_line(OWN_SOURCE.replace(old, new), name="2.0.yaml"))
    assert any(problem.startswith(f"2.0.yaml:{said}") for problem in found)
