"""What each kind of value may be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from generator.config import values


def message(read: Callable[[str], object], text: str) -> str:
    with pytest.raises(ValueError) as caught:
        read(text)
    return str(caught.value)


# --- what a message shows of a value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.3 x", '"1.3 x"'),
        ("http://u:pw@h/x", '"…@h/x"'),
        ("http://u:p@w@h/x", '"…@h/x"'),
        ("u:pw@h/x", '"…@h/x"'),
        ("http://u:pw@sha256:x", '"…@sha256:x"'),
        ("mysql:8@sha256:xyz", '"mysql:8@sha256:xyz"'),
        ("a" * 90, '"' + "a" * 80 + '…"'),
    ],
)
def test_a_value_is_shown_without_a_login(text: str, expected: str) -> None:
    assert values.shown(text) == expected


# --- booleans, versions, references


def test_booleans() -> None:
    assert all(values.boolean(word) is True for word in ("true", "1", "yes", "on", "TRUE", "Yes"))
    assert all(values.boolean(word) is False for word in ("false", "0", "no", "off", "False"))
    assert message(values.boolean, "maybe") == '"maybe" is neither true (1, yes, on) nor false (0, no, off)'


@pytest.mark.parametrize("text", ["1.3.0", "1.7.2.2", "2.0.0-beta"])
def test_a_version_is_a_release(text: str) -> None:
    assert values.version(text) == text


def test_what_is_wrong_with_a_version_is_said() -> None:
    assert message(values.version, "1.3") == '"1.3" is not a release such as 1.3.0, but a line of them: 1.3.0?'
    assert message(values.version, "v1.3.0") == '"v1.3.0" is not a release such as 1.3.0: leave out the "v"'


def test_references_say_what_they_should_be() -> None:
    assert message(values.prefix, "https://r.io/x").startswith(
        '"https://r.io/x" is not an image prefix: write it without'
    )
    assert message(values.mirror, "https://r.io").startswith('"https://r.io" is not a registry: write it without')
    assert message(values.tag, "a b").startswith('"a b" is not an image tag: a space is not allowed')
    assert message(values.image, "mysql") == '"mysql" is not an image reference: it needs a tag or a digest'


def test_an_image_has_a_tag_or_a_digest() -> None:
    assert values.image("mysql:8") == "mysql:8"
    assert values.image("mysql@sha256:" + "0" * 64)


def test_a_cache_is_a_repository_whose_tags_are_the_images() -> None:
    assert values.cache("r.io/cache") == "r.io/cache"
    assert "leave out the tag" in message(values.cache, "r.io/cache:1.3")
    assert "without type= and ref=" in message(values.cache, "type=registry,ref=r.io/cache")
    assert "leave out the tag" in message(values.cache, "r.io/cache@sha256:" + "0" * 64)


# --- platforms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/amd64,linux/arm64", "linux/amd64 linux/arm64"),
        (" linux/arm64 , linux/amd64, ", "linux/arm64 linux/amd64"),
        ("linux/arm64\tlinux/amd64", "linux/arm64 linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/x86_64 linux/aarch64", "linux/amd64 linux/arm64"),
        ("linux/amd64/v1 linux/arm64/v8", "linux/amd64 linux/arm64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/arm linux/arm/v6", "linux/arm/v7 linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
    ],
)
def test_platforms_come_in_order_and_in_normal_form(text: str, expected: str) -> None:
    assert " ".join(values.platforms(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64,linux/amd64", "linux/amd64 is listed twice"),
        ("linux/arm64,linux/arm64/v8", 'linux/arm64 is listed twice ("linux/arm64/v8" is linux/arm64)'),
        ("amd64", '"amd64" is not a platform such as linux/amd64: write linux/amd64'),
        ("x86_64", '"x86_64" is not a platform such as linux/amd64: write linux/amd64'),
        ("all", '"all" is not a platform such as linux/amd64'),
        ("windows/amd64", '"windows/amd64": every image is a Linux image, such as linux/amd64'),
        ("linux/amd46", '"linux/amd46": unknown architecture; did you mean amd64?'),
        ("linux/amd64/x", '"linux/amd64/x": a variant is written v and a number, such as linux/arm/v7'),
        ("linux/amd64/v2/v3", '"linux/amd64/v2/v3": a variant is written v and a number, such as linux/arm/v7'),
        (",", "it names none"),
    ],
)
def test_what_is_wrong_with_platforms_is_said(text: str, expected: str) -> None:
    assert message(values.platforms, text) == expected


# --- paths and sources


@pytest.mark.parametrize("text", ["requirements.txt", "../FATE", "/src/a b", "./#x", "C:\\src", "a@b", "$HOME/x", "中"])
def test_a_path_is_taken_as_written(text: str) -> None:
    assert values.path(text) == text
    assert values.source(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~/src", '"~/src": ~ means nothing in a file; write the whole path'),
        ("# none", '"# none" looks like a comment: quote it, or write ./ before it'),
        ("file:///x", '"file:///x" is a URL, and a path to a file is expected'),
    ],
)
def test_what_is_wrong_with_a_path_is_said(text: str, expected: str) -> None:
    assert message(values.path, text) == expected


def test_the_path_of_a_secret_must_fit_into_a_csv_line() -> None:
    assert values.secret_path("/etc/a b.pem") == "/etc/a b.pem"
    assert '"," is not allowed' in message(values.secret_path, "a,b")
    assert '""" is not allowed' in message(values.secret_path, 'a"b')


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/FederatedAI/FATE.git#v1.3.0",
        "http://git.example.com:3000/a/b.git#0123abc",
        "ssh://git@git.example.com:22/a/b.git#feature/x",
        "git@github.com:FederatedAI/FATE.git#v1.3.0",
        "git://git.example.com/a#v1",
    ],
)
def test_a_source_is_a_git_url_with_a_ref(text: str) -> None:
    assert values.source(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://github.com/a/b.git", "a git URL needs #ref"),
        ("https://github.com/a/b.git#", "a git URL needs #ref"),
        ("git@github.com:a/b.git", "a git URL needs #ref"),
        ("https://github.com/a/b.git#v1:arch", '":" is not allowed after "#"'),
        ("https://github.com/a/b#v1", 'must end in ".git" before "#"'),
        ("https://token@github.com/a/b.git#v1", "a login in a git URL would be written into rendered files"),
        ("ssh://git:pw@h/b.git#v1", "a login in a git URL would be written into rendered files"),
        ("https:///b.git#v1", "it has no valid host"),
        ("https://h/a b.git#v1", "a space is not allowed in a git URL"),
        ("github.com/a/b#v1", "write the whole URL"),
        ("deploy@h:a/b.git#v1", "write ssh://user@host/path.git#ref"),
        ("ftp://h/b.git#v1", "ftp:// is not supported"),
        ("target:egg", "bake would take it for one of its targets"),
    ],
)
def test_what_is_wrong_with_a_source_is_said(text: str, expected: str) -> None:
    assert expected in message(values.source, text)


