"""Reads the stream of ``docker save`` from an engine with the containerd image store: an OCI layout as a tar.

Docker 24 and later; the index may name platforms whose blobs are not in the stream, since the engine has them not
(moby, daemon/containerd/image_exporter.go). Like ``saved``, it trusts the engine and checks that nothing is cut.
"""

from __future__ import annotations

import re
import tarfile
from typing import IO, cast

from generator.bundle.format.archive import CHUNK, Reads
from generator.images.layers import BadBlob, LayerStore
from generator.images.oci import Descriptor, parse_index
from generator.images.reference import normalise
from generator.images.saved import BadStream
from generator.images.strictjson import LIMIT, Malformed

_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")


def read_saved_blobs(stream: Reads, store: LayerStore) -> dict[str, Descriptor]:
    """Puts every blob into ``store`` and returns what each full name stands for.

    Raises BadStream (also for a blob that does not match its digest), and what ``store`` raises.
    """
    index = b""
    try:
        # of a stream, tarfile asks for read alone
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", bufsize=CHUNK) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if file is None:
                    continue
                if blob := _BLOB.fullmatch(member.name):
                    store.keep(file, f"sha256:{blob[1]}", member.size)
                elif member.name == "index.json" and member.size <= LIMIT:
                    index = file.read()
        if not index:
            raise BadStream("it has no index.json")
        return {normalise(name): child.descriptor for child in parse_index(index, "") for name in child.names}
    except (tarfile.TarError, Malformed, BadBlob) as error:
        raise BadStream(str(error)) from error
