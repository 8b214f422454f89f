"""Builds, and publishes, loads or writes OCI layouts. No tag is written before everything is built and uploaded."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from generator.bake.checks import ca_files, create_command
from generator.bake.inputs import inputs_digest
from generator.bake.job import Job, Options
from generator.bake.prepare import make_environment
from generator.bake.run import BakeContext, BakeResult, clear_logs, run_bake
from generator.config.reference import parse_reference
from generator.docker.engine import BUILDX_APART
from generator.docker.git import uncommitted
from generator.docker.hints import explain_push
from generator.errors import EngineError, FategenError
from generator.files import write_atomically
from generator.images.layout import SourceImage, empty_layout
from generator.plan.plan import Target
from generator.progress import Bar, say
from generator.render.render import BAKE_FILE
from generator.text import Version, duration, human, parse_version, short_digest, table

if TYPE_CHECKING:
    from generator.bundle.index import BundleIndex
    from generator.registry.client import Registry
    from generator.registry.fetch import Fetch
    from generator.registry.publish import Publication, Published
    from generator.workspace import Workspace

PUSHES = "pushes.json"
"""What the last pushes from this project published, in ``.fategen``: a cache."""
KEPT_PUSHES = 20
Verify = Callable[[Sequence[SourceImage]], None]
"""Checks the built images, which are OCI layouts, and raises if any of them must not be published."""


@dataclass(frozen=True)
class Built:
    """One image of a run. ``digest`` is "" and ``sizes`` are empty if it was neither published nor loaded.

    ``digest`` is that of the index if there are several platforms; ``manifests`` are theirs, of a published image.
    ``sizes`` are bytes by platform: the compressed layers, or what the local engine reports. ``seconds`` is the time in
    which its own steps ran; ``cached``: no step had to.
    """

    image: str
    references: tuple[str, ...]
    digest: str
    platforms: tuple[str, ...]
    sizes: Mapping[str, int]
    seconds: float
    state: str
    uncommitted: tuple[str, ...] = ()
    """the sources that it is built from that have uncommitted changes"""
    cached: bool = False
    replaced: str = ""
    """the digest of another image that its name stood for in the registry until this push"""
    manifests: Mapping[str, str] = field(default_factory=dict)
    needed: Mapping[str, float] = field(default_factory=dict)
    """what it is built from and nobody asked for: the seconds in which each one's steps ran"""

    def as_json(self) -> dict[str, object]:
        return {
            **asdict(self),
            "digest": self.digest or None,
            "seconds": round(self.seconds, 3),
            "replaced": self.replaced or None,
            "needed": {name: round(seconds, 3) for name, seconds in self.needed.items()},
        }


def bake(context: BakeContext, verify: Verify | None = None) -> tuple[Built, ...]:
    """Builds, then publishes or loads as the options say. Raises BuildError or EngineError.

    ``verify`` gets what is built, as OCI layouts, before anything is published: what it saw is what is uploaded.
    """
    output = context.job.options.output
    if output == "push":
        published, result = _publish(context, verify)
        return _report(context, result, published)
    clear_logs(context.state, context.job)
    if output == "load":
        result = _load(context)
        if verify:
            verify(export_layouts(_without_attestations(context), again=True)[0])
    elif verify:
        sources, result = export_layouts(_without_attestations(context))
        verify(sources)
    else:
        result = run_bake(context, "building", {})
    return _report(context, result, {})


def _load(context: BakeContext) -> BakeResult:
    """Builds and loads at once: a developer waits for it, and no one else sees what is loaded."""
    # the engine's own builder can keep the digest that a push or a bundle has; others send a tar in Docker's form
    types = f",{_media_types(context)}" if context.facts.builder.driver == "docker" else ""
    outputs = {target.name: f"type=docker{types}" for target in context.job.named}
    return _run_in_turn(context, "loading", outputs, _loaded_first(context))


def _loaded_first(context: BakeContext) -> tuple[str, ...]:
    """One image of each base, where the engine has not unpacked a base yet.

    It unpacks images beside each other without seeing what they share: a base of 6 GB five times at once (measured).
    """
    if context.facts.builder.driver != "docker" or context.facts.engine.store != "containerd":
        return ()
    first = one_of_each_base(context.job)
    tags = [target.tags[0] for target in context.job.named if target.name in first]
    return first if tags and not context.docker.run(["image", "inspect", "--format", "{{.Id}}", *tags]).ok else ()


