"""What bake asks the registry in PREFIX before a build, sends to it after one, and fetches from any.

No tag is written before everything is built and uploaded. Imported only where a registry is asked: its client is slow
to import.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.bake.build import Verify, export_layouts, export_options, inputs_digest
from generator.bake.checks import Check, ca_files
from generator.bake.job import Job, make_job
from generator.bake.prepare import make_environment
from generator.bake.run import BakeContext, BakeResult, run_bake
from generator.config.reference import parse_reference
from generator.config.settings import key_of
from generator.docker.credentials import certificates, system_bundle
from generator.docker.engine import Facts
from generator.docker.hints import GET_LOGIN, explain_push
from generator.errors import EngineError, FategenError, Problem
from generator.files import write_atomically
from generator.images.image import Contents, PlatformImage, contents, read_pieces, sha256
from generator.images.layout import Layout, empty_layout, top
from generator.images.oci import INDEX_TYPES, Descriptor, index_type, parse_index, platform_name, platform_object
from generator.images.strictjson import Malformed, digest, fields, parse
from generator.plan.plan import Base, Target
from generator.progress import Bar, say
from generator.registry.client import RawManifest, Registries, Registry, Repository, access_to
from generator.registry.explain import Refusal, find_push_problems, not_published
from generator.registry.fetch import Fetch, fetching, other_images, planned_images
from generator.registry.http import RegistryError
from generator.registry.publish import AT_ONCE, Publication, Published, Publisher, Tag, movable_tags, tag_problem
from generator.registry.session import Access, Stopped, workers
from generator.render.tree import BAKE_FILE
from generator.workspace import Workspace

if TYPE_CHECKING:
    from generator.bundle.index import BundleIndex

PATIENCE = 10.0
"""Seconds in which the registries of bases have to answer."""
PUSHES = "pushes.json"
"""What the last pushes from this project published, in ``.fategen``: a cache."""
KEPT_PUSHES = 20
WITHOUT = "everything except bake --push"
_ATTESTED = "vnd.docker.reference.digest"
"""BuildKit's annotation of an attestation: the manifest that it is about."""
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def push_problems(targets: Sequence[Target], access: Access) -> list[Refusal]:
    """Why these targets cannot be pushed. Every repository is asked: rights may differ (Docker Hub, Quay), and at some
    registries each must exist (ECR)."""
    paths = dict.fromkeys(parse_reference(target.tags[0]).path for target in targets if target.is_pushed)
    return find_push_problems(access, list(paths)) if paths else []


def push_access(workspace: Workspace, environment: Mapping[str, str], insecure: Sequence[str] | None) -> Access:
    """How the registry in PREFIX is reached: as docker would, and with CA_BUNDLE's authorities.

    ``environment`` is bake's; ``insecure`` are the engine's insecure-registries (None: it is asked). Raises EngineError
    if a credential helper does not answer.
    """
    host = parse_reference(f"{workspace.plan.settings.prefix}/image").full.domain
    return access_to(host, environment, insecure, ca_files(workspace))


def release_access(workspace: Workspace) -> Access:
    """How a project's registry is reached without a build. Raises EngineError."""
    environment, _ = make_environment(workspace.plan, os.environ)
    return push_access(workspace, environment, None)


