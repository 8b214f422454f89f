"""Signatures show who made a bundle. A root digest that is read over the phone cannot.

What is signed is ``fategen/bundle.json``, the bundle index. It has the digest of every blob and file and every name and
tag, and the rest of the bundle follows from it, so one small signature in ``FILE.sig`` covers all of it. It can be
checked without fategen: ``tar -xOf FILE fategen/bundle.json | ssh-keygen -Y verify …`` (OpenSSH 8.2 or later).
"""

from __future__ import annotations

import re
import shlex
import tempfile
from pathlib import Path

from generator.bundle.index import BundleIndex, short_root
from generator.bundle.reader import PIPED, Approve, verify
from generator.docker.process import find_program
from generator.errors import BundleError, EngineError, InputError, Problem
from generator.files import disk_errors, write_atomically

NAMESPACE = "fategen-bundle"
"""of the SSH signature: one made for git or mail does not count for a bundle"""
SUFFIX = ".sig"

_SSH_KEY = re.compile(r"(?:ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-)[a-z0-9@.-]+")
_LIMIT = 1 << 20


def sign(file: Path, key: Path) -> BundleIndex:
    """Sign a bundle with an SSH private key, or a public key whose private half an agent has, and write ``FILE.sig``.

    Every byte of the bundle is checked first; what is signed, its index, is returned. ssh-keygen may ask for the
    passphrase at the terminal.
    """
    if _read_key(key)[0] == "allowed signers":
        raise InputError(Problem(str(key), "is a list of signers: signing needs the private key"))
    verified = verify(file)
    ssh_keygen = find_program("ssh-keygen")
    with tempfile.TemporaryDirectory(prefix="fategen-") as name:
        content = Path(name) / "bundle.json"
        content.write_bytes(verified.index.encode())
        signature = content.with_name(content.name + SUFFIX)
        signed = ssh_keygen.ask(["-q", "-Y", "sign", "-f", str(key.resolve()), "-n", NAMESPACE, str(content)])
        if not signed or not signature.is_file():
            raise EngineError(f"ssh-keygen did not sign {verified.name}", hint="see its message above")
        path = Path(verified.name + SUFFIX)
        with disk_errors(path):
            write_atomically(path, signature.read_bytes())
    return verified.index


def signature_check(key: Path) -> Approve:
    """A check that ``FILE.sig`` is by ``key``: an SSH public key or an ``allowed_signers`` file (see ssh-keygen(1)).

    It returns the signer's name: the principal, or the name of the key's file. It raises BundleError if there is no
    signature, or not by this key, or not of this bundle.
    """
    kind, lines = _read_key(key)
    if kind == "private key":
        raise InputError(Problem(str(key), "is a private key: a signature is checked with the public key"))

    def approve(index: BundleIndex, name: str) -> str:
        signature = Path(name + SUFFIX)
        if signature.is_file():
            with tempfile.TemporaryDirectory(prefix="fategen-") as directory:
                allowed = key
                if kind == "public key":
                    allowed = Path(directory) / "allowed_signers"
                    allowed.write_text("".join(f"sender {' '.join(words[:2])}\n" for words in lines), encoding="utf-8")
                principal, message = _check(index.encode(), signature, allowed)
            if principal:
                return key.name if kind == "public key" else principal
            reason = f"{signature} is not a signature of it by {key} ({message})"
            hint = "do not use it; ask its sender which key signed it"
        else:
            reason = f"it is not signed, or its signature {signature} is missing"
            hint = f"get {shlex.quote(signature.name)} from its sender and put it next to the bundle"
            if name == PIPED:
                reason = "a pipe has no signature next to it"
                hint = "save it to a file, get the file's .sig from its sender, and put it next to the file"
        unread = f"nothing else in the file was read; its root digest is {short_root(index.root)}"
        raise BundleError(f"{name} is refused: {reason}\n  {unread}", hint=hint)

    return approve


def _check(content: bytes, signature: Path, allowed: Path) -> tuple[str, str]:
    """The principal who signed it, "" if the signature is not good, and what ssh-keygen printed."""
    ssh_keygen = find_program("ssh-keygen")
    files = ("-f", str(allowed.resolve()), "-s", str(signature.resolve()))
    done = ssh_keygen.run(["-Y", "find-principals", *files])
    if not done.ok:
        return "", done.last_line
    # a pattern list for each line of the key, such as "!bob@example.com,*@example.com"
    for principal in re.split("[,\n]", done.stdout.strip()):
        if not principal.startswith("!"):
            done = ssh_keygen.run(["-Y", "verify", *files, "-n", NAMESPACE, "-I", principal], input=content)
            if done.ok:
                return principal, ""
    return "", done.last_line


def _read_key(key: Path) -> tuple[str, list[list[str]]]:
    """``private key``, ``public key`` or ``allowed signers``, and its lines in words. InputError for another file."""
    try:
        with key.open("rb") as file:
            text = file.read(_LIMIT).decode("utf-8", "replace")
    except OSError as error:
        raise InputError(Problem(str(key), f"cannot be read: {error.strerror}")) from None
    lines = [words for line in text.splitlines() if (words := line.split()) and not words[0].startswith("#")]
    if "PRIVATE KEY-----" in text:
        return "private key", lines
    if lines and all(_SSH_KEY.fullmatch(words[0]) for words in lines):
        return "public key", lines
    if lines and all(any(_SSH_KEY.fullmatch(word) for word in words[1:]) for words in lines):
        return "allowed signers", lines
    raise InputError(
        Problem(str(key), "is not a key: expected an SSH key or an allowed_signers file"),
        hint="ssh-keygen -t ed25519 -f KEY creates a key pair",
    )
