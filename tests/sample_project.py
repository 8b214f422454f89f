"""Makes a fategen project that builds tests/fate-sample: ``python3 tests/sample_project.py DIRECTORY [RELEASE]``.

A release of 1.11 or 2.2 builds tests/fate-sample-1.11 or tests/fate-sample-2.2 instead.

The engine, its registry, the mirror of base images and the CA are the ones that ``tests/sandbox env`` or ``use`` put
into the environment.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

SAMPLE = Path(__file__).resolve().parent / "fate-sample"
SAMPLE_1_11, SAMPLE_2_2 = SAMPLE.with_name("fate-sample-1.11"), SAMPLE.with_name("fate-sample-2.2")


def make_sample_project(
    directory: Path, *, namespace: str = "federatedai", sample: Path = SAMPLE, release: str = "1.3.0", **settings: str
) -> Path:
    """Writes ``.env`` (and ``.env.local`` where a CA is needed) for the sample at ``sample``; returns the directory.

    ``settings`` are more keys of it, or other values."""
    registry, tag = os.environ["FATEGEN_SANDBOX_REGISTRY"], f"{release}-release"
    values = {"PREFIX": f"{registry}/{namespace}", "BASE_TAG": tag, "TAG": tag}
    if release != "1.3.0":
        values["FATE_VERSION"] = release
    if mirror := os.environ.get("FATEGEN_BASE_REGISTRY"):
        values["BASE_REGISTRY"] = mirror
    directory.mkdir(parents=True, exist_ok=True)
    for source in sorted(path for path in sample.iterdir() if path.is_dir()):
        key = source.name.upper().replace("-", "_")
        values[f"{key}_SOURCE"] = os.path.relpath(source, directory.resolve())
    lines = [f"{key}={value}\n" for key, value in {**values, **settings}.items()]
    (directory / ".env").write_text("".join(lines), encoding="utf-8")
    (directory / ".gitignore").write_text(".env.local\n.fategen/\n*.fate.tar*\nfategen-load.*\n", encoding="utf-8")
    if ca := os.environ.get("FATEGEN_SANDBOX_CA"):
        (directory / ".env.local").write_text(f"CA_BUNDLE={ca}\n", encoding="utf-8")
    return directory


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("release", nargs="?", default="1.3.0")
    given = parser.parse_args()
    if (given.directory / ".env").exists():
        parser.error(f"{given.directory}/.env is there already")
    own = SAMPLE.with_name(f"fate-sample-{given.release.rpartition('.')[0]}")
    make_sample_project(given.directory, sample=own if own.is_dir() else SAMPLE, release=given.release)
