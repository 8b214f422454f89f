"""FATE 2: what upstream's Dockerfiles and compose files get wrong, and these do not."""

from __future__ import annotations

import re

import pytest
import yaml

from generator.plan.plan import Plan
from generator.project import packaged_data
from generator.render.render import COMPOSE_FILE, render
from tests.fate_plan import LINES, packaged_line, plan_of

RELEASES = ("2.0.0", "2.1.1", "2.2.0")


@pytest.fixture(scope="module", params=RELEASES)
def plan(request: pytest.FixtureRequest) -> Plan:
    return plan_of(version=str(request.param), tag=f"{request.param}-release", platforms=("linux/amd64", "linux/arm64"))


@pytest.fixture(scope="module")
def tree(plan: Plan) -> dict[str, str]:
    return render(plan, [packaged_data("templates")])


def test_the_script_that_counts_gpus_can_be_started(tree: dict[str, str]) -> None:
    """It has mode 644 in eggroll's repository: node managers log "Permission denied" and see no GPU."""
    assert "chmod 755 bin/gpu/*.sh" in tree["dockerfiles/eggroll/Dockerfile"]


def test_what_python_3_10_cannot_import_is_not_installed(tree: dict[str, str]) -> None:
    """cachetools 3.0.0 in FATE-Flow's requirements wants collections.MutableMapping; no code imports it."""
    assert r"-e 's/^cachetools==3\.0\.0[[:space:]]*$//'" in tree["dockerfiles/base-image/Dockerfile"]


def test_osx_starts_the_class_that_there_is_with_the_messages_of_eggroll_3(tree: dict[str, str]) -> None:
    """Upstream starts com.osx.broker.Bootstrap, and without pb_lib (F#5561, F#5575)."""
    command = tree["dockerfiles/osx/Dockerfile"].rpartition("CMD ")[2]
    assert '"org.fedai.osx.broker.Bootstrap"' in command and "pb_lib/v3/*" in command


def test_the_messages_of_eggroll_2_and_3_are_apart(tree: dict[str, str]) -> None:
    assert "rm -f $lib/osx-pb-*.jar" in tree["dockerfiles/packages/Dockerfile"]


def test_fateflow_starts_its_server(tree: dict[str, str]) -> None:
    """Upstream's Dockerfile of 2.2 has three CMD, and the last one configures a client."""
    commands = re.findall(r"(?m)^CMD .*", tree["dockerfiles/fateflow/Dockerfile"])
    assert len(commands) == 1 and "fate_flow_server.py" in commands[0]


def test_clients_in_fateflow_find_its_server(tree: dict[str, str]) -> None:
    """Upstream's compose file of 2.2 runs pipeline init and flow init when the server has ended."""
    assert "s/^  ip: 127\\.0\\.0\\.1$/  ip: fateflow/" in tree["dockerfiles/fateflow/Dockerfile"]


def test_nothing_is_installed_when_a_container_starts(tree: dict[str, str]) -> None:
    """Upstream's compose files run pip install cryptography, which an air-gapped site cannot."""
    assert r"/pymysql\ncryptography/" in tree["dockerfiles/base-image/Dockerfile"]
    assert "pip" not in tree[COMPOSE_FILE]


def test_all_requirements_are_installed_at_once(tree: dict[str, str]) -> None:
    """Upstream installs lists that contradict each other one after the other, and 2.1 leaves eggroll's out."""
    base = tree["dockerfiles/base-image/Dockerfile"]
    lists = ("requirements-fate.txt", "requirements-eggroll.txt", "requirements-flow.txt")
    assert all(f"python/{name}" in base for name in lists) and base.count("pip install --") == 0
    assert len(re.findall('bin/pip" install', base)) == 1
    # one that upstream's Flask cannot import
    assert "Werkzeug>=2.2.2,<3" in base
    assert "pip install" not in tree["dockerfiles/eggroll/Dockerfile"]