# --- URLs, hosts, proxies


@pytest.mark.parametrize(
    "text",
    [
        "https://pypi.example.com/simple",
        "http://10.0.0.5:8081/a/",
        "HTTP://nexus_pypi",
        "http://[::1]:80/x?y=z",
        "http://h#f",
    ],
)
def test_a_url_is_http_with_a_host(text: str) -> None:
    assert values.url(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pypi.example.com/simple", "it is not an http:// or https:// URL"),
        ("ftp://h/", "it is not an http:// or https:// URL"),
        ("http://", "it has no valid host"),
        ("http://:80/", "it has no valid host"),
        ("http://h:x/", "its port is not a number from 1 to 65535"),
        ("http://h:/", "its port is not a number from 1 to 65535"),
        ("http://h:0/", "its port is not a number from 1 to 65535"),
        ("http://[::1/", "it has no valid host"),
        ("http://h\\x", '"\\" is not allowed in a URL: write it percent-encoded'),
        ("http://hé/", 'U+00E9 "é" is not allowed in a URL: write it percent-encoded'),
        ("http://h/a b", "a space is not allowed in a URL"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(text: str, expected: str) -> None:
    assert message(values.url, text) == expected


def test_several_urls_have_spaces_between() -> None:
    assert values.urls("http://a/  http://b/") == "http://a/ http://b/"
    assert "http://" in message(values.urls, "http://a/,b http://b/ c")


@pytest.mark.parametrize("text", ["http://proxy:3128", "https://proxy/", "http://u:p%40ss@proxy:3128"])
def test_a_proxy_may_have_a_login(text: str) -> None:
    assert values.proxy(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("proxy:3128", "it is not an http:// or https:// URL"),
        ("socks5://proxy", "it is not an http:// or https:// URL"),
        ("http://proxy:3128/path", "a proxy URL ends after the port"),
        ("http://u:a/b@proxy:3128", "its port is not a number"),
        ("http://u:a b@proxy:3128", "a space is not allowed in a URL (in a password: %20)"),
    ],
)
def test_what_is_wrong_with_a_proxy_is_said(text: str, expected: str) -> None:
    assert expected in message(values.proxy, text)


def test_hosts_have_an_optional_port() -> None:
    assert values.hosts("a.example.com, b:8443 [::1]:80 [::1]") == "a.example.com b:8443 [::1]:80 [::1]"
    assert message(values.hosts, "a b:x") == '"b:x" is not host or host:port'
    assert message(values.hosts, "a b:") == '"b:" is not host or host:port'
    assert message(values.hosts, "http://a") == "a URL is not allowed here"


def test_no_proxy_comes_with_commas() -> None:
    assert values.no_proxy("localhost .example.com, 10.0.0.0/8,::1 *.x") == "localhost,.example.com,10.0.0.0/8,::1,*.x"
    assert values.no_proxy("*") == "*"
    assert message(values.no_proxy, "a,b;c").startswith('"b;c" is not a host')
    assert message(values.no_proxy, "http://a") == "a URL is not allowed here"
