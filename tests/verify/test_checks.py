"""Each check that needs no start, on made-up content: what passes, what fails, and what is said then."""

from __future__ import annotations

import pytest

from generator.catalogue.contract import Contract, File, Item, Named
from generator.verify.checks import check, matching
from generator.verify.layers import Content, Entry, Settings
from generator.verify.results import Result

HERE = "c.yaml:7"
FILE = Entry("file", 0o644, 0, 0, 10, "")
SETTINGS = Settings(
    user="",
    workdir="/app",
    ports=("80/tcp",),
    labels={"title": "one"},
    environment={"PATH": "/venv/bin:/bin"},
    command=("run", "a b"),
    entrypoint=(),
)
FILES = {
    "/app": Entry("directory", 0o755, 0, 0, 0, ""),
    "/app/a.conf": FILE,
    "/app/b.conf": FILE._replace(uid=5),
    "/app/now": Entry("link", 0o777, 0, 0, 0, "a.conf"),
    "/app/dead": Entry("link", 0o777, 0, 0, 0, "gone"),
    "/tmp/empty": Entry("directory", 0o755, 0, 0, 0, ""),
    "/usr/bin/su": FILE._replace(mode=0o4755),
    "/usr/bin/env": FILE._replace(mode=0o2755, gid=42),
    "/var/mail": Entry("directory", 0o2775, 0, 8, 0, ""),  # a directory with that bit is an ordinary thing
}


def results(contract: Contract) -> tuple[Result, ...]:
    return check("one", "linux/amd64", contract, Content(SETTINGS, FILES, 25_000_000))


def one(contract: Contract) -> tuple[bool, str]:
    """(passed, what was found) of the only check that a contract makes."""
    (result,) = results(contract)
    assert (result.image, result.platform, result.where) == ("one", "linux/amd64", HERE)
    return result.ok, result.found


def file(name: str, type: str = "", mode: str = "", owner: str = "", target: str = "") -> Contract:
    return Contract(files=(File(name, type, mode, owner, target, HERE),))


def ports(*names: str) -> Contract:
    return Contract(ports=Named("ports", tuple(Item(name, HERE) for name in names), HERE))


def setuid(*names: str) -> Contract:
    return Contract(setuid=Named("setuid", tuple(Item(name, HERE) for name in names), HERE))


def test_a_contract_that_asks_for_nothing_checks_nothing() -> None:
    assert results(Contract()) == ()


@pytest.mark.parametrize(
    ("ok", "contract", "found"),
    [
        (True, Contract(command=Named("command", ("run", "a b"), HERE)), '["run", "a b"]'),
        (True, Contract(entrypoint=Named("entrypoint", (), HERE)), "none"),
        (True, Contract(workdir=Item("/app", HERE)), "/app"),
        (True, Contract(user=Item("", HERE)), "root"),
        (True, ports("80"), "80/tcp"),
        (True, ports("80/tcp"), "80/tcp"),
        (True, Contract(labels=(Named("title", "one", HERE),)), "one"),
        (True, Contract(environment=(Named("PATH", "*:/bin", HERE),)), "/venv/bin:/bin"),
        (True, file("/app"), "there"),
        (True, file("/app/a.conf", "file", "0644", "0:0"), "file, mode 644, owner 0:0"),
        (True, file("/app/now", "link", target="*.conf"), "link, to *.conf"),
        (True, file("/app/now", "file"), "file"),
        (True, file("/app/*.conf", "file"), "file"),
        (True, Contract(mounted=(Named("/app", "directory", HERE),)), "directory"),
        (True, Contract(absent=(Named("/root/**", "a cache", HERE),)), "not there"),
        (True, Contract(absent=(Named("/tmp/**", "a leftover", HERE),)), "not there"),
        (True, setuid("/usr/bin/*"), "only the allowed ones"),
        (True, Contract(size=Item("25 MB", HERE)), "25 MB"),
        (True, Contract(size=Item("1GB", HERE)), "25 MB"),
        (False, Contract(command=Named("command", ("run", "a", "b"), HERE)), '["run", "a b"]'),
        (False, Contract(entrypoint=Named("entrypoint", ("tini",), HERE)), "none"),
        (False, Contract(workdir=Item("/", HERE)), "/app"),
        (False, Contract(user=Item("fate", HERE)), "root"),
        (False, ports("80", "81"), "80/tcp"),
        (False, ports("80/udp"), "80/tcp"),
        (False, ports(), "80/tcp"),
        (False, Contract(labels=(Named("title", "two", HERE),)), "one"),
        (False, Contract(labels=(Named("version", "*", HERE),)), "not set"),
        (False, Contract(environment=(Named("PATH", "/bin", HERE),)), "/venv/bin:/bin"),
        (False, file("/app/c.conf"), "not there"),
        (False, file("/app/*.xml"), "not there"),
        (False, file("/app", "file"), "directory"),
        (False, file("/app/a.conf", "directory"), "file"),
        (False, file("/app/a.conf", mode="600"), "file, mode 644"),
        (False, file("/app/b.conf", "file", owner="0:0"), "file, owner 5:0"),
        (False, file("/app/*.conf", owner="0:0"), "/app/b.conf: file, owner 5:0"),
        (False, file("/app/now", target="b.conf"), "link, to a.conf"),
        (False, file("/app/dead", "file"), "a link to gone, which does not exist"),
        (False, Contract(mounted=(Named("/app/a.conf", "directory", HERE),)), "file"),
        (False, Contract(absent=(Named("/app/*.conf", "", HERE),)), "/app/a.conf, /app/b.conf"),
        (False, Contract(absent=(Named("/app/now", "", HERE),)), "/app/now"),
        (False, Contract(absent=(Named("/tmp/*", "", HERE),)), "/tmp/empty"),
        (False, setuid("/usr/bin/su"), "/usr/bin/env (mode 2755, owner 0:42)"),
        (False, setuid(), "/usr/bin/env (mode 2755, owner 0:42), /usr/bin/su (mode 4755, owner 0:0)"),
        (False, Contract(size=Item("24 MB", HERE)), "25 MB"),
    ],
)
def test_each_check_passes_or_fails_and_says_what_is_there(ok: bool, contract: Contract, found: str) -> None:
    assert one(contract) == (ok, found)


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [("/a/*.cc", ["/a/x.cc"]), ("/a/**/*.cc", ["/a/x.cc", "/a/b/y.cc", "/a/b/c/z.cc"]), ("/a/?/*", ["/a/b/y.cc"])],
)
def test_a_star_stops_at_a_slash_and_two_do_not(pattern: str, paths: list[str]) -> None:
    found = Content(SETTINGS, dict.fromkeys(["/a/x.cc", "/a/b/y.cc", "/a/b/c/z.cc", "/b/x.cc"], FILE), 0)
    assert set(matching(pattern, found)) == set(paths)


def test_a_pattern_finds_what_is_behind_a_linked_directory() -> None:
    link = Entry("link", 0o777, 0, 0, 0, "usr/bin")
    found = Content(SETTINGS, {"/bin": link, "/usr/bin": FILE, "/usr/bin/gcc-12": FILE}, 0)
    assert matching("/bin/gcc*", found) == ["/usr/bin/gcc-12"]
