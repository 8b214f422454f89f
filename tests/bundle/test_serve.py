"""A bundle as a registry: names, ranges and lists as the distribution spec has them; damage is never passed on."""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.bundle.blobs import open_blobs
from generator.bundle.format.model import BundleIndex
from generator.bundle.save import save
from generator.bundle.serve import Server, names_of, serving
from generator.errors import EngineError
from generator.images.layout import SourceImage
from generator.registry.pull import fetch_blob, get_manifest
from generator.registry.session import Access, Registry
from tests.bundle.conftest import Made
from tests.bundle.layouts import sha256, simple


class Client:
    def __init__(self, server: Server) -> None:
        self.port = server.server_address[1]

    def __call__(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        found = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        return found


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def file(made: Made, tmp_path: Path) -> Path:
    path = tmp_path / "fate-1.0.fate.tar"
    path.write_bytes(made.data)
    return path


@pytest.fixture
def server(file: Path, said: list[str]) -> Iterator[Server]:
    with open_blobs(file) as blobs, serving(blobs, 0, said.append) as running:
        threading.Thread(target=running.serve_forever, args=(0.005,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def get(server: Server) -> Client:
    return Client(server)


def test_a_client_finds_a_registry(get: Client) -> None:
    status, headers, body = get("/v2/")
    assert (status, body) == (200, b"{}")
    assert headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize("name", ["fgtest/m", "docker.io/fgtest/m"])
def test_a_tag_is_the_image_with_and_without_its_host(made: Made, get: Client, name: str) -> None:
    target = made.plan.index.images[2].target
    status, headers, body = get(f"/v2/{name}/manifests/1.0")
    assert status == 200 and sha256(body) == target.digest == headers["Docker-Content-Digest"]
    assert headers["Content-Type"] == target.media_type


def test_containerd_says_in_ns_which_registry_it_means(get: Client) -> None:
    assert get("/v2/fgtest/m/manifests/1.0?ns=docker.io")[0] == 200
    assert get(f"/v2/fgtest/m/manifests/1.0?ns=localhost:{get.port}")[0] == 200
    assert get("/v2/fgtest/m/manifests/1.0?ns=quay.io")[0] == 404, "another registry's image is another image"


def test_a_digest_is_the_manifest_of_a_platform(made: Made, get: Client) -> None:
    for variant in made.plan.index.images[2].variants:
        status, _, body = get(f"/v2/fgtest/m/manifests/{variant.manifest.digest}")
        assert status == 200 and sha256(body) == variant.manifest.digest


def test_head_tells_what_get_would_send(made: Made, get: Client) -> None:
    digest = made.plan.index.images[0].variants[0].layers[0].blob.digest
    for path in ("/v2/fgtest/a/manifests/1.0", f"/v2/fgtest/a/blobs/{digest}"):
        status, headers, body = get(path, "HEAD")
        assert (status, body) == (200, b"")
        assert headers["Content-Length"] == get(path)[1]["Content-Length"] != "0"


def test_every_blob_is_right(made: Made, get: Client) -> None:
    for digest in made.plan.index.blobs():
        assert sha256(get(f"/v2/fgtest/a/blobs/{digest}")[2]) == digest


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=5-9", 5, 10), ("bytes=5-", 5, None), ("bytes=-7", -7, None), ("bytes=0-9999999", 0, None)],
)
def test_a_part_of_a_blob(made: Made, get: Client, header: str, start: int, end: int | None) -> None:
    layer = made.plan.index.images[0].variants[0].layers[0].blob
    path = f"/v2/fgtest/a/blobs/{layer.digest}"
    whole = get(path)[2]
    status, headers, body = get(path, Range=header)
    assert body == whole[start:end] and status == (200 if body == whole else 206)
    if status == 206:
        first = len(whole) + start if start < 0 else start
        assert headers["Content-Range"] == f"bytes {first}-{first + len(body) - 1}/{len(whole)}"


def test_a_part_behind_the_end(made: Made, get: Client) -> None:
    layer = made.plan.index.images[0].variants[0].layers[0].blob
    status, headers, body = get(f"/v2/fgtest/a/blobs/{layer.digest}", Range=f"bytes={layer.size}-")
    assert (status, body, headers["Content-Range"]) == (416, b"", f"bytes */{layer.size}")


@pytest.mark.parametrize("header", ["bytes=-", "lines=1-2", "bytes=1-2,5-6", "bytes=x-"])
def test_a_range_that_it_does_not_know_is_all_of_it(made: Made, get: Client, header: str) -> None:
    layer = made.plan.index.images[0].variants[0].layers[0].blob
    assert get(f"/v2/fgtest/a/blobs/{layer.digest}", Range=header)[0] == 200


def test_lists_in_pages(get: Client) -> None:
    everything = json.loads(get("/v2/_catalog")[2])["repositories"]
    assert everything == sorted([f"{host}fgtest/{name}" for host in ("", "docker.io/") for name in "abm"])
    _, headers, body = get("/v2/_catalog?n=4")
    assert json.loads(body)["repositories"] == everything[:4]
    path = headers["Link"].partition(">")[0].removeprefix("<")
    assert json.loads(get(path)[2])["repositories"] == everything[4:]
    assert json.loads(get("/v2/fgtest/a/tags/list")[2]) == {"name": "fgtest/a", "tags": ["1.0", "latest"]}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/other/a/manifests/1.0", "NAME_UNKNOWN"),
        ("/v2/fgtest/a/manifests/2.0", "MANIFEST_UNKNOWN"),
        ("/v2/fgtest/a/manifests/sha256:00", "MANIFEST_UNKNOWN"),
        (f"/v2/fgtest/a/blobs/sha256:{'0' * 64}", "BLOB_UNKNOWN"),
        ("/v2/fgtest/a/blobs/../../../etc/passwd", "NAME_UNKNOWN"),
        ("/etc/passwd", "NAME_UNKNOWN"),
    ],
)
def test_what_it_has_not(get: Client, path: str, code: str) -> None:
    status, _, body = get(path)
    assert status == 404 and json.loads(body)["errors"][0]["code"] == code


def test_a_layer_is_no_manifest(made: Made, get: Client) -> None:
    digest = made.plan.index.images[0].variants[0].layers[0].blob.digest
    assert get(f"/v2/fgtest/a/manifests/{digest}")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_it_is_read_only(get: Client, method: str) -> None:
    status, _, body = get("/v2/fgtest/a/blobs/uploads/", method)
    assert status == 405 and json.loads(body)["errors"][0]["code"] == "UNSUPPORTED"


@pytest.mark.parametrize("name", ["layer:b", "config:b", "manifest:b"])
def test_damage_is_never_served_and_told_once(made: Made, file: Path, get: Client, said: list[str], name: str) -> None:
    member = made.member(name)
    file.write_bytes(made.flipped(member.start + member.size - 1))
    for headers in ({}, {"Range": "bytes=0-3"}):
        status, _, body = get(f"/v2/fgtest/b/blobs/{member.digest}", **headers)
        assert status == 500 and "damaged" in json.loads(body)["errors"][0]["message"]
    assert len(said) == 1
    assert member.digest in said[0] and f"bytes {member.start:,}-" in said[0]


def test_a_disk_that_fails_for_a_while_is_asked_again(
    made: Made, get: Client, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    member = made.member("layer:b")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", fail)
        assert get(f"/v2/fgtest/b/blobs/{member.digest}")[0] == 500
    assert len(said) == 1 and "Input/output error" in said[0]
    status, _, body = get(f"/v2/fgtest/b/blobs/{member.digest}")
    assert status == 200 and sha256(body) == member.digest


def exchange(get: Client, request: str) -> bytes:
    """All that is answered until the connection is closed."""
    answer = b""
    with socket.create_connection(("127.0.0.1", get.port), timeout=2) as connection:
        connection.sendall(request.encode())
        while more := connection.recv(65536):
            answer += more
    return answer


@pytest.mark.parametrize("path", ["http://[x/", f"/v2/_catalog?n={'9' * 5000}"])
def test_what_is_no_address_or_no_number_is_told_so(get: Client, capsys: pytest.CaptureFixture[str], path: str) -> None:
    answer = exchange(get, f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert capsys.readouterr().err == "", "no traceback"


def test_the_body_of_what_is_refused_is_no_second_request(get: Client) -> None:
    body = "GET /v2/ HTTP/1.1\r\n\r\n"
    answer = exchange(get, f"POST /v2/fgtest/a/blobs/uploads/ HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    assert answer.startswith(b"HTTP/1.1 405 ") and answer.count(b"HTTP/1.1 ") == 1


def test_nobody_waits_for_the_rest_of_a_file_that_was_cut_while_it_is_served(
    made: Made, file: Path, get: Client
) -> None:
    member = made.member("layer:b")
    path = f"/v2/fgtest/b/blobs/{member.digest}"
    assert get(path)[0] == 200
    os.truncate(file, member.start + 5)
    head, _, body = exchange(get, f"GET {path} HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert f"Content-Length: {member.size}".encode() in head and len(body) == 5


def test_it_tells_a_tls_client_in_plain_http_that_it_is_plain_http(get: Client) -> None:
    """docker begins with TLS also at a loopback address, and goes on without only after such an answer."""
    with socket.create_connection(("127.0.0.1", get.port), timeout=5) as connection:
        connection.sendall(b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03" + bytes(50))
        assert connection.recv(100).startswith(b"HTTP/1.0 400 ")


def test_our_own_client_takes_it_for_a_registry(made: Made, server: Server, tmp_path: Path) -> None:
    registry = Registry(Access(f"127.0.0.1:{server.server_address[1]}", insecure=True))
    image = made.plan.index.images[0]
    assert get_manifest(registry, "fgtest/a", "latest").digest == image.target.digest
    blob = image.variants[0].layers[0].blob
    assert fetch_blob(registry, "fgtest/a", blob.digest, blob.size, tmp_path)


def test_a_port_that_is_taken(file: Path, server: Server) -> None:
    with (
        open_blobs(file) as blobs,
        pytest.raises(EngineError, match="Address already in use"),
        serving(blobs, server.server_address[1], print),
    ):
        pass


# names


def named(tmp_path: Path, *references: str) -> BundleIndex:
    """A bundle of different images under these names."""
    images = []
    for number, reference in enumerate(references):
        layout = simple(tmp_path / str(number), "x", files={"x": reference.encode()})
        (layout / "index.json").write_text(
            (layout / "index.json").read_text().replace("docker.io/fgtest/x:1.0", reference)
        )
        images.append(SourceImage((reference,), layout, ("linux/amd64",)))
    return save(images, tmp_path / "named.tar", name="named").index


def test_a_registry_with_a_port_has_two_spellings(tmp_path: Path) -> None:
    names = names_of(named(tmp_path, "10.0.0.5:8443/fate/egg:1.0"))
    assert set(names.tags) == {"fate/egg", "10.0.0.5:8443/fate/egg", "10.0.0.5_8443/fate/egg"}
    assert not names.unclear


def test_of_two_registries_docker_hub_goes_without_its_host(tmp_path: Path) -> None:
    index = named(tmp_path, "a.example.com/fate/egg:1.0", "docker.io/fate/egg:1.0")
    names = names_of(index)
    by_name = {image.references[0]: image.target for image in index.images}
    assert names.tags["fate/egg"]["1.0"] == by_name["docker.io/fate/egg:1.0"]
    assert names.tags["a.example.com/fate/egg"]["1.0"] == by_name["a.example.com/fate/egg:1.0"]
    assert names.unclear == ("a.example.com/fate/egg:1.0",)
