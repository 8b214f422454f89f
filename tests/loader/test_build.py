"""What ``fategen-load.pyz`` is made of: fategen's own modules, which Python 3.8 without json and shutil runs."""

from __future__ import annotations

import ast
import builtins
import importlib
import io
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import generator
from generator.bundle.format.base import Base
from generator.bundle.report import images_table
from generator.images.layout import SourceImage
from generator.loader import build
from generator.loader.build import place, pyz, readme, standins
from tests.bundle.conftest import Made, bundle
from tests.bundle.layouts import BASE, Layout, sha256, tar_of, zstd
from tests.bundle.layouts import ZSTD as ZSTD_TYPE

MINIMAL = {
    "__future__", "argparse", "ast", "base64", "bisect", "codecs", "collections", "contextlib", "copy", "datetime",
    "enum", "errno", "fcntl", "fnmatch", "functools", "hashlib", "heapq", "importlib", "io", "math", "operator", "os",
    "pathlib", "platform", "posixpath", "re", "select", "signal", "socket", "stat", "string", "struct", "subprocess",
    "sys", "tempfile", "textwrap", "threading", "time", "types", "typing", "unicodedata", "urllib", "weakref", "zlib",
}  # fmt: skip
"""Top-level modules of Debian 12's libpython3.11-minimal and of its python3.11-minimal binary (dpkg -L)."""
LATER = {"removeprefix", "removesuffix", "bit_count", "is_relative_to", "hardlink_to", "file_digest", "pairwise",
         "cancel_futures", "randbytes"}  # fmt: skip
"""Names of Python 3.9 and later that modules here might come to use."""
STANDINS = {"json", "dataclasses", "shutil", "difflib", "concurrent"}
CLIENTS = {"requests", "urllib3"}
"""No standard modules; these have stand-ins too."""
ZSTD = {"compression", "backports"}
"""What can be done without: see ``inflate``."""
PUSHING = "generator.bundle.pushing"
"""Imported by push alone, which needs the whole standard library."""

modules = cache(build.modules)


@cache
def files() -> dict[str, Path]:
    """All that is in it but packages."""
    return {**{name: path for name, path in modules().items() if path.name != "__init__.py"}, **standins()}


def without_push() -> dict[str, Path]:
    """The modules that inspect, verify and load import."""
    found: dict[str, Path] = {}
    todo = ["generator.loader.__main__"]
    while todo:
        name = todo.pop()
        if name in modules() and name not in found and name != PUSHING:
            found[name] = modules()[name]
            todo += build.imports(modules()[name]) if name in files() else []
    return found


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_bytes(), feature_version=(3, 8))))


def test_every_module_is_python_3_8() -> None:
    assert [f"{name}:{node.lineno}: {wrong}" for name, path in files().items() for node, wrong in newer(path)] == []


def newer(path: Path) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """What Python 3.8 does not have, with the node where it is."""
    for node in nodes(path):
        if isinstance(node, ast.Attribute) and node.attr in LATER:
            yield node, node.attr
        if isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.BitOr):
            right = node.right if isinstance(node, ast.BinOp) else node.value
            if isinstance(right, (ast.Dict, ast.DictComp)):
                yield node, "| of dictionaries"
        if isinstance(node, ast.Call):
            given = {keyword.arg for keyword in node.keywords}
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            generic = node.func.value if isinstance(node.func, ast.Subscript) else None
            if isinstance(generic, ast.Name) and hasattr(builtins, generic.id):
                yield node, f"{generic.id}[…]()"
            if "cancel_futures" in given:
                yield node, "shutdown(cancel_futures)"
            if (name == "zip" and "strict" in given) or (name == "dataclass" and given - {"frozen"}):
                yield node, f"{name}({', '.join(map(str, given))})"


def test_no_annotation_is_run() -> None:
    annotated = [
        (name, path)
        for name, path in files().items()
        if any(isinstance(node, (ast.AnnAssign, ast.arg)) and node.annotation for node in nodes(path))
    ]
    late = "from __future__ import annotations\n"
    assert [name for name, path in annotated if late not in path.read_text(encoding="utf-8")] == []