def _media_types(context: BakeContext) -> str:
    """Options of BuildKit's exporters for MEDIA_TYPES, and for attestations in the form that every registry takes.

    From 0.32 on attestations are OCI artifacts, which some registries refuse (gitlab.com on the first push).
    """
    versions = map(parse_version, context.facts.builder.buildkits)
    artifacts = any(version is not None and version >= (0, 32, 0) for version in versions)
    return f"oci-mediatypes={str(context.oci).lower()}{',oci-artifact=false' if artifacts else ''}"


def _without_attestations(context: BakeContext) -> BakeContext:
    """For images that are not published: a bundle carries none, and a graphdriver takes none."""
    return replace(context, job=replace(context.job, options=replace(context.job.options, attestations=False)))


# publishing


def _publish(context: BakeContext, verify: Verify | None) -> tuple[Mapping[str, Published], BakeResult]:
    """Builds, uploads by digest and then writes the tags: every one or none.

    Raises InputError (tags that may not move), BuildError or EngineError.
    """
    from generator.registry.explain import not_published
    from generator.registry.http import RegistryError
    from generator.registry.publish import Publisher, movable_tags

    assert context.access is not None
    options, settings, result = context.job.options, context.workspace.plan.settings, BakeResult({}, {})
    movable = movable_tags(settings.movable_tags.split(), options.overwrite)
    inputs = _release_inputs(context)
    # a push that may move tags, or that looks at the images once more, builds in any case
    looked_up = inputs and not (verify or options.overwrite or options.no_cache)
    try:
        if found := _published_before(context, inputs) if looked_up else None:
            registry, publications = found
            say("unchanged since it was pushed, and the registry still has it: not built again")
        else:
            registry, publications, result = _build(context, verify)
        with Bar("uploading", context.quiet) as bar:
            published = Publisher(registry, publications, context.state, bar).publish(movable)
    except RegistryError as error:
        step = "if it refuses OCI media types, set MEDIA_TYPES=docker in .env"
        raise not_published(context.access, settings.prefix, error, context.state, step) from error
    images = {target.name: image for target, image in zip(context.job.named, published, strict=True)}
    if inputs:
        digests = {name: image.publication.target.digest for name, image in images.items()}
        kept = [*_pushes(context.state).items()][1 - KEPT_PUSHES :]
        # without it the next run builds, and finds the same
        with contextlib.suppress(OSError):
            write_atomically(context.state / PUSHES, json.dumps({**dict(kept), inputs: digests}), sync=False)
    return images, result


def _build(context: BakeContext, verify: Verify | None) -> tuple[Registry, Sequence[Publication], BakeResult]:
    """Builds what is published: uploaded by the builder already, or to be uploaded from the layouts that it wrote.

    The registry is new: a connection that was idle during a build may be dead.
    """
    from generator.images.image import contents, read_pieces
    from generator.images.layout import Layout, top
    from generator.registry.client import Registry
    from generator.registry.publish import AT_ONCE, Publication
    from generator.registry.session import workers

    assert context.access is not None
    targets = context.job.named
    if not verify and context.facts.builder.driver != "docker":
        clear_logs(context.state, context.job)
        result = _upload_from_builder(context)
        registry = Registry(context.access)
        with workers(AT_ONCE) as pool:
            digests = [result.digests[target.name] for target in targets]
            return registry, [*pool.map(partial(_uploaded, context, registry), targets, digests)], result
    sources, result = export_layouts(context)
    if verify:
        verify(sources)
    # what it saw has the digest that is tagged
    publications = []
    for target, source in zip(targets, sources, strict=True):
        layout, entry = Layout(source.layout), top(source)
        read = partial(read_pieces, layout, what=f"{target.name}: blob")
        below = contents(layout, entry, target.name)
        publications.append(Publication(*_path_and_tags(context, target), entry, below, read))
    return Registry(context.access), publications, result


def _path_and_tags(context: BakeContext, target: Target) -> tuple[str, tuple[str, ...]]:
    names = [parse_reference(tag) for tag in target.tags]
    return names[0].path, () if context.job.options.untagged else tuple(name.tag for name in names)