def media_type_note(host: str, media_types: str) -> str:
    """What a registry is known not to take of this push, with the next step, or ""; it cannot be asked."""
    if media_types == "oci" and re.fullmatch(r"swr\..+\.myhuaweicloud\.(com|eu)", host):
        return "warning: Huawei SWR refuses OCI indexes; set MEDIA_TYPES=docker in .env for images that it accepts"
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
                    fixed.append(f"{target.repository}:{tag.name}")

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
    host = parse_reference(f"{workspace.plan.settings.prefix}/image").full.domain
    needed = f"bake --push to {host}, unless it accepts pushes from everybody"
    values, _ = make_environment(workspace.plan, environment)
    try:
        access = push_access(workspace, values, facts.engine.insecure if facts else ())
    except EngineError as error:
        return [Check("login", "note", error.message, needed, error.hint, WITHOUT)]
    login = Check("login", "note", "none", needed, GET_LOGIN.format(host=host), WITHOUT)
    if access.login:
        login = Check("login", "ok", "a token" if access.login.identity else access.login.user, needed)
    if facts is None:
        return [login]
    accepts = f"{host} accepts a push (bake --push)"
    if problems := push_problems(workspace.plan.targets, access):
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
    # docker's daemon alone may be allowed to read one
    own = [path for path in certificates(host, environment) if os.access(path, os.R_OK)]
    if not (files := [*own, *authorities]):
        return {}
    bundle, file = system_bundle(environment), state / "registry-ca.pem"
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in ([bundle, *files] if bundle else files)]
    found = (certificate for text in texts for certificate in _CERTIFICATE.findall(text))
    write_atomically(file, "".join(f"{certificate}\n" for certificate in found), sync=False)
    return {"SSL_CERT_FILE": str(file)}


# publishing


def publish(context: BakeContext, verify: Verify | None) -> tuple[Mapping[str, Published], BakeResult]:
    """Builds, uploads by digest and then writes the tags: every one or none.

    Raises InputError (tags that may not move), BuildError or EngineError.
    """
    access, options, settings = context.access, context.job.options, context.workspace.plan.settings
    assert access is not None
    movable = movable_tags(settings.movable_tags.split(), options.overwrite)
    has_base = any(target.kind == "base" for target in context.job.named)
    base = " (for base images a new BASE_TAG, or push without them: fategen bake --push)" if has_base else ""
    if_taken = f"set a new TAG in .env{base}; MOVABLE_TAGS lists tags that a push may always move"
    inputs = _release_inputs(context)
    # a push that may move tags, or that looks at the images once more, builds in any case
    looked_up = inputs and not (verify or options.overwrite or options.no_cache)
    try:
        found = _published_before(context, access, inputs) if looked_up else None
        registry, publications, result = found or _build(context, verify)
        if options.untagged:
            publications = [replace(publication, tags=()) for publication in publications]
        with Bar("uploading", context.quiet) as bar:
            published = Publisher(registry, publications, context.state, bar).publish(movable, if_taken)
    except RegistryError as error:
        step = "if it refuses OCI media types, set MEDIA_TYPES=docker in .env"
        raise not_published(access, settings.prefix, error, context.state, step) from error
    images = {target.name: image for target, image in zip(context.job.named, published, strict=True)}
    if inputs:
        digests = {name: image.publication.target.digest for name, image in images.items()}
        kept = [*_pushes(context.state).items()][1 - KEPT_PUSHES :]
        # without it the next run builds, and finds the same
        with contextlib.suppress(OSError):
            write_atomically(context.state / PUSHES, json.dumps({**dict(kept), inputs: digests}), sync=False)
    return images, result


def _build(context: BakeContext, verify: Verify | None) -> tuple[Registry, Sequence[Publication], BakeResult]:
    """Builds what is published: uploaded by the builder already, or to be uploaded from the layouts that it wrote."""
    targets = context.job.named
    if not verify and context.facts.builder.driver != "docker":
        result, digests = _upload_from_builder(context)
        registry = _connect_again(context)
        with workers(AT_ONCE) as pool:
            uploaded = pool.map(lambda target: _uploaded(registry, target, digests[target.name]), targets)
            return registry, [*uploaded], result
    sources, result = export_layouts(context)
    if verify:
        verify(sources)
    # what it saw has the digest that is tagged
    publications = []
    for target, source in zip(targets, sources, strict=True):
        layout, entry = Layout(source.layout), top(source).descriptor
        read = partial(read_pieces, layout, what=f"{target.name}: blob")
        below = contents(layout, entry, target.name)
        publications.append(Publication(*path_and_tags(target), entry, below, read))
    return _connect_again(context), publications, result


def _connect_again(context: BakeContext) -> Registry:
    """The registry: a connection that was idle during a build may be dead, and a credential helper's login expired."""
    return Registry(push_access(context.workspace, context.env, context.facts.engine.insecure))


