"""A bundle together with its base bundles, and the blobs of a bundle file by digest. A delta bundle needs both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.bundle.format import Member
from generator.bundle.index import short_root
from generator.bundle.reader import Bundle, check_end, open_bundle
from generator.errors import InputError, Problem
from generator.images.image import Readable
from generator.images.oci import Descriptor


@dataclass(frozen=True)
class Blobs:
    """A bundle and its base bundles, and by digest the ``blobs`` in the bundle's file, and those layers that it leaves
    out which one of the bases has."""

    bundle: Bundle
    bases: Sequence[Bundle]
    blobs: dict[str, tuple[Bundle, Member]]

    @property
    def missing_bases(self) -> str:
        """The names and root digests of the base bundles that were not given, "" if all were."""
        given = {base.index.root for base in self.bases}
        wanted = [base for b in (self.bundle, *self.bases) for base in b.index.bases if base.root not in given]
        return ", ".join(dict.fromkeys(base.label for base in wanted))

    def chunks(self, blob: Descriptor) -> Iterator[bytes]:
        """The bytes of a blob; the last piece only when the whole blob is right. Raises BundleError if it is not,
        InputError for a layer of a base bundle that was not given."""
        if blob.digest in self.blobs:
            bundle, member = self.blobs[blob.digest]
            return bundle.chunks(member)
        missing = len(self.bundle.index.blobs().keys() - self.blobs.keys())
        count = "1 layer is" if missing == 1 else f"{missing} layers are"
        message = f"is a delta bundle, and {count} in {self.bundle.index.base_names}"
        raise InputError(Problem(self.bundle.name, message), hint="add that bundle with --base")


@contextlib.contextmanager
def open_blobs(path: Path, bases: Sequence[Path] = (), outcome: str = "") -> Iterator[Blobs]:
    """A bundle that is a file, so that its blobs can be read in any order, and its base bundles."""
    with open_bundles((path, *bases), outcome) as blobs:
        if blobs.bundle.file_size is None:
            raise InputError(Problem(blobs.bundle.name, "it must be a file, because its blobs are read in any order"))
        check_end(blobs.bundle)
        yield blobs


@contextlib.contextmanager
def open_bundles(sources: Sequence[Path | Readable], outcome: str) -> Iterator[Blobs]:
    """The bundle among ``sources``, which is no base of another (the first of several), and its base bundles.

    ``outcome`` ends the messages about damage. Raises InputError for one that is neither named as a base nor has layers
    that the bundle leaves out.
    """
    with contextlib.ExitStack() as closing:
        bundles = [closing.enter_context(open_bundle(source, outcome)) for source in sources]
        roots = {base.root for bundle in bundles for base in bundle.index.bases}
        top = next((bundle for bundle in bundles if bundle.index.root not in roots), bundles[0])
        bases = [bundle for bundle in bundles if bundle is not top]
        own = {member.digest: (top, member) for member in top.members if member.is_blob}
        blobs = Blobs(top, bases, {**own, **_layers_in_bases(top, bases)})
        unrelated = [b for b in bases if b.index.root not in roots and not _layers_in_bases(top, [b])]
        if unrelated:
            hint = "pass only the bundle and its bases; run the command again for every other bundle"
            if len(blobs.blobs) < len(top.index.blobs()):
                hint = f"it needs {blobs.missing_bases}"
            names = [(base.name, f"{base.index.name} ({short_root(base.index.root)})") for base in unrelated]
            raise InputError([Problem(file, f"is {name}, not a base of {top.name}") for file, name in names], hint=hint)
        if pipes := [base.name for base in bases if base.file_size is None]:
            raise InputError([Problem(name, "a base must be a file: it is not read from a pipe") for name in pipes])
        yield blobs


def _layers_in_bases(bundle: Bundle, bases: Sequence[Bundle]) -> dict[str, tuple[Bundle, Member]]:
    """The layers that the bundle leaves out and a base has, by digest."""
    blobs = bundle.index.blobs()
    sizes = {layer.digest: blobs[layer.digest].size for layer in bundle.index.missing}
    layers: dict[str, tuple[Bundle, Member]] = {}
    for base in bases:
        for member in base.members:
            if member.role == "layer" and sizes.get(member.digest) == member.size:
                layers.setdefault(member.digest, (base, member))
    return layers
