"""The grammar of image references, and what each mistake is called."""

from __future__ import annotations

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
    ("text", "message"),
    [
        ("", "empty between"),
        ("MySQL:8", r"upper case is not allowed in a repository path \(write mysql\)"),
        ("FederatedAI/egg:1", "upper case is not allowed"),
        ("my sql:8", "a space is not allowed in a repository path"),
        ("mysql:", 'its tag "": it is empty'),
        ("mysql:8 0", 'its tag "8 0": a space is not allowed'),
        ("a//b:1", "empty between two"),
        ("/b:1", "empty between two"),
        ("a..b:1", '"a..b" must begin and end'),
        ("a___b:1", '"a___b" must begin and end'),
        ("_a:1", '"_a" must begin and end'),
        ("é:1", 'U\\+00E9 "é" is not allowed'),
        ("a\x01:1", "U\\+0001 is not allowed"),
        ("my_host.io/x:1", 'not a registry host: "_" is not allowed in it'),
        ("host-.io/x:1", "each part between dots"),
        ("r.io:99999/x:1", "not a number from 1 to 65535"),
        ("r.io:/x:1", "not a number from 1 to 65535"),
        ("[::g]:1/x:1", "an IPv6 registry"),
        ("[::1]5000/x:1", "an IPv6 registry"),
        ("[::1/x:1", "an IPv6 registry"),
        ("https://r.io/x:1", 'write it without "https://"'),
        ("docker-image://x:1", 'write it without "docker-image://"'),
        ("a" * 256, "256 characters, at most 255"),
        ("mysql@", "must be a digest"),
        ("mysql@sha256:abc", "64 characters"),
    ],
)
def test_what_is_wrong_with_a_reference_is_said(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "federatedai",
        "10.0.0.5:8443/federatedai",
        "10.0.0.5:8443",
        "localhost:5000",
        "localhost",
        "harbor.example.com/team/fate/images",
        "[::1]:5000/x",
        "[2001:db8::1]",
        "docker.io/federatedai",
        "a__b/c--d.e",
        "a" * 222,
    ],
)
def test_a_prefix_is_a_registry_a_path_or_both(text: str) -> None:
    check_prefix(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("federatedai/", "write federatedai$"),
        ("10.0.0.5:8443/a//", "write 10.0.0.5:8443/a$"),
        ("/federatedai", "empty between"),
        ("FederatedAI", r"upper case is not allowed in a repository path \(write federatedai\)"),
        ("10.0.0.5:8443/FATE", "upper case"),
        ("federatedai:1.3.0-release", 'what follows "federatedai:" is not a port; write a tag in TAG'),
        ("team/federatedai:1.3", '":" is not allowed after a path: write the tag in TAG'),
        ("r.io/federatedai:1.3", '":" is not allowed in a repository path'),
        ("user@r.io/x", "docker login"),
        ("http://r.io/x", 'without "http://"'),
        ("a" * 223, "223 characters, at most 222 are allowed, because the longest image name needs 33 of 255"),
        ("", "empty"),
    ],
)
def test_what_is_wrong_with_a_prefix_is_said(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_prefix(text)


_WORD = st.text("abc019", min_size=1, max_size=5)
_PART = st.lists(_WORD, min_size=1, max_size=3).flatmap(
    lambda words: st.sampled_from(["_", "__", "-", "---"]).map(lambda separator: separator.join(words))
)
_HOST = st.tuples(_WORD, st.sampled_from([".io/", ":5000/", "-x.example.com:8443/"])).map("".join)


@given(st.one_of(st.just(""), _HOST), st.lists(_PART, min_size=1, max_size=3).map("/".join))
def test_an_image_below_a_good_prefix_is_a_good_reference(host: str, path: str) -> None:
    check_prefix(host + path)
    assert parse_reference(f"{host}{path}/egg:1.3") == Reference(host.removesuffix("/"), f"{path}/egg", "1.3")


def test_a_mirror_is_a_registry() -> None:
    check_mirror("10.0.0.5:8443/dockerhub")
    check_mirror("localhost:5000")
    with pytest.raises(ValueError, match='"harbor" is not a registry host: it needs a dot or a port'):
        check_mirror("harbor/dockerhub")


@pytest.mark.parametrize("text", ["1.3.0-release", "latest", "_x", "A.b-C_d", "a" * 128])
def test_a_tag_is_letters_digits_and_a_few_signs(text: str) -> None:
    check_tag(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.3.0 release", r'a space is not allowed \(letters, digits, "\.", "_", "-", at most 128\)'),
        ("1.3+x", r'"\+" is not allowed'),
        ("a/b", '"/" is not allowed'),
        ("é", "U\\+00E9"),
        (".x", 'may not begin with "."'),
        ("-x", 'may not begin with "-"'),
        ("", "empty"),
        ("a" * 129, "129 characters, at most 128"),
    ],
)
def test_what_is_wrong_with_a_tag_is_said(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_tag(text)


def test_a_digest_has_the_length_of_its_algorithm() -> None:
    check_digest(f"sha256:{HEX}")
    check_digest(f"sha512:{HEX}{HEX}")
    check_digest(f"blake3:{HEX}")
    with pytest.raises(ValueError, match="128 characters"):
        check_digest(f"sha512:{HEX}")


def test_a_digest_is_lower_case() -> None:
    with pytest.raises(ValueError, match="a-f"):
        check_digest(f"sha256:{HEX.upper()}")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("mysql:8", "r.io/hub/library/mysql:8"),
        ("docker.io/a/b:1", "r.io/hub/a/b:1"),
        ("quay.io:443/a/b:1", "r.io/hub/quay.io_443/a/b:1"),
        (f"mysql:8@sha256:{HEX}", f"r.io/hub/library/mysql:8@sha256:{HEX}"),
    ],
)
def test_a_mirror_stands_in_front_of_an_image(image: str, expected: str) -> None:
    assert mirrored(image, "r.io/hub") == expected
