"""Where the bytes of a bundle come from: a file, which several threads can read at any place, or a pipe."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from generator.bundle.format.archive import Reads
from generator.errors import InputError, Problem, did_you_mean


class Source(Protocol):
    """The bytes of a bundle. ``size`` is None where nobody knows (a pipe)."""

    @property
    def size(self) -> int | None: ...

    @property
    def anywhere(self) -> bool:
        """Whether ``read_at`` works."""

    def read(self, size: int, /) -> bytes: ...

    def read_at(self, size: int, offset: int, /) -> bytes: ...

    def where(self, start: int, end: int, /) -> str:
        """These bytes (``end`` exclusive) in words: ``bytes 0-511 of the file``."""


class Window:
    """A source from one place on: several can be read at the same time."""

    def __init__(self, source: Source, offset: int) -> None:
        self._source, self._position = source, offset

    def read(self, size: int, /) -> bytes:
        data = self._source.read_at(size, self._position)
        self._position += len(data)
        return data


class Piped:
    """A pipe."""

    anywhere = False

    def __init__(self, stream: Reads) -> None:
        self._stream = stream
        self.size: int | None = None

    def read(self, size: int, /) -> bytes:
        return self._stream.read(size)

    def read_at(self, size: int, offset: int, /) -> bytes:
        raise AssertionError("a pipe has no places")

    def where(self, start: int, end: int, /) -> str:
        return f"bytes {start:,}-{end - 1:,} of the file"


class Plain:
    """One file."""

    anywhere = True

    def __init__(self, number: int) -> None:
        self._number = number
        self._position = 0
        self.size: int | None = os.fstat(number).st_size

    def read(self, size: int, /) -> bytes:
        data = os.pread(self._number, size, self._position)
        self._position += len(data)
        return data

    def read_at(self, size: int, offset: int, /) -> bytes:
        return os.pread(self._number, size, offset)

    def where(self, start: int, end: int, /) -> str:
        return f"bytes {start:,}-{end - 1:,} of the file"


@contextlib.contextmanager
def opened(source: Path | Reads) -> Iterator[tuple[Source, str, int | None]]:
    """The bytes of a bundle, its name for messages, its size where that is known.

    InputError: it cannot be read.
    """
    if not isinstance(source, Path):
        yield Piped(source), str(getattr(source, "name", "the input")), None
        return
    try:
        file = source.open("rb", buffering=0)
    except FileNotFoundError:
        raise InputError(
            Problem(str(source), f"there is no such file{_near(source)}"), hint="fategen bundle save writes one"
        ) from None
    except OSError as error:
        raise InputError(Problem(str(source), f"cannot be read: {error.strerror}")) from None
    with file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            plain = Plain(file.fileno())
            yield plain, str(source), plain.size
        else:
            yield Piped(file), str(source), None


def _near(source: Path) -> str:
    with contextlib.suppress(OSError):
        return did_you_mean(source.name, [path.name for path in source.parent.iterdir()])
    return ""
