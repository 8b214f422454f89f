"""A bundle together with its base bundles, and the blobs of a bundle file by digest. A delta bundle needs both."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
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
    """Blobs by digest, each in the bundle's file or in a base bundle's, without those of bases that were not given."""

    bundle: Bundle
    blobs: dict[str, tuple[Bundle, Member]]

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
    """The blobs of a bundle, of a delta together with its base bundles. ``outcome`` ends the messages about damage."""
    with open_bundles((path, *bases), outcome) as (bundle, others):
        if bundle.file_size is None:
            raise InputError(Problem(bundle.name, "it must be a file, because its blobs are read in any order"))
        check_end(bundle)
        blobs = {member.digest: (bundle, member) for member in bundle.members if member.is_blob}
        yield Blobs(bundle, {**blobs, **layers_in_bases(bundle, others)})


@contextlib.contextmanager
def open_bundles(sources: Sequence[Path | Readable], outcome: str) -> Iterator[tuple[Bundle, list[Bundle]]]:
    """The bundle among ``sources``, which is no base of another (the first of several), and its base bundles.

    Raises InputError for one that is neither named as a base nor has layers that the bundle leaves out.
    """
    with contextlib.ExitStack() as closing:
        bundles = [closing.enter_context(open_bundle(source, outcome)) for source in sources]
        roots = {base.root for bundle in bundles for base in bundle.index.bases}
        top = next((bundle for bundle in bundles if bundle.index.root not in roots), bundles[0])
        bases = [bundle for bundle in bundles if bundle is not top]
        unrelated = [b for b in bases if b.index.root not in roots and not layers_in_bases(top, [b])]
        if unrelated:
            hint = "pass only the bundle and its bases; run the command again for every other bundle"
            if len(layers_in_bases(top, bases)) < len(top.index.missing):
                hint = f"it needs {missing_bases(top, bases)}"
            names = [(base.name, f"{base.index.name} ({short_root(base.index.root)})") for base in unrelated]
            raise InputError([Problem(file, f"is {name}, not a base of {top.name}") for file, name in names], hint=hint)
        if pipes := [base.name for base in bases if base.file_size is None]:
            raise InputError([Problem(name, "a base must be a file: it is not read from a pipe") for name in pipes])
        yield top, bases


def missing_bases(bundle: Bundle, given: Collection[Bundle]) -> str:
    """The names and root digests of the base bundles that are not ``given``, "" if all are."""
    roots = {base.index.root for base in given}
    wanted = [base for b in (bundle, *given) for base in b.index.bases if base.root not in roots]
    return ", ".join(dict.fromkeys(base.label for base in wanted))


def layers_in_bases(bundle: Bundle, bases: Sequence[Bundle]) -> dict[str, tuple[Bundle, Member]]:
    """The layers that the bundle leaves out and a base has, by digest."""
    blobs = bundle.index.blobs()
    sizes = {layer.digest: blobs[layer.digest].size for layer in bundle.index.missing}
    layers: dict[str, tuple[Bundle, Member]] = {}
    for base in bases:
        for member in base.members:
            if member.role == "layer" and sizes.get(member.digest) == member.size:
                layers.setdefault(member.digest, (base, member))
    return layers
