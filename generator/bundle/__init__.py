"""Bundles: one file that carries images to an air-gapped site. docs/library.md shows a program that uses this.

A function that reads takes a ``Path`` or anything with ``read``; one that takes long calls ``progress(what, done,
total)`` with bytes, which may raise to stop it. What goes wrong is a ``FategenError`` (generator.errors): its message
says what was found and its ``hint`` what to do.
"""

from generator.bundle.diff import Difference, diff
from generator.bundle.engines import Engine, engine_called
from generator.bundle.index import BundleIndex, open_files, short_root
from generator.bundle.load import Loaded, LoadResult, load
from generator.bundle.reader import Approve, Damage, DamagedError, Inspection, VerifyResult, extract, inspect, verify
from generator.bundle.save import SaveResult, save
from generator.bundle.signature import Signed, required, sign
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
    "Signed",
    "SourceImage",
    "VerifyResult",
    "diff",
    "engine_called",
    "extract",
    "inspect",
    "load",
    "open_files",
    "required",
    "save",
    "short_root",
    "sign",
    "verify",
]
