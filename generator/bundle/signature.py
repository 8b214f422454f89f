"""Signatures show who made a bundle. A root digest that is read over the phone cannot.

What is signed is ``fategen/bundle.json``, the bundle index. It has the digest of every blob and file and every name and
tag, and the rest of the bundle follows from it, so one small signature in ``FILE.sig`` covers all of it. It can be
checked without fategen: ``tar -xOf FILE fategen/bundle.json | ssh-keygen -Y verify …`` (OpenSSH 8.2 or later).
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from generator.bundle.index import BundleIndex, short_root
from generator.bundle.reader import Approve, verify
from generator.docker.process import find_program
from generator.errors import BundleError, EngineError, InputError, Problem
from generator.files import write_atomically

NAMESPACE = "fategen-bundle"
"""of the SSH signature: one made for git or mail does not count for a bundle"""
SUFFIX = ".sig"

_SSH_KEY = re.compile(r"(?:ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-)[a-z0-9@.-]+")
_LIMIT = 1 << 20


def sign(file: Path, key: Path) -> BundleIndex:
    """Sign a bundle with an SSH private key, or a public key whose private half an agent has, and write ``FILE.sig``.

    Every byte of the bundle is checked first; what is signed, its index, is returned. ssh-keygen may ask for the
    passphrase at the terminal. Raises InputError if ``key`` cannot sign, EngineError if ssh-keygen is missing or
    failed, BundleError if ``file`` is not a bundle or is damaged.
    """
    if _key_kind(key) == "allowed signers":
        raise InputError(Problem(str(key), "is a list of signers: signing needs the private key"))
    verified = verify(file)
    ssh_keygen = find_program("ssh-keygen")
    with tempfile.TemporaryDirectory(prefix="fategen-") as name:
        content = Path(name) / "bundle.json"
        content.write_bytes(verified.index.encode())
        signature = content.with_name(content.name + SUFFIX)
        signed = ssh_keygen.ask(["-q", "-Y", "sign", "-f", str(key.resolve()), "-n", NAMESPACE, str(content)])
        if not signed or not signature.is_file():
            raise EngineError(f"ssh-keygen did not sign {verified.path}", hint="see its own message above")
        path = Path(verified.path + SUFFIX)
        try:
            write_atomically(path, signature.read_bytes())
        except OSError as error:
            raise EngineError(f"{path} cannot be written: {error.strerror}", hint="check the disk") from error
    return verified.index


def signature_check(key: Path) -> Approve:
    """A check that ``FILE.sig`` is by ``key``: an SSH public key or an ``allowed_signers`` file (see ssh-keygen(1)).

    It returns the signer's name: the principal, or the name of the key's file. It raises BundleError if there is no
    signature, or not by this key, or not of this bundle. Raises InputError if ``key`` cannot verify.
    """
    if _key_kind(key) == "private key":
        raise InputError(Problem(str(key), "is a private key: a signature is checked with the public key"))

    def approve(index: BundleIndex, name: str) -> str:
        signature = Path(name + SUFFIX)
        if signature.is_file():
            signer, message = _check(index.encode(), signature, key)
            if signer:
                return signer
            reason = f"{signature} is not a signature of it by {key} ({message})"
            hint = "do not use it; ask its sender which key signed it"
        else:
            reason = f"it is not signed, or its signature {signature} is missing"
            hint = f"get {signature.name} from its sender and put it next to the bundle; a pipe cannot have one"
        unread = f"nothing else of it was read; its root digest is {short_root(index.root)}"
        raise BundleError(f"{name} is refused: {reason}\n  {unread}", hint=hint)

    return approve


def _check(content: bytes, signature: Path, key: Path) -> tuple[str, str]:
    """The signer, "" if the signature is not good, and what ssh-keygen printed."""
    ssh_keygen, kind = find_program("ssh-keygen"), _key_kind(key)
    with tempfile.TemporaryDirectory(prefix="fategen-") as name:
        allowed = key
        if kind == "public key":
            allowed = Path(name) / "allowed_signers"
            keys = [line.split()[:2] for line in _text(key).splitlines() if _SSH_KEY.match(line)]
            allowed.write_text("".join(f"sender {' '.join(parts)}\n" for parts in keys), encoding="utf-8")
        files = ("-f", str(allowed.resolve()), "-s", str(signature.resolve()))
        done = ssh_keygen.run(["-Y", "find-principals", *files])
        if not done.ok:
            return "", done.last_line
        principal = done.stdout.splitlines()[0].split(",")[0]
        done = ssh_keygen.run(["-Y", "verify", *files, "-n", NAMESPACE, "-I", principal], input=content)
    signer = key.name if kind == "public key" else principal
    return signer if done.ok else "", done.last_line


def _key_kind(key: Path) -> str:
    """``private key``, ``public key`` or ``allowed signers``. Raises InputError if the file is none of them."""
    text = _text(key)
    if "PRIVATE KEY-----" in text:
        return "private key"
    lines = [words for line in text.splitlines() if (words := line.split()) and not line.startswith("#")]
    if lines and all(_SSH_KEY.fullmatch(words[0]) for words in lines):
        return "public key"
    if lines and all(any(_SSH_KEY.fullmatch(word) for word in words[1:]) for words in lines):
        return "allowed signers"
    raise InputError(
        Problem(str(key), "is not a key: expected an SSH key or an allowed_signers file"),
        hint="ssh-keygen -t ed25519 -f KEY creates a key pair",
    )


def _text(key: Path) -> str:
    try:
        with key.open("rb") as file:
            return file.read(_LIMIT).decode("utf-8", "replace")
    except OSError as error:
        raise InputError(Problem(str(key), f"cannot be read: {error.strerror}")) from None
