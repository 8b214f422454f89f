"""What the disk refuses, said as an error with a next step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from generator.errors import EngineError

AGAIN = "free some space there, then run the same command again"


@contextlib.contextmanager
def writing(directory: Path, hint: str = AGAIN) -> Iterator[None]:
    """Turns an OSError of the block into an EngineError that names ``directory``."""
    try:
        yield
    except OSError as error:
        raise EngineError(f"{directory} cannot be written: {error.strerror}", hint=hint) from error
