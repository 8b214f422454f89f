"""A bundle together with its base bundles, and the blobs of a bundle file by digest. A delta bundle needs both."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.bundle.format import Member
from generator.bundle.index import BundleIndex, short_root
from generator.bundle.reader import Bundle, MemberBytes, check_end, damaged, open_bundle, read_member
from generator.errors import InputError, Problem
from generator.images.image import Readable

_NOTHING_SENT = "nothing of the damaged part was sent"


@dataclass(frozen=True)
class Blob:
    """A blob in a bundle file. Its methods raise DamagedError, which ends with ``outcome``, if it is damaged."""

    bundle: Bundle
    member: Member

    def as_member(self, outcome: str) -> Iterator[bytes]:
        """The member that holds it, with header and padding."""
        data = read_member(self.bundle, self.member, outcome)
        yield from data
        self._require_right(data, outcome)

    def chunks(self, outcome: str) -> Iterator[bytes]:
        """Its bytes. The last piece comes when all of it is right."""
        data = read_member(self.bundle, self.member, outcome)
        last = b""
        for piece in data.content():
            if last:
                yield last
            last = piece
        self._require_right(data, outcome)
        yield last

    def _require_right(self, data: MemberBytes, outcome: str) -> None:
        if damage := data.check():
            raise damaged(self.bundle, [damage], outcome)


@dataclass(frozen=True)
class Blobs:
    """``blobs`` of a bundle by digest, each in its file or in a base bundle's. Thread-safe.

    For a delta, ``blobs`` lacks the layers of base bundles that were not given.
    """

    name: str
    index: BundleIndex
    blobs: dict[str, Blob]

    def chunks(self, digest: str) -> Iterator[bytes]:
        """The bytes of a blob; the last piece only when the whole blob is right. Raises BundleError if it is not."""
        if digest not in self.blobs:
            self.require_all()
        return self.blobs[digest].chunks(_NOTHING_SENT)

    def document(self, digest: str) -> bytes:
        """An index, a manifest or a config, which also matches the bundle index. Raises BundleError if it does not."""
        return b"".join(self.chunks(digest))

    def require_all(self) -> None:
        """Raises InputError if a delta's base bundles were not given."""
        missing = self.index.blobs().keys() - self.blobs.keys()
        if missing:
            count = "1 layer is" if len(missing) == 1 else f"{len(missing)} layers are"
            message = f"is a delta bundle, and {count} in {self.index.base_names}"
            raise InputError(Problem(self.name, message), hint="add that bundle with --base")


@contextlib.contextmanager
def open_blobs(path: Path, bases: Sequence[Path] = ()) -> Iterator[Blobs]:
    """The blobs of a bundle, of a delta together with its base bundles.

    Raises InputError if it cannot be read or is a pipe, BundleError if it is no bundle or does not end where it must.
    """
    with open_bundles((path, *bases)) as (bundle, others):
        if bundle.file_size is None:
            raise InputError(Problem(bundle.name, "it must be a file, because its blobs are read in any order"))
        check_end(bundle, outcome=_NOTHING_SENT)
        blobs = {member.digest: Blob(bundle, member) for member in bundle.contents.members if member.is_blob}
        yield Blobs(bundle.name, bundle.index, {**blobs, **layers_in_bases(bundle, others)})


@contextlib.contextmanager
def open_bundles(sources: Sequence[Path | Readable]) -> Iterator[tuple[Bundle, list[Bundle]]]:
    """The bundle among ``sources`` and its base bundles; which is which follows from their indexes.

    Raises InputError if one cannot be read or is not a base of the bundle, BundleError if one is not a bundle.
    """
    with contextlib.ExitStack() as closing:
        bundle, bases = _bundle_and_bases([closing.enter_context(open_bundle(source)) for source in sources])
        pipes = [base.name for base in bases if base.file_size is None]
        if pipes:
            raise InputError([Problem(name, "a base must be a file: it is not read from a pipe") for name in pipes])
        yield bundle, bases


def missing_bases(bundle: Bundle, given: Collection[Bundle]) -> str:
    """The names and root digests of the base bundles that are not ``given``, "" if all are."""
    roots = {base.index.root for base in given}
    wanted = [base for b in (bundle, *given) for base in b.index.bases if base.root not in roots]
    return ", ".join(dict.fromkeys(base.label for base in wanted))


def named_bases(bundle: Bundle, given: Collection[Bundle]) -> list[Bundle]:
    """Those of the given bases that the bundle names by their root digests, or that one of these names.

    The others are trusted for layers by their digests only, not for which image has which layers.
    """
    roots = {base.root for base in bundle.index.bases}
    named: list[Bundle] = []
    while more := [base for base in given if base.index.root in roots and base not in named]:
        named += more
        roots |= {base.root for b in more for base in b.index.bases}
    return named


def layers_in_bases(bundle: Bundle, bases: Sequence[Bundle]) -> dict[str, Blob]:
    """The layers that the bundle leaves out and a base has, by digest."""
    blobs = bundle.index.blobs()
    sizes = {layer.digest: blobs[layer.digest].size for layer in bundle.index.missing}
    layers: dict[str, Blob] = {}
    for base in bases:
        for member in base.contents.members:
            if member.role == "layer" and sizes.get(member.digest) == member.size:
                layers.setdefault(member.digest, Blob(base, member))
    return layers


def _bundle_and_bases(bundles: Sequence[Bundle]) -> tuple[Bundle, list[Bundle]]:
    """The bundle that is no base of another (the first of several), and its bases: those that it names, and others
    that have layers which it leaves out. Raises InputError if some have nothing to do with it.
    """
    roots = {base.root for bundle in bundles for base in bundle.index.bases}
    top = next((bundle for bundle in bundles if bundle.index.root not in roots), bundles[0])
    bases = [bundle for bundle in bundles if bundle is not top]
    named = named_bases(top, bases)
    unrelated = [base for base in bases if base not in named and not layers_in_bases(top, [base])]
    if unrelated:
        incomplete = len(layers_in_bases(top, bases)) < len(top.index.missing)
        other = "load them one after the other" if not top.index.bases else "leave it out"
        raise InputError(
            [
                Problem(base.name, f"is {base.index.name} ({short_root(base.index.root)}), not a base of {top.name}")
                for base in unrelated
            ],
            hint=f"it needs {missing_bases(top, bases)}" if incomplete else other,
        )
    return top, bases
