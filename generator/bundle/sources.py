"""What a bundle of the plan holds, what its file is called, and where its images come from.

They come from bake, the engine, a registry, or OCI layouts of other tools.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from generator.bundle.engines import NOT_IN_ENGINE, DockerEngine
from generator.bundle.save import check_place
from generator.config.reference import familiar, normalize
from generator.docker.process import Docker, find_docker
from generator.errors import EngineError, InputError, Problem, did_you_mean
from generator.images.docker_save import AGAIN, compress_layers, copy_blobs, grouped, read_saves
from generator.images.layout import BlobStore, SourceImage, empty_layout, missing_platforms, names_image, write_layout
from generator.progress import Bar, Progress

if TYPE_CHECKING:
    from generator.bake.job import Job
    from generator.bundle.index import BundleIndex
    from generator.docker.engine import Engine
    from generator.plan.plan import Plan
    from generator.registry.fetch import Fetch
    from generator.workspace import Workspace

DEFAULT = "components"
BUNDLES = {DEFAULT: ("components",), "third-party": ("third-party",), "all": ("base", "components", "third-party")}
"""The bundles that have names, and the plan's groups in them."""
_COMPRESSED = (".gz", ".tgz", ".zst", ".xz", ".bz2", ".zip")


def groups_of(name: str, plan: Plan) -> tuple[str, ...]:
    """The groups of a bundle that the plan has: for some platforms there is no base image, say."""
    known = {group.name for group in plan.groups}
    return tuple(group for group in BUNDLES[name] if group in known)


def check_bundle_names(names: Sequence[str], read_plan: Callable[[], Plan | None]) -> str:
    """The only one of ``names``. Raises InputError if it is no bundle's; the hint saves the images that were meant."""
    if len(names) == 1 and names[0] in BUNDLES:
        return names[0]
    plan = read_plan()
    if plan and [plan.family.slug] == list(names):
        return DEFAULT
    images = _bundle_of_image(plan) if plan else {}
    group = next((group for group in plan.groups if [group.name] == list(names)), None) if plan else None
    meant = [next(iter(difflib.get_close_matches(name, images, n=1)), name) for name in names]
    suggestion = f"; did you mean {' '.join(meant)}?" if meant != list(names) else ""
    if group and group.name not in BUNDLES["all"]:
        meant, suggestion = [*group.images], f"; {group.name} is a group of images"
    bundles = {images.get(name, "") for name in meant}
    if {*BUNDLES, *BUNDLES["all"]}.issuperset(names):
        hint = "fategen bundle save all"
    elif "" in bundles:
        suggestion = suggestion or did_you_mean(names[0], BUNDLES)
        hint = "for one image: fategen bundle save --image NAME; fategen images lists them"
    else:
        bundle = bundles.pop() if len(bundles) == 1 else "all"
        of = "" if bundle == DEFAULT else f"{bundle} "
        hint = f"fategen bundle save {of}{' '.join(f'--image {name}' for name in meant)}"
    wrong = f"no bundle has this name{suggestion}" if len(names) == 1 else f"expected one bundle name, got {len(names)}"
    raise InputError(Problem(" ".join(names), f"{wrong}; there are {', '.join(BUNDLES)}"), hint=hint)


def selected(plan: Plan, name: str, images: Sequence[str]) -> tuple[str, ...]:
    """The names to build: the bundle's groups, or some of their images. InputError for one that is not in them."""
    groups = groups_of(name, plan)
    if not groups:
        from generator.bake.job import not_built

        # no name at all would be bake's default
        reason = "; ".join(not_built(plan, BUNDLES[name])) or f"{plan.title} has none of its images"
        hint = "fategen images lists all images"
        raise InputError(Problem(name, f"this bundle would be empty: {reason}"), hint=hint)
    known = [target.name for target in plan.select(groups)]
    wrong = [image for image in images if image not in known]
    if wrong:
        # one that has none of the project's platforms: it raises with the reason
        plan.select(target.name for target in plan.unavailable if target.name in wrong)
        bundles = _bundle_of_image(plan)
        instead = {w: f"; it is in {bundles[w]}" if w in bundles else did_you_mean(w, known) for w in wrong}
        problems = [Problem("--image", f"{w} is not in the {name} bundle{instead[w]}") for w in wrong]
        raise InputError(problems, hint=f"it contains {', '.join(known)}")
    return tuple(images) or groups


def _bundle_of_image(plan: Plan) -> dict[str, str]:
    """Image -> the smallest bundle that has it."""
    return {t.name: bundle for bundle in reversed(BUNDLES) for t in plan.select(groups_of(bundle, plan))}


def in_order(platforms: Iterable[str], plan: Plan) -> tuple[str, ...]:
    """Each once and as PLATFORMS has them: the same images in another order are another bundle."""
    known = plan.settings.platforms
    return tuple(sorted(dict.fromkeys(platforms), key=lambda p: known.index(p) if p in known else len(known)))


def default_platform(engine: Engine, plan: Plan, names: Sequence[str], origin: str) -> tuple[str, str]:
    """The platform that is saved if none is asked for: the engine's, or the project's only one; and a note, or ""."""
    known = plan.settings.platforms
    if engine.problem is not None:
        # a remote builder needs no engine, only to be told for what to build
        hint = f"{engine.problem.hint}; or, if nothing else needs a daemon, set the platform: --platform {known[0]}"
        raise EngineError(engine.problem.message, hint=hint)
    if engine.platform not in known:
        if len(known) == 1:
            return known[0], f"for {known[0]}, the only platform in PLATFORMS; the engine's is {engine.platform}"
        message = f"PLATFORMS ({' '.join(known)}) lacks the engine's own {engine.platform}, which is the default"
        flags = ", or ".join(f"--platform {platform}" for platform in known)
        raise InputError(Problem(plan.settings.where("PLATFORMS"), message), hint=f"choose what to save: {flags}")
    built = dict.fromkeys(platform for target in plan.select(names) for platform in target.platforms)
    others = [platform for platform in built if platform != engine.platform]
    if not others or origin == "engine" or (origin == "bake" and engine.store == "graphdriver"):
        # that one image store has one platform of each image
        return engine.platform, ""
    flags = " ".join(f"--platform {platform}" for platform in (engine.platform, *others))
    note = f"for {engine.platform} only, the engine's platform; for {'all' if others[1:] else 'both'}: {flags}"
    return engine.platform, note


