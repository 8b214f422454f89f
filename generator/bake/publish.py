"""Build everything; only then push, load or write OCI layouts. After a failed build nothing is in the registry."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from generator.bake.checks import ca_bundle, create_command
from generator.bake.job import Job, Options
from generator.bake.prepare import make_environment
from generator.bake.run import NO_CACHE_EXPORT, BakeContext, BakeError, BakeResult, clear_logs, failure, run_bake
from generator.config.reference import parse_reference
from generator.docker.engine import BUILDX_APART
from generator.docker.git import uncommitted
from generator.docker.hints import explain_push
from generator.docker.process import Docker
from generator.errors import BuildError, EngineError
from generator.images.layout import SourceImage, empty_layout
from generator.plan.plan import Plan, Target
from generator.progress import Bar, say
from generator.text import Version, duration, human, table

if TYPE_CHECKING:
    from generator.bundle.index import BundleIndex
    from generator.registry.fetch import Fetch
    from generator.workspace import Workspace

Verify = Callable[[Sequence[SourceImage]], None]
"""Checks the built images, which are OCI layouts, and raises if any of them must not be published."""

Configs = Mapping[str, Mapping[str, str]]
"""Reference -> platform -> digest of the image's config, which is the same wherever the image is."""


@dataclass(frozen=True)
class Built:
    """One image of a run. ``digest`` is "" and ``sizes`` are empty if it was neither pushed nor loaded.

    ``sizes`` are bytes by platform: the compressed layers in the registry, or what the local engine reports (under the
    platform ""). ``seconds`` is the time in which its own steps ran, without cached ones and without its parents';
    ``cached``: no step had to run.
    """

    image: str
    references: tuple[str, ...]
    digest: str
    platforms: tuple[str, ...]
    sizes: tuple[tuple[str, int], ...]
    seconds: float
    state: str
    uncommitted: tuple[str, ...] = ()
    """the sources that it is built from that have uncommitted changes"""
    cached: bool = False
    replaced: str = ""
    """the digest of another image that its name stood for in the registry until this push"""
    lost: tuple[str, ...] = ()
    """the platforms that this other image had and this one has not"""

    def as_json(self) -> dict[str, object]:
        return {
            "image": self.image,
            "state": self.state,
            "references": list(self.references),
            "digest": self.digest or None,
            "platforms": list(self.platforms),
            "sizes": {platform or "engine": size for platform, size in self.sizes},
            "seconds": round(self.seconds, 3),
            "uncommitted": list(self.uncommitted),
            "cached": self.cached,
            "replaced": self.replaced or None,
            "lost_platforms": list(self.lost),
        }


def bake(context: BakeContext, plan: Plan, verify: Verify | None = None) -> tuple[Built, ...]:
    """Builds, then pushes or loads as the options say. Raises BuildError, or EngineError once everything is built.

    ``verify`` is called when everything is built or loaded and before anything is pushed.
    """
    clear_logs(context.state, context.job)
    result = _build(context)
    verified = _verify(context, plan, verify) if verify else {}
    if context.job.options.output == "push":
        result = replace(result, digests=_push(context).digests)
    return _report(context, result, verified)


def _build(context: BakeContext) -> BakeResult:
    """Builds everything involved: into the builder's cache and nowhere else, or with ``--load`` into the engine too.

    To build and load is one run: a developer waits for it, and no one else sees what is loaded.
    """
    title, outputs = "building", dict[str, str]()
    if context.job.options.output == "load":
        # the engine's own builder can keep the digest that a push or a bundle has; others send a tar in Docker's form
        oci = ",oci-mediatypes=true" if context.facts.builder.driver == "docker" else ""
        title, outputs = "building and loading", _outputs(context.job.targets, f"type=docker{oci}")
    try:
        return run_bake(context, title, outputs, no_cache=context.job.options.no_cache)
    except BakeError as error:
        raise failure(error, "nothing was published" if context.job.options.output == "push" else "") from error


