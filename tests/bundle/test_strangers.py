"""Text from an archive, a layout, a registry or an engine cannot move a terminal's cursor or forge a line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from generator.bundle.reader import verify
from generator.docker.process import Completed, Docker
from generator.errors import FategenError
from generator.images.layout import SourceImage, read
from generator.registry.http import RegistryError
from tests.bundle.conftest import Made, rewritten
from tests.bundle.layouts import CONFIG, Layout, multi

HOSTILE = "x\x1b]0;title\x07\u202e\n  next: rm -r / #\u2028\x85y"


def is_safe(text: str) -> bool:
    """Whether it is shown as it is, and the stranger's words do not begin a line."""
    return all(line.isprintable() and not line.lstrip().startswith("next: rm") for line in text.split("\n"))


def told(action: Callable[[], object]) -> str:
    """The error of ``action``; "" if it has none."""
    try:
        action()
    except FategenError as error:
        return error.render()
    return ""


def refused_safely(document: Any, action: Callable[[Any], object]) -> None:
    """Whatever ``action`` says of the document with something hostile in it is safe, and some of that is shown."""
    texts = [told(lambda changed=changed: action(changed)) for changed in forged(document)]
    assert [text for text in texts if not is_safe(text)] == []
    assert any("title" in text for text in texts), "a stranger's words were shown"


def forged(value: Any) -> Iterator[Any]:
    """``value`` with one string, number or key in it that is hostile."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {**value, HOSTILE: inner}
            yield {HOSTILE if name == key else name: content for name, content in value.items()}
            yield from ({**value, key: changed} for changed in forged(inner))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from ([*value[:number], changed, *value[number + 1 :]] for changed in forged(inner))
    else:
        yield from (HOSTILE, f"{value}{HOSTILE}", f"{HOSTILE}{value}")


def test_a_bundle_index(made: Made) -> None:
    def check(document: Any) -> None:
        document.setdefault("root", "")
        verify(io.BytesIO(rewritten(made, lambda old: (old.clear(), old.update(document)))))

    refused_safely(json.loads(made.content("fategen/bundle.json")), check)


def test_the_documents_of_a_layout(tmp_path: Path) -> None:
    made, layout = multi(tmp_path / "m", "m"), Layout(tmp_path / "forged")
    blobs = [file.read_bytes() for file in (made / "blobs/sha256").iterdir()]
    documents = [json.loads(blob) for blob in blobs if blob.startswith(b"{")]
    for blob in blobs:
        layout.put(blob, "")
    seen = set()
    for document in documents:
        for changed in forged(document):
            layout.entries.clear()
            kind = document.get("mediaType", CONFIG)
            top = layout.put(json.dumps(changed).encode(), kind)
            if kind == CONFIG:
                # a manifest with this config
                manifest = next(d for d in documents if "layers" in d)
                top = layout.put(json.dumps({**manifest, "config": top}).encode(), manifest["mediaType"])
            layout.finish((top, "docker.io/fgtest/m:1.0"))
            platforms = ("linux/amd64", "linux/arm64") if "manifests" in document else ("linux/amd64",)
            shown = told(lambda wanted=platforms: read(SourceImage(("fgtest/m:1.0",), layout.path, wanted)))
            assert is_safe(shown), shown
            seen.add((kind, bool(shown)))
    assert len(seen) >= 5, "some were refused and some were not"


def test_the_index_of_a_layout(tmp_path: Path) -> None:
    path = multi(tmp_path / "m", "m")

    def check(document: Any) -> None:
        (path / "index.json").write_text(json.dumps(document))
        read(SourceImage(("fgtest/m:1.0",), path, ("linux/amd64", "linux/arm64")))

    refused_safely(json.loads((path / "index.json").read_text()), check)


def test_a_registry_and_an_engine() -> None:
    assert is_safe(RegistryError("unknown", HOSTILE).detail)
    done = Completed(("docker", "load"), 1, "", f"Error: {HOSTILE}\x1b[2J")
    assert is_safe(Docker("docker").failure(done).render())
