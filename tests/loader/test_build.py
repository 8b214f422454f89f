"""What ``fategen-load.pyz`` is made of, and the page beside it. (That Python 3.8 runs it: tests/e2e/test_loader.py.)"""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from generator.bundle.index import BaseBundle
from generator.loader.build import pyz, readme, write_loader
from tests.bundle.conftest import Made, bundle
from tests.bundle.layouts import BASE, ZSTD, image


def test_it_is_the_same_bytes_each_time_in_order_and_without_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    first = pyz()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert pyz() == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        names = archive.namelist()
        assert names == sorted(names) and {"__main__.py", "generator/bundle/load.py"} <= set(names)
        assert not [name for name in names if "/cli/" in name or name.endswith("/save.py")]
        packages = [name for name in names if name.count("/") > 1 and name.endswith("/__init__.py")]
        assert packages and not any(map(archive.read, packages)), "what a package imports is not here"
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.external_attr >> 16 for info in archive.infolist()} == {0o644}, "what unzip makes of them"


def test_its_page_says_what_to_type(made: Made, tmp_path: Path) -> None:
    write_loader(tmp_path / "fate-1.0.fate.tar", made.index)
    text = (tmp_path / "fategen-load.README.txt").read_text(encoding="utf-8")
    for line in (
        "sha256sum -c fate-1.0.fate.tar.sha256",
        "docker load -i fate-1.0.fate.tar",
        "podman load -i fate-1.0.fate.tar",
        "ctr -n k8s.io images import fate-1.0.fate.tar",
        "python3 fategen-load.pyz load fate-1.0.fate.tar",
        "skopeo copy --all oci-archive:fate-1.0.fate.tar:docker.io/fgtest/a:1.0 docker://REGISTRY/PREFIX/a:1.0",
        "fgtest/m:1.0",
    ):
        assert f"\n  {line}\n" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fategen-load.README.txt", "fategen-load.pyz"]


def test_its_page_for_a_delta_names_the_base_and_keeps_names_that_look_like_placeholders(made: Made) -> None:
    image = replace(made.index.images[0], references=("docker.io/fgtest/a:FILE-{bases}",))
    delta = replace(made.index, images=(image,), bases=(BaseBundle("FILE", "sha256:" + "12" * 32),))
    text = readme("x.fate.tar", delta)
    assert "some of its layers are in FILE (root digest 1212-1212-1212)" in text
    for line in ("python3 fategen-load.pyz load x.fate.tar BASE", "fgtest/a:FILE-{bases}"):
        assert f"\n  {line}\n" in text
    assert "docker load" not in text


def test_its_page_says_which_engines_read_zstd(tmp_path: Path) -> None:
    made = bundle(tmp_path, [image(tmp_path, "a", BASE, media_type=ZSTD)])
    assert "Docker 23 and later, podman and containerd load it" in readme("x.fate.tar", made.index)
