"""Makes ``fategen-load.pyz``, and the page that goes with it: the modules that its command line imports, and no others.

They are the files that ``fategen`` itself runs. The same fategen makes the same bytes everywhere: nothing is
compressed, dated, or ordered by the file system.
"""

from __future__ import annotations

import ast
import hashlib
import io
import shlex
import zipfile
from pathlib import Path

import generator
from generator.bundle.index import BundleIndex, short_root
from generator.config.reference import familiar
from generator.files import disk_errors, write_atomically

LOADER, LOADER_README = "fategen-load.pyz", "fategen-load.README.txt"
_SOURCES = Path(generator.__file__).parents[1]


def write_loader(bundle: Path, index: BundleIndex) -> str:
    """Put the loader and its page into the directory of a bundle; the loader's SHA-256, in hexadecimal.

    Raises EngineError if the disk is full or fails.
    """
    data = pyz()
    with disk_errors(bundle.with_name(LOADER)):
        write_atomically(bundle.with_name(LOADER), data)
        write_atomically(bundle.with_name(LOADER_README), readme(bundle.name, index))
    return hashlib.sha256(data).hexdigest()


def pyz() -> bytes:
    """The bytes of ``fategen-load.pyz``."""
    files = {"__main__.py": _SOURCES / "generator/loader/start.py"}
    files.update({path.relative_to(_SOURCES).as_posix(): path for path in modules().values()})
    out = io.BytesIO()
    out.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, b"" if _is_package(files[name]) else files[name].read_bytes())
    return out.getvalue()


def modules() -> dict[str, Path]:
    """The modules of fategen that the loader imports when it starts, with the packages around them: name -> file."""
    found: dict[str, Path] = {}
    queue = ["generator.loader.__main__"]
    while queue:
        name = queue.pop()
        base = _SOURCES.joinpath(*name.split("."))
        path = next((file for file in (base / "__init__.py", base.with_suffix(".py")) if file.is_file()), None)
        if path is None or name in found:
            continue
        found[name] = path
        if parent := name.rpartition(".")[0]:
            queue.append(parent)
        for node in () if _is_package(path) else ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "generator":
                queue += [f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def _is_package(path: Path) -> bool:
    """Whether a file is a package's ``__init__.py``: empty in the loader, where full module names are imported."""
    return path.name == "__init__.py" and path.parent != _SOURCES / "generator"


def readme(file: str, index: BundleIndex) -> str:
    """What an operator on the other side needs, who has never heard of fategen."""
    file = shlex.quote(file)
    names = "\n".join(f"  {familiar(name)}" for image in index.images for name in image.references)
    first = index.images[0].references[0]
    who = "Every engine can load"
    if "zstd" in index.compressions:
        who = "Its layers are compressed with zstd: Docker 23 and later, podman and containerd load"
    how = f"""{who} it as it is:
  docker load -i {file}
  podman load -i {file}
  ctr -n k8s.io images import {file}
"""
    if index.bases:
        how = f"""It is a delta bundle: some of its layers are in {index.base_names}.
  python3 {LOADER} load {file} BASE
"""
    target = f"REGISTRY/PREFIX/{first.rpartition('/')[2]}"
    return f"""{file}: container images in one archive
root digest {short_root(index.root)}

{names}

Check for damage (not for forgery, since the checksum came with the file):
  sha256sum -c {file}.sha256

{how}
{LOADER} checks every byte before the engine gets an image name, and lists damaged ranges. It needs Python 3.8 or later
with its standard library, and docker, podman or ctr:
  python3 {LOADER} inspect {file}
  python3 {LOADER} verify {file}
  python3 {LOADER} load {file}
  python3 {LOADER} load {file} --into containerd:k8s.io
To load a split bundle: cat {file}.* | python3 {LOADER} load -

With {file}.sig, and a public key that the sender gave you another way:
  python3 {LOADER} load {file} --require-signature KEY
{LOADER} itself came with the bundle: compare its sha256sum with the sender's.

Into a registry, with skopeo, or with an engine that has loaded the bundle:
  skopeo copy --all oci-archive:{file}:{first} docker://{target}
  docker tag {familiar(first)} {target} && docker push {target}
"""
