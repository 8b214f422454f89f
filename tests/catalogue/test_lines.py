"""Every packaged line of FATE: what is true of all, and what sets one apart."""

from __future__ import annotations

import re

import pytest

from tests.fate_plan import LINES, packaged_line, plan_of, tree_of

NEWEST = [packaged_line(name).releases[-1].version for name in LINES]
FATE_2 = ("2.0.0", "2.1.1", "2.2.0")


def dockerfile(release: str, image: str) -> str:
    return tree_of(release)[f"dockerfiles/{image}/Dockerfile"]


@pytest.mark.parametrize("name", LINES)
def test_every_release_has_a_plan_for_every_image(name: str) -> None:
    line = packaged_line(name)
    for release in line.releases:
        assert release.version.startswith(f"{name}.")
        plan = plan_of(version=release.version)
        assert {image.name for image in line.images} <= {target.name for target in plan.targets}


def test_a_tag_of_a_source_is_one_commit_in_all_lines() -> None:
    commits: dict[tuple[str, str], set[str]] = {}
    for line in map(packaged_line, LINES):
        urls = {source.name: source.git for source in line.sources}
        for release in line.releases:
            for ref in release.refs:
                commits.setdefault((urls[ref.name], ref.ref), set()).add(ref.commit)
    assert {tag: found for tag, found in commits.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", LINES)
def test_every_image_of_ours_has_a_contract_and_each_gap_of_its_platforms_a_reason(name: str) -> None:
    for image in packaged_line(name).images:
        assert image.kind in ("builder", "third-party") or image.contract.where, image.name
        assert image.limit is None or "linux/arm64" in image.limit.because, image.name


def test_pages_are_built_where_the_sources_of_fateboard_do_not_have_them() -> None:
    assert "npm run build" in dockerfile("1.8.1", "packages")
    assert "resources-front-end" not in dockerfile("1.7.3", "packages")


def test_pages_that_import_a_package_of_which_one_version_is_left_get_that_one() -> None:
    """FATE-Board 1.8's import hmac_sha1; from 1.9 on none does, and package.json still wants ^0.1.1, which is gone."""
    assert "' hmac_sha1@0.1.0-beta.1\n" in dockerfile("1.8.0", "packages")
    assert "delete read.dependencies" not in dockerfile("1.8.0", "packages")
    assert "delete read.dependencies[name];" in dockerfile("1.9.2", "packages")


def test_requirements_that_cannot_be_imported_together_are_not_installed_together() -> None:
    """FATE 1.7 and 1.8 want importlib_metadata<2.0.0, with which markdown 3.3.5 raises TypeError, and a kfserving that
    brings a cloudevents of Python 3.8."""
    for release in ("1.7.3", "1.8.1"):
        text = dockerfile(release, "base-image")
        assert r"-e 's/^markdown==3\.3\.5[[:space:]]*$/markdown==3.3.4/'" in text
        assert r"$/kfserving==0.5.1\ncloudevents<1.11/'" in text


def test_python_nn_installs_what_base_image_leaves_out() -> None:
    left_out = "    -e '/^(tensorflow|torch|torch-model-archiver|torchvision|pytorch-lightning)"
    for release in ("1.5.3", "1.6.1", "1.7.3", "1.8.1"):
        assert left_out in dockerfile(release, "base-image")
        installed = "--constraint /tmp/installed.txt -r /data/projects/python/requirements-nn.txt"
        assert installed in dockerfile(release, "python-nn")
    for release in ("1.4.6", "1.9.2"):
        assert "requirements-nn" not in dockerfile(release, "base-image")


@pytest.mark.parametrize(
    ("release", "copied"),
    [
        ("1.4.6", ["arch/conf ../python/arch/conf", "federatedre[c] ../python/federatedrec"]),
        ("1.6.1", ["conf ../conf", "python ../python"]),
        ("1.8.1", ["conf ../conf", "python ../fate/python"]),
    ],
)
def test_fates_python_is_where_its_kubefate_mounts_it(release: str, copied: list[str]) -> None:
    text = dockerfile(release, "eggroll")
    assert [path for path in copied if f"COPY --from=fate {path}\n" not in text] == []


def test_fate_flow_accepts_connections_from_other_containers_without_a_mounted_configuration() -> None:
    """Until 1.4 it listens on all addresses by itself."""
    for release, asked in (("1.4.6", False), ("1.5.3", True), ("1.6.1", True), ("1.8.1", True)):
        assert ("host: 0.0.0.0" in dockerfile(release, "python")) == asked, release


@pytest.mark.parametrize("release", FATE_2)
def test_every_image_of_fate_2_is_built_for_both_platforms(release: str) -> None:
    """Upstream has linux/amd64 alone: its tini, its Python and its torch are downloads of that."""
    assert [t.name for t in plan_of(version=release).targets if t.dockerfile and len(t.platforms) != 2] == []


@pytest.mark.parametrize("release", FATE_2)
def test_nothing_of_fate_2_is_downloaded_but_from_package_indexes(release: str) -> None:
    """Upstream fetches tini, Python, OpenSSL and torch from hosts of their own, and names an index of its country."""
    own = {"github.com", "mirror", "localhost", "0.0.0.0", "127.0.0.1", "fateflow", "namenode"}
    for path, text in tree_of(release).items():
        assert set(re.findall(r"https?://([\w.-]+)", text)) <= own, path


def test_the_lines_of_fate_2_have_the_same_images() -> None:
    names = [[image.name for image in packaged_line(name).images] for name in LINES if name.startswith("2.")]
    assert names[0] == names[1] == [name for name in names[2] if name != "standalone"]


@pytest.mark.parametrize("release", FATE_2[:2])
def test_what_fate_2_2_changed_is_as_it_was_in_2_0_and_2_1(release: str) -> None:
    """2.2 has versions of their own for eggroll and FATE-Board, fate_board where KubeFATE mounts, and pins torch."""
    plan = plan_of(version=release, tag=f"{release}-release")
    tags = [tag.rpartition(":")[2] for target in plan.targets if target.kind == "component" for tag in target.tags]
    assert set(tags) == {f"{release}-release"}
    assert "WORKDIR /data/projects/fate/fateboard\n" in dockerfile(release, "fateboard")
    pins = re.findall(r"-e 's/\^(\w+)==", dockerfile(release, "base-image"))
    assert pins == ["Flask", "cachetools"]