def _verify(context: BakeContext, plan: Plan, verify: Verify) -> Configs:
    """Verifies every platform of the built images, and returns their configs.

    The images are OCI layouts, as bundles are made of: what a push sends has the same digests.
    """
    from generator.images.layout import read

    targets = context.job.targets
    platforms = tuple(dict.fromkeys(platform for target in targets for platform in target.platforms))
    # an attestation is no part of what is checked, and a graphdriver takes none
    plain = replace(context, job=replace(context.job, options=replace(context.job.options, attestations=False)))
    sources = build_layouts(plain, plan, platforms, again=True)
    verify(sources)
    return {
        target.tags[0]: {p.platform: p.config.digest for p in read(source).image.platform_images}
        for target, source in zip(targets, sources, strict=True)
    }


def _push(context: BakeContext) -> BakeResult:
    """Publishes what is built. Raises EngineError, which says what is in the registry now.

    Where the builder can, every layer and manifest is sent without a tag first, so that the tags, which make a release
    visible, follow in a second, when nothing big is left that could fail. The engine's own builder refuses this
    ("push-by-digest is currently not implemented for docker driver"): it sends images and tags at once.

    OCI media types, as in the layouts that bundles are made of: an image has one digest, whichever way it travels.
    """
    targets = context.job.targets
    try:
        if context.facts.builder.driver != "docker":
            by_digest = {
                target.name: "type=image,oci-mediatypes=true,push=true,push-by-digest=true,name-canonical=true,"
                f"name={parse_reference(target.tags[0]).name}"
                for target in targets
            }
            untagged = [f"{target.name}.tags=" for target in targets]
            run_bake(context, "uploading", by_digest, overrides=[NO_CACHE_EXPORT, *untagged])
        outputs = _outputs(targets, "type=registry,oci-mediatypes=true")
        return run_bake(context, "publishing", outputs, overrides=[NO_CACHE_EXPORT])
    except BakeError as error:
        advice = explain_push(error.message, parse_reference(targets[0].tags[0]).name)
        then = f"{advice}; then run" if advice else "run"
        raise EngineError(
            f"{error.message}\n  full log: {error.log}\n{published(targets, error.pushed)}",
            hint=f"everything is built; {then} the same command again to publish the rest",
        ) from error


def published(targets: Sequence[Target], pushed: Mapping[str, bool]) -> str:
    """What a push that failed has left in the registry, in words.

    ``pushed`` has every tag whose manifest was being pushed, and whether the registry acknowledged it.
    """
    tags = {tag for target in targets for tag in target.tags}
    done = sorted(tag for tag in tags if pushed.get(tag))
    unsure = sorted(tag for tag in tags if pushed.get(tag) is False)
    lines = [f"  published: {tag}" for tag in done] + [f"  perhaps published: {tag}" for tag in unsure]
    missing = len(tags) - len(done) - len(unsure)
    if not lines:
        return "  nothing was published"
    return "\n".join([*lines, f"  not published: the other {missing}"] if missing else lines)


def _outputs(targets: Sequence[Target], output: str) -> dict[str, str]:
    return {target.name: output for target in targets if target.tags}


