"""What bake asks the registry in PREFIX before a build: whether it accepts a push, and which platforms tags have.

Imported only for a push and by the doctor: the registry's client is slow to import.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from generator.bake.checks import Check, ca_files
from generator.bake.job import Options
from generator.bake.prepare import make_environment
from generator.config.reference import parse_reference
from generator.config.settings import key_of
from generator.docker.credentials import certificates, system_bundle
from generator.docker.engine import Facts
from generator.docker.hints import GET_LOGIN
from generator.errors import EngineError, Problem
from generator.images.oci import platform_name
from generator.images.strictjson import Malformed
from generator.plan.plan import Base, Plan, Target
from generator.registry.client import Registries, Registry, access_to
from generator.registry.explain import Refusal, find_push_problems
from generator.registry.http import RegistryError
from generator.registry.publish import Tag, tag_problem
from generator.registry.session import Access, Stopped, workers
from generator.workspace import Workspace

PATIENCE = 10.0
"""Seconds in which the registries of bases have to answer."""
WITHOUT = "everything except bake --push"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def push_problems(targets: Sequence[Target], access: Access) -> list[Refusal]:
    """Why these targets cannot be pushed. Every repository is asked: rights may differ (Docker Hub, Quay), and at some
    registries each must exist (ECR)."""
    paths = dict.fromkeys(parse_reference(target.tags[0]).path for target in targets if target.is_pushed)
    return find_push_problems(access, list(paths)) if paths else []


def push_access(plan: Plan, root: Path, environment: Mapping[str, str], insecure: Sequence[str] | None) -> Access:
    """How the registry in PREFIX is reached: as docker would, and with CA_BUNDLE's authorities.

    ``environment`` is bake's; ``insecure`` are the engine's insecure-registries (None: it is asked). Raises EngineError
    if a credential helper does not answer.
    """
    host = parse_reference(f"{plan.settings.prefix}/image").full.domain
    return access_to(host, environment, insecure, ca_files(plan, root))


def release_access(workspace: Workspace) -> Access:
    """How a project's registry is reached without a build. Raises EngineError."""
    environment, _ = make_environment(workspace.plan, Options(), os.environ)
    return push_access(workspace.plan, workspace.project.root, environment, None)


def media_type_note(host: str, media_types: str) -> str:
    """What a registry is known not to take of this push, with the next step, or ""; it cannot be asked."""
    if media_types == "oci" and re.fullmatch(r"swr\..+\.myhuaweicloud\.(com|eu)", host):
        return "warning: Huawei SWR refuses OCI indexes; MEDIA_TYPES=docker in .env makes images that it takes"
    return ""


def check_tags(
    targets: Sequence[Target], access: Access, movable: Callable[[str], bool]
) -> tuple[list[Problem], list[str]]:
    """Every tag that would lose a platform; and the tags that exist and may not move, so that only the same image may
    be pushed. If a registry does not answer, the publication itself finds out."""
    try:
        registry = Registry(access)
    except RegistryError:
        return [], []
    problems, fixed = [], []

    def ask(target: Target) -> None:
        platforms = tuple(map(platform_name, target.platforms))
        with contextlib.suppress(RegistryError):
            for name in map(parse_reference, target.tags):
                tag = Tag(name.path, name.tag, registry.digest(name.path, name.tag), "")
                if problem := tag_problem(registry, tag, platforms, lambda _: True):
                    problems.append(problem)
                elif tag.before and not movable(tag.name):
                    fixed.append(f"{target.name}:{tag.name}")

    with workers(8) as pool:
        list(pool.map(ask, [target for target in targets if target.is_pushed]))
    return problems, sorted(fixed)


def base_problems(
    targets: Sequence[Target], environment: Mapping[str, str], authorities: Sequence[Path], insecure: Sequence[str]
) -> list[Problem]:
    """Bases that exist for one platform alone, of images for another: BuildKit takes them without a word.

    A registry that does not answer at once is not waited for: the builder may reach it.
    """
    users: dict[Base, list[Target]] = {}
    for target in targets:
        for base in target.bases if target.kind != "builder" else ():
            users.setdefault(base, []).append(target)
    registries = Registries(environment, insecure, authorities)

    def ask(base: Base) -> Problem | None:
        reference = parse_reference(base.reference)
        with contextlib.suppress(RegistryError, EngineError, Malformed, Stopped):
            only = registries.of(reference).only_platform(reference.path, reference.digest or reference.tag or "latest")
            wanted = [(t.name, p) for t in users[base] for p in t.platforms if platform_name(p) != platform_name(only)]
            if only and wanted:
                images, others = (" ".join(dict.fromkeys(words)) for words in zip(*wanted, strict=True))
                wrong = f"it exists only for {only}: {images} for {others} would contain its binaries"
                step = f"set {key_of(base.name, '_IMAGE')} to an image with all platforms, or add --platform {only}"
                return Problem(base.reference, f"{wrong}; {step}")
        return None

    pool = ThreadPoolExecutor(8)
    asked = [pool.submit(ask, base) for base in users]
    done, _ = wait(asked, PATIENCE)
    registries.stop()
    pool.shutdown(wait=False, cancel_futures=True)
    return [problem for future in asked if future in done and (problem := future.result()) is not None]


def registry_checks(facts: Facts | None, workspace: Workspace, environment: Mapping[str, str]) -> list[Check]:
    """Docker's login for the registry; and, with a builder to push with, whether it accepts a push of every image."""
    plan, root = workspace.plan, workspace.project.root
    host = parse_reference(f"{plan.settings.prefix}/image").full.domain
    needed = f"bake --push to {host}, unless it accepts pushes from everybody"
    values = make_environment(plan, Options(), environment)[0]
    try:
        access = push_access(plan, root, values, facts.engine.insecure if facts else ())
    except EngineError as error:
        return [Check("login", "note", error.message, needed, error.hint, WITHOUT)]
    login = Check("login", "note", "none", needed, GET_LOGIN.format(host=host), WITHOUT)
    if access.login:
        login = Check("login", "ok", "a token" if access.login.identity else access.login.user, needed)
    if facts is None:
        return [login]
    accepts = f"{host} accepts a push (bake --push)"
    if problems := push_problems(plan.targets, access):
        steps = dict.fromkeys(problem.step for problem in problems if problem.step)
        what = "; ".join(problem.what for problem in problems)
        return [login, Check("registry", "note", what, accepts, "; ".join(steps), WITHOUT)]
    if login.state == "note":
        login = Check("login", "ok", "none; it accepts pushes from everybody", needed)
    return [login, Check("registry", "ok", "accepts a push of every image", accepts)]


def client_trust(host: str, environment: Mapping[str, str], authorities: Sequence[Path], state: Path) -> dict[str, str]:
    """What to add to bake's environment so that buildx trusts what docker trusts: a file in ``state``, if needed.

    buildx fetches tokens itself and trusts the system's authorities alone, whatever certs.d says ("failed to fetch
    oauth token … certificate signed by unknown authority"). Only certificates are copied: such a file may hold a key.
    """
    if not (files := [*certificates(host, environment), *authorities]):
        return {}
    bundle, file = system_bundle(environment), state / "registry-ca.pem"
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in ([bundle, *files] if bundle else files)]
    file.write_text(
        "".join(f"{certificate}\n" for text in texts for certificate in _CERTIFICATE.findall(text)), encoding="utf-8"
    )
    return {"SSL_CERT_FILE": str(file)}
