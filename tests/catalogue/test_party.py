"""The catalogue's ``party``, and the compose file that is rendered for it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, TypeVar

import pytest
import yaml

from generator.catalogue.line import Smoke, parse_line
from generator.render.tree import COMPOSE_FILE
from tests.catalogue.test_catalogue import GOOD
from tests.fate_plan import plan_of, problems_of, rendered

T = TypeVar("T")
PARTY = """\
party:
  ids: ["1", "2"]
  services: {both: two}
  smoke:
    both reaches db: {in: both, command: [ask, $OTHER], prints: ^ok, within: 5}
    db answers: {in: db, command: [ask]}
"""
COMPONENTS = {
    "1.3.0": {"federation", "proxy", "roll", "meta-service", "fateboard", "egg", "python", "mysql", "redis"},
    "1": {"clustermanager", "nodemanager", "rollsite", "fateflow", "client", "fateboard", "mysql"},
    "2": {"clustermanager", "nodemanager", "osx", "fateflow", "fateboard", "mysql"},
}
RELEASES = ("1.3.0", "1.8.1", "1.10.0", "1.11.1", "1.11.4", "2.2.0", "2.0.0")
PROXIES = {"1.3.0": "proxy", "1": "rollsite", "2": "osx"}


def of(release: str, by_release: dict[str, T]) -> T:
    """What there is for a release or its line."""
    return next(value for name, value in by_release.items() if f"{release}.".startswith(f"{name}."))


@cache
def text_of(release: str) -> str:
    return rendered(plan_of(platforms=("linux/amd64",), version=release))[COMPOSE_FILE]


@cache
def compose_of(release: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text_of(release)))


every_release = pytest.mark.parametrize("release", RELEASES)


def test_a_party_has_smoke_commands_in_services_and_images() -> None:
    party = parse_line(GOOD + PARTY + "  template: own.j2\n", name="c.yaml").party
    assert party is not None
    assert party.smoke == (
        Smoke("both reaches db", "both", ("ask", "$OTHER"), "^ok", 5.0, "c.yaml:18"),
        Smoke("db answers", "db", ("ask",), "", 120.0, "c.yaml:19"),
    )
    assert (party.ids, party.images, party.template) == (("1", "2"), {"two", "db"}, "own.j2")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("both: two", "db: two", "c.yaml:16: db: is already the name of an image"),
        ("both: two", "both: twoo", "c.yaml:16: unknown image twoo; did you mean two?"),
        ("in: both", "in: bot", "c.yaml:18: unknown image bot; did you mean both?"),
        ("in: db, ", "", "c.yaml:19: in: missing"),
        ("in: both", 'in: ""', 'c.yaml:18: "" is not the name of a service'),
        ("both: two", 'both: ""', 'c.yaml:16: "" is not the name of an image'),
        (", command: [ask]", "", "c.yaml:19: command: missing"),
        ("^ok", '"("', 'c.yaml:18: "(" is not a regular expression'),
        ("within: 5", "within: 5s", 'c.yaml:18: "5s" is not a number of seconds'),
        ('["1", "2"]', '["1"]', "c.yaml:14: ids: expected two, found 1"),
    ],
)
def test_each_mistake_is_a_problem_with_its_line(old: str, new: str, expected: str) -> None:
    found = problems_of(lambda: parse_line(GOOD + PARTY.replace(old, new), name="c.yaml"))
    assert any(problem.startswith(expected) for problem in found), found


def test_a_project_without_one_of_the_images_has_no_compose_file() -> None:
    plan = plan_of(platforms=("linux/arm64",))
    assert plan.party is None
    assert COMPOSE_FILE not in rendered(plan)


@every_release
def test_every_component_is_there_once_for_each_party_and_known_to_it_alone(release: str) -> None:
    services = compose_of(release)["services"]
    names = (*of(release, COMPONENTS), "schema")
    assert set(services) == {f"{name}-{party}" for name in names for party in ("10000", "9999")}
    for name, service in services.items():
        component, _, party = name.rpartition("-")
        if component != "schema":
            assert service["networks"][f"party-{party}"] == {"aliases": [component]}
        # whatever goes on running has a health check
        assert ("retries" in service.get("healthcheck", {})) == (component != "schema")


@pytest.mark.parametrize("release", RELEASES[1:])
def test_images_are_those_of_the_plan(release: str) -> None:
    images = {name: service["image"] for name, service in compose_of(release)["services"].items()}
    assert images["mysql-9999"].startswith("mysql:8")
    services = {"schema-9999", "clustermanager-9999", "nodemanager-9999", "rollsite-9999"} & set(images)
    assert {images[service] for service in services} == {"localhost:5000/t/eggroll:1"}


@every_release
def test_only_proxies_are_in_the_network_between_the_parties(release: str) -> None:
    services = compose_of(release)["services"]
    between = {name for name, service in services.items() if "between" in service.get("networks", ())}
    proxy = of(release, PROXIES)
    assert between == {f"{proxy}-10000", f"{proxy}-9999"}


@every_release
def test_configuration_is_used_and_put_over_files_that_the_contracts_say_are_mounted(release: str) -> None:
    compose = compose_of(release)
    plan = plan_of(platforms=("linux/amd64",), version=release)
    assert plan.party is not None
    contracts = {target.name: target.contract for target in plan.targets}
    used = set()
    for name, service in compose["services"].items():
        image = plan.party.image_of(name.rpartition("-")[0])
        for config in service.get("configs", ()):
            used.add(config["source"])
            if image not in ("mysql", "redis"):
                mounted = {mount.name for mount in contracts[image].mounted}
                assert {config["target"], config["target"].rpartition("/")[0]} & mounted, config
    assert used == set(compose["configs"])


@pytest.mark.parametrize("release", RELEASES[1:])
def test_routes_lead_to_the_other_partys_proxy_and_to_the_services_of_its_own(release: str) -> None:
    routes = json.loads(compose_of(release)["configs"]["routes-9999"]["content"])["route_table"]
    assert routes["10000"] == {"default": [{"ip": f"{of(release, PROXIES)}-10000", "port": 9370}]}
    assert routes["9999"]["fateflow"] == [{"ip": "fateflow", "port": 9360}]


@every_release
def test_it_is_in_block_style_and_nothing_is_filled_in_from_the_environment(release: str) -> None:
    text = text_of(release)
    assert not [event.start_mark for event in yaml.parse(text) if getattr(event, "flow_style", False)]
    assert "$" not in text.replace("$$", "")


@pytest.mark.parametrize(
    ("release", "inserted"), [("1.8.1", True), ("1.10.0", True), ("1.11.1", True), ("1.11.4", False)]
)
def test_managers_that_do_not_register_themselves_are_put_into_the_table(release: str, inserted: bool) -> None:
    configs = compose_of(release)["configs"]
    assert ("INSERT INTO server_node" in configs["mysql"]["content"]) == inserted
    settings = yaml.safe_load(configs["fateflow-9999"]["content"])
    assert (settings["party_id"], settings["fateflow"]["host"]) == (9999, "fateflow")
