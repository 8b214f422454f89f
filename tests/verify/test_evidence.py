"""What layers make of each other, and paths that lead through links."""

from __future__ import annotations

import json

import pytest

from generator.verify.layers import Entry, Evidence, Listing, overlaid, parse_settings

FILE = Entry("file", 0o644, 0, 0, 1, "")
DIRECTORY = Entry("directory", 0o755, 0, 0, 0, "")


def link(target: str) -> Entry:
    return Entry("link", 0o777, 0, 0, 0, target)


def image(files: Listing) -> Evidence:
    return Evidence(parse_settings(b"{}"), files, 0)


def test_a_later_layer_covers_an_earlier_one() -> None:
    changed = FILE._replace(mode=0o600)
    assert overlaid([{"/a": FILE, "/b": FILE}, {"/a": changed}]) == {"/a": changed, "/b": FILE}


def test_a_whiteout_removes_a_path_and_what_is_below_it() -> None:
    lower = {"/d": DIRECTORY, "/d/f": FILE, "/d/s/f": FILE, "/df": FILE}
    assert overlaid([lower, {"/.wh.d": FILE}]) == {"/df": FILE}


def test_an_opaque_directory_keeps_only_what_its_own_layer_puts_there() -> None:
    upper = {"/d": DIRECTORY, "/d/.wh..wh..opq": FILE, "/d/new": FILE}
    assert overlaid([{"/d": DIRECTORY, "/d/old": FILE}, upper]) == {"/d": DIRECTORY, "/d/new": FILE}


def test_a_file_in_the_place_of_a_directory_empties_it() -> None:
    assert overlaid([{"/d": DIRECTORY, "/d/f": FILE}, {"/d": FILE}]) == {"/d": FILE}


def test_a_directory_that_comes_again_keeps_what_is_in_it() -> None:
    changed = DIRECTORY._replace(mode=0o700)
    assert overlaid([{"/d": DIRECTORY, "/d/f": FILE}, {"/d": changed}]) == {"/d": changed, "/d/f": FILE}


def test_a_path_is_found_through_links_of_its_directories() -> None:
    found = image({"/usr/bin/su": FILE, "/bin": link("usr/bin"), "/x": link("/bin/../bin")})
    assert found.find("/bin/su") == found.find("/x/su") == FILE


def test_a_link_at_the_end_is_followed_unless_it_is_what_is_asked_for() -> None:
    found = image({"/app/a-1.jar": FILE, "/app/a.jar": link("a-1.jar")})
    assert found.find("/app/a.jar") == FILE
    assert found.find("/app/a.jar", follow=False) == link("a-1.jar")


@pytest.mark.parametrize("files", [{"/a": link("/b"), "/b": link("/a")}, {"/a": link("nowhere")}])
def test_a_link_that_leads_nowhere_finds_nothing(files: Listing) -> None:
    assert image(files).find("/a") is None
    assert image(files).find("/a/b") is None


def test_settings_are_those_of_the_config_and_the_defaults_are_dockers() -> None:
    config: dict[str, object] = {
        "config": {"Env": ["A=1=2"], "ExposedPorts": {"2/tcp": {}, "1/tcp": {}}, "Cmd": None, "Labels": {"l": "v"}}
    }
    settings = parse_settings(json.dumps(config).encode())
    assert (settings.environment, settings.ports, settings.labels) == ({"A": "1=2"}, ("1/tcp", "2/tcp"), {"l": "v"})
    assert (settings.command, settings.workdir, settings.user) == ((), "/", "")
