"""Signs bundles: what is signed, and why that is enough, is told in ``signature``."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from generator.bundle.check import verify
from generator.bundle.format.model import BundleIndex
from generator.bundle.signature import NAMESPACE, SAYS, SUFFIX, key_form
from generator.docker.programs import find_program
from generator.errors import EngineError, InputError, Problem
from generator.files import write_atomically


@dataclass(frozen=True)
class Signed:
    """``path`` is the signature's file, ``index`` what was signed."""

    path: Path
    index: BundleIndex


def sign(file: Path, key: Path) -> Signed:
    """Sign a bundle with a private key, or with an SSH public key whose private half an agent has: ``FILE.sig``.

    Every byte of the bundle is checked before: whoever signs it says that it is whole. The tool may ask for the
    passphrase at the terminal. InputError: not a key to sign with; EngineError: the tool is not installed or did not
    sign; BundleError: not a bundle, or a damaged one.
    """
    form = key_form(key)
    if form in ("cosign public", "allowed signers"):
        raise InputError(Problem(str(key), f"is for checking ({SAYS[form]}); signing needs the private key"))
    found = verify(file)
    tool = find_program("cosign" if form == "cosign private" else "ssh-keygen")
    with tempfile.TemporaryDirectory(prefix="fategen-") as name:
        record = Path(name) / "bundle.json"
        record.write_bytes(found.index.encode())
        made = record.with_name(record.name + SUFFIX)
        if form == "cosign private":
            options = ("--yes", "--tlog-upload=false", "--key", str(key.resolve()), "--output-signature", str(made))
            done = tool.ask(["sign-blob", *options, str(record)])
        else:
            done = tool.ask(["-q", "-Y", "sign", "-f", str(key.resolve()), "-n", NAMESPACE, str(record)])
        if not done or not made.is_file():
            raise EngineError(f"{Path(tool.binary).name} did not sign {found.path}", hint="its own words are above")
        path = Path(found.path + SUFFIX)
        try:
            write_atomically(path, made.read_bytes())
        except OSError as error:
            raise EngineError(f"{path} cannot be written: {error.strerror}", hint="check that disk") from error
    return Signed(path, found.index)
