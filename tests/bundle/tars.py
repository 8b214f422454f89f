"""Archives as other tools write them, and as nobody should: made block by block, so that every byte can be wrong."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from generator.bundle.format.archive import BLOCK, TRAILER, padding
from tests.bundle.layouts import CONFIG, GZIP, INDEX, MANIFEST, Json, sha256, tar_of

BASE = tar_of({"etc/base": b"shared by both\n" * 300})
OWN = {letter: tar_of({f"own/{letter}": letter.encode() * 999}) for letter in "ab"}


def head(
    name: bytes | str = "x",
    size: int = 0,
    kind: bytes = b"0",
    link: bytes | str = b"",
    *,
    field: bytes = b"",
    magic: bytes = b"ustar\00000",
    prefix: bytes = b"",
) -> bytes:
    """A header. ``field``: other bytes in the place of the size. Names are not cut nor checked."""
    block = bytearray(BLOCK)
    for at, text in ((0, name), (157, link), (345, prefix)):
        data = text.encode() if isinstance(text, str) else text
        block[at : at + len(data)] = data
    block[100:124] = b"0000644\0" + b"0000000\0" * 2
    block[124:136] = field or b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[257:265] = magic
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: bytes | str, content: bytes = b"", **more: object) -> bytes:
    """A header and its content, padded. The header says the content's size, if ``more`` says nothing else."""
    said = {"size": len(content), **more}
    return head(name, **said) + content + bytes(padding(len(content)))  # type: ignore[arg-type]


def pax(**records: str) -> bytes:
    """A PAX header with these records."""
    body = b""
    for key, value in records.items():
        line = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(line) + 1
        while length != len(str(length)) + len(line):
            length += 1
        body += str(length).encode() + line
    return member("pax", body, kind=b"x")


def tar(files: Mapping[str, bytes | str], *more: bytes) -> bytes:
    """A tar; text is the target of a symbolic link. ``more`` stands before the end mark."""
    members = [
        head(name, 0, b"2", link=content) if isinstance(content, str) else member(name, content)
        for name, content in files.items()
    ]
    return b"".join((*members, *more)) + TRAILER


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def config(letter: str, **more: object) -> bytes:
    ids = [sha256(BASE), sha256(OWN[letter])]
    found = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}, **more}
    return json.dumps(found).encode()