def test_torch_is_one_that_both_platforms_have(tree: dict[str, str]) -> None:
    """Upstream strips +cpu from torch 1.13.1 alone."""
    pins = re.findall(r"-e 's/\^torch.*/(.*)/'", tree["dockerfiles/base-image/Dockerfile"])
    assert pins == ([] if "python:3.8" in tree["dockerfiles/base-image/Dockerfile"] else ["torch==2.3.1"])


def test_fateboards_pages_are_built_with_an_element_plus_that_they_compile_with(tree: dict[str, str]) -> None:
    """Upstream has no lock file, and tsc fails with later ones."""
    install = tree["dockerfiles/packages/Dockerfile"].partition("# npm install\n")[2].partition("\nEOF\n")[0]
    assert install.index("element-plus@2.4.4\n") < install.index("npm install --")


def test_an_image_has_one_tag_wherever_it_is_named(plan: Plan, tree: dict[str, str]) -> None:
    """Upstream builds eggroll as EGGROLL_TAG and pushes it as TAG."""
    wanted = dict.fromkeys(("fateflow", "osx", "client", "eggroll", "fateboard"), f"{plan.release}-release")
    if plan.release == "2.2.0":
        wanted |= {"eggroll": "3.2.0-release", "fateboard": "2.1.1-release"}
    assert {name: plan.target(name).tags for name in wanted} == {
        name: (f"localhost:5000/t/{name}:{tag}",) for name, tag in wanted.items()
    }
    for service in yaml.safe_load(tree[COMPOSE_FILE])["services"].values():
        name, _, tag = service["image"].rpartition("/")[2].partition(":")
        assert tag == wanted.get(name, "8.0.28")


def test_every_image_of_the_compose_files_is_built_and_pushed(plan: Plan) -> None:
    """Upstream pushes no osx in 2.2, and no fateboard in 2.0 and 2.1."""
    [default] = [group.images for group in plan.groups if group.name == "default"]
    assert {"fateflow", "eggroll", "osx", "fateboard", "client"} <= set(default)


def test_fateboard_is_where_the_configuration_is_mounted(plan: Plan, tree: dict[str, str]) -> None:
    """KubeFATE mounts fateboard/conf, upstream's compose file of 2.2 fate_board/conf."""
    directory = f"/data/projects/fate/{'fate_board' if plan.release == '2.2.0' else 'fateboard'}"
    assert f"WORKDIR {directory}\n" in tree["dockerfiles/fateboard/Dockerfile"]
    assert f"target: {directory}/conf/application.properties\n" in tree[COMPOSE_FILE]


def test_both_platforms_have_every_image(plan: Plan) -> None:
    """Upstream has linux/amd64 alone: its tini, its Python and its torch are downloads of that."""
    assert [t.name for t in plan.targets if t.dockerfile and len(t.platforms) != 2] == []


def test_no_file_is_downloaded_but_from_package_indexes(tree: dict[str, str]) -> None:
    """Upstream fetches tini, Python, OpenSSL and torch from hosts of their own, and names an index of its country."""
    for path, text in tree.items():
        hosts = set(re.findall(r"https?://([\w.-]+)", text)) - {
            "github.com",
            "0.0.0.0",
            "127.0.0.1",
            "fateflow",
            "mirror",
        }
        assert hosts <= {"localhost", "namenode"}, path


def test_a_minor_release_is_a_difference_of_less_than_40_lines() -> None:
    line, other = (packaged_data("catalogue") / name for name in ("2.1.yaml", "2.0.yaml"))
    for file in (line, other):
        assert len([text for text in file.read_text(encoding="utf-8").splitlines() if text.strip()]) < 40


def test_the_lines_of_2_have_the_same_images() -> None:
    names = [[image.name for image in packaged_line(name).images] for name in LINES if name.startswith("2.")]
    assert names[0] == names[1] == [name for name in names[2] if name != "standalone"]
