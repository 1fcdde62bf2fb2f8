"""A dossier's hash and signature, beside it; and whether the page, and what it speaks of, are still what was signed.

The signature is Ed25519 over the bytes of the page (RFC 8032), so that anybody with the public key can check it, with
this program or with OpenSSL. A code under the run's key would prove something to its holder alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

from defacedask.errors import ConfigError, InputError, MissingExtraError
from defacedask.io.dicom.export.audit import AUDIT, each_line
from defacedask.io.store import writing
from defacedask.whole_files import file_hash, write_whole

__all__ = ["check_dossier", "fingerprint", "key_of_run", "read_private", "seal_page"]

MANIFEST = "manifest"


def _crypto() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise MissingExtraError(
            "signatures need the package cryptography.",
            "Install it with: pip install 'defacedask[sign]'; the hash needs nothing.",
        ) from None
    return serialization, ed25519


def key_of_run(run_key: bytes) -> Any:
    """The private key that belongs to a run: who holds its ``run.key`` can sign as the run, and nobody else."""
    _, ed25519 = _crypto()
    seed = hmac.new(run_key, b"defacedask dossier 1", hashlib.sha256).digest()
    return ed25519.Ed25519PrivateKey.from_private_bytes(seed)


def read_private(path: Path) -> Any:
    """An Ed25519 private key in PEM, as ``openssl genpkey -algorithm ed25519`` makes it.

    Raises
    ------
    ConfigError
        If the file holds none.
    """
    serialization, ed25519 = _crypto()
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} holds no private key that can be read ({error}).") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ConfigError(
            f"the key in {path} is not Ed25519.", "Make one: openssl genpkey -algorithm ed25519 -out KEY.pem"
        )
    return key


def _pem(public: Any) -> bytes:
    serialization, _ = _crypto()
    pem: bytes = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


def fingerprint(pem: bytes) -> str:
    """SHA-256 of a public key as PEM, its first 32 digits."""
    return hashlib.sha256(b"".join(pem.split())).hexdigest()[:32]


def beside(page: Path, end: str) -> Path:
    """File beside a page: ``sha256``, ``sig`` or ``pub.pem``."""
    return page.with_name(f"{page.name}.{end}")


def seal_page(page: Path, private: Any = None) -> list[Path]:
    """Leave the hash of a page beside it, and with a private key its signature and the public key.

    Returns
    -------
    list of Path
        What was written; an older signature is gone if there is no key.
    """
    data = page.read_bytes()
    with writing("the signature of the dossier"):
        write_whole(beside(page, "sha256"), f"{hashlib.sha256(data).hexdigest()}  {page.name}\n")
        if private is None:
            for end in ("sig", "pub.pem"):
                beside(page, end).unlink(missing_ok=True)
            return [beside(page, "sha256")]
        write_whole(beside(page, "sig"), private.sign(data))
        write_whole(beside(page, "pub.pem"), _pem(private.public_key()))
    return [beside(page, end) for end in ("sha256", "sig", "pub.pem")]


def check_dossier(
    page: Path, out: Path | None = None, public: Path | None = None
) -> tuple[list[str], list[str]]:
    """See whether a page is what was sealed, and whether the folder still is what the page speaks of.

    Parameters
    ----------
    page : Path
    out : Path, optional
        The folder that it was made of.
    public : Path, optional
        The signer's public key (PEM), got in another way than with the page. Without one the key beside the page is
        used, which proves only that page and key belong together.

    Returns
    -------
    problems, said : lists of str
        What is wrong, and what was found right, one sentence each.

    Raises
    ------
    InputError
        If there is no page.
    """
    if not page.is_file():
        raise InputError(f"there is no dossier {page}.", "Make one: defacedask dossier OUT")
    data = page.read_bytes()
    problems: list[str] = []
    said: list[str] = []
    _hash(page, data, problems, said)
    _signature(page, data, public, problems, said)
    if out is not None:
        _folder(data, out, problems, said)
    return problems, said


def _hash(page: Path, data: bytes, problems: list[str], said: list[str]) -> None:
    try:
        told = beside(page, "sha256").read_text(encoding="ascii").split()[0]
    except (OSError, ValueError, IndexError):
        problems.append(f"there is no hash beside {page.name}.")
        return
    right = hmac.compare_digest(told, hashlib.sha256(data).hexdigest())
    (said if right else problems).append(f"The page is{'' if right else ' not'} what its hash says.")


def _signature(page: Path, data: bytes, public: Path | None, problems: list[str], said: list[str]) -> None:
    if not beside(page, "sig").is_file():
        if public is not None:
            problems.append("the page is not signed.")
        else:
            said.append("It is not signed: whoever changed the page could have changed its hash.")
        return
    serialization, ed25519 = _crypto()
    where = public or beside(page, "pub.pem")
    try:
        pem = where.read_bytes()
        key = serialization.load_pem_public_key(pem)
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise ValueError("it is not Ed25519")
    except (OSError, ValueError) as error:
        problems.append(f"{where.name} holds no public key ({error}).")
        return
    try:
        key.verify(beside(page, "sig").read_bytes(), data)
    except Exception as error:  # InvalidSignature, or a file of another length
        problems.append(f"the signature is not that of this page and key ({type(error).__name__}).")
        return
    whose = (
        "the key that was given" if public else "the key beside it: compare its fingerprint with the signer's"
    )
    said.append(f"It was signed with {whose} ({fingerprint(pem)}).")


def _folder(data: bytes, out: Path, problems: list[str], said: list[str]) -> None:
    found = re.search(
        rf'<script type="application/json" id="{MANIFEST}">(.*?)</script>',
        data.decode(errors="replace"),
        re.S,
    )
    try:
        manifest = json.loads(found[1]) if found else None
        files = dict(manifest["files"]) if manifest else {}
    except (ValueError, KeyError, TypeError):
        manifest, files = None, {}
    if not manifest:
        problems.append("the page does not say what it was made of.")
        return
    before = len(problems)
    for name, told in files.items():
        path = out / name
        if not path.is_file():
            problems.append(f"{name} is gone.")
        elif file_hash(path) != told:
            problems.append(f"{name} is not what the dossier was made of.")
    if told := manifest.get("outputs_sha256"):
        lost: list[str] = []
        now: list[str] = []
        for _, line in each_line(out / AUDIT):
            if line.get("status") == "written":
                there = (out / line["file"]).is_file()
                (now if there else lost).append(file_hash(out / line["file"]) if there else str(line["file"]))
        if lost:
            problems.append(f"{len(lost)} files that were written are gone, the first: {lost[0]}.")
        elif hashlib.sha256("".join(f"{one}\n" for one in sorted(now)).encode()).hexdigest() != told:
            problems.append("files that were written are not what they were.")
    if len(problems) == before:
        said.append(f"The folder holds what the page was made of ({len(files)} files by their hashes).")