def default_file(title: str, family: str, platforms: Iterable[str]) -> Path:
    """With the family's name as a suffix, and the requested ``platforms``, the same for any order of them."""
    words = [title, *(platform.replace("/", "-") for platform in sorted(set(platforms)))]
    return Path(f"{'-'.join(words)}.{family}.tar")


def check_output(output: Path, bases: Sequence[Path]) -> None:
    """Raises InputError if no file can be written there, its name promises a compression, or it is a base bundle."""
    check_place(output)
    if end := next((end for end in _COMPRESSED if output.name.endswith(end)), ""):
        wrong = f"{output} would not be {end}: a bundle is a plain tar with compressed layers"
        stem = str(output)[: -len(end)]
        raise InputError(Problem("-o", wrong), hint=f"-o {stem.removesuffix('.tar')}.tar")
    for base in bases:
        if base.resolve() == output.resolve():
            message = f"{base} is the base bundle, and would be overwritten by its delta"
            raise InputError(Problem("--base", message), hint="write to another file with -o")


def _find_layouts(directory: Path, job: Job) -> dict[str, Path]:
    """OCI layouts that others wrote (skopeo, crane, buildx): ``directory``/IMAGE, or one with all images by name."""
    layouts, problems = {}, []
    for target in job.targets:
        own = directory / target.name
        if (own / "index.json").is_file():
            layouts[target.name] = own
        elif names_image(directory, target.tags):
            layouts[target.name] = directory
        else:
            wrong = f"{own} is not an OCI layout, and {directory} has no {target.tags[0]}"
            problems.append(Problem(target.name, wrong))
    if problems:
        raise InputError(problems, hint="skopeo copy docker://NAME:TAG oci:DIR/IMAGE writes one")
    return layouts


@contextlib.contextmanager
def without_building(
    workspace: Workspace,
    job: Job,
    origin: str,
    platforms: Sequence[str],
    others: Sequence[str],
    bases: Sequence[BundleIndex],
    quiet: bool,
) -> Iterator[tuple[tuple[SourceImage, ...], Fetch | None]]:
    """The job's images in ``engine``, ``registry`` or ``layout:DIR``; a registry's are fetched until the block ends."""
    from generator.bake.build import source_images

    kind, _, place = origin.partition(":")
    if kind == "layout":
        yield source_images(job, _find_layouts(Path(place), job)), None
    elif kind == "registry":
        from generator.bake.publish import fetching_layouts

        with fetching_layouts(workspace, job, platforms, quiet, others, bases) as fetch:
            yield fetch.images, fetch
    else:
        # the layouts of bake: what was exported before is not copied again
        state = workspace.project.make_state("layouts")
        images = source_images(job, {t.name: empty_layout(state, t.name) for t in job.targets})
        with Bar("reading", quiet) as bar:
            fill_layouts(find_docker(), images, bar, oci=workspace.plan.settings.media_types == "oci")
        yield images, None


def fill_layouts(docker: Docker, images: Sequence[SourceImage], progress: Progress, *, oci: bool = True) -> None:
    """Write each image, as the engine has it under its first name, into its layout directory, by docker save.

    For a graphdriver manifests are made, with OCI's or Docker's media types. The layouts share one ``blobs`` directory,
    a cache. Raises InputError for every image and platform that the engine lacks; a layout then has no index.
    """
    engine = DockerEngine(docker)
    names = [image.references[0] for image in images]
    known = engine.inspect(names)
    if missing := [name for name in names if name not in known]:
        hint = "fategen bake all --load loads your own images, docker pull others; docker image ls lists them"
        raise InputError([Problem(familiar(name), NOT_IN_ENGINE) for name in missing], hint=hint)
    if not images:
        return
    blobs = (images[0].layout / "blobs/sha256").resolve()
    store = BlobStore(blobs, blobs.parent.parent / "compressed")
    if engine.containerd_store:
        # by name: if asked for a digest, docker save's index names no image (moby #51389)
        groups = grouped({name: known[name].layers for name in names})
        saves = read_saves(docker, groups, lambda _, stream: copy_blobs(stream, store), progress)
        keys = {name: normalize(name) for name in names}
    else:
        # by ID: a tag may move meanwhile, these are the images that were inspected
        groups = grouped({known[name].id: known[name].layers for name in names})
        saves = read_saves(docker, groups, lambda ids, stream: compress_layers(stream, ids, store, oci=oci), progress)
        keys = {name: known[name].id for name in names}
    saved = {key: top for tops in saves for key, top in tops.items()}
    for name, key in keys.items():
        wrote = saved[key].digest if key in saved else "nothing"
        if engine.containerd_store and wrote != known[name].id:
            raise EngineError(f"docker save wrote {wrote} for {name}, which was {known[name].id}", hint=AGAIN)
    tops = {name: saved[key] for name, key in keys.items()}
    if problems := [problem for image in images for problem in missing_platforms(image, tops[image.references[0]])]:
        raise InputError(problems, hint="load it with fategen bake --load --platform P or docker pull --platform P")
    for image in images:
        write_layout(image.layout, tops[image.references[0]])