def path_and_tags(target: Target) -> tuple[str, tuple[str, ...]]:
    """The repository of a target, and the tags that are published in it."""
    names = [parse_reference(tag) for tag in target.tags]
    return names[0].path, tuple(name.tag for name in names)


def _uploaded(registry: Registry, target: Target, digests: Sequence[str]) -> Publication:
    """The publication of an image that the registry has, whole or in parts."""
    path, _ = path_and_tags(target)
    parts = [registry.pushed(path, digest) for digest in digests]
    below = [contents(Repository(registry, path), part.descriptor, target.name) for part in parts]
    return joined(target, list(zip(parts, below, strict=True)))


def joined(target: Target, parts: Sequence[tuple[RawManifest, Contents]]) -> Publication:
    """The image of all parts, which one builder made of all platforms, or several of some each.

    The index of several is byte for byte as BuildKit writes it: platforms in order, then their attestations.
    """
    path, tags = path_and_tags(target)
    if len(parts) == 1:
        [(top, below)] = parts
        return Publication(path, tags, top.descriptor, below)
    images: dict[str, PlatformImage] = {}
    entries: list[tuple[str, dict[str, Any]]] = []
    for top, below in parts:
        images.update(zip(below.platforms, below.platform_images, strict=True))
        entries += _entries(top, below.platforms[0])
    by_platform = {platform: raw for platform, raw in entries if platform}
    manifests = [by_platform[platform] for platform in target.platforms]
    order = {raw["digest"]: number for number, raw in enumerate(manifests)}
    attestations = [raw for platform, raw in entries if not platform]
    # one of no platform here (another builder's) comes last
    attestations.sort(key=lambda raw: order.get((raw.get("annotations") or {}).get(_ATTESTED), len(order)))
    media_type = index_type(manifests[0]["mediaType"])
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": [*manifests, *attestations]}
    data = json.dumps(document, indent=2).encode()
    everything = Contents(tuple(images[platform] for platform in target.platforms), (), ())
    return Publication(path, tags, Descriptor(sha256(data), len(data), media_type), everything, lambda _: iter([data]))


def _entries(top: RawManifest, platform: str) -> list[tuple[str, dict[str, Any]]]:
    """What BuildKit writes into an index for what one machine uploaded, by platform ("" for an attestation)."""
    if top.media_type in INDEX_TYPES:
        children = parse_index(top.data, top.media_type)
        return [(child.platform, raw) for child, raw in zip(children, json.loads(top.data)["manifests"], strict=True)]
    stated = dict(sorted(platform_object(platform).items()))
    return [(platform, {"mediaType": top.media_type, "digest": top.digest, "size": len(top.data), "platform": stated})]


def _release_inputs(context: BakeContext) -> str:
    """The digest of everything that a release is made of; "" if a build could publish another image in its place."""
    job, options, workspace = context.job, context.job.options, context.workspace
    settings, tags = workspace.plan.settings, [tag for target in job.named for tag in target.tags]
    moves = movable_tags(settings.movable_tags.split(), False)
    if any(moves(parse_reference(tag).tag) for tag in tags) or settings.cache_to:
        return ""
    if options.published_base or options.untagged:
        return ""
    exported = [export_options(context, target) for target in job.named]
    how = (context.command, job.overrides, exported, context.states, tags, workspace.tree[BAKE_FILE])
    return inputs_digest(workspace, job, [target.name for target in job.named], how)


def _pushes(state: Path) -> dict[str, object]:
    """The last pushes: the digest of their inputs -> the digest of each image, the newest last."""
    try:
        return fields(parse((state / PUSHES).read_bytes()), PUSHES, ())
    except (OSError, ValueError):
        return {}


