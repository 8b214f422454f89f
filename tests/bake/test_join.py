"""One release from several machines: which files ``join`` takes, and what it publishes."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from generator.bake.build import Built
from generator.bake.join import join, source_commits, write_digests
from generator.bake.publish import publish
from generator.errors import InputError
from generator.progress import quiet
from generator.project import Project
from generator.registry.publish import Published
from generator.registry.session import Access
from generator.workspace import Workspace, load
from tests.bake.test_run import Run, Sets, baking
from tests.bundle.layouts import INDEX, MANIFEST, Layout
from tests.fate_plan import BOTH, facts_of, job_of, plan_of, problems_of
from tests.loopback import Loopback, sha256

AMD, ARM = BOTH
IMAGES = ["base-image", "federation", "proxy", "roll", "meta-service", "fateboard", "egg", "python"]
AMD_ALONE = {"egg", "python", "base-image"}
COMMITS = {"fate": "1" * 40, "eggroll": "2" * 40}


@dataclass
class Release:
    """A project with its registry, and what machines upload there."""

    workspace: Workspace
    registry: Loopback
    directory: Path

    def upload(self, image: str, platform: str) -> Built:
        """An image of one platform without layers, in the registry by digest alone."""
        layout = Layout(self.directory / image / platform)
        layout.finish((layout.manifest([], platform), image))
        digest = self.registry.put_layout(f"fate/{image}", "", layout.path)
        return Built(image, (image,), digest, (platform,), {}, 0.0, "uploaded")

    def machine(
        self,
        platform: str,
        workspace: Workspace | None = None,
        commits: Mapping[str, str] = COMMITS,
        *,
        without: Sequence[str] = (),
        published_base: bool = False,
    ) -> Path:
        """The file of a machine that built this platform."""
        kinds = ("component",) if published_base else ("base", "component")
        targets = [t for t in self.workspace.plan.targets if t.tags and t.kind in kinds and t.name not in without]
        built = [self.upload(t.name, platform) for t in targets if platform in t.platforms]
        file = self.directory / f"{platform[6:]}.json"
        assert write_digests(file, workspace or self.workspace, commits, built, published_base)
        return file

    def both(self) -> tuple[Path, Path]:
        return self.machine(AMD), self.machine(ARM)

    def join(self, *files: Path) -> tuple[Published, ...]:
        client = self.registry.client()
        return join(self.workspace, files, client, overwrite=False, progress=quiet)

    def refuses(self, *files: Path) -> list[str]:
        """What is wrong with these files; no tag is written."""
        problems = problems_of(lambda: self.join(*files))
        assert not self.tagged
        return problems

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
    release.join(*(release.machine(platform, published_base=True) for platform in BOTH))
    assert "roll" in release.tagged and "base-image" not in release.tagged


def test_the_sources_of_all_files_are_listed(release: Release, capsys: pytest.CaptureFixture[str]) -> None:
    release.join(release.machine(ARM), release.machine(AMD, commits={"lmdb-safe": "3" * 40, **COMMITS}))
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
    release.join(*release.both())
    assert sha256(release.tagged["egg"]) == release.upload("egg", AMD).digest


def test_a_builder_of_several_nodes_uploads_each_platform_by_itself(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(sets: Sets) -> Run:
        uploaded = [name.removesuffix(".output") for name, to in sets.items() if "push-by-digest" in to]
        return [], 0, {name: release.upload(name, sets[f"{name}.platform"]).digest for name in uploaded}

    joined = release.join(*release.both())
    context = replace(
        baking(release.directory, job_of(release.workspace.plan, "all", output="push"), run),
        workspace=release.workspace,
        facts=facts_of(driver="remote", buildkits=("v0.17.3", "v0.17.3")),
        env={**os.environ, "DOCKER_CONFIG": str(release.directory)},
        access=Access(release.registry.host, insecure=True),
    )
    # a credential helper's login may expire during a build
    asked: list[str] = []
    monkeypatch.setattr("generator.registry.client.find_login", lambda _, host, __: asked.append(host))
    published, _ = publish(context, None)
    assert [image.publication.target for image in published.values()] == [i.publication.target for i in joined]
    assert asked == [release.registry.host], "the login is read again after the build"


def with_settings(workspace: Workspace, **changes: str) -> Workspace:
    plan = workspace.plan
    return replace(workspace, plan=replace(plan, settings=replace(plan.settings, **changes)))  # type: ignore[arg-type]


def copied(file: Path) -> Path:
    return Path(shutil.copy(file, file.with_name("copy.json")))


def edited(file: Path, **edit: object) -> Path:
    file.write_text(json.dumps({**json.loads(file.read_text()), **edit}))
    return file


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (lambda r: [r.machine(AMD)] * 2, ["amd64.json: is given twice"]),
        (lambda r: [r.directory / "gone.json"], ["gone.json: cannot be read: No such file or directory"]),
        *((lambda r, edit=edit: [edited(r.machine(AMD), **edit), r.machine(ARM)],
           ["amd64.json: was edited or damaged: its checksum does not match"])
          for edit in ({"images": []}, {"sources": {"fate": "3" * 40}}, {"tag": "1.3.0-other"})),
        (lambda r: [r.machine(AMD, with_settings(r.workspace, prefix="10.0.0.5/other")), r.machine(ARM)],
         ["amd64.json: was uploaded to 10.0.0.5/other; the prefix of this project is HOST/fate"]),
        (lambda r: [r.machine(AMD, with_settings(r.workspace, tag="2")), r.machine(ARM)],
         ["amd64.json: was uploaded for tag 2; the tag of this project is 1.3.0-release"]),
        (lambda r: [r.machine(AMD, replace(r.workspace, tree={**r.workspace.tree, "dockerfiles/egg/Dockerfile": ""})),
                    r.machine(ARM)],
         ["amd64.json: is stale: it was built with other settings, templates, catalogue or source paths than this "
          "project has"]),
        (lambda r: [r.machine(AMD), r.machine(ARM, commits={**COMMITS, "fate": "3" * 40})],
         ["arm64.json: was built from fate at 333333333333, amd64.json from 111111111111"]),
        (lambda r: [r.machine(AMD, published_base=True), r.machine(ARM)],
         ["amd64.json: was built with --published-base, and others were not"]),
        (lambda r: [*r.both(), copied(r.directory / "amd64.json")],
         [f"copy.json: has {image} for linux/amd64, and amd64.json has it too" for image in IMAGES]),
        (lambda r: [r.machine(AMD, without=["egg"])],
         ["egg: linux/amd64 is in none of the files",
          *(f"{image}: linux/arm64 is in none of the files" for image in sorted({*IMAGES} - AMD_ALONE))]),
    ],
)  # fmt: skip
def test_files_that_are_no_release_of_this_project_are_told(
    release: Release, files: Callable[[Release], list[Path]], said: list[str]
) -> None:
    problems = release.refuses(*files(release))
    shown = [
        problem.replace(f"{release.directory}/", "").replace(release.registry.host, "HOST") for problem in problems
    ]
    assert shown == said


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


def test_a_branch_names_no_content(tmp_path: Path) -> None:
    def commits(revision: str) -> dict[str, str]:
        plan = plan_of(sources=(("FATE_SOURCE", f"https://h/FATE.git#{revision}"),))
        return source_commits(baking(tmp_path, job_of(plan, "all"), lambda sets: ([], 0, {})))

    with pytest.raises(InputError, match=r"FATE\.git#develop may be another commit"):
        commits("develop")
    assert commits("1" * 40)["fate"] == "1" * 40


def test_another_list_of_requirements_is_told(release: Release) -> None:
    root = release.workspace.project.root
    with (root / ".env").open("a") as env:
        env.write("REQUIREMENTS=r.txt\n")
    (root / "r.txt").write_text("numpy==1.19\n")
    release.workspace = load(Project(root))
    files = release.both()
    (root / "r.txt").write_text("numpy==1.20\n")
    stale = [
        problem.replace(f"{release.directory}/", "").partition(": it was")[0] for problem in release.refuses(*files)
    ]
    assert stale == ["amd64.json: is stale", "arm64.json: is stale"]


def test_what_the_registry_does_not_have_is_told(release: Release) -> None:
    files = release.both()
    release.registry.manifests["fate/roll"].clear()
    [problem] = release.refuses(*files)
    assert re.search(r"amd64\.json: roll: \S+/fate/roll does not have sha256:", problem)


def test_an_image_of_another_platform_than_its_file_says_is_told(release: Release) -> None:
    upload = release.upload
    release.upload = lambda image, platform: (  # type: ignore[method-assign]
        replace(upload(image, ARM if image == "roll" else platform), platforms=(platform,))
    )
    [problem] = release.refuses(*release.both())
    assert re.search(r"amd64\.json: roll: sha256:\w+ is for linux/arm64, not linux/amd64", problem)
