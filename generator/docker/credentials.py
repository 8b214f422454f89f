"""Where docker keeps the login of a registry and the certificates that it trusts for one.

Logins: docker/cli, cli/config/configfile/file.go (GetAuthConfig): ``credHelpers`` for this host, else ``credsStore``,
else ``auths``; the key of Docker Hub is an address of its version 1. Certificates: docker's manual, "Verify repository
client with certificates"; rootless docker reads ``~/.config/docker`` (moby, registry/config_unix.go), Docker
Desktop copies ``~/.docker/certs.d`` to its engine.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generator.docker.process import Completed, Docker
from generator.errors import EngineError

HUB = "docker.io"
SYSTEM_CERTS = Path("/etc/docker/certs.d")
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where Go looks for the system's certificates (crypto/x509, root_linux.go): docker's plugins trust the first."""


@dataclass(frozen=True)
class Login:
    """``password`` is a token that renews itself (an identity token) if ``identity`` says so."""

    user: str
    password: str = field(repr=False)
    identity: bool = False

    @property
    def basic(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def hide(self, text: str) -> str:
        """``text`` without the password, for what a registry says: it may repeat what it was sent."""
        return text.replace(self.basic, "***").replace(self.password, "***")


def config_directory(environment: Mapping[str, str]) -> Path:
    """Docker's own directory: $DOCKER_CONFIG or ~/.docker."""
    chosen = environment.get("DOCKER_CONFIG")
    return Path(chosen) if chosen else _home(environment) / ".docker"


def _home(environment: Mapping[str, str]) -> Path:
    """The user's home, which docker knows without $HOME too."""
    try:
        return Path(environment.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path("/")


def read_config(environment: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Docker's own config.json, empty if there is none; and in brackets why it cannot be read, or ""."""
    try:
        content = json.loads((config_directory(environment) / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError) as error:
        return {}, f" (it cannot be read: {error})"
    return content if isinstance(content, dict) else {}, ""


def mapping(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The object under a key; empty if there is none."""
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _hostname(key: str) -> str:
    """Older logins were stored as addresses: ``https://host/v1/``."""
    return re.sub(r"^https?://", "", key).partition("/")[0]


def find_login(config: Mapping[str, Any], host: str, environment: Mapping[str, str]) -> Login | None:
    """docker's login for a registry; None if it has none. Raises EngineError if a credential helper does not answer."""
    key = "https://index.docker.io/v1/" if host == HUB else host
    helper = mapping(config, "credHelpers").get(key) or config.get("credsStore")
    if helper:
        return _ask_helper(str(helper), key, environment)
    if login := _login_of(config, key):
        return login
    # docker 28.3 and later reads it first; before, it is a CI runner's own, perhaps for pulls alone
    with contextlib.suppress(ValueError):
        return _login_of(json.loads(environment.get("DOCKER_AUTH_CONFIG") or "{}"), key)
    return None


def _login_of(config: object, key: str) -> Login | None:
    auths = mapping(config, "auths") if isinstance(config, dict) else {}
    entry = auths.get(key) or next((auths[name] for name in auths if _hostname(name) == _hostname(key)), None)
    if not isinstance(entry, dict):
        return None
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(str(entry["auth"])).decode().partition(":")
        except ValueError:
            return None
        password = password.strip("\0")
    if entry.get("identitytoken"):
        return Login(user, str(entry["identitytoken"]), identity=True)
    return Login(user, password) if password else None


def _ask_helper(name: str, key: str, environment: Mapping[str, str]) -> Login | None:
    """docker-credential-helpers' protocol: the host on stdin, JSON on stdout, exit code 1 for one that it has not."""
    helper = Docker(f"docker-credential-{name}")
    hint = f"{config_directory(environment) / 'config.json'} names it: correct it there, or see why it fails"
    try:
        # seconds: some helpers ask a server
        done = helper.run(["get"], input=key.encode(), env=environment, timeout=30)
        return parse_login(done, key)
    except EngineError as error:
        raise EngineError(error.message, hint=hint) from error


def parse_login(done: Completed, key: str) -> Login | None:
    """The login that a credential helper printed; None if it has none. Raises EngineError for anything else."""
    if not done.ok and "credentials not found" in done.stdout + done.stderr:
        return None
    try:
        answer = json.loads(done.stdout) if done.ok else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        # not its output: it may have a password in it
        why = "printed something that is not JSON" if done.ok else f"failed: {done.last_line}"
        raise EngineError(f"{done.args[0]}, docker's credential helper for {key}, {why}")
    user, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
    return Login(user, secret, identity=user == "<token>") if secret else None


def certificates(host: str, environment: Mapping[str, str], system: Path = SYSTEM_CERTS) -> list[Path]:
    """The files with the authorities that docker trusts for a registry, besides the system's own."""
    rootless = Path(environment.get("XDG_CONFIG_HOME") or _home(environment) / ".config") / "docker/certs.d"
    places = dict.fromkeys((system, config_directory(environment) / "certs.d", rootless))
    return [file for place in places for file in sorted((place / host).glob("*.crt")) if file.is_file()]


def system_bundle(environment: Mapping[str, str]) -> Path | None:
    """The file with the system's authorities, as Go would choose it."""
    named = environment.get("SSL_CERT_FILE")
    return next((Path(path) for path in ([named] if named else BUNDLES) if Path(path).is_file()), None)
