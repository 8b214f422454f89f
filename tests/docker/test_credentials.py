"""Where docker has its logins and certificates; credential helpers are processes and tested in e2e/test_harbor.py."""

from __future__ import annotations

import base64
import json
import os
import pwd
from pathlib import Path

import pytest

from generator.docker.credentials import Login, certificates, config_directory, find_login, parse_login, read_config
from generator.docker.process import Completed, Docker
from generator.errors import EngineError


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("key", ["10.0.0.5:8443", "https://10.0.0.5:8443", "https://10.0.0.5:8443/v1/"])
def test_a_login_is_found_under_each_key_that_docker_wrote(key: str) -> None:
    config = {"auths": {"other.example.com": auth("x", "y"), key: auth("robot$fate+ci", "a:b")}}
    assert find_login(config, "10.0.0.5:8443", {}) == Login("robot$fate+ci", "a:b")


def test_docker_hub_has_a_key_of_its_own_and_another_port_is_another_registry() -> None:
    assert find_login({"auths": {"https://index.docker.io/v1/": auth("me", "token")}}, "docker.io", {}) is not None
    assert find_login({"auths": {"10.0.0.5:8443": auth("x", "y")}}, "10.0.0.5", {}) is None


@pytest.mark.parametrize("entry", [{}, {"auth": "%%%"}, {"auth": ""}, "text", None])
def test_an_entry_without_a_password_is_no_login(entry: object) -> None:
    assert find_login({"auths": {"h.example.com": entry}}, "h.example.com", {}) is None


@pytest.mark.parametrize(("host", "asked"), [("h:1", "own"), ("h:2", "all")])
def test_a_registry_s_own_helper_comes_before_that_of_all_and_both_before_what_is_written(
    host: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(helper: Docker, args: list[str], **_: object) -> Completed:
        return Completed((helper.binary, *args), 0, json.dumps({"Username": helper.binary, "Secret": "s"}), "")

    monkeypatch.setattr(Docker, "run", answer)
    config = {"credHelpers": {"h:1": "own"}, "credsStore": "all", "auths": {host: auth("x", "y")}}
    assert find_login(config, host, {}) == Login(f"docker-credential-{asked}", "s")


def test_a_login_in_the_environment_is_used_where_docker_has_no_other() -> None:
    config = {"auths": {"h.example.com": auth("file", "x")}}
    environment = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {"h.example.com": auth("ci", "token")}})}
    assert find_login(config, "h.example.com", environment) == Login("file", "x")
    assert find_login({}, "h.example.com", environment) == Login("ci", "token")
    for other in ("{", "[]", '{"auths": {"other.example.com": {}}}'):
        assert find_login({}, "h.example.com", {"DOCKER_AUTH_CONFIG": other}) is None


def test_an_identity_token_comes_before_a_password() -> None:
    config = {"auths": {"h.example.com": {**auth("me", ""), "identitytoken": "renews"}}}
    login = find_login(config, "h.example.com", {})
    assert login == Login("me", "renews", identity=True) and "renews" not in repr(login)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"'])
def test_a_config_that_cannot_be_read_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    config, problem = read_config({"DOCKER_CONFIG": str(tmp_path)})
    assert config == {} and problem.startswith(" (it cannot be read: ") == (text in ("", "{"))


def test_the_config_is_in_docker_config_or_in_the_home(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps({"credsStore": "pass"}), encoding="utf-8")
    assert read_config({"HOME": str(tmp_path)}) == ({"credsStore": "pass"}, "")
    assert read_config({"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "none")}) == ({}, "")


def test_without_home_it_is_the_users_as_for_docker() -> None:
    assert config_directory({}) == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".docker"


HELPER = "docker-credential-x"


@pytest.mark.parametrize(
    ("code", "out", "login"),
    [
        (0, '{"ServerURL":"h:1","Username":"me","Secret":"s"}', Login("me", "s")),
        (0, '{"Username":"<token>","Secret":"s"}', Login("<token>", "s", identity=True)),
        (0, "{}", None),
        (1, "credentials not found in native keychain\n", None),
    ],
)
def test_what_a_credential_helper_prints(code: int, out: str, login: Login | None) -> None:
    assert parse_login(Completed((HELPER, "get"), code, out, ""), "h:1") == login


@pytest.mark.parametrize(("code", "out"), [(0, ""), (0, "junk s3cret"), (0, "[]"), (1, "the keychain is locked")])
def test_a_credential_helper_that_prints_something_else_is_named(code: int, out: str) -> None:
    with pytest.raises(EngineError, match="docker-credential-x, docker's credential helper for h:1, ") as error:
        parse_login(Completed((HELPER, "get"), code, out, ""), "h:1")
    assert ("keychain is locked" in error.value.message) == (code == 1) and "s3cret" not in error.value.message


def test_certificates_are_those_of_the_engine_of_docker_desktop_and_of_rootless_docker(tmp_path: Path) -> None:
    system, home = tmp_path / "certs.d", tmp_path / "home"
    expected = [system / "h:1/ca.crt", home / ".docker/certs.d/h:1/ca.crt", home / ".config/docker/certs.d/h:1/ca.crt"]
    for file in (*expected, system / "h:1/client.cert", system / "h:2/ca.crt"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("", encoding="utf-8")
    assert certificates("h:1", {"HOME": str(home)}, system) == expected
