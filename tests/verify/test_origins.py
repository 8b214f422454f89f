"""What ``fategen verify`` is asked for; images in layouts and bundles, believed only as far as their digests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from generator.bundle.engines import EngineImage
from generator.bundle.format import TRAILER
from generator.bundle.reader import inspect
from generator.bundle.save import save
from generator.catalogue.contract import Contract
from generator.catalogue.line import parse_line
from generator.config.settings import Settings
from generator.docker.process import Docker
from generator.errors import BundleError, InputError
from generator.images.layout import SourceImage
from generator.plan.plan import Target, make_plan
from generator.progress import quiet
from generator.project import Project
from generator.verify.layers import ENTRY_MEMORY, Content
from generator.verify.origins import Origin, Wanted, asked_for, from_bundle, from_engine, from_layouts, tags_in
from generator.verify.run import require_contracts
from generator.workspace import load
from tests.bundle.layouts import BASE, image, multi
from tests.conftest import Run
from tests.fate_plan import plan_of, put
from tests.loopback import Loopback

AMD, ARM = "linux/amd64", "linux/arm64"


def targets(*names: str) -> tuple[Target, ...]:
    target = replace(plan_of().targets[0], contract=Contract(), skipped=())
    return tuple(replace(target, name=name, repository=name, tags=(f"fgtest/{name}:1.0",)) for name in names)


def bundle(tmp_path: Path, *images: SourceImage, bases: Sequence[Path] = ()) -> Path:
    olds = [inspect(base).index for base in bases]
    return save(images, tmp_path / f"{len(images)}.fate.tar", name=str(len(images)), bases=olds).path


def in_bundle(file: Path, *names: str) -> Origin:
    return from_bundle(file, Wanted(targets(*names), (), ()))


def read(origin: Origin) -> dict[tuple[str, str], Content]:
    """(image, platform) -> what it holds."""
    return {(s.image, s.platform): content for s, content in origin.read(origin.subjects, quiet).items()}


def test_every_platform_of_a_layout_is_read(tmp_path: Path) -> None:
    images = [SourceImage(("fgtest/m:1.0",), multi(tmp_path / "m", "m"), (AMD, ARM))]
    contents = read(from_layouts(targets("m"), images, tmp_path))
    assert {key: set(content.files) for key, content in contents.items()} == {
        ("m", AMD): {"/arch", "/opt", "/opt/app.jar"}, ("m", ARM): {"/arch", "/opt", "/opt/app.jar"}
    }  # fmt: skip


def test_a_bundle_is_read_in_one_pass(tmp_path: Path) -> None:
    contents = read(in_bundle(bundle(tmp_path, image(tmp_path, "a"), image(tmp_path, "b")), "a", "b"))
    assert [{*contents[name, AMD].files} - {"/etc", "/opt"} for name in "ab"] == [
        {"/etc/base", "/opt/a"}, {"/etc/base", "/opt/b"}
    ]  # fmt: skip
    assert contents["a", AMD].size == len(BASE["etc/base"]) + 300
    assert contents["a", AMD].settings.command == ("/bin/true",)


def test_every_byte_of_a_bundle_is_checked_also_when_nothing_of_it_is_read(tmp_path: Path) -> None:
    file = bundle(tmp_path, image(tmp_path, "a"))
    origin = in_bundle(file, "a")
    data = bytearray(file.read_bytes())
    data[-len(TRAILER) - 10_000] ^= 1
    file.write_bytes(data)
    for subjects in (origin.subjects, ()):
        with pytest.raises(BundleError, match="damaged"):
            origin.read(subjects, quiet)


def test_what_all_layers_list_fits_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generator.verify.origins.MOST_MEMORY", 2 * ENTRY_MEMORY)
    with pytest.raises(BundleError, match="verify fewer at once"):
        read(in_bundle(bundle(tmp_path, image(tmp_path, "a")), "a"))


def test_a_layer_that_is_not_what_its_config_says_is_refused(tmp_path: Path) -> None:
    wrong = image(tmp_path, "a", BASE, diff_ids=["sha256:" + "0" * 64])
    for origin in (in_bundle(bundle(tmp_path, wrong), "a"), from_layouts(targets("a"), [wrong], tmp_path)):
        with pytest.raises(BundleError, match=r"unpacked it is sha256:[0-9a-f]{64}, its config says sha256:0{64}"):
            read(origin)


def test_a_delta_bundle_is_refused(tmp_path: Path) -> None:
    """What it leaves out would count as not there, under the digests of whole images."""
    first = bundle(tmp_path, image(tmp_path, "a"))
    delta = bundle(tmp_path, image(tmp_path, "a"), image(tmp_path, "b"), bases=[first])
    with pytest.raises(InputError, match="it is a delta bundle: most of its content is in 1"):
        read(in_bundle(delta, "a", "b"))


def test_what_was_named_and_is_not_in_the_bundle_is_an_error(tmp_path: Path) -> None:
    file = bundle(tmp_path, image(tmp_path, "a"))
    with pytest.raises(InputError, match=r"b: is not in 1\.fate\.tar"):
        from_bundle(file, Wanted(targets("a", "b"), ("b",), ()))
    with pytest.raises(InputError, match="it has none of the requested images"):
        in_bundle(file, "b")


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
    parts = [name.removeprefix("fgtest/").rpartition(":") for name in names]
    return bundle(directory, *(image(directory / str(n), own, tags=(tag,)) for n, (own, _, tag) in enumerate(parts)))


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
    assert ("TAG=2: by the names in 1.fate.tar, not as .env says\n" in err) == (not asked)


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
