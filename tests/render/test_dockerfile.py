"""Dockerfiles are read as BuildKit reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.render.dockerfile import copied, names_in, runs_on_target

ON_BUILDER = "FROM --platform=$BUILDPLATFORM maven AS m\n"
HEREDOC = "RUN <<EOF\nfrom os import path\nrun x\nEOF\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("FROM --platform=$BUILDPLATFORM a:1 AS one\nfrom b as two", ["a:1", "b"]),
        ("COPY --chown=1 --from=a /x /y", ["a"]),
        ("RUN --mount=type=bind,from=a,target=/a --mount=type=cache,target=/c --mount=from=b,target=/b x", ["a", "b"]),
        ("RUN --mount=type=bind,target=/a,'from=a' --mount=\"from=b\" x", ["a", "b"]),
        ("COPY \\\n  # a comment, and an empty line\n\n  --from=a \\ \n  /x /y\nFROM b", ["a", "b"]),
        ("# escape=`\nCOPY `\n --from=a c:\\\nFROM b", ["a", "b"]),
        ("RUN --mount=type=bind,From=a,target=/x --mount='from=b c',target=/x true", ["a", "b c"]),
        ("COPY --from=0 /x /y", ["0"]),
        ("# a comment ends the directives\n# escape=`\nRUN x `\nFROM b", ["b"]),
        # words of a command, a comment or a here-document are no image
        ("RUN echo --from=hello --mount=from=a", []),
        ("RUN echo \\\n  FROM a", []),
        ("RUN <<-'END' cat > /x <<EOF\nFROM a\n\tEND\nFROM b\n\tEOF\nFROM c\nEOF\nRUN true", []),
        ("COPY <<EOF /x\nCOPY --from=a /x /y", []),
        ("# FROM a\nLABEL x='\\\nFROM a'", []),
        # what only looks like a here-document hides nothing
        ("RUN echo 'a <<EOF' \"<<EOF\" $((1<<2))\nLABEL x <<EOF\nFROM a AS b", ["a"]),
    ],
)
def test_every_image_that_a_dockerfile_takes_is_seen(text: str, names: list[str]) -> None:
    assert [name for name, _ in names_in(text.replace("\n", "\r\n"))] == names
    assert [name for name, _ in names_in(text)] == names


def test_a_stage_has_a_name_in_lower_case_or_none() -> None:
    text = "FROM x AS Build\nFROM y\nCOPY --from=build a b"
    assert list(names_in(text)) == [("x", "build"), ("y", ""), ("build", None)]
    assert list(names_in("RUN echo 'a <<EOF'\nFROM a AS b")) == [("a", "b")]


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("COPY --chmod=755 --from=fate a b/*.py ./", ["a", "b/*.py"]),
        ("copy --from=fate --link /c/ /x", ["c"]),
        ("COPY --from=fate / /all", [""]),
        ("COPY --from=fate $VERSION /x\nCOPY --from=fateboard d .\nCOPY e .", []),
        ('COPY --from="fate" ["a b", "c", "/x"]', ["a b", "c"]),
        ("COPY --from=fate a \\\n  a b /x\nCOPY --from=fate b /y", ["a", "b"]),
        ("RUN <<EOF\nCOPY --from=fate a /x\nEOF", []),
        ("COPY --from=fate . /x", [""]),
        ("COPY --from=fate ./a/../b ../../c d//e /x", ["b", "c", "d/e"]),
        ("COPY --from=fate src/a*** **/b [^c]d /x", ["src/a*", "*/b", "[!c]d"]),
        ("COPY --from=Fate 'a' \"b\" /x", ["a", "b"]),
        ('COPY --from=fate [ "a", "." , "/x" ]', ["a", ""]),
        ('COPY --from=fate ["a", "/x"', ["[a,"]),
        ("COPY --from=fate <<EOF b /x\nEOF", ["b"]),
    ],
)
def test_the_paths_that_a_dockerfile_copies_from_a_context(text: str, paths: list[str]) -> None:
    assert copied(text, "fate") == paths


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (f"{ON_BUILDER}RUN mvn\nFROM jre\nCOPY --from=m /a /a\n", False),
        ('FROM --platform="${BUILDPLATFORM}" maven\nrun mvn\n', False),
        (f"{ON_BUILDER}FROM M AS java\nRUN mvn\nFROM java\nRUN id\n", False),
        (f"{ON_BUILDER}RUN mvn\nFROM jre\nRUN id\n", True),
        (f"{ON_BUILDER}{HEREDOC}RUN id\nFROM scratch\nCOPY --from=m / /\n", False),
        (f"FROM python\n{HEREDOC}", True),
        ("FROM a\nRUN \\\n  FROM --platform=$BUILDPLATFORM x\n", True),
        ("", False),
    ],
)
def test_only_run_steps_of_the_target_s_own_platform_may_need_emulation(text: str, runs: bool) -> None:
    assert runs_on_target(text) is runs


@given(st.lists(st.sampled_from([*"a*?[]^!.,/ \\'\"{}", "..", "**", "***", "é", "--from=fate", "<<EOF"]), max_size=12))
def test_every_path_that_is_copied_can_be_looked_for(words: list[str]) -> None:
    for text in ("".join(words), json.dumps(["".join(words), "x"])):
        for path in copied(f"COPY --from=fate {text} /x", "fate"):
            assert not path or [*Path("/nonexistent").glob(path)] == []
