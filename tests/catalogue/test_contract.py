"""Contracts in the catalogue: named, inherited, filled in, and each part with its line."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import textwrap
from types import SimpleNamespace

import pytest

from generator.catalogue.contract import Contract, Item, Named, filled
from generator.catalogue.line import Image, parse_line
from tests.catalogue.test_catalogue import GOOD
from tests.fate_plan import packaged_family, problems_of

HEAD = GOOD[: GOOD.index("images:")]


def images(text: str) -> dict[str, Image]:
    return {image.name: image for image in parse_line(HEAD + textwrap.dedent(text), name="c.yaml").images}


def names(contract: Contract) -> list[str]:
    return [file.name for file in contract.files]


SHARED = """\
contracts:
  all:
    user: ""
    files: {/etc/a: {type: file}}
  java:
    is: [all]
    workdir: /data/${image}
    files: {conf: {type: directory}, /etc/a: {type: file, mode: "600"}}
images:
  one: {kind: base, from: jre, contract: {is: [java], files: {/etc/b: {}}}}
  two: {kind: component, from: one, contract: {workdir: /two}}
  three: {kind: component, from: one}
"""


def test_a_contract_has_what_it_is_and_says_the_last_word() -> None:
    one = images(SHARED)["one"].contract
    assert names(one) == ["/etc/a", "conf", "/etc/b"]
    assert one.files[0].mode == "600"
    assert one.user is not None and one.user.where == "c.yaml:11"


def test_an_image_with_a_contract_of_its_own_has_that_of_its_parent_too_and_one_without_has_none() -> None:
    two, three = (images(SHARED)[name].contract for name in ("two", "three"))
    assert names(two) == ["/etc/a", "conf", "/etc/b"]
    assert two.workdir is not None and two.workdir.name == "/two"
    assert three == Contract()


def listed(items: Named[tuple[Item, ...]] | None) -> list[str] | None:
    return None if items is None else [item.name for item in items.value]


def contract_of(entry: str) -> Contract:
    """Of an image with this in its entry."""
    return images(f"images:\n  one: {{kind: base, from: jre, {entry}}}\n")["one"].contract


@pytest.mark.parametrize(
    ("entry", "setuid", "ports"),
    [
        ("contract: {setuid: [], ports: []}, with: {port: 80}", [], []),
        ("contract: {}", None, None),
        ('with: {port: "80"}', None, ["80"]),
        # a template may use a port as it likes, if no contract has to understand it
        ("with: {port: 80-81}, contract: {ports: [80, 81]}", None, ["80", "81"]),
        ("with: {port: 80-81}", None, None),
    ],
)
def test_an_empty_list_allows_nothing_an_absent_one_anything_but_for_ports_the_one_of_with(
    entry: str, setuid: list[str] | None, ports: list[str] | None
) -> None:
    contract = contract_of(entry)
    assert (listed(contract.setuid), listed(contract.ports)) == (setuid, ports)
    assert contract.setuid is None or contract.setuid.where == "c.yaml:10"


@pytest.mark.parametrize("entry", ["with: {command: [a, b]}", "with: {command: [c]}, contract: {command: [a, b]}"])
def test_the_command_of_with_is_said_once_and_a_contract_may_say_another(entry: str) -> None:
    command = contract_of(entry).command
    assert command is not None and (command.value, command.where) == (("a", "b"), "c.yaml:10")


def test_setuid_files_add_to_those_of_the_parent_an_empty_list_takes_them_away_and_ports_replace_its_ports() -> None:
    one = "one: {kind: base, from: jre, contract: {setuid: [/a], ports: [80]}}"
    text = f"images:\n  {one}\n  two: {{kind: base, from: one%s}}"
    for own, setuid, ports in (
        ("", None, None),
        (", contract: {}", ["/a"], ["80"]),
        (", contract: {setuid: [/b]}", ["/a", "/b"], ["80"]),
        (", contract: {setuid: [], ports: []}", [], []),
        (", contract: {ports: [8080]}", ["/a"], ["8080"]),
    ):
        two = images(text % own)["two"].contract
        assert (listed(two.setuid), listed(two.ports)) == (setuid, ports), own


@pytest.mark.parametrize(
    ("contract", "answering"),
    [
        ("with: {port: 53/udp}", []),
        ("with: {port: 80/tcp}", ["80"]),
        ("contract: {ports: [53/udp, 80/tcp, 443, 5000/sctp]}", ["80", "443"]),
        ("with: {port: 80}, contract: {started: {answers: [81]}}", ["81"]),
        ("with: {port: 80}, contract: {started: {needs: a database}}", []),
        ("contract: {ports: []}", []),
        ("contract: {}", []),
    ],
)
def test_only_tcp_ports_accept_connections(contract: str, answering: list[str]) -> None:
    assert [port.name for port in contract_of(contract).answering] == answering


def test_names_are_filled_in_and_paths_start_at_the_workdir() -> None:
    found = filled(images(SHARED)["one"].contract, {"image": "one"})
    assert names(found) == ["/etc/a", "/data/one/conf", "/etc/b"]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("file: {}", "file: unknown key; did you mean files?"),
        ("files: {/x: {type: dir}}", '"dir" is not a type of path: file, directory, link'),
        (
            "workdir: '/${imag}'",
            "${imag} stands for nothing; did you mean image?; there are image, release, tag, source",
        ),
        ("size: big", '"big" is not a size, such as 300 MB or 2 GB'),
        ("ports: [70000]", '"70000" is not a port, such as 8080 or 53/udp'),
        (f"ports: [{'9' * 5000}]", f'"{"9" * 20}" is not a port, such as 8080 or 53/udp'),
        ("started: {answers: [53/udp]}", '"53/udp" is not a TCP port'),
        ("runs: {x: {}}", "command: missing"),
        (
            "runs: {x: {command: [a], prints: '('}}",
            '"(" is not a regular expression (missing ), unterminated subpattern at position 0)',
        ),
    ],
)
def test_what_is_wrong_in_a_shared_contract_is_told_with_its_line(part: str, said: str) -> None:
    found = problems_of(lambda: images(f"contracts: {{a: {{{part}}}}}\nimages:\n  one: {{kind: base, from: jre}}"))
    assert found == [f"c.yaml:9: {said}"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("contract: {is: [al]}", "unknown contract al; known are none"),
        *(
            (
                f"with: {{port: {port}}}, contract: {{user: x}}",
                f'"{port}" is not a port, such as 8080 or 53/udp; list all ports in contract: ports:',
            )
            for port in ("http", "8000-8010", "0", "53/icmp", "53/")
        ),
    ],
)
def test_what_is_wrong_with_the_contract_of_an_image_is_told_with_its_line(entry: str, said: str) -> None:
    assert problems_of(lambda: contract_of(entry)) == [f"c.yaml:10: {said}"]


def import_requirements(monkeypatch: pytest.MonkeyPatch, pin: str, name: str, version: str) -> None:
    """Runs the contract's script for a list of one pin where one distribution is installed."""
    (contract,) = (contract for name, contract in packaged_family().contracts if name == "requirements")
    (script,) = (run.words[2] for run in contract.runs if run.name == "import of every requirement")
    found = SimpleNamespace(metadata={"Name": name}, version=version, read_text=lambda file: "")
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: [found])
    exec(script, {"open": lambda path: [f"{pin}\n"]})


