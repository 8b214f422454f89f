"""Catalogues for property tests: small, and with names that could be taken for something else."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

COMMIT = "0123456789" * 4
WORDS = (
    "a", "a-b", "a_b", "foo", "foo-source", "foo-image", "foo-git", "foo-linux-amd64", "foo-linux-amd64-linux-arm64",
    "image", "source", "http-proxy", "cache-to", "tag", "base-tag", "prefix", "7zip", "12", "lang", "path", "home",
    "docker-config", "scratch", "context", "all", "base", "default", "components", "third-party", "requirements",
    "bake", "packages", "target", "variable", "group", "null", "true", "concat", "common", "attest", "base-image",
    "dockerfile",
)  # fmt: skip
"""Names of ours, of the shell, of docker, of HCL and of BuildKit, and what is made of them."""

names = st.one_of(
    *[st.sampled_from("bcdefghijklmnopqrstuvwxyz")] * 8,
    st.sampled_from(WORDS),
    st.tuples(st.sampled_from(WORDS), st.sampled_from(("image", "source", "git", "linux-amd64", "linux-arm64", "b")))
    .map("-".join),
)  # fmt: skip


@st.composite
def catalogues(draw: st.DrawFn) -> dict[str, Any]:
    """A line of one release; names may clash, links are right."""
    sources, bases = (draw(st.lists(names, min_size=1, max_size=3, unique=True)) for _ in "sb")
    images: dict[str, Any] = {}
    for name in draw(st.lists(names.filter(lambda name: name not in bases), min_size=2, max_size=8, unique=True)):
        kind = draw(st.sampled_from(("base", "component", "builder", "third-party")))
        if kind == "third-party":
            images[name] = {"kind": kind, "image": draw(st.sampled_from(("db:1", "p/a:1", "docker.io/p/foo:t")))}
            continue
        known = [*bases, *(other for other, image in images.items() if image["kind"] != "third-party")]
        parents = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        image = {"kind": kind, "from": parents[0], "needs": parents[1:], "template": "any.Dockerfile.j2"}
        copied = draw(st.lists(st.sampled_from(sources), max_size=2, unique=True))
        image["sources"] = [source for source in copied if source not in parents]
        if only := draw(st.sampled_from(("", "linux/amd64", "linux/arm64/v8"))):
            image["platforms"] = {"only": [only], "because": "it is so"}
        if draw(st.booleans()):
            tags = st.sampled_from(("${tag}", "v${tag}-x", "latest", "a.b_c"))
            image |= {"args": {"A": 'a "$" \\ b'}, "stage": "s-1", "versions": {"1.0.0": "2.0"}}
            image["tags"] = draw(st.lists(tags, min_size=1, unique=True))
        images[name] = image
    return {
        "line": "1.0",
        "releases": {"1.0.0": {name: {"ref": "v1", "commit": COMMIT} for name in sources}},
        "sources": {name: {"git": f"https://git.example.com/{name}.git"} for name in sources},
        "bases": {name: {"image": f"{name}:1"} for name in bases},
        "images": images,
    }


def as_text(catalogue: dict[str, Any]) -> str:
    """JSON is YAML; one line a value, so that each has a place."""
    return json.dumps(catalogue, indent=1)
