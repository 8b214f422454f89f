"""Where the bytes of a bundle come from: a file, its parts in one or several directories, or a pipe.

Files and parts that are all there can also be read at any place, by several threads at once. Where media are changed
one after the other, or from a pipe, there is only one way: forward.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from generator.bundle.format.archive import Reads
from generator.bundle.format.parts import HEAD, PartList, list_beside, part_name, read_list, recognise
from generator.errors import BundleError, InputError, Problem, did_you_mean


class Ask(Protocol):
    """Asks for the next medium: called with what is missing, it returns the directory to look in, None to give up."""

    def __call__(self, missing: str, /) -> Path | None: ...


class Source(Protocol):
    """The bytes of a bundle. ``size`` is None where nobody knows (a pipe)."""

    @property
    def size(self) -> int | None: ...

    @property
    def anywhere(self) -> bool:
        """Whether ``read_at`` works."""

    def read(self, size: int, /) -> bytes: ...

    def read_at(self, size: int, offset: int, /) -> bytes: ...

    def spans(self, start: int, end: int, /) -> Iterator[tuple[int, int, int]]:
        """These bytes (``end`` exclusive) as pieces of open files: file descriptor, first byte, number of bytes."""

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

    def spans(self, start: int, end: int, /) -> Iterator[tuple[int, int, int]]:
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

    def spans(self, start: int, end: int, /) -> Iterator[tuple[int, int, int]]:
        yield self._number, start, end - start

    def where(self, start: int, end: int, /) -> str:
        return f"bytes {start:,}-{end - 1:,} of the file"


class Parted:
    """A bundle in parts. Those that are there are looked at when it is opened, the others when their turn comes."""

    def __init__(self, listed: PartList, directory: Path, ask: Ask | None) -> None:
        self._list, self._directory, self._ask = listed, directory, ask
        self._starts = [0]
        for part in listed.parts:
            self._starts.append(self._starts[-1] + part.size)
        self.size: int | None = self._starts[-1]
        self._position = 0
        self._open: dict[int, int] = {}
        numbers = range(len(listed.parts))
        missing = [number for number in numbers if not self._path(number).exists()]
        self.anywhere = not missing
        problems = [found for n in numbers if n not in missing and (found := _problem(listed, self._path(n), n))]
        if missing and not ask:
            problems.append(_missing(listed, directory, missing))
        if problems:
            raise _wrong(listed, problems)

    def read(self, size: int, /) -> bytes:
        data = self.read_at(size, self._position)
        self._position += len(data)
        return data

    def read_at(self, size: int, offset: int, /) -> bytes:
        found = b""
        while size and offset < self._starts[-1]:
            number = bisect_right(self._starts, offset) - 1
            take = min(size, self._starts[number + 1] - offset)
            data = os.pread(self._file(number), take, offset - self._starts[number])
            if not data:
                break
            found = found + data if found else data
            size -= len(data)
            offset += len(data)
        return found

    def spans(self, start: int, end: int, /) -> Iterator[tuple[int, int, int]]:
        for number, first, last in self._pieces(start, end):
            yield self._file(number), first, last - first

    def where(self, start: int, end: int, /) -> str:
        pieces = self._pieces(start, end)
        said = [f"bytes {first:,}-{last - 1:,} of {self._list.part(number)}" for number, first, last in pieces]
        return " and ".join(said) or f"bytes {start:,}-{end - 1:,} of the whole"

    def _pieces(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Part, first byte in it, end (exclusive) in it."""
        for number in range(len(self._list.parts)):
            first, last = max(start, self._starts[number]), min(end, self._starts[number + 1])
            if first < last:
                yield number, first - self._starts[number], last - self._starts[number]

    def _path(self, number: int) -> Path:
        return self._directory / self._list.part(number)

    def _file(self, number: int) -> int:
        if number in self._open:
            return self._open[number]
        if not self.anywhere:
            # a medium that is to be taken out must not be in use
            for other in self._open.values():
                os.close(other)
            self._open.clear()
            self._wait_for(number)
        opened = os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC)
        # a thread that came at the same time has opened it as well
        if self._open.setdefault(number, opened) != opened:
            os.close(opened)
        return self._open[number]

    def _wait_for(self, number: int) -> None:
        while True:
            there = self._path(number).exists()
            problem = _problem(self._list, self._path(number), number) if there else ""
            if there and not problem:
                return
            found = self._ask(problem or _missing(self._list, self._directory, [number])) if self._ask else None
            if found is None:
                raise _wrong(self._list, [problem or _missing(self._list, self._directory, [number])])
            self._directory = found

    def close(self) -> None:
        for number in self._open.values():
            os.close(number)
        self._open.clear()


def _wrong(listed: PartList, problems: list[str]) -> BundleError:
    lines = f" {problems[0]}" if len(problems) == 1 else "".join(f"\n    {problem}" for problem in problems)
    return BundleError(f"{listed.name} in parts:{lines}", hint="copy what is named here again from where it was whole")


def _missing(listed: PartList, directory: Path, numbers: list[int]) -> str:
    names = ", ".join(listed.part(n) for n in numbers)
    last = " (the last)" if numbers == [len(listed.parts) - 1] else ""
    return f"{names}{last} of {len(listed.parts)} parts is not in {directory}"


def _problem(listed: PartList, path: Path, number: int) -> str:
    """What is wrong with a part at first sight: its size, or that it begins as another does."""
    part = listed.parts[number]
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = "sha256:" + hashlib.sha256(file.read(min(HEAD, part.size))).hexdigest()
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"
    if head != part.head:
        others = [n for n in recognise(listed.parts, head) if n != number]
        if others:
            return f"{path.name} holds part {others[0] + 1}, not part {number + 1}"
        if size >= min(HEAD, part.size):
            return (
                f"{path.name} is not part {number + 1} of this bundle: its bytes 0-{min(HEAD, part.size) - 1:,} are "
                "those of another one, or damaged"
            )
    if size < part.size:
        return f"{path.name} is cut short: it has {size:,} of {part.size:,} bytes"
    if size > part.size:
        return f"{path.name} has {size - part.size:,} bytes behind its end"
    return ""


@contextlib.contextmanager
def opened(source: Path | Reads, ask: Ask | None = None) -> Iterator[tuple[Source, str, int | None]]:
    """The bytes of a bundle, its name for messages, its size where that is known.

    InputError: it cannot be read. BundleError: parts that are missing or wrong; all of them are named. ``ask`` gets the
    next medium where a part is not there.
    """
    if not isinstance(source, Path):
        yield Piped(source), str(getattr(source, "name", "the input")), None
        return
    listed = list_beside(source)
    if listed is not None:
        parts = read_list(listed)
        with contextlib.closing(Parted(parts, listed.parent, ask)) as parted:
            yield parted, str(listed.with_name(parts.name)), parted.size
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
    first = source.with_name(part_name(source.name, 0))
    if first.exists():
        return f", only {first.name}, without the list of the parts ({source.name}.parts.json)"
    with contextlib.suppress(OSError):
        return did_you_mean(source.name, [path.name for path in source.parent.iterdir()])
    return ""