def _uploaded(context: BakeContext, registry: Registry, target: Target, digest: str) -> Publication:
    """The publication of an image that the registry has."""
    from generator.images.image import contents
    from generator.registry.client import Repository
    from generator.registry.publish import Publication

    path, tags = _path_and_tags(context, target)
    entry = registry.pushed(path, digest).descriptor
    return Publication(path, tags, entry, contents(Repository(registry, path), entry, target.name))


def _release_inputs(context: BakeContext) -> str:
    """The digest of everything that a release is made of; "" if a build could publish another image in its place."""
    from generator.registry.publish import movable_tags

    job, options, workspace = context.job, context.job.options, context.workspace
    settings, tags = workspace.plan.settings, [tag for target in job.named for tag in target.tags]
    moves = movable_tags(settings.movable_tags.split(), False)
    if any(moves(parse_reference(tag).tag) for tag in tags) or settings.cache_to:
        return ""
    if options.published_base or options.untagged:
        return ""
    how = (context.command, _media_types(context), context.states, tags, workspace.tree[BAKE_FILE])
    return inputs_digest(workspace, job, [target.name for target in job.named], how)


def _pushes(state: Path) -> dict[str, object]:
    """The last pushes: the digest of their inputs -> the digest of each image, the newest last."""
    from generator.images.strictjson import fields, parse

    try:
        return fields(parse((state / PUSHES).read_bytes()), PUSHES, ())
    except (OSError, ValueError):
        return {}


def _published_before(context: BakeContext, inputs: str) -> tuple[Registry, Sequence[Publication]] | None:
    """What an earlier push published of the same ``inputs``; None if a tag has moved or the registry lost a part."""
    from generator.images.strictjson import digest, fields
    from generator.registry.client import Registry
    from generator.registry.http import RegistryError
    from generator.registry.publish import AT_ONCE
    from generator.registry.session import workers

    assert context.access is not None
    if not (pushed := _pushes(context.state).get(inputs)):
        return None
    try:
        digests = fields(pushed, PUSHES, [target.name for target in context.job.named])
        registry = Registry(context.access)

        def unless_moved(target: Target) -> Publication:
            expected = digest(digests[target.name], target.name)
            for name in map(parse_reference, target.tags):
                if registry.digest(name.path, name.tag) != expected:
                    raise ValueError(f"{name} points to another image")
            return _uploaded(context, registry, target, expected)

        with workers(AT_ONCE) as pool:
            return registry, [*pool.map(unless_moved, context.job.named)]
    except (ValueError, FategenError, RegistryError):
        # a tag has moved, or the registry lost a part: what is built now is compared with it, or sent again
        return None


def _upload_from_builder(context: BakeContext) -> BakeResult:
    """Has BuildKit upload each image by its digest as soon as it is built: a remote builder's images do not come here.

    The engine's own builder refuses this ("push-by-digest is currently not implemented for docker driver").
    """
    options, targets = context.job.options, context.job.named
    outputs = {
        target.name: f"type=image,{_media_types(context)},push=true,push-by-digest=true,name-canonical=true,"
        f"name={parse_reference(target.tags[0]).name}"
        for target in targets
    }
    untagged = [f"{target.name}.tags=" for target in targets]
    try:
        # by itself where a retry of an upload would run every step again, or a refused one leave no build cache
        if not (options.no_cache or context.workspace.plan.settings.cache_to):
            return run_bake(context, "building and uploading", outputs, overrides=untagged)
        built = run_bake(context, "building", {})
        uploaded = run_bake(context, "uploading", outputs, overrides=untagged, again=True)
    except EngineError as error:
        name = parse_reference(targets[0].tags[0]).name
        if "failed to push" in error.message and (advice := explain_push(error.message, name)):
            error.hint = f"{advice}; then run the same command again"
        raise
    return replace(built, digests=uploaded.digests)