def test_nothing_but_the_standard_library_is_imported_and_what_python3_minimal_lacks_has_a_stand_in() -> None:
    roots = {name.partition(".")[0] for path in files().values() for name in build.imports(path)} - ZSTD
    assert roots <= {*sys.stdlib_module_names, *CLIENTS, "generator"}
    clients = [path for name, path in files().items() if name.split("/")[1:2] and name.split("/")[1] in CLIENTS]
    assert len(clients) == 6
    others = [path for name, path in files().items() if name.startswith("standins/") and path not in clients]
    early = [path for name, path in without_push().items() if name in files()] + others
    there = MINIMAL | STANDINS | ZSTD | {"generator"}
    assert {name.partition(".")[0] for path in early for name in build.imports(path)} <= there


def test_push_alone_imports_a_registry_s_client() -> None:
    assert PUSHING in modules()
    assert "generator.registry.transport" in modules()
    assert not [
        name for name in without_push() if name.startswith(("generator.registry.transport", "generator.registry"))
    ]


def test_a_stand_in_has_every_name_that_is_asked_of_it() -> None:
    asked = {
        (name, alias.name)
        for path in files().values()
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and (name := node.module or "").partition(".")[0] in STANDINS | CLIENTS
        for alias in node.names
    }
    asked |= {
        (node.value.id, node.attr)
        for path in files().values()
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in STANDINS | CLIENTS
    }
    assert ("concurrent.futures", "ThreadPoolExecutor") in asked
    assert ("json", "loads") in asked
    assert ("requests.adapters", "HTTPAdapter") in asked
    for module, name in sorted(asked):
        assert hasattr(importlib.import_module(f"generator.loader.standins.{module}"), name), f"{module}.{name}"


def test_they_are_the_files_that_fategen_runs() -> None:
    with zipfile.ZipFile(io.BytesIO(pyz())) as archive:
        root = Path(generator.__file__).parent.parent
        for name in archive.namelist():
            if name.startswith("generator/") and not name.endswith("/__init__.py"):
                assert archive.read(name) == (root / name).read_bytes()
        assert {"__main__.py", "standins/json.py", "generator/bundle/load.py"} <= set(archive.namelist())
        assert b"class Session" in archive.read("standins/requests/__init__.py")
        assert not [name for name in archive.namelist() if "/cli/" in name or name.endswith("/save.py")]


def test_it_is_the_same_bytes_each_time_in_order_and_without_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    first = pyz()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert pyz() == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.namelist() == sorted(archive.namelist())
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_its_page_says_what_to_type(made: Made, tmp_path: Path) -> None:
    placed = place(tmp_path / "fate-1.0.fate.tar", made.plan.index)
    text = placed.readme.read_text(encoding="utf-8")
    for line in (
        "sha256sum -c fate-1.0.fate.tar.sha256",
        "docker load -i fate-1.0.fate.tar",
        "podman load -i fate-1.0.fate.tar",
        "ctr -n k8s.io images import fate-1.0.fate.tar",
        "python3 fategen-load.pyz load fate-1.0.fate.tar",
        "python3 fategen-load.pyz push fate-1.0.fate.tar REGISTRY/PREFIX",
        "skopeo copy --all oci-archive:fate-1.0.fate.tar:docker.io/fgtest/a:1.0 docker://REGISTRY/PREFIX/a:1.0",
        "fgtest/m:1.0",
    ):
        assert f"\n  {line}\n" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fategen-load.README.txt", "fategen-load.pyz"]


def test_its_page_for_parts_and_for_a_delta_says_what_is_different(made: Made) -> None:
    text = readme("x.fate.tar", made.plan.index, parts=True)
    assert "\n  cat x.fate.tar.[0-9]* | docker load\n" in text
    assert "docker load -i" not in text
    delta = replace(made.plan.index, bases=(Base("old", "sha256:" + "12" * 32),))
    text = readme("x.fate.tar", delta)
    assert "some of its layers are in old (root digest 1212-1212-1212)" in text
    assert "\n  python3 fategen-load.pyz load x.fate.tar BASE\n" in text
    assert "\n  python3 fategen-load.pyz push x.fate.tar REGISTRY/PREFIX --base BASE\n" in text
    assert "docker load" not in text


def test_its_page_says_which_engines_read_zstd(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a")
    layer = (layout.put(zstd(tar_of(BASE)), ZSTD_TYPE), sha256(tar_of(BASE)))
    layout.finish((layout.manifest([layer]), "docker.io/fgtest/a:1.0"))
    made = bundle(tmp_path, [SourceImage(("fgtest/a:1.0",), layout.path, ("linux/amd64",))])
    assert "Docker from version 23 on, podman and containerd load it" in readme("x.fate.tar", made.plan.index)
    assert "Docker loads them from version 23 on" in images_table(made.plan.index)
