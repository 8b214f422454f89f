"""Writes a bundle in parts: ``X.fate.tar.001``, ``.002``, … and ``X.fate.tar.parts.json``, each whole or not at all.

The parts are written under hidden names. When the last one is on the disk they get their names, then the list is
written: as long as there is no list, no command takes what is there for a bundle. Parts of an older, longer bundle of
the same name are removed, since ``cat X.fate.tar.[0-9]*`` would take them too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from types import TracebackType

from generator.bundle.disk_file import DiskFile
from generator.bundle.format.base import NAME
from generator.bundle.format.parts import HEAD, MAX_PARTS, SUFFIX, Part, PartList, part_name
from generator.errors import InputError, Problem


def check_split(output: Path, size: int, most: int) -> None:
    """InputError where ``size`` bytes cannot become parts of ``output`` of at most ``most`` bytes."""
    count = -(-size // most)
    if count > MAX_PARTS:
        message = f"{size:,} bytes make {count:,} parts of {most:,}, at most {MAX_PARTS}"
        raise InputError(Problem("--split", message), hint="take a larger size")
    if not NAME.fullmatch(output.name):
        raise InputError(Problem(str(output), "parts need a plain name (letters, digits, '.', '_', '-')"))
    if output.exists():
        message = "is there already, and would be read in place of its parts"
        raise InputError(Problem(str(output), message), hint=f"rm {output}, or name another file with -o")


class PartsWriter:
    """Takes the bytes of the whole, for ``with``. Unless ``publish`` was called, leaving it leaves nothing behind."""

    def __init__(self, output: Path, most: int) -> None:
        self._output, self._most = output, most
        self._file: DiskFile | None = None
        self._left = 0
        self._done: list[Part] = []
        self._hidden: list[Path] = []

    def __enter__(self) -> PartsWriter:
        # what a killed run has left
        for path in _numbered(self._output, ".{}.part"):
            path.unlink()
        return self

    def write(self, data: bytes, /) -> None:
        """The next bytes. OSError where the disk fails."""
        view = memoryview(data)
        if not view and self._file is not None:
            self._file.write(view)
        while view:
            if not self._left:
                self._end()
                self._begin()
            piece, view = view[: self._left], view[self._left :]
            assert self._file is not None
            self._file.write(piece)
            self._sha.update(piece)
            if self._at < HEAD:
                self._head.update(piece[: HEAD - self._at])
            self._at += len(piece)
            self._left -= len(piece)

    def publish(self, root: str) -> str:
        """Gives the parts their names and writes their list; returns the lines for ``sha256sum -c``."""
        self._end()
        listed = PartList(self._output.name, root, tuple(self._done))
        list_file = self._output.with_name(self._output.name + SUFFIX)
        list_file.unlink(missing_ok=True)
        for number, hidden in enumerate(self._hidden):
            hidden.replace(self._output.with_name(listed.part(number)))
        for old in _numbered(self._output, "{}"):
            if int(old.name[-3:]) > len(listed.parts):
                old.unlink()
        self._hidden = []
        hidden = list_file.with_name(f".{list_file.name}.part")
        self._hidden.append(hidden)
        with hidden.open("wb") as file:
            file.write(listed.encode())
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(list_file)
        return "".join(
            f"{part.sha256.partition(':')[2]}  {listed.part(number)}\n" for number, part in enumerate(listed.parts)
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        for hidden in self._hidden:
            hidden.unlink(missing_ok=True)

    def _begin(self) -> None:
        path = self._output.with_name(f".{part_name(self._output.name, len(self._done))}.part")
        self._hidden.append(path)
        self._file = DiskFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        self._sha, self._head = hashlib.sha256(), hashlib.sha256()
        self._at, self._left = 0, self._most

    def _end(self) -> None:
        if self._file is None:
            return
        self._file.finish()
        self._file.close()
        self._file = None
        self._done.append(Part(self._at, f"sha256:{self._sha.hexdigest()}", f"sha256:{self._head.hexdigest()}"))


def remove_parts(output: Path) -> None:
    """The parts of an older bundle of this name: its list first, so that nothing takes what is left for a bundle."""
    output.with_name(output.name + SUFFIX).unlink(missing_ok=True)
    for old in _numbered(output, "{}"):
        old.unlink()


def _numbered(output: Path, form: str) -> list[Path]:
    """The files in its directory whose names are its parts' in this form."""
    pattern = re.compile(form.replace(".", r"\.").format(re.escape(output.name) + r"\.[0-9]{3}"))
    return [path for path in output.parent.iterdir() if pattern.fullmatch(path.name)]
