"""What the readers of both descriptions share: the small documents of an archive, and what was found to be wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from generator.bundle.foreign.scan import File, Scan
from generator.bundle.format.members import blob_name
from generator.images import reference
from generator.images.oci import Descriptor
from generator.text import one_line

SWAPPED = "does not match its digest: something else stands in its place"
UNREADABLE = "is missing, or not a JSON document of a readable size"


@dataclass
class Reader:
    scan: Scan
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def blob(self, wanted: Descriptor) -> File | None:
        found = self.scan.files.get(blob_name(wanted.digest))
        if found and found.size != wanted.size:
            self.problems.append(f"{wanted.digest} has {found.size:,} bytes, its manifest says {wanted.size:,}")
        return found

    def document(self, wanted: Descriptor, what: str) -> bytes | None:
        """The content of a small blob; ``None``: it is not there, or it is not what its digest says."""
        data = self.scan.documents.get(blob_name(wanted.digest))
        if data is None:
            if blob_name(wanted.digest) in self.scan.files:
                self.problems.append(f"{what} {wanted.digest} is not a JSON document of a readable size")
            return None
        if digest_of(data) != wanted.digest or len(data) != wanted.size:
            self.problems.append(
                f"{what} {wanted.digest} does not match its digest: something else stands in its place"
            )
            return None
        return data


def names_of(reader: Reader, stated: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Full references, and the tag that stands there without a name, as skopeo writes it for oci-archive:FILE:TAG."""
    full: set[str] = set()
    tag = ""
    for name in stated:
        try:
            if not re.search("[/:]", name):
                tag = tag or one_line(name)[:128]
            else:
                full.add(reference.normalise(name))
        except ValueError as error:
            reader.notes.append(f"a name is left out: {error}")
    return tuple(sorted(full)), "" if full else tag


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