@pytest.mark.parametrize(
    ("pin", "installed", "same"),
    [
        ("0.16", "0.16.0", True), ("2.3.1", "2.3.1+cpu", True), ("2.3.1+cpu", "2.3.1", False), ("4.2b1", "4.2b1", True),
        ("3.9.2.post1", "3.9.2.post1", True), ("2.3.1", "2.3.2", False),
    ],
)  # fmt: skip
def test_an_installed_version_is_the_pinned_one_where_pip_thinks_so(
    monkeypatch: pytest.MonkeyPatch, pin: str, installed: str, same: bool
) -> None:
    """ruamel-yaml==0.16 in FATE's own list is 0.16.0 once it is installed."""
    with contextlib.nullcontext() if same else pytest.raises(AssertionError, match=f"a is {re.escape(installed)}, not"):
        import_requirements(monkeypatch, f"a=={pin}", "a", installed)


@pytest.mark.parametrize("name", ["ruamel-yaml", "ruamel.yaml", "Ruamel_YAML"])
def test_an_installed_distribution_is_found_as_pip_finds_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """importlib.metadata itself does not find ruamel-yaml before Python 3.10: real FATE 1.11.4 failed for it."""
    import_requirements(monkeypatch, f"{name}==0.16.10", "ruamel.yaml", "0.16.10")
    with pytest.raises(AssertionError, match="ruamel is not installed"):
        import_requirements(monkeypatch, "ruamel==0.16.10", "ruamel.yaml", "0.16.10")