def _report(context: BakeContext, result: BakeResult, published: Mapping[str, Published]) -> tuple[Built, ...]:
    job, options, built = context.job, context.job.options, []
    state = "uploaded" if options.untagged else {"none": "built", "push": "pushed", "load": "loaded"}[options.output]
    loaded = loaded_sizes(context) if options.output == "load" else {}
    asked = {job.shown(target.name) for target in job.targets}
    for target in job.targets:
        below = (name for name in map(job.shown, job.parts[target.name]) if name not in asked)
        image = Built(
            image=target.name,
            references=target.tags,
            digest=result.digests.get(target.name, "") if options.output == "load" else "",
            platforms=target.platforms,
            sizes=loaded.get(target.name, {}),
            seconds=result.seconds.get(target.name, 0.0),
            uncommitted=uncommitted(job.sources(target), context.states),
            cached=target.name not in result.seconds,
            needed={name: result.seconds.get(name, 0.0) for name in below},
            state=state,
        )
        if done := published.get(target.name):
            digest, contents = done.publication.target.digest, done.publication.contents
            replaced = next((old for old in done.before.values() if old != digest), "")
            image = replace(image, digest=digest, sizes=contents.sizes, manifests=contents.digests, replaced=replaced)
            image = image if options.untagged else replace(image, state=done.state)
        built.append(image)
    return tuple(built)


# the report


def result_table(built: Sequence[Built], total: float) -> str:
    """For people: what was built and the ``total`` seconds, without an empty column; below an index its platforms."""
    needed = {name: seconds for image in built for name, seconds in image.needed.items()}
    rows = [(name, duration(seconds) if seconds else "cached", "", "", "") for name, seconds in needed.items()]
    for image in built:
        time = "cached" if image.cached else duration(image.seconds)
        several = image.manifests if len(image.manifests) > 1 else {}
        platforms = "index" if several else " ".join(image.platforms)
        size = "" if several else " + ".join(map(human, image.sizes.values()))
        rows.append((image.image, time, platforms, size, short_digest(image.digest)))
        rows += [("", "", p, human(image.sizes[p]), short_digest(digest)) for p, digest in several.items()]
    rows.append(("total", duration(total), "", "", ""))
    head = ("IMAGE", ">BUILT IN", "PLATFORMS", ">SIZE", "DIGEST")
    shown = [column for column in zip(head, *rows, strict=True) if any(column[1:])]
    names, *cells = zip(*shown, strict=True)
    text = table(names, cells)
    dirty = {name for image in built for name in image.uncommitted}
    replaced = [f"{image.image} (was {short_digest(image.replaced)})" for image in built if image.replaced]
    notes = {"replaced in the registry": replaced, "with uncommitted changes": sorted(dirty)}
    return "\n".join([text, *(f"{what}: {', '.join(which)}" for what, which in notes.items() if which)])


def loaded_sizes(context: BakeContext) -> dict[str, dict[str, int]]:
    """Image -> its bytes, as the local engine counts them; what it counts depends on its image store."""
    named, own = context.job.named, context.facts.engine.platform
    done = context.docker.run(["image", "inspect", "--format", "{{json .Size}}", *(target.tags[0] for target in named)])
    sizes = done.stdout.split()
    if not done.ok or len(sizes) != len(named):
        return {}
    return {
        target.name: {own if own in target.platforms else target.platforms[0]: int(size)}
        for target, size in zip(named, sizes, strict=True)
    }


# OCI layouts: what bundles are made of, and what is verified


def export_layouts(context: BakeContext, *, again: bool = False) -> tuple[tuple[SourceImage, ...], BakeResult]:
    """Builds the job's images and writes each to ``.fategen/layouts/<target>``.

    Layers are what a push sends: gzip, unless a base has others. ``again`` as for ``run_bake``.
    """
    job = replace(context.job, targets=context.job.named)
    context = replace(context, job=job)
    if not again:
        clear_logs(context.state, job)
    layouts = {target.name: empty_layout(context.state / "layouts", target.name) for target in job.targets}
    images = source_images(job, layouts)
    if context.facts.multi_platform:
        return images, _export(context, layouts, again)
    say(
        "through the engine: its image store (graphdriver) cannot export OCI layouts, so the images are loaded into it "
        "and read back with docker save"
    )
    platform = context.facts.engine.platform
    # another platform would take the image's place in the engine
    if others := sorted({p for target in job.targets for p in target.platforms if p != platform}):
        raise EngineError(
            f"{', '.join(others)} cannot be saved through this engine: its image store (graphdriver) keeps one "
            f"platform of an image, {platform}; create a builder with\n    {create_command(context.workspace.plan)}\n"
            "  and add --builder fategen",
            hint="nothing was started",
        )
    result = run_bake(context, "building and loading", {t.name: "type=docker" for t in job.targets}, again=again)
    from generator.bundle.sources import fill_layouts

    with Bar("reading it back", context.quiet) as bar:
        fill_layouts(context.docker, images, bar, oci=context.oci)
    return images, result


