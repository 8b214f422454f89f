"""Makes broken and hostile archives of good ones: single bytes, members, headers and JSON, the checksums right."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence


class Mutator:
    """Makes an archive of another one."""

    def __init__(self, stock: Sequence[bytes], random: random.Random) -> None:
        from tests.bundle.test_hostile_archives import MEMBERS
        from tests.bundle.test_reader import RAW

        self._stock, self.random = list(stock), random
        self._hostile, self._documents = list(MEMBERS.values()), list(RAW.values())

    def fresh(self) -> bytes:
        return self.mutate(self.random.choice(self._stock))

    def mutate(self, data: bytes) -> bytes:
        for _ in range(self.random.choice((1, 1, 1, 2, 3, 8))):
            data = self._once(data)
        return data

    def _once(self, data: bytes) -> bytes:
        rng = self.random
        kind = rng.randrange(10)
        if kind == 0:
            return self._bytes(data)
        if kind == 1:
            return data[: rng.randrange(len(data) + 1)]
        members = split(data)
        if not members:
            return self._bytes(data)
        at = rng.randrange(len(members))
        if kind == 2:
            del members[at]
        elif kind == 3:
            members.insert(rng.randrange(len(members) + 1), members[at])
        elif kind == 4:
            members.insert(at, rng.choice(self._hostile))
        elif kind == 5:
            other = split(rng.choice(self._stock)) or members
            members.insert(at, rng.choice(other))
        elif kind == 6:
            members[at] = self._header(members[at])
        elif kind == 7:
            members[at] = members[at][:512] + self._bytes(members[at][512:])
        else:
            members = self._document(members)
        return b"".join(members)

    def _bytes(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self.random.choice((1, 2, 16))):
            if changed:
                changed[self.random.randrange(len(changed))] = self.random.choice((0, 1, 0x7F, 0x80, 0xFF, 0x2F, 0x2E))
        return bytes(changed)

    def _header(self, member: bytes) -> bytes:
        """Another name, kind, size or link, with a right checksum."""
        rng, block = self.random, bytearray(member[:512].ljust(512, b"\0"))
        field = rng.randrange(5)
        if field == 0:
            block[156:157] = rng.choice((b"0", b"1", b"2", b"3", b"5", b"6", b"L", b"K", b"x", b"g", b"S", b"\0", b"7"))
        elif field == 1:
            sizes = (b"%011o\0" % rng.randrange(1 << rng.randrange(34)), b"\x80" + rng.randbytes(11), rng.randbytes(12))
            block[124:136] = rng.choice(sizes)
        elif field == 2:
            name = rng.choice((b"../x", b"/x", b"./manifest.json", b"index.json", b"oci-layout", b"blobs", b"a/../b"))
            block[0:100] = name.ljust(100, b"\0")
        elif field == 3:
            block[157:257] = rng.choice((b"../x", b"manifest.json", b"x", b"../a1/layer.tar")).ljust(100, b"\0")
        else:
            block[rng.randrange(512)] = rng.randrange(256)
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block) + member[512:]

    def _document(self, members: list[bytes]) -> list[bytes]:
        """Another value somewhere in a JSON document, or another document in its place; the size is right."""
        places = [i for i, member in enumerate(members) if member[512:513] in (b"{", b"[")]
        if not places:
            return members
        at = self.random.choice(places)
        try:
            value = json.loads(members[at][512:].rstrip(b"\0"))
        except (ValueError, RecursionError):
            return members
        content = (
            json.dumps(self._value(value)).encode()
            if self.random.random() < 0.9
            else self.random.choice(self._documents)
        )
        head = bytearray(members[at][:512])
        head[124:136] = b"%011o\0" % len(content)
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        members[at] = bytes(head) + content + bytes(-len(content) % 512)
        return members

    def _value(self, value: object) -> object:
        rng = self.random
        if isinstance(value, dict) and value and rng.random() < 0.9:
            key = rng.choice(list(value))
            if rng.random() < 0.1:
                return {k: v for k, v in value.items() if k != key}
            return {**value, key: self._value(value[key])}
        if isinstance(value, list) and value and rng.random() < 0.9:
            at = rng.randrange(len(value))
            return rng.choice((value[:at] + value[at + 1 :], [*value, value[at]],
                               [*value[:at], self._value(value[at]), *value[at + 1 :]]))  # fmt: skip
        plain = (None, True, -1, 0, 1 << 70, 1.5, "", "x", "../x", "sha256:" + "0" * 64, "\x1b")
        return rng.choice((*plain, [], {}, [None], {"a": 1}))


def split(data: bytes) -> list[bytes]:
    """The members of a tar as they stand, the end mark as the last; empty where it is none."""
    found, at = [], 0
    while at + 512 <= len(data) and data[at : at + 512].strip(b"\0"):
        try:
            size = int(data[at + 124 : at + 135].strip(b"\0 ") or b"0", 8)
        except ValueError:
            return []
        end = at + 512 + size + -size % 512
        found.append(data[at:end])
        at = end
    return [*found, data[at:]] if found else []
