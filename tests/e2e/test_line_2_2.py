"""FATE 2.2 of the sample sources: built, verified (each image is started), published under the tags of its release."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import Fategen, make_project, registry_get, succeeded
from tests.sample_project import SAMPLE_2_2

NAMESPACE = f"line-2-2-{os.getpid()}"
"""New each time: what an earlier run pushed is not found in place of this one's."""
TAGS = {"base-image": "2.2.0", "fateflow": "2.2.0", "eggroll": "3.2.0", "osx": "2.2.0", "fateboard": "2.1.1"}


@pytest.mark.full
def test_a_party_of_it_is_built_verified_and_published_under_its_three_tags(
    registry: str, fategen: Fategen, tmp_path: Path
) -> None:
    make_project(fategen, tmp_path, namespace=NAMESPACE, sample=SAMPLE_2_2, release="2.2.0")
    options = ("--push", "--overwrite", "--verify", "--platform", "linux/amd64")
    succeeded(fategen("bake", "base", "party", *options, cwd=tmp_path))
    for name, tag in TAGS.items():
        assert isinstance(registry_get(registry, f"{NAMESPACE}/{name}/manifests/{tag}-release"), dict)