def _published_before(
    context: BakeContext, access: Access, inputs: str
) -> tuple[Registry, Sequence[Publication], BakeResult] | None:
    """What an earlier push published of the same ``inputs``; None if a tag has moved or the registry lost a part."""
    if not (pushed := _pushes(context.state).get(inputs)):
        return None
    try:
        digests = fields(pushed, PUSHES, [target.name for target in context.job.named])
        registry = Registry(access)

        def unless_moved(target: Target) -> Publication:
            expected = digest(digests[target.name], target.name)
            for name in map(parse_reference, target.tags):
                if registry.digest(name.path, name.tag) != expected:
                    raise ValueError(f"{name} points to another image")
            return _uploaded(registry, target, [expected])

        with workers(AT_ONCE) as pool:
            publications = [*pool.map(unless_moved, context.job.named)]
    except (ValueError, FategenError, RegistryError):
        # what is built now is compared with it, or sent again
        return None
    say("unchanged since the last push, and still in the registry: not built again")
    return registry, publications, BakeResult({}, {})


def _upload_from_builder(context: BakeContext) -> tuple[BakeResult, dict[str, list[str]]]:
    """Has BuildKit upload each image by its digest as soon as it is built: a remote builder's images do not come here.

    Returns also the digests of what each target was uploaded as. The engine's own builder refuses this ("push-by-digest
    is currently not implemented for docker driver").
    """
    options, targets = context.job.options, context.job.named
    try:
        if len(context.facts.builder.buildkits) > 1 and any(len(target.platforms) > 1 for target in targets):
            return _upload_each_platform(context)
        # by itself where a retry of an upload would run every step again, or a refused one leave no build cache
        if not (options.no_cache or context.workspace.plan.settings.cache_to):
            built = uploaded = _upload(context, "building and uploading")
        else:
            built = run_bake(context, "building", {})
            uploaded = _upload(context, "uploading", again=True)
    except EngineError as error:
        name = parse_reference(targets[0].tags[0]).name
        if "failed to push" in error.message and (advice := explain_push(error.message, name)):
            error.hint = f"{advice}; then run the same command again"
        raise
    return built, {name: [digest] for name, digest in uploaded.digests.items()}


def _upload(context: BakeContext, title: str, *, again: bool = False) -> BakeResult:
    outputs = {
        target.name: f"type=image,{export_options(context, target)},push=true,push-by-digest=true,name-canonical=true,"
        f"name={parse_reference(target.tags[0]).name}"
        for target in context.job.named
    }
    return run_bake(context, title, outputs, overrides=[f"{name}.tags=" for name in outputs], again=again)


def _upload_each_platform(context: BakeContext) -> tuple[BakeResult, dict[str, list[str]]]:
    """Builds on all nodes at once, then uploads one platform after the other.

    Of images that come from several nodes buildx makes the index, and writes it as the tag ``latest`` (0.29.1,
    build/build.go, TagNameOnly), before the other images are built.
    """
    built = run_bake(context, "building", {})
    targets, plan = context.job.named, context.workspace.plan
    digests: dict[str, list[str]] = {target.name: [] for target in targets}
    for platform in dict.fromkeys(platform for target in targets for platform in target.platforms):
        names = [target.name for target in targets if platform in target.platforms]
        job = make_job(plan, names, replace(context.job.options, platforms=(platform,)))
        uploaded = _upload(replace(context, job=job), f"uploading {platform}", again=True)
        for name in names:
            digests[name].append(uploaded.digests[name])
    return built, digests


# what is there already


@contextlib.contextmanager
def fetching_layouts(
    workspace: Workspace,
    job: Job,
    platforms: Sequence[str],
    quiet: bool,
    others: Sequence[str] = (),
    bases: Sequence[BundleIndex] = (),
) -> Iterator[Fetch]:
    """The job's images, and ``others``, as their registries have them, but for layers that ``bases`` have.

    The registries are asked as bake would push to them: by its proxies and docker's logins, and CA_BUNDLE is trusted.
    """
    layout = partial(empty_layout, workspace.project.make_state("layouts"))
    images = [*planned_images(job.named, platforms, layout), *other_images(others, platforms, layout)]
    environment, _ = make_environment(workspace.plan, os.environ)
    registries = Registries(environment, authorities=ca_files(workspace))
    without = frozenset(blob for base in bases for blob in base.blobs())
    with Bar("fetching", quiet) as bar, fetching(images, registries, without=without, progress=bar) as fetch:
        yield fetch
