"""Bundles: one file that carries images to a place without a network. docs/library.md shows a program that uses it.

A function that reads takes a ``Path`` or anything with ``read``; one that takes long calls ``progress(what, done,
total)`` with bytes, which may raise to stop it. What goes wrong is a ``FategenError`` (generator.errors): its message
says what was found and its ``hint`` what to do.
"""

from generator.bundle.check import Approve, Inspection, VerifyResult, inspect, verify
from generator.bundle.diff import Difference, diff
from generator.bundle.engines.into import engine_called
from generator.bundle.engines.loader import Loaded, Loader
from generator.bundle.extract import extract
from generator.bundle.format.archive import Progress
from generator.bundle.format.base import short_root
from generator.bundle.format.damage import Damage, DamagedError
from generator.bundle.format.model import BundleIndex, Image, Variant
from generator.bundle.format.small_files import open_files
from generator.bundle.load import LoadResult, load
from generator.bundle.save import SaveResult, save
from generator.bundle.signature import Signed, required, sign
from generator.images.layout import SourceImage

__all__ = [
    "Approve",
    "BundleIndex",
    "Damage",
    "DamagedError",
    "Difference",
    "Image",
    "Inspection",
    "LoadResult",
    "Loaded",
    "Loader",
    "Progress",
    "SaveResult",
    "Signed",
    "SourceImage",
    "Variant",
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