def source_images(job: Job, layouts: Mapping[str, Path]) -> tuple[SourceImage, ...]:
    """The job's images in their layouts (target -> directory)."""
    return tuple(SourceImage(target.tags, layouts[target.name], target.platforms) for target in job.targets)


def _export(context: BakeContext, layouts: Mapping[str, Path], again: bool) -> BakeResult:
    """Has bake write the layouts; the blobs stay between runs, as a cache. Returns the result of what was built."""
    job, root = context.job, context.state.parent
    first = sent_first(job, context.facts.buildx)
    inputs = bases_digest(context.workspace, job) if first else ""
    sent = context.state / "layouts/shared" / f"bases-{inputs}"
    if inputs and sent.exists() and not job.options.no_cache:
        # bases whose layers are here are not sent again; should the engine have made new ones of the same inputs, each
        # image brings its own: slower, but no error
        first = ()
    outputs = {
        name: f"type=oci,tar=false,{_media_types(context)},dest={path.relative_to(root)}"
        for name, path in layouts.items()
    }
    result = _run_in_turn(context, "exporting", outputs, first, again)
    missing = [name for name, path in layouts.items() if not (path / "index.json").is_file()]
    if missing:
        raise EngineError(
            f"docker buildx bake succeeded, but wrote no OCI layout for {', '.join(missing)}",
            hint="docker buildx inspect shows the builder; one with the docker-container driver can write them",
        )
    if inputs:
        with contextlib.suppress(OSError):
            sent.touch()
    return result


def sent_first(job: Job, buildx: Version) -> tuple[str, ...]:
    """Targets to export before the others.

    From buildx 0.20 on (containerd 2) images that are exported beside each other do not see each other's layers, so
    that a base would come once for each image that stands on it: at 1 GB of images, twice the time.
    """
    return one_of_each_base(job) if buildx >= BUILDX_APART else ()


def bases_digest(workspace: Workspace, job: Job) -> str:
    """The ``inputs_digest`` of what the job's images stand on, for their platforms; builders do not count."""
    parents = {parent for target in job.named for parent in target.parents}
    built = [target.name for target in job.involved if target.kind != "builder" and job.shown(target.name) in parents]
    return inputs_digest(workspace, job, built, [(target.platforms, target.bases) for target in job.named])


def one_of_each_base(job: Job) -> tuple[str, ...]:
    """Images that bring every base which the others stand on; none if these are all of the job's images."""
    builders = {target.name for target in job.involved if target.kind == "builder"}
    sent: set[str] = set()
    first = []
    for target in job.named:
        below = {base.name for base in target.bases} | {*target.parents} - builders
        if not below & sent:
            first.append(target.name)
            sent |= below
    return tuple(first) if len(first) < len(job.named) else ()


def _run_in_turn(
    context: BakeContext, what: str, outputs: Mapping[str, str], first: Sequence[str], again: bool = False
) -> BakeResult:
    """Builds everything and exports the images that go ``first``, then the rest; or all at once if none goes first."""
    if not first:
        return run_bake(context, f"building and {what}", outputs, again=again)
    built = run_bake(context, f"{what} one image of each base", {name: outputs[name] for name in first}, again=again)
    rest = run_bake(context, what, {name: out for name, out in outputs.items() if name not in first}, again=True)
    return replace(built, digests={**built.digests, **rest.digests})


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
    # only here: the registry's client is slow to import
    from generator.registry.client import Registries
    from generator.registry.fetch import fetching, other_images, planned_images

    layout = partial(empty_layout, workspace.project.make_state("layouts"))
    images = [*planned_images(job.targets, platforms, layout), *other_images(others, platforms, layout)]
    environment, _ = make_environment(workspace.plan, Options(), os.environ)
    registries = Registries(environment, authorities=ca_files(workspace.plan, workspace.project.root))
    without = frozenset(blob for base in bases for blob in base.blobs())
    with Bar("fetching", quiet) as bar, fetching(images, registries, without=without, progress=bar) as fetch:
        yield fetch
