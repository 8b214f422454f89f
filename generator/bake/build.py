"""Builds images, and loads them or writes OCI layouts; for a push ``publish`` then does the rest. The report."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from generator.bake.checks import create_command
from generator.bake.job import Job
from generator.bake.run import BakeContext, BakeResult, run_bake
from generator.catalogue.contract import Contract
from generator.docker.engine import BUILDX_APART
from generator.docker.git import commit_time, uncommitted
from generator.errors import EngineError
from generator.images.layout import SourceImage, empty_layout
from generator.plan.plan import Target, linked
from generator.progress import Bar, say
from generator.project import STATE
from generator.text import duration, human, parse_version, replaced_line, short_digest, table

if TYPE_CHECKING:
    from generator.registry.publish import Published
    from generator.workspace import Workspace

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
        # only here: the registry's client is slow to import
        from generator.bake.publish import publish

        published, result = publish(context, verify)
        return _report(context, result, published)
    # what is not published: a bundle carries no attestations, and a graphdriver takes none
    plain = replace(context, job=replace(context.job, options=replace(context.job.options, attestations=False)))
    if output == "load":
        result = _load(context)
        if verify:
            verify(export_layouts(plain, again=True)[0])
    elif verify:
        sources, result = export_layouts(plain)
        verify(sources)
    else:
        result = run_bake(context, "building", {})
    return _report(context, result, {})


def _load(context: BakeContext) -> BakeResult:
    """Builds and loads at once: a developer waits for it, and no one else sees what is loaded."""
    # the engine's own builder can keep the digest that a push or a bundle has; others send a tar in Docker's form
    own = context.facts.builder.driver == "docker"
    outputs = {t.name: f"type=docker,{export_options(context, t)}" if own else "type=docker" for t in context.job.named}
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


def export_options(context: BakeContext, target: Target) -> str:
    """Options of BuildKit's exporters: MEDIA_TYPES, the time, and attestations in the form that every registry takes.

    The time that an image is created is its commit's: a step's time is another on each builder. As a build argument it
    would change the cache key of WORKDIR. From 0.32 on attestations are OCI artifacts, which some registries refuse
    (gitlab.com on the first push).
    """
    options = [f"oci-mediatypes={str(context.oci).lower()}"]
    if created := commit_time(target, context.job.sources(target), context.states):
        options.append(f"source-date-epoch={created}")
    versions = map(parse_version, context.facts.builder.buildkits)
    if any(version is not None and version >= (0, 32, 0) for version in versions):
        options.append("oci-artifact=false")
    return ",".join(options)


def _report(context: BakeContext, result: BakeResult, published: Mapping[str, Published]) -> tuple[Built, ...]:
    job, options, built = context.job, context.job.options, []
    is_loaded = options.output == "load"
    loaded = loaded_sizes(context) if is_loaded else {}
    asked = {job.shown(target.name) for target in job.targets}
    for target in job.targets:
        below = (job.shown(part.name) for part in linked(job.involved, [target.name]))
        image = Built(
            image=target.name,
            references=target.tags,
            digest=result.digests.get(target.name, "") if is_loaded else "",
            platforms=target.platforms,
            sizes=loaded.get(target.name, {}),
            seconds=result.seconds.get(target.name, 0.0),
            uncommitted=uncommitted(job.sources(target), context.states),
            cached=target.name not in result.seconds,
            needed={name: result.seconds.get(name, 0.0) for name in below if name not in asked},
            state={"none": "built", "push": "pushed", "load": "loaded"}[options.output],
        )
        if done := published.get(target.name):
            publication, contents = done.publication, done.publication.contents
            image = replace(image, digest=publication.target.digest, sizes=contents.sizes, manifests=contents.digests)
            image = replace(image, replaced=done.replaced, state="uploaded" if options.untagged else done.state)
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
    dirty = sorted({name for image in built for name in image.uncommitted})
    notes = [replaced_line((image.image, image.replaced) for image in built)]
    notes += [f"with uncommitted changes: {', '.join(dirty)}"] if dirty else []
    return "\n".join(filter(None, [text, *notes]))


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
    # from BUILDX_APART on (containerd 2) images that are exported beside each other do not see each other's layers, so
    # that a base would come once for each image that stands on it: at 1 GB of images, twice the time
    first = one_of_each_base(job) if context.facts.buildx >= BUILDX_APART else ()
    inputs = bases_digest(context.workspace, job) if first else ""
    sent = context.state / "layouts/shared" / f"bases-{inputs}"
    if inputs and sent.exists() and not job.options.no_cache:
        # bases whose layers are here are not sent again; should the engine have made new ones of the same inputs, each
        # image brings its own: slower, but no error
        first = ()
    outputs = {
        t.name: f"type=oci,tar=false,dest={layouts[t.name].relative_to(root)},{export_options(context, t)}"
        for t in job.targets
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


# what would be built


def inputs_digest(workspace: Workspace, job: Job, names: Iterable[str], *more: object) -> str:
    """SHA-256, in hex, of everything that these targets are built from, except their tags, and of ``more``.

    Local files count by path, mode, size and time. "" if a source is a branch or a tag, which may move, or cannot be
    read. A base image's tag that moves is not noticed.
    """
    plan, root = workspace.plan, workspace.project.root
    parts = linked(job.involved, names)
    sources = {source for part in parts for source in part.sources}
    if not all(source.local or source.pinned for source in sources):
        return ""
    values = [(v.name, v.value) for v in plan.variables if not v.secret and v.name not in ("PREFIX", "TAG", "BASE_TAG")]
    definitions = [(replace(part, tags=(), contract=Contract()), workspace.tree.get(part.dockerfile)) for part in parts]
    directories = {source.location for source in sources if source.local}
    directories |= {str(Path(part.dockerfile).parent) for part in parts if part.dockerfile}
    directories |= {context.value for part in parts for context in part.contexts if context.value}
    # a generated file counts by its text, which the definitions have
    generated = {str(root / path) for path in workspace.tree}
    try:
        found = (entry for directory in sorted(directories) for entry in _entries(root / directory))
        entries = [entry for entry in found if entry[0] not in generated]
    except OSError:
        return ""
    return hashlib.sha256(repr((values, more, definitions, entries)).encode()).hexdigest()


def _entries(directory: Path) -> Iterator[tuple[object, ...]]:
    """Everything below a directory, without what git and fategen keep there; links are not followed."""
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        stat = entry.stat(follow_symlinks=False)
        if not entry.is_dir(follow_symlinks=False):
            yield entry.path, stat.st_mode, stat.st_size, stat.st_mtime_ns
        elif entry.name not in (".git", STATE):
            yield entry.path, stat.st_mode
            yield from _entries(Path(entry.path))
