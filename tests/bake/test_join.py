"""One release from several machines: which files ``join`` takes, and what it publishes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from generator.bake.build import Built
from generator.bake.join import join, source_commits, write_digests
from generator.bake.publish import publish
from generator.bake.run import BakeContext
from generator.bake.view import View
from generator.docker.engine import Builder, Engine, Facts
from generator.docker.process import Docker
from generator.errors import InputError
from generator.plan.plan import Plan
from generator.progress import quiet
from generator.project import Project
from generator.registry.publish import Published
from generator.registry.session import Access
from generator.workspace import Workspace, load
from tests.bake.test_run import Run, Sets, buildx
from tests.bundle.layouts import INDEX, MANIFEST, Layout
from tests.fate_plan import BOTH, job_of, plan_of
from tests.loopback import Loopback, sha256

AMD, ARM = "linux/amd64", "linux/arm64"
COMMITS = {"fate": "1" * 40, "eggroll": "2" * 40}


@dataclass
class Release:
    """A project with its registry, and what machines upload there."""

    workspace: Workspace
    registry: Loopback
    directory: Path
    commits: dict[str, str] = field(default_factory=lambda: dict(COMMITS))

    def upload(self, image: str, platform: str) -> Built:
        """An image of one platform without layers, in the registry by digest alone."""
        layout = Layout(self.directory / image / platform)
        layout.finish((layout.manifest([], platform), image))
        digest = self.registry.put_layout(f"fate/{image}", "", layout.path)
        return Built(image, (image,), digest, (platform,), {}, 0.0, "uploaded")

    def machine(self, platform: str, *, workspace: Workspace | None = None, without: str = "") -> Path:
        """The file of a machine that built this platform."""
        targets = [t for t in self.workspace.plan.targets if t.tags and t.kind != "third-party"]
        built = [self.upload(t.name, platform) for t in targets if platform in t.platforms and t.name != without]
        file = self.directory / f"{platform[6:]}.json"
        write_digests(file, workspace or self.workspace, self.commits, built)
        return file

    def context(self, plan: Plan, docker: Docker | None = None) -> BakeContext:
        """A push of the whole plan, by a builder of two nodes."""
        workspace, job = replace(self.workspace, plan=plan), job_of(plan, "all", output="push")
        builder = Builder("two", "remote", True, ("v0.17.3", "v0.17.3"), BOTH)
        facts = Facts(Engine("29", "29", "containerd", AMD), (0, 29, 1), builder)
        access, view = Access(self.registry.host, insecure=True), View(job, print)
        command, env = ("buildx", "bake"), {**os.environ, "DOCKER_CONFIG": str(self.directory)}
        return BakeContext(docker or Docker("docker"), workspace, job, command, facts, env, view, access=access)

    def join(self, *files: Path) -> tuple[Published, ...]:
        client = self.registry.client()
        return join(self.workspace, files, client, overwrite=False, progress=quiet)

    @property
    def tagged(self) -> dict[str, bytes]:
        """What the tag of each image points to."""
        tag = self.workspace.plan.settings.tag
        kept = {path.partition("/")[2]: manifests for path, manifests in self.registry.manifests.items()}
        return {name: manifests[tag][1] for name, manifests in kept.items() if tag in manifests}


@pytest.fixture
def release(registry: Loopback, project_dir: Path, tmp_path: Path) -> Release:
    env = f"PREFIX={registry.host}/fate\nBASE_TAG=1.3.0-release\nTAG=1.3.0-release\n"
    (project_dir / ".env").write_text(env, encoding="utf-8")
    return Release(load(Project(project_dir)), registry, tmp_path)


def test_what_other_files_must_have_is_every_image_and_platform_that_this_one_lacks(release: Release) -> None:
    built = [release.upload(name, AMD) for name in ("roll", "egg", "proxy", "federation", "python")]
    lacking = write_digests(release.directory / "amd64.json", release.workspace, COMMITS, built)
    assert lacking == ["base-image, fateboard, meta-service for linux/amd64", "all images for linux/arm64"]


def test_components_on_published_base_images_are_joined_without_these(release: Release) -> None:
    def file(platform: str, published_base: bool) -> Path:
        targets = [t for t in release.workspace.plan.targets if t.kind == "component" and platform in t.platforms]
        path = release.directory / f"{platform[6:]}-{published_base}.json"
        built = [release.upload(t.name, platform) for t in targets]
        assert bool(write_digests(path, release.workspace, COMMITS, built, published_base))
        return path

    with pytest.raises(InputError, match="was built with --published-base, and others were not"):
        release.join(file(AMD, True), file(ARM, False))
    release.join(file(AMD, True), file(ARM, True))
    assert "roll" in release.tagged and "base-image" not in release.tagged


def test_a_file_that_is_given_twice_is_told(release: Release) -> None:
    file = release.machine(AMD)
    with pytest.raises(InputError) as refused:
        release.join(file, file)
    assert [problem.message for problem in refused.value.problems] == ["is given twice"]


def test_the_sources_of_all_files_are_listed(release: Release, capsys: pytest.CaptureFixture[str]) -> None:
    arm = release.machine(ARM)
    release.commits = {"lmdb-safe": "3" * 40, **COMMITS}
    release.join(arm, release.machine(AMD))
    assert "lmdb-safe: commit 333333333333\n" in capsys.readouterr().err


def test_the_indexes_are_those_that_buildkit_writes(release: Release) -> None:
    published = release.join(release.machine(ARM), release.machine(AMD))
    index = release.tagged["roll"]
    amd, arm = (release.upload("roll", platform).digest for platform in (AMD, ARM))
    assert index.decode() == json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                {"mediaType": MANIFEST, "digest": amd, "size": len(release.registry.manifests["fate/roll"][amd][1]),
                 "platform": {"architecture": "amd64", "os": "linux"}},
                {"mediaType": MANIFEST, "digest": arm, "size": len(release.registry.manifests["fate/roll"][arm][1]),
                 "platform": {"architecture": "arm64", "os": "linux"}},
            ],
        },
        indent=2,
    )  # fmt: skip
    roll = next(image.publication for image in published if image.publication.path == "fate/roll")
    assert (roll.contents.platforms, roll.target.digest) == ((AMD, ARM), sha256(index))


def test_an_image_of_one_platform_has_no_index(release: Release) -> None:
    release.join(release.machine(AMD), release.machine(ARM))
    assert sha256(release.tagged["egg"]) == release.upload("egg", AMD).digest


def test_a_builder_of_several_nodes_uploads_each_platform_by_itself(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(sets: Sets) -> Run:
        uploaded = [name.removesuffix(".output") for name, to in sets.items() if "push-by-digest" in to]
        return [], 0, {name: release.upload(name, sets[f"{name}.platform"]).digest for name in uploaded}

    joined = release.join(release.machine(AMD), release.machine(ARM))
    release.workspace.project.make_state()
    # a credential helper's login may expire during a build
    asked: list[str] = []
    monkeypatch.setattr("generator.registry.client.find_login", lambda _, host, __: asked.append(host))
    published, _ = publish(release.context(release.workspace.plan, buildx(run)), None)
    assert [image.publication.target for image in published.values()] == [i.publication.target for i in joined]
    assert asked == [release.registry.host], "the login is read again after the build"


@pytest.mark.parametrize("edit", [{"images": []}, {"sources": {"fate": "3" * 40}}, {"tag": "1.3.0-other"}])
def test_an_edited_file_is_refused(release: Release, edit: dict[str, object]) -> None:
    file = release.machine(AMD)
    file.write_text(json.dumps({**json.loads(file.read_text()), **edit}))
    with pytest.raises(InputError, match=r"amd64\.json: was edited or damaged"):
        release.join(file, release.machine(ARM))
    assert not release.tagged


def signed(**changes: object) -> str:
    """A file whose checksum is right, whatever it says."""
    release = {"release": "1", "prefix": "p", "tag": "t", "settings": "s", "base": "built"}
    content = {"version": 2, **release, "sources": {}, "images": [], **changes}
    return json.dumps({**content, "checksum": sha256(json.dumps(content, sort_keys=True).encode())})


NO_FILE, NOTHING = "is not a file of", {"digest": "sha256:" + "0" * 64, "platforms": []}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *((text, NO_FILE) for text in ("", "[]", "{}", "[" * 200_000, '{"checksum": 1}')),
        (signed(version=3), "was written by another version"),
        (signed(base="x"), NO_FILE),
        (signed(sources=[1]), NO_FILE),
        (signed(sources={"\x1b[2J": 1}), NO_FILE),
        (signed(images=[{**NOTHING, "image": ["roll"]}]), NO_FILE),
        (signed(images=[{**NOTHING, "image": "roll", "digest": "../../secret/manifests/latest"}]), NO_FILE),
        (signed(images=[{**NOTHING, "image": "roll", "platforms": ["\x1b[2J"]}]), NO_FILE),
    ],
)
def test_what_is_no_digests_file_is_told(release: Release, text: str, words: str) -> None:
    file = release.directory / "x.json"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"x\.json: {words}") as error:
        release.join(file)
    assert error.value.message.isprintable() and release.registry.paths("GET") == ["/v2/"]


def test_a_file_that_is_not_there(release: Release) -> None:
    with pytest.raises(InputError, match=r"gone\.json: cannot be read: No such file"):
        release.join(release.directory / "gone.json")


def test_everything_that_is_missing_is_told(release: Release) -> None:
    with pytest.raises(InputError) as error:
        release.join(release.machine(AMD, without="egg"))
    said = [str(problem) for problem in error.value.problems]
    assert "egg: linux/amd64 is in none of the files" in said and "roll: linux/arm64 is in none of the files" in said
    assert not release.tagged


def test_an_image_that_two_files_have_is_told(release: Release) -> None:
    amd, arm = release.machine(AMD), release.machine(ARM)
    copy = amd.with_name("copy.json")
    copy.write_bytes(amd.read_bytes())
    with pytest.raises(InputError, match=r"copy\.json: has roll for linux/amd64, and \S+amd64\.json has it too"):
        release.join(amd, arm, copy)


def test_a_branch_names_no_content(release: Release) -> None:
    branch = plan_of(sources=(("FATE_SOURCE", "https://h/FATE.git#develop"),))
    commit = plan_of(sources=(("FATE_SOURCE", f"https://h/FATE.git#{'1' * 40}"),))
    context = release.context(branch)
    with pytest.raises(InputError, match=r"FATE\.git#develop may be another commit"):
        source_commits(context)
    assert source_commits(release.context(commit))["fate"] == "1" * 40


def test_another_list_of_requirements_is_told(release: Release) -> None:
    root = release.workspace.project.root
    with (root / ".env").open("a") as env:
        env.write("REQUIREMENTS=r.txt\n")
    (root / "r.txt").write_text("numpy==1.19\n")
    release.workspace = load(Project(root))
    files = release.machine(AMD), release.machine(ARM)
    (root / "r.txt").write_text("numpy==1.20\n")
    with pytest.raises(InputError, match=r"arm64\.json: is stale"):
        release.join(*files)


def with_settings(workspace: Workspace, **changes: str) -> Workspace:
    plan = workspace.plan
    return replace(workspace, plan=replace(plan, settings=replace(plan.settings, **changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda project: with_settings(project, prefix="10.0.0.5/other"),
         r"was uploaded to 10\.0\.0\.5/other; the prefix of this project is "),
        (lambda project: with_settings(project, tag="2"), "was uploaded for tag 2; the tag"),
        (lambda project: replace(project, tree={**project.tree, "dockerfiles/egg/Dockerfile": ""}), "is stale"),
    ],
)  # fmt: skip
def test_a_file_of_another_project_or_of_other_templates_is_told(
    release: Release, other: Callable[[Workspace], Workspace], says: str
) -> None:
    with pytest.raises(InputError, match=rf"amd64\.json: {says}"):
        release.join(release.machine(AMD, workspace=other(release.workspace)), release.machine(ARM))
    assert not release.tagged


def test_files_of_other_commits_are_told(release: Release) -> None:
    amd = release.machine(AMD)
    release.commits["fate"] = "3" * 40
    with pytest.raises(InputError, match=r"arm64\.json: was built from fate at 333333333333, \S+amd64\.json from 1111"):
        release.join(amd, release.machine(ARM))


def test_what_the_registry_does_not_have_is_told(release: Release) -> None:
    files = [release.machine(AMD), release.machine(ARM)]
    release.registry.manifests["fate/roll"].clear()
    with pytest.raises(InputError, match=r"amd64\.json: roll: \S+/fate/roll does not have sha256:"):
        release.join(*files)
    assert not release.tagged


def test_an_image_of_another_platform_than_its_file_says_is_told(release: Release) -> None:
    arm = release.upload("roll", ARM)
    upload = release.upload
    release.upload = lambda image, platform: (  # type: ignore[method-assign]
        replace(arm, platforms=(AMD,)) if (image, platform) == ("roll", AMD) else upload(image, platform)
    )
    with pytest.raises(InputError, match=r"amd64\.json: roll: sha256:\w+ is for linux/arm64, not linux/amd64"):
        release.join(release.machine(AMD), release.machine(ARM))
