"""What an engine is sent of a bundle: which layers it has already, and which must come from the bases of a delta."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from generator.bundle.engines.loader import Holdings
from generator.bundle.files import File, lent, missing_bases, vouched
from generator.bundle.format.archive import CHUNK
from generator.bundle.format.damage import Damage, damaged
from generator.bundle.format.members import Expected
from generator.bundle.format.model import BundleIndex
from generator.bundle.format.source import Window
from generator.bundle.format.walk import take
from generator.errors import InputError, Problem


@dataclass(frozen=True)
class Borrowed:
    """A layer that a base has and the bundle has not."""

    file: File
    member: Expected

    def chunks(self, outcome: str) -> Iterator[bytes]:
        """Its bytes; after the last one DamagedError (which ends with ``outcome``) where they were not right."""
        window = Window(self.file.source, self.member.start)
        sha, left = hashlib.sha256(), self.member.size
        while left and (chunk := take(window, min(left, CHUNK), self.file.name)):
            left -= len(chunk)
            sha.update(chunk)
            yield chunk
        if "sha256:" + sha.hexdigest() != self.member.digest:
            start, end = self.member.start, self.member.start + self.member.size
            where = self.file.source.where(start, end)
            found = Damage(self.member.label, self.member.images, start, end, "does not match its digest", where)
            raise damaged(self.file.name, self.file.plan, [found], outcome)


@dataclass(frozen=True)
class Supply:
    """Digests that the engine has, and layers from bases in the order in which they are sent."""

    there: frozenset[str]
    borrowed: tuple[Borrowed, ...]


def supply(top: File, bases: Sequence[File], chosen: BundleIndex, holdings: Holdings) -> Supply:
    """How the engine gets ``chosen``, a part of ``top``. InputError names the bases that are missing."""
    there = _there(top.index, vouched(top, bases), chosen, holdings)
    absent = {one.digest for one in top.index.absent}
    needed = [d for d in chosen.blobs() if d in absent and d not in there]
    members = {digest: Borrowed(file, member) for digest, (file, member) in lent(top, bases).items()}
    lost = [digest for digest in needed if digest not in members]
    if lost:
        users = [i.label for i in chosen.images if any(blob.digest in lost for blob in i.blobs())]
        message = f"is a delta, and its base is missing: {missing_bases(top, bases)}"
        hint = f"fategen bundle load {top.name} BASE; or load the base first"
        raise InputError(Problem(top.name, f"{message}; it has {len(lost)} layers of {', '.join(users)}"), hint=hint)
    return Supply(there, tuple(members[digest] for digest in needed))


def _there(index: BundleIndex, bases: Sequence[File], chosen: BundleIndex, holdings: Holdings) -> frozenset[str]:
    prefixes = {chain[:length] for chain in holdings.chains for length in range(1, len(chain) + 1)}
    whole = {blob for one in index.absent if holdings.manifests.intersection(one.manifests) for blob in (one.digest,)}
    for known in (index, *(base.index for base in bases)):
        for image in known.images:
            for variant in image.variants:
                if variant.manifest.digest in holdings.manifests:
                    whole |= {layer.blob.digest for layer in variant.layers}
    found: set[str] = set()
    send: set[str] = set()
    for image in chosen.images:
        for variant in image.variants:
            diff_ids = tuple(layer.diff_id for layer in variant.layers)
            for number, layer in enumerate(variant.layers):
                known_here = layer.blob.digest in whole or diff_ids[: number + 1] in prefixes
                (found if known_here else send).add(layer.blob.digest)
    # one place where it stands on other layers is enough to send it
    return frozenset(found - send)
