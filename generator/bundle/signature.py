"""Signatures: who a bundle is from. A root digest that is read over a telephone cannot tell that, a key can.

What is signed are the bytes of ``fategen/bundle.json``: the record, which has the digest of every blob and file, every
name and tag, and from which all the rest of the bundle follows. So one small signature binds all of it, and whoever has
no fategen can check it: ``tar -xOf FILE fategen/bundle.json | ssh-keygen -Y verify …``. It stands in ``FILE.sig``.

The tools are those that sites have: OpenSSH (8.2 or later; ssh-keygen(1), ``-Y``) and cosign with a key pair (without
its transparency log, which is on the internet). Which of the two is told by the form of the key.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Literal

from generator.bundle.check import Approve
from generator.bundle.format.base import short_root
from generator.bundle.format.model import BundleIndex
from generator.docker.programs import find_program
from generator.errors import BundleError, InputError, Problem

NAMESPACE = "fategen-bundle"
"""of the SSH signature: one made for git or mail is none for a bundle"""
SUFFIX = ".sig"

Form = Literal["ssh private", "ssh public", "allowed signers", "cosign private", "cosign public"]
_SSH_KEY = re.compile(r"(?:ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-)[a-z0-9@.-]+")
_LIMIT = 1 << 20


def required(key: Path) -> Approve:
    """Lets a bundle pass whose ``FILE.sig`` is by ``key``: an SSH public key, an ``allowed_signers`` file (see
    ssh-keygen(1)), or a cosign public key. It returns the signer's name: the principal, else the key's file.

    It raises BundleError where there is no signature, or not by this key, or over another record. InputError: ``key``
    is none to check with.
    """
    form = key_form(key)
    if form in ("ssh private", "cosign private"):
        raise InputError(Problem(str(key), f"is {SAYS[form]}; a signature is checked with the public key"))

    def approve(index: BundleIndex, name: str) -> str:
        path = Path(name + SUFFIX)
        refused = f"{name} is refused: {{}}\n  nothing else of it was read; its root digest is {short_root(index.root)}"
        if not path.is_file():
            wrong = f"it is not signed, or its signature {path} is not there"
            hint = f"get {path.name} from its sender and put it beside the bundle; to a pipe nothing can be put beside"
            raise BundleError(refused.format(wrong), hint=hint)
        check = _cosign if form == "cosign public" else _ssh
        signer, said = check(index.encode(), path, key, form)
        if not signer:
            wrong = f"{path} is no signature of it by {key} ({said})"
            raise BundleError(refused.format(wrong), hint="do not use it; ask its sender which key signed it")
        return signer

    return approve


def _ssh(record: bytes, signature: Path, key: Path, form: Form) -> tuple[str, str]:
    """(the signer, "" where the signature is not good, what ssh-keygen said)"""
    tool = find_program("ssh-keygen")
    with tempfile.TemporaryDirectory(prefix="fategen-") as name:
        allowed = key
        if form == "ssh public":
            allowed = Path(name) / "allowed_signers"
            keys = [line.split()[:2] for line in _text(key).splitlines() if _SSH_KEY.match(line)]
            allowed.write_text("".join(f"sender {' '.join(parts)}\n" for parts in keys), encoding="utf-8")
        where = ("-f", str(allowed.resolve()), "-s", str(signature.resolve()))
        done = tool.run(["-Y", "find-principals", *where])
        if not done.ok:
            return "", done.last_line
        principal = done.stdout.splitlines()[0].split(",")[0]
        done = tool.run(["-Y", "verify", *where, "-n", NAMESPACE, "-I", principal], input=record)
    signer = key.name if form == "ssh public" else principal
    return signer if done.ok else "", done.last_line


def _cosign(record: bytes, signature: Path, key: Path, _form: Form) -> tuple[str, str]:
    tool = find_program("cosign")
    with tempfile.TemporaryDirectory(prefix="fategen-") as name:
        file = Path(name) / "bundle.json"
        file.write_bytes(record)
        options = ("--insecure-ignore-tlog=true", "--key", str(key.resolve()), "--signature", str(signature.resolve()))
        done = tool.run(["verify-blob", *options, str(file)])
    return key.name if done.ok else "", done.last_line


SAYS: dict[Form, str] = {
    "ssh private": "an SSH private key",
    "ssh public": "an SSH public key",
    "allowed signers": "a list of signers",
    "cosign private": "a cosign private key",
    "cosign public": "a cosign public key",
}


def key_form(key: Path) -> Form:
    """What kind of key a file holds. InputError: none."""
    text = _text(key)
    if "ENCRYPTED SIGSTORE PRIVATE KEY" in text or "ENCRYPTED COSIGN PRIVATE KEY" in text:
        return "cosign private"
    if "PRIVATE KEY-----" in text:
        return "ssh private"
    if "BEGIN PUBLIC KEY-----" in text:
        return "cosign public"
    lines = [words for line in text.splitlines() if (words := line.split()) and not line.startswith("#")]
    if lines and all(_SSH_KEY.fullmatch(words[0]) for words in lines):
        return "ssh public"
    if lines and all(any(_SSH_KEY.fullmatch(word) for word in words[1:]) for words in lines):
        return "allowed signers"
    raise InputError(
        Problem(str(key), "is no key: expected an SSH key, an allowed_signers file or a cosign key"),
        hint="ssh-keygen -t ed25519 -f KEY makes a pair; cosign generate-key-pair another",
    )


def _text(key: Path) -> str:
    try:
        with key.open("rb") as file:
            return file.read(_LIMIT).decode("utf-8", "replace")
    except OSError as error:
        raise InputError(Problem(str(key), f"cannot be read: {error.strerror}")) from None
