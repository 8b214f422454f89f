"""Which images of a bundle a name means, and what they are called under another prefix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from generator.bundle.index import BundleIndex, arrange
from generator.bundle.load import choose, load, renamed
from generator.bundle.reader import inspect
from generator.bundle.save import save
from generator.errors import InputError
from generator.images.layout import SourceImage
from generator.images.strictjson import Malformed
from tests.bundle.conftest import Made
from tests.bundle.layouts import BASE, image, own
from tests.bundle.test_load import Recorder

TEAM = "localhost:5000/team"
NAMES = (f"{TEAM}/web/api:1", f"{TEAM}/api:1", "docker.io/library/db:1")


def with_paths(directory: Path, prefix: str = TEAM) -> BundleIndex:
    """A bundle of images of which one has a path of its own below ``TEAM``."""
    images = [replace(image(directory / name, "x", own(name)), references=(name,)) for name in NAMES]
    return inspect(save(images, directory / "paths.tar", name="paths", prefix=prefix).path).index


@pytest.mark.parametrize("prefix", [TEAM, "", "team", "localhost:5000/tea"])
def test_a_path_of_an_image_s_own_is_one_below_the_prefix(prefix: str, tmp_path: Path) -> None:
    index = with_paths(tmp_path, prefix)
    first = "web/api" if prefix == TEAM else "api"
    assert index.prefix == (TEAM if prefix == TEAM else "")
    assert [index.own_name(name) for name in NAMES] == [first, "api", "db"]
    moved = renamed(replace(index, images=choose(index, NAMES[::2])), "r.example.com/p", "--retag")
    assert [i.references for i in moved.images] == [(f"r.example.com/p/{name}:1",) for name in sorted((first, "db"))]


def test_a_prefix_that_no_image_has_is_not_one_of_a_bundle(made: Made) -> None:
    for prefix in ("localhost:5000/other", "docker.io/fgtest/", "\n"):
        with pytest.raises(Malformed, match="no image is below its prefix"):
            arrange(BundleIndex("x", made.index.images, prefix=prefix))


@pytest.mark.parametrize(
    ("name", "own_name"),
    [("web/api", "web/api"), ("api", "api"), (f"{TEAM}/web/api", "web/api"), ("db", "db"), ("db:1", "db")],
)
def test_an_image_is_chosen_by_its_path_below_the_prefix(name: str, own_name: str, tmp_path: Path) -> None:
    index = with_paths(tmp_path)
    assert [index.own_name(image.references[0]) for image in choose(index, [name])] == [own_name]


@pytest.mark.parametrize(
    "name", ["fgtest/a:latest", "docker.io/fgtest/a:latest", "fgtest/a", "docker.io/fgtest/a", "a"]
)
def test_an_image_is_chosen_by_any_of_its_names(name: str, made: Made) -> None:
    assert choose(made.index, [name, "a"]) == made.index.images[:1]


def test_what_is_not_in_it_or_has_several_meanings_is_told(made: Made, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mm: is not in the bundle; did you mean m.*\n.*alpine: is not in") as error:
        choose(made.index, ["mm", "alpine"])
    assert error.value.hint == "it contains a, b, m"
    index = with_paths(tmp_path, "")
    index = replace(index, images=tuple(image for image in index.images if image.label == "api"))
    with pytest.raises(InputError, match=f"api: is ambiguous: {TEAM}/api or {TEAM}/web/api"):
        choose(index, ["api"])


@pytest.mark.parametrize("prefix", ["10.0.0.5:8443/mirror", "10.0.0.5:8443/mirror/"])
def test_an_engine_gets_the_new_names_of_what_is_chosen(made: Made, file: Path, prefix: str) -> None:
    load(file, engine := Recorder(), only=["b", "a"], retag=prefix)
    expected = [f"10.0.0.5:8443/mirror/{name}" for name in ("a:1.0", "a:latest", "b:1.0")]
    entries = engine.json("index.json")["manifests"]
    assert sorted(engine.names) == [entry["annotations"]["io.containerd.image.name"] for entry in entries] == expected
    with pytest.raises(InputError, match=r'--retag: "a b/a:1\.0" is not an image reference'):
        load(file, unasked := Recorder(), retag="a b")
    assert not unasked.sent


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("localhost:5000/p", r"two images would be named localhost:5000/p/x:1\.0: fgtest/x:1\.0 and other/x:1\.0"),
        *((prefix, rf'--retag: "{prefix}/x:1\.0" is not an image reference') for prefix in ("UPPER/x", "a b", "-x")),
    ],
)
def test_a_prefix_under_which_images_cannot_be_named_is_refused(made: Made, prefix: str, message: str) -> None:
    a, b, _ = made.index.images
    first, second = replace(a, references=("docker.io/fgtest/x:1.0",)), ("docker.io/other/x:1.0",)
    with pytest.raises(InputError, match=message):
        renamed(BundleIndex("two", (first, replace(b, references=second))), prefix, "--retag")


def test_two_images_under_one_name_are_sent_as_one_or_not_at_all(tmp_path: Path) -> None:
    first = image(tmp_path, "x", BASE)
    for other, names in ((first, ["localhost:5000/p/x:1.0"]), (image(tmp_path / "other", "x", own("other")), [])):
        second = SourceImage(("other/x:1.0",), other.layout, other.platforms)
        file, engine = save([first, second], tmp_path / "two", name="two").path, Recorder()
        if names:
            load(file, engine, retag="localhost:5000/p")
            assert len(engine.json("index.json")["manifests"]) == 1
        else:
            with pytest.raises(InputError, match="two images would be named"):
                load(file, engine, retag="localhost:5000/p")
        assert [*engine.names] == names and bool(engine.sent) == bool(names)
