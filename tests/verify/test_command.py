"""What ``fategen verify`` is asked for, before it looks at anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from generator.bundle.engines import EngineImage
from generator.bundle.save import save
from generator.catalogue.contract import Contract
from generator.catalogue.line import parse_line
from generator.config.settings import Settings
from generator.docker.process import Docker
from generator.errors import InputError
from generator.plan.plan import make_plan
from generator.project import Project
from generator.verify.origins import Wanted, asked_for, from_bundle, from_engine, tags_in
from generator.verify.run import require_contracts
from generator.workspace import load
from tests.bundle.layouts import image
from tests.conftest import Run
from tests.fate_plan import plan_of, put
from tests.loopback import Loopback


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("packages", "is used only during the build"),
        ("mysql", "has no contract in the catalogue"),
        ("third-party", "has no contract in the catalogue"),
    ],
)
def test_what_has_no_contract_is_never_called_checked(name: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^{name}: {said}"):
        require_contracts(plan_of(), ["roll", name])


def test_a_family_without_contracts_is_told_how_to_write_one() -> None:
    plan = plan_of()
    bare = replace(plan, targets=tuple(replace(target, contract=Contract()) for target in plan.targets))
    with pytest.raises(InputError, match=r"^no image of FATE .* has a contract") as error:
        require_contracts(bare, ["all"])
    assert error.value.hint == "add contract: to an image in the catalogue (docs/verify.md)"


def test_no_image_of_a_platform_is_nothing_to_succeed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of()
    base, platform = plan.target("base-image"), "linux/arm64"
    known = {base.tags[0]: EngineImage("sha256:1", (), "linux/amd64")}
    monkeypatch.setattr("generator.bundle.engines.DockerEngine.inspect", lambda *_: known)
    with pytest.raises(InputError, match="no image of base-image has linux/arm64"):
        from_engine(Docker("docker"), Wanted((base,), (), (platform,)))


def saved(directory: Path, *names: str) -> Path:
    """A bundle with images of these names."""
    images = []
    for number, name in enumerate(names):
        own, _, tag = name.partition("/")[2].rpartition(":")
        images.append(image(directory / str(number), own, tags=(tag,)))
    return save(images, directory / "x.fate.tar", name="x").path


@pytest.mark.parametrize(
    ("names", "tags"),
    [
        (("fgtest/roll:2", "fgtest/egg:2"), ("TAG=2",)),
        (("fgtest/roll:1", "fgtest/egg:1"), ()),
        (("fgtest/roll:2", "fgtest/egg:3"), ()),
        (("fgtest/roll:2", "fgtest/base-image:base-2", "fgtest/redis:5"), ("TAG=2", "BASE_TAG=base-2")),
    ],
)
def test_a_bundle_is_checked_by_the_tag_that_its_images_have(
    tmp_path: Path, names: tuple[str, ...], tags: tuple[str, ...]
) -> None:
    assert tags_in(saved(tmp_path, *names), plan_of()) == tags


OWN = """\
line: "2.2"
releases: {2.2.0: {}}
sources: {}
bases: {j: {image: "j:1"}}
images:
  api: {kind: component, from: j}
  web-api: {kind: component, from: j, repository: web/api, versions: {2.2.0: 3.0.0}}
  x-slim: {kind: component, from: j, repository: x, tags: ["${tag}-slim", slim]}
  x-full: {kind: component, from: j, repository: x, tags: ["${tag}", full]}
"""


def test_images_with_versions_and_names_of_their_own_are_found_in_a_bundle(tmp_path: Path) -> None:
    names = [f"fgtest/{own}" for own in ("web/api:3.0.0-mine", "api:2.2.0-mine", "x:2.2.0-mine-slim", "x:2.2.0-mine")]
    bundle = saved(tmp_path, *names)
    settings = Settings("q", "1", "2.2.0-release", "2.2.0")
    assert tags_in(bundle, make_plan(settings, parse_line(OWN, name="2.2.yaml"))) == ("TAG=2.2.0-mine",)
    plan = make_plan(replace(settings, tag="2.2.0-mine"), parse_line(OWN, name="2.2.yaml"))
    found = from_bundle(bundle, Wanted(plan.targets, ("web-api",), ()))
    assert {subject.image: subject.reference for subject in found.subjects} == {
        "api": names[1], "web-api": names[0], "x-slim": names[2], "x-full": names[3],
    }  # fmt: skip


@pytest.mark.parametrize(("asked", "tag"), [((), "2"), (("--tag", "3"), "3")])
def test_a_tag_that_is_asked_for_comes_before_the_bundles(
    asked: tuple[str, ...], tag: str, project_dir: Path, fategen: Run
) -> None:
    bundle = saved(project_dir, "fgtest/roll:2")
    code, out, err = fategen("verify", "-C", project_dir, "--bundle", bundle, "--no-start", "-q", *asked)
    assert code == 1
    assert "org.opencontainers.image.version  (packaged catalogue/family.yaml" in out and f"expected  {tag}\n" in out
    assert ("TAG=2: by the names in x.fate.tar, not as .env says\n" in err) == (not asked)


def test_a_builder_in_a_group_is_left_out(registry: Loopback, project_dir: Path, fategen: Run) -> None:
    put(project_dir, "catalogue/1.3.yaml", 'line: "1.3"\nextends: packaged\ngroups: {mine: [packages, roll]}\n')
    env = f"PREFIX={registry.host}/fgtest\nBASE_TAG=1\nTAG=1\nPLATFORMS=linux/amd64\n"
    put(project_dir, ".env", env)
    workspace = load(Project(project_dir))
    assert [target.name for target in asked_for(workspace.plan, ["mine"], ()).targets] == ["roll"]
    registry.put_layout("fgtest/roll", "1", image(project_dir, "roll").layout)
    code, out, err = fategen("verify", "mine", "-C", project_dir, "--from", "registry", "--no-start", "-q")
    assert code == 1 and "checks failed (roll)" in err
    assert "roll" in out and "packages" not in out
