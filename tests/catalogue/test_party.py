"""The catalogue's ``party``, and the compose file that is rendered for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from generator.catalogue.line import Smoke, parse_line
from generator.errors import InputError
from generator.project import packaged_data
from generator.render.render import COMPOSE_FILE, render
from tests.catalogue.test_catalogue import GOOD
from tests.fate_plan import plan_of

PARTY = """\
party:
  ids: ["1", "2"]
  services: {both: two}
  smoke:
    both reaches db: {in: both, command: [ask, $OTHER], prints: ^ok, within: 5}
    db answers: {in: db, command: [ask]}
"""
COMPONENTS = ("federation", "proxy", "roll", "meta-service", "fateboard", "egg", "python")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = render(plan_of(platforms=("linux/amd64",)), [packaged_data("templates")])[COMPOSE_FILE]
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_a_party_has_smoke_commands_in_services_and_images() -> None:
    party = parse_line(GOOD + PARTY + "  template: own.j2\n", name="c.yaml").party
    assert party is not None
    assert party.smoke == (
        Smoke("both reaches db", "both", ("ask", "$OTHER"), "^ok", 5.0, "c.yaml:18"),
        Smoke("db answers", "db", ("ask",), "", 120.0, "c.yaml:19"),
    )
    assert (party.ids, party.images, party.template) == (("1", "2"), {"two", "db"}, "own.j2")


def test_a_line_needs_no_party() -> None:
    assert parse_line(GOOD, name="c.yaml").party is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("both: two", "db: two", "c.yaml:16: db: is already the name of an image"),
        ("both: two", "both: twoo", "c.yaml:16: unknown image twoo; did you mean two?"),
        ("in: both", "in: bot", "c.yaml:18: unknown image bot; did you mean both?"),
        ("in: db, ", "", "c.yaml:19: in: missing"),
        (", command: [ask]", "", "c.yaml:19: command: missing"),
        ("^ok", '"("', 'c.yaml:18: "(" is not a regular expression'),
        ("within: 5", "within: 5s", 'c.yaml:18: "5s" is not a number of seconds'),
        ('["1", "2"]', '["1"]', "c.yaml:15: ids: expected two, found 1"),
    ],
)
def test_each_mistake_is_a_problem_with_its_line(old: str, new: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_line(GOOD + PARTY.replace(old, new), name="c.yaml")
    assert any(str(problem).startswith(expected) for problem in caught.value.problems), caught.value.problems


def test_a_project_without_one_of_the_images_has_no_compose_file() -> None:
    plan = plan_of(platforms=("linux/arm64",))
    assert plan.party is None
    assert COMPOSE_FILE not in render(plan, [packaged_data("templates")])


def test_every_component_and_what_it_stores_in_is_there_once_for_each_party(compose: dict[str, Any]) -> None:
    wanted = {f"{name}-{party}" for name in (*COMPONENTS, "mysql", "redis", "schema") for party in ("10000", "9999")}
    assert set(compose["services"]) == wanted


def test_images_are_those_of_the_plan(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["roll-9999"]["image"] == "localhost:5000/t/roll:1"
    assert services["schema-9999"]["image"] == "localhost:5000/t/meta-service:1"
    assert services["mysql-9999"]["image"] == "mysql:8"


def test_third_party_images_come_from_the_mirror_where_there_is_one() -> None:
    plan = plan_of(platforms=("linux/amd64",), base_registry="mirror.example.com/hub")
    text = render(plan, [packaged_data("templates")])[COMPOSE_FILE]
    assert yaml.safe_load(text)["services"]["redis-9999"]["image"] == "mirror.example.com/hub/library/redis:5"


def test_only_proxies_are_in_the_network_between_the_parties(compose: dict[str, Any]) -> None:
    between = {name for name, service in compose["services"].items() if "between" in service.get("networks", ())}
    assert between == {"proxy-10000", "proxy-9999"}


def test_each_component_is_known_by_its_own_name_to_its_party_alone(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        image, _, party = name.rpartition("-")
        if image != "schema":
            assert service["networks"][f"party-{party}"] == {"aliases": [image]}


def test_configuration_is_put_over_files_that_the_contracts_say_are_mounted(compose: dict[str, Any]) -> None:
    contracts = {target.name: target.contract for target in plan_of(platforms=("linux/amd64",)).targets}
    for name in COMPONENTS:
        mounted = {mount.name for mount in contracts[name].mounted}
        for config in compose["services"][f"{name}-9999"]["configs"]:
            assert {config["target"], config["target"].rpartition("/")[0]} & mounted, config


def test_every_configuration_is_used_and_every_used_one_is_there(compose: dict[str, Any]) -> None:
    used = {config["source"] for service in compose["services"].values() for config in service.get("configs", ())}
    assert used == set(compose["configs"])


def test_routes_lead_to_the_other_partys_proxy_and_to_the_own_federation(compose: dict[str, Any]) -> None:
    routes = json.loads(compose["configs"]["routes-9999"]["content"])["route_table"]
    assert routes["10000"] == {"default": [{"ip": "proxy-10000", "port": 9370}]}
    assert routes["9999"]["fate"] == [{"ip": "federation", "port": 9394}]


def test_nothing_is_filled_in_from_the_environment(compose: dict[str, Any]) -> None:
    text = render(plan_of(platforms=("linux/amd64",)), [packaged_data("templates")])[COMPOSE_FILE]
    assert "$" not in text


@pytest.mark.parametrize("release", ["1.3.0", "1.11.4"])
def test_every_service_that_goes_on_running_has_a_health_check(release: str) -> None:
    plan = plan_of(platforms=("linux/amd64",), fate_version=release)
    services = yaml.safe_load(render(plan, [packaged_data("templates")])[COMPOSE_FILE])["services"]
    unchecked = {name for name, service in services.items() if "retries" not in service.get("healthcheck", {})}
    assert unchecked == {"schema-10000", "schema-9999"}


@pytest.fixture(scope="module", params=["1.11.0", "1.11.1", "1.11.4"])
def eggroll2(request: pytest.FixtureRequest) -> dict[str, Any]:
    plan = plan_of(platforms=("linux/amd64",), fate_version=request.param)
    found: dict[str, Any] = yaml.safe_load(render(plan, [packaged_data("templates")])[COMPOSE_FILE])
    return {**found, "release": request.param}


def test_one_image_is_three_services_of_a_party_on_eggroll_2(eggroll2: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in eggroll2["services"].items() if name.endswith("-9999")}
    assert {name for name, image in images.items() if image == "localhost:5000/t/eggroll:1"} == {
        "schema-9999", "clustermanager-9999", "nodemanager-9999", "rollsite-9999"
    }  # fmt: skip


def test_its_configuration_is_put_over_files_that_the_contracts_say_are_mounted(eggroll2: dict[str, Any]) -> None:
    plan = plan_of(platforms=("linux/amd64",), fate_version="1.11.4")
    assert plan.party is not None
    contracts = {target.name: target.contract for target in plan.targets}
    for name, service in eggroll2["services"].items():
        image = plan.party.image_of(name.rpartition("-")[0])
        for config in service.get("configs", ()) if image != "mysql" else ():
            mounted = {mount.name for mount in contracts[image].mounted}
            assert {config["target"], config["target"].rpartition("/")[0]} & mounted, config


def test_managers_that_do_not_come_forward_are_put_into_the_table(eggroll2: dict[str, Any]) -> None:
    assert ("INSERT INTO server_node" in eggroll2["configs"]["mysql"]["content"]) == (eggroll2["release"] != "1.11.4")


def test_its_settings_are_yaml_and_its_routes_lead_to_the_other_partys_rollsite(eggroll2: dict[str, Any]) -> None:
    settings = yaml.safe_load(eggroll2["configs"]["fateflow-9999"]["content"])
    assert (settings["party_id"], settings["fateflow"]["host"]) == (9999, "fateflow")
    routes = json.loads(eggroll2["configs"]["routes-9999"]["content"])["route_table"]
    assert routes["10000"] == {"default": [{"ip": "rollsite-10000", "port": 9370}]}
    assert routes["9999"]["fateflow"] == [{"ip": "fateflow", "port": 9360}]
