"""Signatures by the real ssh-keygen: what they cover, and what is refused."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from generator.bundle.save import save
from generator.images.layout import SourceImage
from tests.bundle.layouts import simple
from tests.e2e.conftest import Fategen, Ran, succeeded


def run(*args: str | Path, data: bytes = b"") -> str:
    done = subprocess.run([str(a) for a in args], input=data, capture_output=True, check=True)
    return done.stdout.decode()


def ssh(directory: Path) -> tuple[Path, Path]:
    key = directory / "release"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alice@example.com", "-f", key)
    return key, directory / "release.pub"


@dataclass(frozen=True)
class Site:
    """A bundle, a key pair of the sender, and the same of somebody else."""

    file: Path
    private: Path
    public: Path
    other: Path
    fategen: Fategen

    def run(self, *args: str | Path) -> Ran:
        return self.fategen("bundle", *map(str, args), cwd=self.file.parent)

    def sign(self) -> None:
        succeeded(self.run("sign", self.file, "--key", self.private))


@pytest.fixture
def site(tmp_path: Path, fategen: Fategen) -> Site:
    (tmp_path / "other").mkdir()
    source = SourceImage(("fgtest/b:1.0",), simple(tmp_path / "b", "b"), ("linux/amd64",))
    result = save([source], tmp_path / "x.fate.tar", name="x", files={"notes": b"1"})
    return Site(result.path, *ssh(tmp_path), ssh(tmp_path / "other")[1], fategen)


def test_what_the_sender_signed_passes(site: Site) -> None:
    site.sign()
    ran = succeeded(site.run("verify", site.file, "--require-signature", site.public))
    assert f"signed by {site.public.name}" in ran.out


VERBS = [("verify",), ("load",), ("push", "localhost:1/nobody-listens")]
"""Ways to use a bundle; of the last one nothing but the refusal is seen, since it comes before any connection."""


@pytest.mark.parametrize("verb", VERBS)
def test_without_a_signature_nothing_is_read(site: Site, verb: tuple[str, ...]) -> None:
    ran = site.run(verb[0], site.file, *verb[1:], "--require-signature", site.public)
    assert (ran.code, ran.out) == (4, "")
    assert "is not signed" in ran.err


@pytest.mark.parametrize("verb", VERBS)
def test_somebody_elses_key_is_refused(site: Site, verb: tuple[str, ...]) -> None:
    site.sign()
    ran = site.run(verb[0], site.file, *verb[1:], "--require-signature", site.other)
    assert ran.code == 4
    assert "is not a signature of it by" in ran.err


def test_a_signature_is_for_one_content_names_tags_and_files_included(site: Site, tmp_path: Path) -> None:
    site.sign()
    signature = Path(f"{site.file}.sig")
    renamed = SourceImage(("fgtest/b:2.0",), tmp_path / "b", ("linux/amd64",))
    same = SourceImage(("fgtest/b:1.0",), tmp_path / "b", ("linux/amd64",))
    layer = SourceImage(("fgtest/b:1.0",), simple(tmp_path / "c", "b", files={"x": b"evil"}), ("linux/amd64",))
    for number, (image, files) in enumerate([(renamed, {"notes": b"1"}), (same, {"notes": b"2"}), (layer, {})]):
        forged = save([image], tmp_path / f"{number}.fate.tar", name="x", files=files).path
        shutil.copy(signature, f"{forged}.sig")
        succeeded(site.run("verify", forged))
        assert site.run("verify", forged, "--require-signature", site.public).code == 4


def test_a_signed_bundle_that_was_damaged_is_told_as_damaged(site: Site) -> None:
    site.sign()
    data = bytearray(site.file.read_bytes())
    data[-3000] ^= 1
    site.file.write_bytes(data)
    ran = site.run("verify", site.file, "--require-signature", site.public)
    assert ran.code == 4
    assert "is damaged" in ran.err


def test_a_damaged_bundle_is_not_signed(site: Site) -> None:
    data = bytearray(site.file.read_bytes())
    data[len(data) // 2] ^= 1
    site.file.write_bytes(data)
    ran = site.run("sign", site.file, "--key", site.private)
    assert ran.code == 4, ran.err
    assert "does not match its digest" in ran.err
    assert not site.file.with_name("x.fate.tar.sig").exists()


def test_a_torn_signature_is_refused(site: Site) -> None:
    site.sign()
    signature = Path(f"{site.file}.sig")
    for data in (b"", b"\0" * 100, signature.read_bytes()[:-40]):
        signature.write_bytes(data)
        assert site.run("verify", site.file, "--require-signature", site.public).code == 4


def test_keys_are_not_taken_for_each_other(site: Site) -> None:
    ran = site.run("verify", site.file, "--require-signature", site.private)
    assert ran.code == 2 and "checked with the public key" in ran.err
    ran = site.run("sign", site.file, "--key", site.file)
    assert ran.code == 2 and "is not a key" in ran.err


@pytest.fixture
def signed(site: Site) -> Site:
    site.sign()
    return site


def allow(site: Site, line: str) -> Path:
    path = site.file.parent / "allowed_signers"
    path.write_text(f"# who may\n{line}\n", encoding="utf-8")
    return path


def test_a_list_of_signers_names_the_one(signed: Site) -> None:
    both = f"bob@example.com {signed.other.read_text()}alice@example.com {signed.public.read_text()}"
    ran = succeeded(signed.run("verify", signed.file, "--require-signature", allow(signed, both)))
    assert "signed by alice@example.com" in ran.out


def test_a_list_of_others_refuses(signed: Site) -> None:
    ran = signed.run("verify", signed.file, "--require-signature", allow(signed, f"bob {signed.other.read_text()}"))
    assert ran.code == 4


def test_a_list_may_allow_a_key_for_other_things_only(signed: Site) -> None:
    line = f'alice namespaces="git" {signed.public.read_text()}'
    assert signed.run("verify", signed.file, "--require-signature", allow(signed, line)).code == 4
    line = f'alice namespaces="git,fategen-bundle" {signed.public.read_text()}'
    succeeded(signed.run("verify", signed.file, "--require-signature", allow(signed, line)))


def test_a_signature_made_for_something_else_is_refused(signed: Site) -> None:
    record = run("tar", "-xOf", signed.file, "fategen/bundle.json").encode()
    other = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-f", signed.private, "-n", "git"],
        input=record,
        capture_output=True,
        check=True,
    )
    Path(f"{signed.file}.sig").write_bytes(other.stdout)
    assert signed.run("verify", signed.file, "--require-signature", signed.public).code == 4


def test_plain_tar_and_ssh_keygen_check_it_too(signed: Site) -> None:
    record = run("tar", "-xOf", signed.file, "fategen/bundle.json").encode()
    where = ("-f", allow(signed, f"alice {signed.public.read_text()}"), "-s", f"{signed.file}.sig")
    assert "Good" in run("ssh-keygen", "-Y", "verify", *where, "-n", "fategen-bundle", "-I", "alice", data=record)


def test_a_key_in_an_agent_signs_by_its_public_half(signed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = signed.file.parent / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert agent.poll() is None
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        run("ssh-add", "-q", signed.private)
        signed.private.unlink()
        Path(f"{signed.file}.sig").unlink()
        succeeded(signed.run("sign", signed.file, "--key", signed.public))
        succeeded(signed.run("verify", signed.file, "--require-signature", signed.public))
    finally:
        agent.terminate()
        agent.wait()


def test_the_passphrase_of_a_key_is_asked_for_at_the_terminal(signed: Site) -> None:
    key = signed.file.parent / "locked"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", key)
    Path(f"{signed.file}.sig").unlink()
    command = [sys.executable, "-m", "generator", "bundle", "sign", str(signed.file), "--key", str(key)]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(command[0], command)
    said = b""
    with contextlib.suppress(OSError):  # what a terminal reads as when its last process has gone
        while data := os.read(terminal, 4096):
            said += data
            if b"passphrase" in said and b"\r\n" not in said:
                os.write(terminal, b"open sesame\n")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, said
    os.close(terminal)
    succeeded(signed.run("verify", signed.file, "--require-signature", f"{key}.pub"))


def test_without_ssh_keygen_it_says_what_is_missing(signed: Site, tmp_path: Path) -> None:
    ran = signed.fategen(
        "bundle", "verify", str(signed.file), "--require-signature", str(signed.public),
        cwd=tmp_path, env={"PATH": str(tmp_path), "HOME": os.environ["HOME"]},
    )  # fmt: skip
    assert ran.code == 3
    assert "ssh-keygen is not installed" in ran.err
