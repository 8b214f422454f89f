"""Compiled templates, kept in the user's cache directory as Python keeps compiled modules: compiling is most of a
rendering's time.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2


def cache(environment: jinja2.Environment) -> jinja2.BytecodeCache | None:
    """What this environment has compiled; what cannot be kept is compiled again. None for a user without a home."""
    import jinja2

    class Kept(jinja2.FileSystemBytecodeCache):
        def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
            try:
                super().load_bytecode(bucket)
            except Exception:  # damaged, in whatever way pickle and marshal put it
                bucket.reset()

        def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
            with contextlib.suppress(OSError):
                Path(self.directory).mkdir(mode=0o700, parents=True, exist_ok=True)
                super().dump_bytecode(bucket)

    directory = cache_directory()
    if directory is None:
        return None
    # Jinja's own key is a template's path and text; what compiles it, and with which settings, belongs to it too
    settings = [(name, value) for name, value in vars(environment).items() if isinstance(value, (bool, str))]
    compiler = Path(jinja2.__file__).with_name("compiler.py").stat().st_mtime_ns
    return Kept(str(directory / f"templates-{zlib.crc32(repr((settings, compiler)).encode()):08x}"))


def cache_directory() -> Path | None:
    """Where fategen keeps what it can make again, for this user; None for one without a home."""
    own, home = os.environ.get("XDG_CACHE_HOME"), os.environ.get("HOME")
    return Path(own, "fategen") if own else Path(home, ".cache/fategen") if home else None
