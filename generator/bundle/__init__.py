"""Bundles: one file that carries images to an air-gapped site. docs/library.md shows a program that uses this.

Written: ``index`` says what is in it, ``format`` lays out the members, ``save`` writes them.
Read: ``reader`` checks every byte, alone (``verify``) or for ``load`` (into ``engines``) and ``push`` (to a registry).

A function that reads takes a ``Path`` or anything with ``read``; one that takes long calls ``progress(what, done,
total)`` with bytes, which may raise to stop it. What goes wrong is a ``FategenError`` (generator.errors): its message
says what was found and its ``hint`` what to do.
"""

from generator.bundle.diff import Difference, diff
from generator.bundle.engines import Engine, engine_from_name
from generator.bundle.index import BundleIndex, open_files, short_root
from generator.bundle.load import Loaded, LoadResult, load
from generator.bundle.reader import Approve, Damage, DamagedError, Inspection, extract, inspect, verify
from generator.bundle.save import SaveResult, save
from generator.bundle.signature import sign, signature_check
from generator.images.image import Image, PlatformImage
from generator.images.layout import SourceImage
from generator.progress import Progress

__all__ = [
    "Approve",
    "BundleIndex",
    "Damage",
    "DamagedError",
    "Difference",
    "Engine",
    "Image",
    "Inspection",
    "LoadResult",
    "Loaded",
    "PlatformImage",
    "Progress",
    "SaveResult",
    "SourceImage",
    "diff",
    "engine_from_name",
    "extract",
    "inspect",
    "load",
    "open_files",
    "save",
    "short_root",
    "sign",
    "signature_check",
    "verify",
]
