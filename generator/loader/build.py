"""Makes ``fategen-load.pyz`` and the page that goes with it: the modules that its command line imports, and no others.

They are the very files that ``fategen`` itself runs, found by following imports, so that a module which the command
line comes to need is in the next one. The same fategen makes the same bytes, everywhere: nothing is compressed, dated
or ordered by the file system.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import generator
from generator.bundle.format.base import short_root
from generator.bundle.format.model import BundleIndex
from generator.errors import EngineError
from generator.files import write_atomically
from generator.images.reference import familiar
from generator.loader.__main__ import PUSH

NAME = "fategen-load.pyz"
README = "fategen-load.README.txt"

_PACKAGE = Path(generator.__file__).parent
_STANDINS = _PACKAGE / "loader/standins"


def modules() -> dict[str, Path]:
    """The modules of fategen in the loader, with the packages around them: name -> file."""
    found: dict[str, Path] = {}
    todo = ["generator.loader.__main__"]
    while todo:
        name = todo.pop()
        path = _file(name)
        if name in found or path is None:
            continue
        found[name] = path
        todo += [name.rpartition(".")[0], *(() if _is_package(path) else imports(path))]
    return found


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Every name that a module imports, inside of functions too, but for what is there for type checkers alone.

    Of ``from a.b import c`` it gives ``a.b`` and ``a.b.c``, which may be a module or not.
    """
    return tuple(name for node in _run(ast.parse(path.read_bytes())) for name in _names(node))


def standins() -> dict[str, Path]:
    """Stand-ins for modules that a Python may lack, by their paths in the archive."""
    return {f"standins/{path.relative_to(_STANDINS).as_posix()}": path for path in _STANDINS.rglob("*.py")}


def pyz() -> bytes:
    """The bytes of ``fategen-load.pyz``."""
    files = {"__main__.py": _PACKAGE / "loader/start.py", **standins()}
    files.update({path.relative_to(_PACKAGE.parent).as_posix(): path for path in modules().values()})
    out = io.BytesIO()
    out.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, b"" if _is_package(files[name]) else files[name].read_bytes())
    return out.getvalue()


@dataclass(frozen=True)
class Placed:
    """What was put beside a bundle; ``sha256`` is the loader's, in hexadecimal."""

    loader: Path
    readme: Path
    sha256: str


def place(bundle: Path, index: BundleIndex, *, parts: bool = False) -> Placed:
    """Puts the loader and its page into the directory of a bundle, which may be in ``parts``.

    EngineError: they cannot be written there.
    """
    data = pyz()
    placed = Placed(bundle.with_name(NAME), bundle.with_name(README), hashlib.sha256(data).hexdigest())
    try:
        write_atomically(placed.loader, data)
        write_atomically(placed.readme, readme(bundle.name, index, parts=parts))
    except OSError as error:
        raise EngineError(
            f"{NAME} cannot be written beside {bundle}: {error.strerror}", hint="check that disk"
        ) from error
    return placed


def readme(file: str, index: BundleIndex, *, parts: bool = False) -> str:
    """What a person on the other side needs, who has never heard of fategen."""
    names = "\n".join(f"  {familiar(name)}" for image in index.images for name in image.references)
    plain = (_PARTS if parts else _WHOLE).format(who=_ZSTD if index.zstd else "Every engine loads")
    first = index.images[0].references[0]
    base = " --base BASE" * bool(index.bases)
    push = PUSH.format(full=first, familiar=familiar(first), short=first.rpartition("/")[2], base=base)
    return f"""{file}: container images in {"parts of one archive" if parts else "one archive"}
root digest {short_root(index.root)}

{names}

Is it what was sent? (The checksums came with it: they tell damage, not forgery.)
  sha256sum -c {file}.sha256

{_DELTA.format(bases=index.leans_on, name=NAME) if index.bases else plain}
{NAME} checks every byte before the engine learns a name, and names each damaged place. It needs Python 3.8
(python3-minimal will do) and docker, podman or ctr:
  python3 {NAME} inspect FILE
  python3 {NAME} verify FILE
  python3 {NAME} load FILE
  python3 {NAME} load FILE --into containerd:k8s.io

With a public key of the sender's that came another way, and FILE.sig:
  python3 {NAME} load FILE --require-signature KEY
{NAME} itself came the same way as the bundle: compare its sha256sum with the one that the sender saw.

{push}
""".replace("FILE", file)


_ZSTD = "Its layers are in zstd: Docker from version 23 on, podman and containerd load"
_WHOLE = """{who} it as it is:
  docker load -i FILE
  podman load -i FILE
  ctr -n k8s.io images import FILE
"""
_PARTS = """{who} it as it is:
  cat FILE.[0-9]* | docker load
  cat FILE.[0-9]* | podman load
  cat FILE.[0-9]* | ctr -n k8s.io images import -
"""
_DELTA = """It is a delta: some of its layers are in {bases}.
  python3 {name} load FILE BASE
"""


def _file(name: str) -> Path | None:
    path = _PACKAGE.parent.joinpath(*name.split("."))
    if path.parts[: len(_PACKAGE.parts)] != _PACKAGE.parts:
        return None
    return next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()), None)


def _is_package(path: Path) -> bool:
    """Whether it only says what a package offers to programs; the loader's modules name each other in full."""
    return path.name == "__init__.py" and path.parent != _PACKAGE and _STANDINS not in path.parents


def _run(node: ast.AST) -> Iterator[ast.AST]:
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [child for child in ast.iter_child_nodes(node) if not _for_type_checkers(child)]


def _for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []
