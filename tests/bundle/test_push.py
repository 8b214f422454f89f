"""A bundle into a registry: what is sent, what is not, and what a registry never gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from generator.bundle.push import push
from generator.bundle.save import save
from generator.errors import BundleError, EngineError, InputError
from generator.registry.publish import Published
from tests.bake.test_publish import Asked
from tests.bundle.conftest import Made, broken, made_of
from tests.bundle.layouts import BASE, image, own
from tests.harbor import Harbor
from tests.loopback import Loopback, error_of, says


def send(registry: Loopback, file: Path, *only: str, bases: Sequence[Path] = ()) -> tuple[Published, ...]:
    environment = {"DOCKER_CONFIG": "/nonexistent", "HOME": "/"}
    prefix, state = f"{registry.host}/inside/fate", file.parent / ".fategen"
    return push(file, prefix, state=state, only=only, bases=bases, environment=environment)[1]


def sent(registry: Loopback) -> list[str]:
    """The blobs that went over the line whole."""
    return [path for path in registry.paths("PUT") if path.startswith("/upload/")]


def test_every_digest_is_kept_and_every_name(registry: Loopback, made: Made, file: Path) -> None:
    pushed = send(registry, file)
    targets = {image.label: image.target.digest for image in made.index.images}
    published = {(p.publication.path, p.publication.tags): (p.publication.target.digest, p.state) for p in pushed}
    assert published == {
        ("inside/fate/a", ("1.0", "latest")): (targets["a"], "pushed"),
        ("inside/fate/b", ("1.0",)): (targets["b"], "pushed"),
        ("inside/fate/m", ("1.0",)): (targets["m"], "pushed"),
    }
    for pushed_image in made.index.images:
        kept = registry.manifests[f"inside/fate/{pushed_image.label}"]
        media_type, data = kept["1.0"]
        assert (kept[pushed_image.target.digest][1], pushed_image.target.media_type) == (data, media_type)
        manifests = {pushed_image.target.digest, *pushed_image.manifests.values()}
        blobs = {blob.digest for blob in pushed_image.blobs()} - manifests
        assert blobs == set(registry.blobs[f"inside/fate/{pushed_image.label}"])


def test_paths_below_the_bundle_s_prefix_stay_and_two_images_with_one_name_are_told_apart(
    registry: Loopback, tmp_path: Path
) -> None:
    names = {name: f"localhost:5000/team/{name}/a:1.0" for name in ("one", "two")}
    images = [replace(image(tmp_path / name, "a", own(name)), references=(full,)) for name, full in names.items()]
    kept = save(images, tmp_path / "kept.tar", name="kept", prefix="localhost:5000/team").path
    assert {done.publication.path for done in send(registry, kept)} == {"inside/fate/one/a", "inside/fate/two/a"}
    registry.asked.clear()
    lost = save(images, tmp_path / "lost.tar", name="lost").path
    both = r"would be named \S+/inside/fate/a:1\.0: \S+/one/a:1\.0 and \S+/two/a:1\.0"
    with pytest.raises(InputError, match=f"REGISTRY/PREFIX: two images {both}"):
        send(registry, lost)
    assert not registry.asked


def test_what_images_share_is_sent_once_and_mounted(registry: Loopback, made: Made, file: Path) -> None:
    send(registry, file)
    roles = {member.digest: member.role for member in made.members}
    assert len(sent(registry)) == len([role for role in roles.values() if role in ("config", "layer")])
    assert any("mount=" in path and "from=inside%2Ffate%2Fa" in path for path in registry.paths("POST"))


@pytest.mark.usefixtures("one_authority")
def test_it_logs_in_with_dockers_login_and_trusts_its_authorities(
    harbor: Harbor, ca: trustme.CA, file: Path, tmp_path: Path
) -> None:
    environment = Asked(tmp_path, harbor.host, "writer:right-horse").trust(ca).environment
    _, pushed = push(file, f"{harbor.host}/fate/x", state=tmp_path / ".fategen", environment=environment)
    assert [image.state for image in pushed] == ["pushed"] * 3


def test_of_a_damaged_bundle_nothing_is_sent(registry: Loopback, made: Made, file: Path) -> None:
    """Whatever ``verify`` refuses: also what would not be sent, or is there already."""
    for what, data in broken(made).items():
        file.write_bytes(data)
        registry.asked.clear()
        with pytest.raises(BundleError) as error:
            send(registry, file, "b")
        assert error.value.exit_code == 4
        if what.startswith(("cut", "end", "more", "start of the end")):
            assert not registry.asked, what
        assert not registry.manifests.get("inside/fate/b") and not registry.blobs, what


def test_the_same_command_goes_on_after_an_error(registry: Loopback, file: Path) -> None:
    registry.lies.append(says("PUT /manifests/", 403, error_of("DENIED", "the quota is used up")))
    full = r"project inside is full \(.*inside/fate/a: 403 DENIED: the quota is used up\)\n  no tag was written"
    with pytest.raises(EngineError, match=full) as error:
        send(registry, file)
    assert "free space in project inside, or have its quota raised" in error.value.hint
    registry.lies.clear()
    registry.asked.clear()
    assert {p.state for p in send(registry, file, "a")} == {"pushed"}
    assert not sent(registry), "its blobs were there"


def test_rights_are_asked_for_before_anything_is_sent(registry: Loopback, file: Path) -> None:
    registry.lies.append(says(" /(a|m)/blobs/uploads/$", 403))
    with pytest.raises(EngineError) as error:
        send(registry, file)
    assert "inside/fate/a, inside/fate/m" in error.value.message
    assert error.value.hint.endswith("nothing was sent")
    assert not registry.paths("PUT") and not registry.manifests


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_is_busy_when_rights_are_asked_for_is_asked_again(
    registry: Loopback, file: Path, status: int
) -> None:
    registry.lies.append(says("POST /b/blobs/uploads/$", status, headers={"Retry-After": "0"}, times=1))
    assert [pushed.state for pushed in send(registry, file, "b")] == ["pushed"]
    assert registry.paths("POST")[:2] == ["/v2/inside/fate/b/blobs/uploads/"] * 2
    assert set(registry.manifests) == {"inside/fate/b"}, "one image alone"


@pytest.mark.parametrize(
    ("prefix", "wrong", "hint"),
    [
        *(
            (host, f'"{host}" is a registry without a path', f"{host}/PROJECT; on Docker Hub docker.io/NAMESPACE")
            for host in ("10.0.0.5:8443", "harbor.example.com", "docker.io", "localhost")
        ),
        ("team", '"team" names no registry', "such as 10.0.0.5:8443/team, or docker.io/team"),
        ("10.0.0.5:8443/a b", '"10.0.0.5:8443/a b": a space is not allowed', ""),
    ],
)
def test_a_prefix_without_a_registry_or_a_path_is_refused(file: Path, prefix: str, wrong: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"REGISTRY/PREFIX: {wrong}") as error:
        push(file, prefix, state=file.parent, environment={})
    assert error.value.hint == hint


@pytest.fixture
def delta(tmp_path: Path) -> tuple[Path, Path]:
    """``a``; and ``a`` and ``b`` as a delta on it: b has a's first layer."""
    images = [image(tmp_path, name, BASE, own(name)) for name in "ab"]
    base = save(images[:1], tmp_path / "base.fate.tar", name="base")
    return base.path, save(images, tmp_path / "delta.fate.tar", name="delta", bases=[base.index]).path


def test_a_delta_without_its_base_sends_nothing_at_all(registry: Loopback, delta: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="is a delta bundle, and 2 layers are in base"):
        send(registry, delta[1])
    assert not sent(registry)


def test_what_a_delta_leaves_out_is_mounted_from_where_the_registry_has_it(
    registry: Loopback, delta: tuple[Path, Path]
) -> None:
    send(registry, delta[0])
    registry.asked.clear()
    assert [pushed.state for pushed in send(registry, delta[1])] == ["was there", "pushed"]
    assert len(sent(registry)) == 2, "b's own layer and its config"


def test_a_base_s_damaged_layer_is_not_sent_whole(registry: Loopback, delta: tuple[Path, Path]) -> None:
    """Of a base bundle only the layers that are pushed are read."""
    base, file = delta
    made = made_of(base)
    layers = [member for member in made.members if member.role == "layer"]
    data = made.flipped(*(layer.start for layer in layers))
    base.write_bytes(data)
    with pytest.raises(BundleError, match="is damaged") as error:
        send(registry, file, bases=[base])
    assert "no tag was written" in error.value.message
    assert not any(registry.manifests.values())
    for layer in layers:
        assert data[layer.start : layer.start + layer.size] not in registry.uploads.values()
