"""Signatures by the real ssh-keygen: what they cover, and what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from generator.bundle.save import save
from tests.bundle.layouts import BASE, image
from tests.e2e.conftest import FATEGEN, Ran, fategen, succeeded
from tests.picture import on_terminal


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

    @property
    def signature(self) -> Path:
        return Path(f"{self.file}.sig")

    def run(self, *args: str | Path) -> Ran:
        return fategen("bundle", *map(str, args), cwd=self.file.parent)

    def verify(self, file: Path | None = None, signers: Path | None = None) -> Ran:
        return self.run("verify", file or self.file, "--require-signature", signers or self.public)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "other").mkdir()
    result = save([image(tmp_path, "b")], tmp_path / "x.fate.tar", name="x", files={"notes": b"1"})
    return Site(result.path, *ssh(tmp_path), ssh(tmp_path / "other")[1])


@pytest.fixture
def signed(site: Site) -> Site:
    succeeded(site.run("sign", site.file, "--key", site.private))
    return site


# of a push nothing but the refusal is seen: it comes before any connection
@pytest.mark.parametrize("verb", [("verify",), ("load",), ("push", "localhost:1/nobody-listens")])
def test_without_a_signature_of_this_key_nothing_is_read(site: Site, verb: tuple[str, ...]) -> None:
    unsigned = site.run(verb[0], site.file, *verb[1:], "--require-signature", site.public)
    assert (unsigned.code, unsigned.out, "is not signed" in unsigned.err) == (4, "", True)
    succeeded(site.run("sign", site.file, "--key", site.private))
    other = site.run(verb[0], site.file, *verb[1:], "--require-signature", site.other)
    assert (other.code, "is not a signature of it by" in other.err) == (4, True)


def test_a_signature_is_for_one_content_names_tags_and_files_included(signed: Site, tmp_path: Path) -> None:
    same, layer = image(tmp_path, "b"), image(tmp_path / "c", "b", BASE, {"x": b"evil"})
    renamed = replace(same, references=("fgtest/b:2.0",))
    for number, (source, files) in enumerate([(renamed, {"notes": b"1"}), (same, {"notes": b"2"}), (layer, {})]):
        forged = save([source], tmp_path / f"{number}.fate.tar", name="x", files=files).path
        shutil.copy(signed.signature, f"{forged}.sig")
        succeeded(signed.run("verify", forged))
        assert signed.verify(forged).code == 4


def test_a_damaged_bundle_is_told_as_damaged_and_is_not_signed(signed: Site) -> None:
    data = bytearray(signed.file.read_bytes())
    data[len(data) // 2] ^= 1
    signed.file.write_bytes(data)
    ran = signed.verify()
    assert (ran.code, "is damaged" in ran.err) == (4, True)
    signed.signature.unlink()
    ran = signed.run("sign", signed.file, "--key", signed.private)
    assert (ran.code, "does not match its digest" in ran.err) == (4, True), ran.err
    assert not signed.signature.exists()


def test_a_signature_that_is_torn_or_made_for_something_else_is_refused(signed: Site) -> None:
    index = run("tar", "-xOf", signed.file, "fategen/bundle.json").encode()
    other = run("ssh-keygen", "-Y", "sign", "-f", signed.private, "-n", "git", data=index).encode()
    for data in (b"", b"\0" * 100, signed.signature.read_bytes()[:-40], other):
        signed.signature.write_bytes(data)
        assert signed.verify().code == 4


def test_keys_are_not_taken_for_each_other(site: Site) -> None:
    ran = site.verify(signers=site.private)
    assert ran.code == 2 and "checked with the public key" in ran.err
    ran = site.run("sign", site.file, "--key", site.file)
    assert ran.code == 2 and "is not a key" in ran.err


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("bob@example.com {other}alice@example.com {sender}", 0),
        ("bob {other}", 4),
        ('alice@example.com namespaces="git" {sender}', 4),
        ('alice@example.com namespaces="git,fategen-bundle" {sender}', 0),
        ("!bob@example.com,alice@example.com {sender}", 0),
    ],
)
def test_a_list_of_signers_says_who_may_sign_what(signed: Site, line: str, code: int) -> None:
    signers = signed.file.parent / "allowed_signers"
    line = line.format(sender=signed.public.read_text(), other=signed.other.read_text())
    signers.write_text(f"  # who may\n{line}\n")
    ran = signed.verify(signers=signers)
    assert (ran.code, "signed by alice@example.com" in ran.out) == (code, code == 0)


def test_a_key_in_an_agent_signs_by_its_public_half(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = site.file.parent / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert agent.poll() is None
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        run("ssh-add", "-q", site.private)
        site.private.unlink()
        succeeded(site.run("sign", site.file, "--key", site.public))
        assert f"signed by {site.public.name}" in succeeded(site.verify()).out
    finally:
        agent.terminate()
        agent.wait()


def test_the_passphrase_of_a_key_is_asked_for_at_the_terminal(site: Site) -> None:
    key = site.file.parent / "locked"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", key)
    command = [*FATEGEN, "bundle", "sign", str(site.file), "--key", str(key)]
    code, drawn = on_terminal(command, Path.cwd(), typed=("passphrase", "open sesame\n"))
    assert code == 0, drawn
    succeeded(site.verify(signers=Path(f"{key}.pub")))


def test_without_ssh_keygen_it_says_what_is_missing(signed: Site, tmp_path: Path) -> None:
    command = ("bundle", "verify", str(signed.file), "--require-signature", str(signed.public))
    ran = fategen(*command, cwd=tmp_path, env={"PATH": str(tmp_path), "HOME": os.environ["HOME"]})
    assert (ran.code, "ssh-keygen is not installed" in ran.err) == (3, True)