def blob(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")


def docker20(letters: str = "ab", space: str = "fgtest/") -> dict[str, bytes | str]:
    """``docker save`` before 25: directories by other ids than digests, a link for a layer that came before."""
    files: dict[str, bytes | str] = {}
    entries = []
    for letter in letters:
        name = f"{sha256(config(letter))[7:]}.json"
        files[name] = config(letter)
        files |= {f"{letter}1/VERSION": b"1.0", f"{letter}1/json": b"{}", f"{letter}2/layer.tar": OWN[letter]}
        files[f"{letter}1/layer.tar"] = BASE if letter == letters[0] else f"../{letters[0]}1/layer.tar"
        layers = [f"{letter}1/layer.tar", f"{letter}2/layer.tar"]
        entries.append({"Config": name, "RepoTags": [f"{space}{letter}:1.0"], "Layers": layers})
    return {**files, "manifest.json": json.dumps(entries).encode(), "repositories": b"{}"}


def podman(letters: str = "ab") -> dict[str, bytes | str]:
    """``podman save`` and skopeo's docker-archive: layers by diff id, and links in the old places."""
    files: dict[str, bytes | str] = {}
    entries = []
    for letter in letters:
        name, layers = f"{sha256(config(letter))[7:]}.json", [f"{sha256(t)[7:]}.tar" for t in (BASE, OWN[letter])]
        files |= {
            layers[0]: BASE,
            layers[1]: OWN[letter],
            f"{letter}1/layer.tar": f"../{layers[1]}",
            name: config(letter),
        }
        entries.append({"Config": name, "RepoTags": [f"docker.io/fgtest/{letter}:1.0"], "Layers": layers})
    return {**files, "manifest.json": json.dumps(entries).encode(), "repositories": b"{}"}


def crane(letters: str = "ab") -> dict[str, bytes | str]:
    """``crane pull``: compressed layers by digest, the config by its digest with a colon."""
    files: dict[str, bytes | str] = {}
    entries = []
    for letter in letters:
        packed = [gzip.compress(layer, mtime=0) for layer in (BASE, OWN[letter])]
        layers = [f"{sha256(data)[7:]}.tar.gz" for data in packed]
        files |= {sha256(config(letter)): config(letter), **dict(zip(layers, packed, strict=True))}
        entries.append({"Config": sha256(config(letter)), "RepoTags": [f"fgtest/{letter}:1.0"], "Layers": layers})
    return {**files, "manifest.json": json.dumps(entries).encode()}


@dataclass
class Oci:
    """An OCI layout under construction, as ``files`` of an archive."""

    files: dict[str, bytes | str]
    entries: list[Json]

    def put(self, data: bytes, media_type: str) -> Json:
        self.files[blob(sha256(data))] = data
        return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}

    def image(
        self, letter: str, *, media_type: str = GZIP, pack: Callable[[bytes], bytes] = gzipped, **more: object
    ) -> Json:
        """The manifest of an image whose layers are compressed; ``more`` goes into its config."""
        layers = [self.put(pack(data), media_type) for data in (BASE, OWN[letter])]
        found = {"schemaVersion": 2, "mediaType": MANIFEST, "config": self.put(config(letter, **more), CONFIG),
                 "layers": layers}  # fmt: skip
        return self.put(json.dumps(found).encode(), MANIFEST)

    def name(self, top: Json, name: str, key: str = "io.containerd.image.name") -> None:
        self.entries.append({**top, "annotations": {key: name}})

    def finish(self) -> dict[str, bytes | str]:
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries}
        return {**self.files, "index.json": json.dumps(index).encode(), "oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}


def oci(letters: str = "ab") -> dict[str, bytes | str]:
    """buildx type=oci, skopeo oci-archive, the containerd store's ``docker save`` without its manifest.json."""
    layout = Oci({}, [])
    for letter in letters:
        layout.name(layout.image(letter), f"docker.io/fgtest/{letter}:1.0")
    return layout.finish()


def multi(*, absent: bool = False, half: bool = False) -> dict[str, bytes | str]:
    """One image for two platforms. ``absent``: nothing of arm64 is there; ``half``: of arm64 the manifest alone."""
    layout = Oci({}, [])
    amd = layout.image("a")
    there = dict(layout.files)
    arm = layout.image("b", architecture="arm64")
    if absent or half:
        layout.files = there | ({blob(str(arm["digest"])): layout.files[blob(str(arm["digest"]))]} if half else {})
    places = {"amd64": amd, "arm64": arm}
    entries = [{**top, "platform": {"os": "linux", "architecture": name}} for name, top in places.items()]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    layout.name(layout.put(json.dumps(index).encode(), INDEX), "docker.io/fgtest/m:1.0")
    return layout.finish()


def since25(letters: str = "ab") -> dict[str, bytes | str]:
    """Both descriptions in one archive, as docker save since 25 and buildx type=docker write it."""
    files = oci(letters)
    entries = []
    for letter in letters:
        layers = [blob(sha256(gzip.compress(data, mtime=0))) for data in (BASE, OWN[letter])]
        entries.append({"Config": blob(sha256(config(letter))), "RepoTags": [f"fgtest/{letter}:1.0"], "Layers": layers})
    return {**files, "manifest.json": json.dumps(entries).encode()}


SAVED = {"docker 20": docker20, "docker since 25": since25, "oci": oci, "podman": podman, "crane": crane}


def gzip_bomb(block: int, count: int, first: bytes = b"") -> bytes:
    """A gzip stream of ``count`` times ``block`` zeros behind ``first``: a thousandth of that in size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    begin = packer.compress(first) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + begin + zeros * count


def python_tar(files: Mapping[str, bytes], form: int, prefix: str = "./") -> bytes:
    """What tar makes of a directory, in one of its formats."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size, info.mtime, info.uname = len(content), 1.5, "höst"  # type: ignore[assignment]
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()
