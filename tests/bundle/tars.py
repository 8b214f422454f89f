"""Archives made block by block, so that every byte can be wrong."""

from __future__ import annotations

from collections.abc import Mapping

from generator.bundle.format import BLOCK, TRAILER, padding


def head(
    name: bytes | str = "x",
    size: int = 0,
    kind: bytes = b"0",
    link: bytes | str = b"",
    *,
    field: bytes = b"",
    mode: int = 0o644,
    uid: bytes = b"0000000\0",
) -> bytes:
    """A header. ``field``: other bytes in the place of the size. Names are not cut nor checked."""
    block = bytearray(BLOCK)
    for at, text in ((0, name), (157, link)):
        data = text.encode() if isinstance(text, str) else text
        block[at : at + len(data)] = data
    block[100:124] = b"%07o\0" % mode + uid + b"0000000\0"
    block[124:136] = field or b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[257:265], block[329:345] = b"ustar\00000", b"0000000\0" * 2
    return sealed(bytes(block))


def sealed(block: bytes) -> bytes:
    """The same header with a right checksum."""
    total = sum(block[:148] + b" " * 8 + block[156:])
    return block[:148] + b"%06o\0 " % total + block[156:]


def member(name: bytes | str, content: bytes = b"", **more: object) -> bytes:
    """A header and its content, padded. The header says the content's size, if ``more`` says nothing else."""
    said = {"size": len(content), **more}
    return head(name, **said) + content + bytes(padding(len(content)))  # type: ignore[arg-type]


def pax(**records: str) -> bytes:
    """A PAX header with these records."""
    body = b""
    for key, value in records.items():
        line = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(line) + 1
        while length != len(str(length)) + len(line):
            length += 1
        body += str(length).encode() + line
    return member("pax", body, kind=b"x")


def tar(files: Mapping[str, bytes | str], *more: bytes, mode: int = 0o644) -> bytes:
    """A tar; text is the target of a symbolic link. ``more`` stands before the end mark."""
    members = [
        head(name, 0, b"2", link=content) if isinstance(content, str) else member(name, content, mode=mode)
        for name, content in files.items()
    ]
    return b"".join((*members, *more)) + TRAILER


def blob(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")
