"""The grammar of image references, and what each mistake is called."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.config.reference import (
    Reference,
    check_digest,
    check_mirror,
    check_prefix,
    check_tag,
    mirrored,
    parse_reference,
)

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mysql", Reference("", "mysql")),
        ("mysql:8", Reference("", "mysql", "8")),
        ("localhost:5000", Reference("", "localhost", "5000")),
        ("localhost/mysql:8", Reference("localhost", "mysql", "8")),
        ("library/mysql:8", Reference("", "library/mysql", "8")),
        ("harbor:8443/a/b", Reference("harbor:8443", "a/b")),
        ("10.0.0.5:8443/fate/egg:1.3.0-release", Reference("10.0.0.5:8443", "fate/egg", "1.3.0-release")),
        ("[::1]:5000/x:y", Reference("[::1]:5000", "x", "y")),
        ("[::1]/x", Reference("[::1]", "x")),
        ("MCR.microsoft.com/java/jre:8u192", Reference("MCR.microsoft.com", "java/jre", "8u192")),
        (f"mysql@sha256:{HEX}", Reference("", "mysql", "", f"sha256:{HEX}")),
        (f"r.io/mysql:8@sha256:{HEX}", Reference("r.io", "mysql", "8", f"sha256:{HEX}")),
    ],
)
def test_a_reference_is_taken_apart_and_put_together_again(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("check", "text", "message"),
    [
        (parse_reference, "", "a part between"),
        (parse_reference, "MySQL:8", r"upper case is not allowed in a repository path \(write mysql\)"),
        (parse_reference, "FederatedAI/egg:1", "upper case is not allowed"),
        (parse_reference, "my sql:8", "a space is not allowed in a repository path"),
        (parse_reference, "mysql:", 'its tag "": it is empty'),
        (parse_reference, "mysql:8 0", 'its tag "8 0": a space is not allowed'),
        (parse_reference, "a//b:1", "a part between two"),
        (parse_reference, "/b:1", "a part between two"),
        (parse_reference, "a..b:1", '"a..b" must begin and end'),
        (parse_reference, "a___b:1", '"a___b" must begin and end'),
        (parse_reference, "_a:1", '"_a" must begin and end'),
        (parse_reference, "é:1", 'U\\+00E9 "é" is not allowed'),
        (parse_reference, "a\x01:1", "U\\+0001 is not allowed"),
        (parse_reference, "my_host.io/x:1", 'not a registry host: "_" is not allowed in it'),
        (parse_reference, "host-.io/x:1", "each part has only letters"),
        (parse_reference, "r.io:99999/x:1", "not a number from 1 to 65535"),
        (parse_reference, "r.io:/x:1", "not a number from 1 to 65535"),
        (parse_reference, "[::g]:1/x:1", "an IPv6 registry"),
        (parse_reference, "[::1]5000/x:1", "an IPv6 registry"),
        (parse_reference, "[::1/x:1", "an IPv6 registry"),
        (parse_reference, "https://r.io/x:1", 'write it without "https://"'),
        (parse_reference, "docker-image://x:1", 'write it without "docker-image://"'),
        (parse_reference, "a" * 256, "256 characters, at most 255"),
        (parse_reference, "mysql@", "must be a digest"),
        (parse_reference, "mysql@sha256:abc", "64 characters"),
        (check_prefix, "federatedai/", "write federatedai$"),
        (check_prefix, "10.0.0.5:8443/a//", "write 10.0.0.5:8443/a$"),
        (check_prefix, "/federatedai", "a part between"),
        (check_prefix, "FederatedAI", r"upper case is not allowed in a repository path \(write federatedai\)"),
        (check_prefix, "10.0.0.5:8443/FATE", "upper case"),
        (check_prefix, "federatedai:1.3.0-release", 'what follows "federatedai:" is not a port; write a tag in TAG'),
        (check_prefix, "team/federatedai:1.3", '":" is not allowed after a path: write the tag in TAG'),
        (check_prefix, "r.io/federatedai:1.3", '":" is not allowed in a repository path'),
        (check_prefix, "user@r.io/x", "docker login"),
        (check_prefix, "http://r.io/x", 'without "http://"'),
        (
            check_prefix,
            "a" * 223,
            "223 characters, at most 222 are allowed, because the longest image name needs 33 of 255",
        ),
        (check_prefix, "", "empty"),
        (check_tag, "1.3.0 release", r'a space is not allowed \(letters, digits, "\.", "_", "-", at most 128\)'),
        (check_tag, "1.3+x", r'"\+" is not allowed'),
        (check_tag, "a/b", '"/" is not allowed'),
        (check_tag, "é", "U\\+00E9"),
        (check_tag, ".x", 'must not begin with "."'),
        (check_tag, "-x", 'must not begin with "-"'),
        (check_tag, "", "empty"),
        (check_tag, "a" * 129, "129 characters, at most 128"),
        (check_mirror, "harbor/dockerhub", '"harbor" is not a registry host: it needs a dot or a port'),
        (check_digest, f"sha512:{HEX}", "128 characters"),
        (check_digest, f"sha256:{HEX.upper()}", "a-f"),
    ],
)
def test_what_is_wrong_is_said(check: Callable[[str], object], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(text)


@pytest.mark.parametrize(
    ("check", "texts"),
    [
        (check_prefix, ["federatedai", "10.0.0.5:8443/federatedai", "10.0.0.5:8443", "localhost:5000", "localhost",
                        "harbor.example.com/team/fate/images", "[::1]:5000/x", "[2001:db8::1]", "docker.io/federatedai",
                        "a__b/c--d.e", "a" * 222]),
        (check_mirror, ["10.0.0.5:8443/dockerhub", "localhost:5000"]),
        (check_tag, ["1.3.0-release", "latest", "_x", "A.b-C_d", "a" * 128]),
        (check_digest, [f"sha256:{HEX}", f"sha512:{HEX}{HEX}", f"blake3:{HEX}"]),
    ],
)  # fmt: skip
def test_what_is_right_is_taken(check: Callable[[str], object], texts: list[str]) -> None:
    for text in texts:
        check(text)


_WORD = st.text("abc019", min_size=1, max_size=5)
_PART = st.lists(_WORD, min_size=1, max_size=3).flatmap(
    lambda words: st.sampled_from(["_", "__", "-", "---"]).map(lambda separator: separator.join(words))
)
_HOST = st.tuples(_WORD, st.sampled_from([".io/", ":5000/", "-x.example.com:8443/"])).map("".join)


@given(st.one_of(st.just(""), _HOST), st.lists(_PART, min_size=1, max_size=3).map("/".join))
def test_an_image_below_a_good_prefix_is_a_good_reference(host: str, path: str) -> None:
    check_prefix(host + path)
    assert parse_reference(f"{host}{path}/egg:1.3") == Reference(host.removesuffix("/"), f"{path}/egg", "1.3")


@pytest.mark.parametrize(
    ("image", "mirror", "expected"),
    [
        ("mysql:8", "r.io/hub", "r.io/hub/library/mysql:8"),
        ("docker.io/a/b:1", "r.io/hub", "r.io/hub/a/b:1"),
        ("quay.io:443/a/b:1", "r.io/hub", "r.io/hub/quay.io_443/a/b:1"),
        (f"mysql:8@sha256:{HEX}", "r.io/hub", f"r.io/hub/library/mysql:8@sha256:{HEX}"),
        # what skopeo sync --scoped writes
        ("maven:3", "r.io/mirror/docker.io", "r.io/mirror/docker.io/library/maven:3"),
        ("quay.io/x/y:1", "r.io/mirror/docker.io", "r.io/mirror/quay.io/x/y:1"),
    ],
)
def test_a_mirror_stands_in_front_of_an_image(image: str, mirror: str, expected: str) -> None:
    assert mirrored(image, mirror) == expected