def _report(context: BakeContext, result: BakeResult, verified: Configs) -> tuple[Built, ...]:
    """What became of each target; asks the engine or the registry for sizes."""
    targets, output = context.job.targets, context.job.options.output
    digests = {target.tags[0]: result.digests.get(target.name, "") for target in targets if target.tags}
    replaced = {ref: old for ref, old in context.tagged_before.items() if digests.get(ref) and digests[ref] != old}
    before: Mapping[str, Sequence[str]] = {}
    sizes: Mapping[str, Mapping[str, int]] = {}
    if output == "push":
        from generator.bake.push_checks import platforms_of, pushed_manifests

        pushed = pushed_manifests(digests, context.facts, context.env)
        if unknown := [ref for ref in verified if ref not in pushed]:
            say(f"note: the registry did not say whether what it has is what was verified: {', '.join(unknown)}")
        check_published(verified, {ref: {p: m.config.digest for p, m in of.items()} for ref, of in pushed.items()})
        sizes = {ref: {p: sum(layer.size for layer in m.layers) for p, m in of.items()} for ref, of in pushed.items()}
        before = platforms_of(replaced, context.facts, context.env)
    elif output == "load":
        sizes = loaded_sizes(context.docker, list(digests))
    built = []
    for target in targets:
        name = target.tags[0] if target.tags else ""
        built.append(
            Built(
                image=target.name,
                references=target.tags,
                digest=digests.get(name, ""),
                platforms=target.platforms,
                sizes=tuple(sizes.get(name, {}).items()),
                seconds=result.seconds.get(target.name, 0.0),
                uncommitted=uncommitted(context.job.sources(target), context.states),
                cached=target.name in result.cached,
                replaced=replaced.get(name, ""),
                lost=tuple(p for p in before.get(name, ()) if p not in target.platforms),
                state={"none": "built", "push": "pushed", "load": "loaded"}[output],
            )
        )
    return tuple(built)


def check_published(verified: Configs, pushed: Configs) -> None:
    """Raises BuildError if an image in the registry is not the one that was verified.

    An image that the registry does not tell of is passed over: it may be one that the builder alone reaches.
    """
    different = [
        f"{reference}: config {config}"
        for reference, platforms in pushed.items()
        for config in platforms.values()
        if reference in verified and config not in verified[reference].values()
    ]
    if different:
        listed = "\n  ".join(different)
        raise BuildError(
            f"the published images differ from the verified ones, and the tags point to them:\n  {listed}",
            hint="a source changed, the builder's cache was pruned, or another build did the same beside this one: "
            "run the same command again",
        )


# the report


