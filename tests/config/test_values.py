"""What each kind of value may be."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.config import values

Read = Callable[[str], object]
DIGEST = "@sha256:" + "0" * 64


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


@given(st.text("aZ0-._~:/?#[]@!$&'()*+,;=%\"\\`| ", max_size=8))
def test_what_a_build_step_gets_in_quotes_or_through_sed_is_what_was_written(text: str) -> None:
    for url in (f"https://h/{text}.git#v1", f"git@h:{text}#v1", f"https://h/b.git#{text}"):
        try:
            accepted = values.source(url)
        except ValueError:
            continue
        assert shlex.split(f"git fetch '{accepted}'") == ["git", "fetch", url]
    with contextlib.suppress(ValueError):
        assert not set("#&\\") & set(values.apt_mirror(f"http://h/{text}"))


PATHS = ["../FATE", "/src/a b", "./#x", "C:\\src", "a@b", "$HOME/x", "中"]
AS_WRITTEN: dict[Read, list[str]] = {
    values.version: ["1.3.0", "1.7.2.2", "2.0.0-beta"],
    values.image: ["mysql:8", "mysql" + DIGEST],
    values.tagged_image: ["mysql:8", "mysql:8" + DIGEST],
    values.cache: ["r.io/cache"],
    values.path: ["requirements.txt", *PATHS],
    values.secret_path: ["/etc/a b.pem"],
    values.source: [*PATHS, "https://github.com/FederatedAI/FATE.git#v1.3.0", "git://git.example.com/a#v1",
                    "http://git.example.com:3000/a/b.git#0123abc", "git@github.com:FederatedAI/FATE.git#v1.3.0",
                    "ssh://git@git.example.com:22/a/b.git#feature/x"],
    values.url: ["https://pypi.example.com/simple", "http://10.0.0.5:8081/a/", "HTTP://nexus_pypi",
                 "http://[::1]:80/x?y=z", "http://h#f"],
    values.proxy: ["http://proxy:3128", "https://proxy/", "http://u:p%40ss@proxy:3128"],
    values.no_proxy: ["*"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        *((read, text, text) for read, texts in AS_WRITTEN.items() for text in texts),
        *((values.boolean, word, True) for word in ("true", "1", "yes", "on", "TRUE", "Yes")),
        *((values.boolean, word, False) for word in ("false", "0", "no", "off", "False")),
        (values.platforms, "linux/amd64", ("linux/amd64",)),
        (values.platforms, "linux/amd64,linux/arm64", ("linux/amd64", "linux/arm64")),
        (values.platforms, " linux/arm64 , linux/amd64, ", ("linux/arm64", "linux/amd64")),
        (values.platforms, "linux/arm64\tlinux/amd64", ("linux/arm64", "linux/amd64")),
        (values.platforms, "Linux/AMD64", ("linux/amd64",)),
        (values.platforms, "linux/x86_64 linux/aarch64", ("linux/amd64", "linux/arm64")),
        (values.platforms, "linux/amd64/v1 linux/arm64/v8", ("linux/amd64", "linux/arm64")),
        (values.platforms, "linux/amd64/v3", ("linux/amd64/v3",)),
        (values.platforms, "linux/arm linux/arm/v6", ("linux/arm/v7", "linux/arm/v6")),
        (values.platforms, "linux/armhf", ("linux/arm/v7",)),
        (values.urls, "http://a/  http://b/", "http://a/ http://b/"),
        (values.urls, "https://a/x,https://b/x, http://c", "https://a/x https://b/x http://c"),
        (values.urls, "https://a/x,y", "https://a/x,y"),
        (values.hosts, "a.example.com, b:8443 [::1]:80 [::1]", "a.example.com b:8443 [::1]:80 [::1]"),
        (values.no_proxy, "localhost .example.com, 10.0.0.0/8,::1 *.x", "localhost,.example.com,10.0.0.0/8,::1,*.x"),
    ],
)
def test_what_is_taken_as_it_is_written_or_comes_in_a_normal_form(read: Read, text: str, expected: object) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (values.boolean, "maybe", '"maybe" is neither true (1, yes, on) nor false (0, no, off)'),
        (values.version, "1.3", '"1.3" is not a release such as 1.0.0: did you mean 1.3.0?'),
        (values.version, "v1.3.0", '"v1.3.0" is not a release such as 1.0.0: leave out the "v"'),
        (values.prefix, "https://r.io/x", '"https://r.io/x" is not an image prefix: write it without...'),
        (values.mirror, "https://r.io", '"https://r.io" is not a registry: write it without...'),
        (values.tag, "a b", '"a b" is not an image tag: a space is not allowed...'),
        (values.image, "mysql", '"mysql" is not an image reference: it needs a tag or a digest'),
        (values.tagged_image, "mysql", '"mysql" is not an image with a tag: without a tag, it has no name...'),
        (values.cache, "r.io/cache:1.3", '"r.io/cache:1.3" is not a repository: leave out the tag...'),
        (values.cache, "r.io/c@sha256:" + "0" * 64, f'"r.io/c{DIGEST}" is not a repository: leave out the tag...'),
        (values.cache, "type=registry,ref=a", "write only the repository (host/path), without type= and ref="),
        (values.platforms, "linux/amd64,linux/amd64", "linux/amd64 is listed twice"),
        (values.platforms, "linux/arm64,linux/arm64/v8",
         'linux/arm64 is listed twice ("linux/arm64/v8" is linux/arm64)'),
        (values.platforms, "amd64", '"amd64" is not a platform such as linux/amd64: write linux/amd64'),
        (values.platforms, "x86_64", '"x86_64" is not a platform such as linux/amd64: write linux/amd64'),
        (values.platforms, "all", '"all" is not a platform such as linux/amd64'),
        (values.platforms, "windows/amd64", '"windows/amd64": every image is a Linux image, such as linux/amd64'),
        (values.platforms, "linux/amd46", '"linux/amd46": unknown architecture; did you mean amd64?'),
        (values.platforms, "linux/amd64/x",
         '"linux/amd64/x": a variant is v and a number, such as linux/arm/v7'),
        (values.platforms, "linux/amd64/v2/v3",
         '"linux/amd64/v2/v3": a variant is v and a number, such as linux/arm/v7'),
        (values.platforms, ",", "the list is empty"),
        (values.path, "~/src", '"~/src": ~ is not expanded; write the full path'),
        (values.path, "# none", '"# none" looks like a comment: quote it, or write ./ before it'),
        (values.path, "file:///x", '"file:///x" is a URL; expected a path to a file'),
        (values.secret_path, "a,b", '"a,b": "," is not allowed in the path of a build secret'),
        (values.secret_path, 'a"b', '"a"b": """ is not allowed in the path of a build secret'),
        (values.source, "https://github.com/a/b.git", "a git URL needs #ref..."),
        (values.source, "https://github.com/a/b.git#", "a git URL needs #ref..."),
        (values.source, "git@github.com:a/b.git", "a git URL needs #ref..."),
        (values.source, "https://github.com/a/b.git#v1:arch", '":" is not allowed after "#"...'),
        (values.source, "https://github.com/a/b#v1", 'an http(s) git URL must end in ".git" before "#"...'),
        (values.source, "https://token@github.com/a/b.git#v1", "a login in a git URL would be written..."),
        (values.source, "ssh://git:pw@h/b.git#v1", "a login in a git URL would be written into rendered files..."),
        (values.source, "https:///b.git#v1", "it has no valid host"),
        (values.source, "https://h/a b.git#v1", "a space is not allowed in a git URL: write it percent-encoded"),
        *((values.source, url.replace("?", char), f'"{char}" is not allowed in a git URL: write it percent-encoded')
          for char in "'\"$\\`"
          for url in ("https://h/?.git#v1", "https://h/b.git#?", "git@h:a?b#v1", "ssh://git@h/a?b.git#v1")),
        (values.source, "github.com/a/b#v1", '"github.com/a/b#v1": write the full URL...'),
        (values.source, "deploy@h:a/b.git#v1", '"…@h:a/b.git#v1": write ssh://user@host/path.git#ref...'),
        (values.source, "ftp://h/b.git#v1", "ftp:// is not supported..."),
        (values.source, "target:egg", '"target:egg": bake would read it as a target...'),
        (values.url, "pypi.example.com/simple", "it is not an http:// or https:// URL"),
        (values.url, "ftp://h/", "it is not an http:// or https:// URL"),
        *((values.url, f"http://{host}", "it has no valid host") for host in ("", ":80/", "[::1/")),
        *((values.url, f"http://h:{port}/", "its port is not a number from 1 to 65535") for port in ("x", "", "0")),
        (values.url, "http://h\\x", '"\\" is not allowed in a URL: write it percent-encoded'),
        (values.url, "http://hé/", 'U+00E9 "é" is not allowed in a URL: write it percent-encoded'),
        (values.url, "http://h/a b", "a space is not allowed in a URL"),
        *((read, "https://user:pw@h/a", "a login in a URL is not allowed: the URL stays in the image's history...")
          for read in (values.url, values.urls, values.apt_mirror)),
        (values.url, "https://a/x,https://b/x", "expected one URL, found several with commas between them"),
        *((values.apt_mirror, f"http://h/debian{char}x", f'"{char}" is not allowed: a mirror\'s URL ends with its path')
          for char in "?#&"),
        *((values.copied_path, f"a{char}b", f'"a{char}b": "{char}" is not allowed in the path of a file to copy')
          for char in "$*?[\\"),
        (values.copied_path, "lists/", '"lists/" is a directory; expected a file'),
        (values.urls, "http://a/,b http://b/ c", "it is not an http:// or https:// URL"),
        (values.proxy, "proxy:3128", "it is not an http:// or https:// URL"),
        (values.proxy, "socks5://proxy", "it is not an http:// or https:// URL"),
        (values.proxy, "http://proxy:3128/path", "a proxy URL ends after the port..."),
        (values.proxy, "http://u:a/b@proxy:3128", "its port is not a number..."),
        (values.proxy, "http://u:a b@proxy:3128", "a space is not allowed in a URL (in a password: %20)"),
        (values.hosts, "a b:x", '"b:x" is not host or host:port'),
        (values.hosts, "a b:", '"b:" is not host or host:port'),
        (values.hosts, "http://a", "a URL is not allowed here"),
        (values.no_proxy, "a,b;c", '"b;c" is not a host...'),
        (values.no_proxy, "http://a", "a URL is not allowed here"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(read: Read, text: str, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(text)
    said = str(caught.value)
    assert said.startswith(expected[:-3]) if expected.endswith("...") else said == expected
