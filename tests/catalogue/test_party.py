"""The catalogue's ``party``, and the compose file that is rendered for it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from generator.catalogue.line import parse_line
from generator.catalogue.party import Path
from generator.errors import InputError
from generator.project import packaged_data
from generator.render.render import COMPOSE_FILE, render
from tests.catalogue.test_catalogue import GOOD
from tests.fate_plan import plan_of

PARTY = """\
party:
  ids: ["1", "2"]
  paths:
    - {from: two, to: db, speaks: rpc, port: "80", call: a/b, headers: {one: "$TRY"}, message: "{}", says: c}
    - {from: two, to: party, speaks: http}
"""
COMPONENTS = ("federation", "proxy", "roll", "meta-service", "fateboard", "egg", "python")


def problems(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_line(GOOD + text, name="c.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = render(plan_of(platforms=("linux/amd64",)), [packaged_data("templates")])[COMPOSE_FILE]
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_a_party_is_read_with_its_paths_and_their_lines() -> None:
    party = parse_line(GOOD + PARTY, name="c.yaml").party
    assert party is not None
    assert party.ids == ("1", "2")
    assert party.paths[0] == Path("two", "db", "rpc", "80", "a/b", (("one", "$TRY"),), "{}", "c", 0, "c.yaml:17")
    assert [str(path) for path in party.paths] == ["two → db", "two → the other party"]
    assert party.images == {"two", "db"}
    assert (party.template, party.asks) == ("compose.yaml.j2", ("python", "egg"))


SERVICES = PARTY.replace("  paths:", "  services: {both: two}\n  asks: [both, one]\n  template: own.j2\n  paths:")


def test_services_of_a_party_may_have_other_names_than_their_image() -> None:
    party = parse_line(GOOD + SERVICES.replace("from: two, to: db", "from: both, to: db"), name="c.yaml").party
    assert party is not None
    assert (party.images, party.asks, party.template) == ({"two", "db"}, ("both", "one"), "own.j2")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("both: two", "db: two", "c.yaml:16: db: is the name of an image already"),
        ("both: two", "party: two", "c.yaml:16: party: is the name of the other party already"),
        ("speaks: http}", "speaks: http, says: x}", "c.yaml:21: says: is for rpc alone"),
    ],
)
def test_what_a_party_cannot_have(old: str, new: str, said: str) -> None:
    assert said in problems(SERVICES.replace(old, new))


def test_an_answer_of_every_command_of_eggroll_says_something() -> None:
    party = plan_of(platforms=("linux/amd64",), fate_version="1.11.4").party
    assert party is not None
    assert [path.says for path in party.paths if path.call and path.speaks == "rpc"] == [
        "NODE_MANAGER", "egg_pair", "success", "success"
    ]  # fmt: skip


def test_services_and_who_asks_are_known() -> None:
    assert problems(SERVICES.replace("both: two", "both: twoo").replace("[both, one]", "[bot]")) == [
        "c.yaml:16: unknown image twoo; did you mean two?",
        "c.yaml:17: unknown image bot; did you mean both?",
    ]


def test_a_line_needs_no_party() -> None:
    assert parse_line(GOOD, name="c.yaml").party is None


def test_a_path_to_an_unknown_image_is_a_problem_with_its_line() -> None:
    assert problems(PARTY.replace("from: two, to: db", "from: twoo, to: db")) == [
        "c.yaml:17: unknown image twoo; did you mean two?"
    ]


def test_an_unknown_protocol_lists_the_known_ones() -> None:
    assert problems(PARTY.replace("speaks: http", "speaks: ftp")) == [
        'c.yaml:18: "ftp" is not a protocol: rpc, http, redis'
    ]


def test_two_parties_have_two_ids() -> None:
    assert problems(PARTY.replace('["1", "2"]', '["1"]')) == ["c.yaml:15: ids: two, not 1"]


def test_a_message_is_json() -> None:
    assert problems(PARTY.replace('"{}"', '"{"')) == ['c.yaml:17: "{" is not JSON']


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


def test_a_port_of_the_catalogue_is_a_port_of_the_configuration(compose: dict[str, Any]) -> None:
    plan = plan_of(platforms=("linux/amd64",))
    assert plan.party is not None
    for path in plan.party.paths:
        content = " ".join(config["content"] for config in compose["configs"].values())
        assert not path.port or re.search(rf"\b{path.port}\b", content), path


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
        image = dict(plan.party.services).get(name.rpartition("-")[0], name.rpartition("-")[0])
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