def result_table(built: Sequence[Built]) -> str:
    """For people: short digests, one size for each platform; no empty column."""
    columns: dict[str, list[str]] = {
        "IMAGE": [image.image for image in built],
        ">BUILT IN": ["cached" if image.cached else duration(image.seconds) for image in built],
        "PLATFORMS": [" ".join(image.platforms) for image in built],
        ">SIZE": [" + ".join(human(size) for _, size in image.sizes) for image in built],
        "DIGEST": [image.digest[:15] + "…" if image.digest else "" for image in built],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    text = table(tuple(shown), list(zip(*shown.values(), strict=True)))
    dirty = {name for image in built for name in image.uncommitted}
    replaced = [
        f"{image.image} (was {image.replaced[:15]}…{', also for ' if image.lost else ''}{' '.join(image.lost)})"
        for image in built
        if image.replaced
    ]
    notes = {"replaced in the registry": replaced, "with uncommitted changes": sorted(dirty)}
    return "\n".join([text, *(f"{what}: {', '.join(which)}" for what, which in notes.items() if which)])


def loaded_sizes(docker: Docker, references: Sequence[str]) -> dict[str, dict[str, int]]:
    """Reference -> bytes, as the local engine counts them; what it counts depends on its image store."""
    done = docker.run(["image", "inspect", "--format", "{{json .Size}}", *references])
    sizes = done.stdout.split()
    if not done.ok or len(sizes) != len(references):
        return {}
    return {ref: {"": int(size)} for ref, size in zip(references, sizes, strict=True) if size.isdigit()}


# OCI layouts: what bundles are made of, and what is verified


def build_layouts(
    context: BakeContext, plan: Plan, platforms: Sequence[str], *, again: bool = False
) -> tuple[SourceImage, ...]:
    """Builds the job's targets and writes each to ``.fategen/layouts/<target>``. Raises BuildError or EngineError.

    There is no attestation, and layers are what a push sends: gzip, unless a base has others. ``again``: the images
    were built just now, so that no build cache is written.
    """
    layouts = {target.name: empty_layout(context.state / "layouts", target.name) for target in context.job.targets}
    images = source_images(context.job, platforms, layouts)
    if context.facts.multi_platform:
        _export(context, layouts, again)
        return images
    say(
        "through the engine: its image store (graphdriver) cannot export OCI layouts, so the images are loaded into it "
        "and read back with docker save"
    )
    platform = context.facts.engine.platform
    # another platform would take the image's place in the engine
    if others := sorted({p for target in context.job.targets for p in target.platforms if p != platform}):
        raise EngineError(
            f"{', '.join(others)} cannot be saved through this engine: its image store (graphdriver) keeps one "
            f"platform of an image, {platform}; create a builder with\n    {create_command(plan)}\n"
            "  and add --builder fategen",
            hint="nothing was started",
        )
    _bake(context, "building and loading", {target.name: "type=docker" for target in context.job.targets}, again)
    from generator.bundle.from_engine import fill_layouts

    with Bar("reading it back", context.quiet) as bar:
        fill_layouts(context.docker, images, bar)
    return images


def source_images(job: Job, platforms: Sequence[str], layouts: Mapping[str, Path]) -> tuple[SourceImage, ...]:
    """The job's images in their layouts (target -> directory), each with its platforms in the order asked for."""
    order = {platform: number for number, platform in enumerate(platforms)}
    return tuple(
        SourceImage(target.tags, layouts[target.name], tuple(sorted(target.platforms, key=order.__getitem__)))
        for target in job.targets
    )


def _export(context: BakeContext, layouts: Mapping[str, Path], again: bool) -> None:
    """Has bake write the layouts; the blobs stay between runs, as a cache."""
    root = context.state.parent
    outputs = {name: f"type=oci,tar=false,dest={path.relative_to(root)}" for name, path in layouts.items()}
    if leaders := sent_first(context.job, context.facts.buildx):
        _bake(context, "exporting one image of each base", {name: outputs[name] for name in leaders}, again)
        again = True
    _bake(context, "exporting", {name: out for name, out in outputs.items() if name not in leaders}, again)
    missing = [name for name, path in layouts.items() if not (path / "index.json").is_file()]
    if missing:
        raise EngineError(
            f"docker buildx bake succeeded, but wrote no OCI layout for {', '.join(missing)}",
            hint="docker buildx inspect shows the builder; one with the docker-container driver can write them",
        )


def sent_first(job: Job, buildx: Version) -> tuple[str, ...]:
    """Targets to export before the others, one for each base; none if that would save nothing.

    From buildx 0.20 on (containerd 2) images that are exported beside each other do not see each other's layers, so
    that a base would come once for each image that stands on it: at 1 GB of images, twice the time.
    """
    if buildx < BUILDX_APART:
        return ()
    builders = {target.name for target in job.involved if target.kind == "builder"}
    sent: set[str] = set()
    leaders = []
    for target in job.targets:
        below = {base.name for base in target.bases} | {*target.parents} - builders
        if not below & sent:
            leaders.append(target.name)
            sent |= below
    return tuple(leaders) if len(leaders) < len(job.targets) else ()


def _bake(context: BakeContext, title: str, outputs: Mapping[str, str], again: bool) -> None:
    clear_logs(context.state, context.job)
    try:
        run_bake(context, title, outputs, overrides=[NO_CACHE_EXPORT] if again else [])
    except BakeError as error:
        raise failure(error) from error


@contextlib.contextmanager
def fetching_layouts(
    workspace: Workspace,
    job: Job,
    platforms: Sequence[str],
    process: Mapping[str, str],
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
    bundle = ca_bundle(workspace.plan, workspace.project.root)
    environment, _ = make_environment(workspace.plan, Options(), process)
    registries = Registries(environment, (bundle,) if bundle else ())
    without = frozenset(blob for base in bases for blob in base.blobs())
    with Bar("fetching", quiet) as bar, fetching(images, registries, without=without, progress=bar) as fetch:
        yield fetch
