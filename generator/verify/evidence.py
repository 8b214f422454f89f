"""The content of an image: its config, and its files as the layers make them, in memory and never on disk."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from generator.images.strictjson import fields, items, parse, text
from generator.verify.layers import Entry, Listing

LINKS = 40
"""Links that are followed in one path, as Linux does (path_resolution(7))."""
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(frozen=True)
class Settings:
    """The part of an image's config that a contract can ask for (OCI image-spec, config.md)."""

    user: str
    workdir: str
    ports: tuple[str, ...]
    labels: Mapping[str, str]
    environment: Mapping[str, str]
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """What an image holds. ``size`` is that of all its layers unpacked, in bytes, with what a later layer hides."""

    settings: Settings
    files: Listing
    size: int

    def resolve(self, path: str) -> str:
        """The path without links in its directories; a link at its end stays. "" for a circle of links."""
        done, left, links = "", path.strip("/").split("/"), 0
        while left:
            part = left.pop(0)
            if part in ("", "."):
                continue
            here = posixpath.dirname(done) if part == ".." else f"{done}/{part}"
            entry = self.files.get(here)
            if entry is not None and entry.type == "link" and left:
                links += 1
                if links > LINKS:
                    return ""
                left = [*entry.target.split("/"), *left]
                done = "" if entry.target.startswith("/") else done
                continue
            done = "" if here == "/" else here
        return done or "/"

    def find(self, path: str, *, follow: bool = True) -> Entry | None:
        """The entry at a path, through links; ``follow``: also through a link at its end."""
        for _ in range(LINKS):
            path = self.resolve(path)
            entry = self.files.get(path)
            if entry is None or entry.type != "link" or not follow:
                return entry
            path = posixpath.join(posixpath.dirname(path), entry.target)
        return None


def evidence_of(config: bytes, layers: Sequence[Listing]) -> Evidence:
    """What an image of this config and these layers holds. Raises Malformed."""
    size = sum(entry.size for layer in layers for entry in layer.values())
    return Evidence(parse_settings(config), overlaid(layers), size)


def parse_settings(config: bytes) -> Settings:
    """The settings in an image's config. Raises Malformed."""
    inner = fields(fields(parse(config), "the config", ()).get("config") or {}, "config", ())

    def texts(key: str) -> tuple[str, ...]:
        return tuple(text(word, key) for word in items(inner.get(key) or [], key))

    def word(key: str) -> str:
        return text(inner.get(key) or "", key)

    labels = fields(inner.get("Labels") or {}, "Labels", ())
    pairs = [variable.partition("=") for variable in texts("Env")]
    return Settings(
        user=word("User"),
        workdir=word("WorkingDir") or "/",
        ports=tuple(sorted(fields(inner.get("ExposedPorts") or {}, "ExposedPorts", ()))),
        labels={name: text(value, name) for name, value in labels.items()},
        environment={name: value for name, _, value in pairs},
        command=texts("Cmd"),
        entrypoint=texts("Entrypoint"),
    )


def overlaid(layers: Iterable[Listing]) -> dict[str, Entry]:
    """The files of an image: each layer over those before it, as its whiteouts say (OCI image-spec, layer.md)."""
    files: dict[str, Entry] = {}
    for layer in layers:
        _apply(files, layer)
    return files


def _apply(files: dict[str, Entry], layer: Listing) -> None:
    gone: set[str] = set()
    emptied: set[str] = set()
    for path, entry in layer.items():
        directory, _, name = path.rpartition("/")
        if name == OPAQUE:
            emptied.add(directory)
        elif name.startswith(WHITEOUT):
            gone.add(f"{directory}/{name[len(WHITEOUT) :]}")
        elif entry.type != "directory" and (old := files.get(path)) is not None and old.type == "directory":
            emptied.add(path)
    if gone or emptied:
        for path in [path for path in files if _hidden(path, gone, emptied)]:
            del files[path]
    for path, entry in layer.items():
        if not path.rpartition("/")[2].startswith(WHITEOUT):
            files[path] = entry


def _hidden(path: str, gone: set[str], emptied: set[str]) -> bool:
    if path in gone:
        return True
    while path:
        path = path.rpartition("/")[0]
        if path in gone or path in emptied:
            return True
    return False
