"""Makes a fategen project that builds tests/fate-sample: ``python3 tests/sample_project.py DIRECTORY``.

The engine, its registry, the mirror of base images and the CA are the ones that ``tests/sandbox env`` or ``use`` put
into the environment.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SAMPLE = Path(__file__).resolve().parent / "fate-sample"


def make_sample_project(directory: Path, *, namespace: str = "federatedai", sample: Path = SAMPLE) -> Path:
    """Writes ``.env`` (and ``.env.local`` where a CA is needed) for the sample at ``sample``; returns the directory."""
    registry = os.environ["FATEGEN_SANDBOX_REGISTRY"]
    lines = [f"PREFIX={registry}/{namespace}", "BASE_TAG=1.3.0-release", "TAG=1.3.0-release"]
    if mirror := os.environ.get("FATEGEN_BASE_REGISTRY"):
        lines.append(f"BASE_REGISTRY={mirror}")
    directory.mkdir(parents=True, exist_ok=True)
    for key, name in (("FATE", "fate"), ("EGGROLL", "eggroll"), ("FATEBOARD", "fateboard"), ("LMDB_SAFE", "lmdb-safe")):
        lines.append(f"{key}_SOURCE={os.path.relpath(sample / name, directory.resolve())}")
    (directory / ".env").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (directory / ".gitignore").write_text(".env.local\n.fategen/\n*.fate.tar*\nfategen-load.*\n", encoding="utf-8")
    if ca := os.environ.get("FATEGEN_SANDBOX_CA"):
        (directory / ".env.local").write_text(f"CA_BUNDLE={ca}\n", encoding="utf-8")
    return directory


if __name__ == "__main__":
    make_sample_project(Path(sys.argv[1]))
