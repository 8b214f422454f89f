"""The families in examples/ are built, published, verified and carried, and nothing that is printed names FATE."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.catalogue.test_family import OF_ANOTHER
from tests.e2e.conftest import docker, fategen, registry_get, succeeded

ROOT = Path(__file__).parents[2]
NAMESPACE = f"example-{os.getpid()}"


@pytest.fixture
def example(request: pytest.FixtureRequest, registry: str, tmp_path: Path) -> Path:
    """A copy of an example for the sandbox's registry and mirror."""
    project = tmp_path / str(request.param)
    shutil.copytree(ROOT / "examples" / project.name, project)
    settings = [f"PREFIX={registry}/{NAMESPACE}", f"BASE_REGISTRY={registry}"]
    if project.name == "versions":
        # of Debian, the mirror has trixie alone
        settings.append(f"DEBIAN_BOOKWORM_IMAGE={registry}/library/debian:trixie-slim")
    lines = (project / ".env").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if not line.startswith("PREFIX=")]
    (project / ".env").write_text("\n".join([*lines, *settings]) + "\n", encoding="utf-8")
    succeeded(fategen("render", cwd=project))
    return project


@pytest.mark.parametrize("example", ["versions"], indirect=True)
def test_three_versions_in_two_variants_are_pushed_to_one_repository(example: Path, registry: str) -> None:
    ran = succeeded(fategen("bake", "--push", "-q", cwd=example))
    own = {f"{version}{variant}" for version in ("1.4.9", "2.1.3", "3.0.0") for variant in ("", "-trixie", "-bookworm")}
    others = {f"{alias}{variant}" for alias in ("oldstable", "stable", "latest") for variant in ("", "-bookworm")}
    assert set(registry_get(registry, f"{NAMESPACE}/greeter/tags/list")["tags"]) == own | others
    reference = f"{registry}/{NAMESPACE}/greeter:stable-bookworm"
    assert docker("run", "--rm", reference) == "greeter 2.1: good day"
    assert not OF_ANOTHER.findall(ran.out + ran.err)


@pytest.mark.parametrize("example", ["monorepo"], indirect=True)
def test_twelve_services_are_built_by_one_builder_and_carried_in_a_bundle(example: Path, registry: str) -> None:
    bundle, said = "shop-1.0.0.shop.tar", ""
    for command in ("bundle save", f"verify --bundle {bundle}", f"bundle load {bundle}",
                    f"bundle push {bundle} {registry}/{NAMESPACE}-site"):  # fmt: skip
        ran = succeeded(fategen(*command.split(), cwd=example))
        said += ran.out + ran.err
    references = succeeded(fategen("images", "--format", "references", cwd=example)).out.split()
    assert len(references) == 12 and references[0] == f"{registry}/{NAMESPACE}/shop/cart:1.0.0"
    assert f"{registry}/{NAMESPACE}-site/shop/cart:1.0.0" in said
    assert docker("run", "--rm", references[0]) == "shop: cart is ready"
    labels = docker("image", "inspect", "--format", "{{json .Config.Labels}}", references[0])
    assert json.loads(labels)["org.opencontainers.image.vendor"] == "Example Ltd"
    assert not OF_ANOTHER.findall(said + labels)
