"""What was written, into an archive: never before it passed its verification."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from defacedask.errors import ConfigError, InputError, RefusedError
from defacedask.io.remote import Said, is_remote

__all__ = ["check_archive", "send"]


def check_archive(address: str) -> None:
    """Refuse what is no address of an archive, or needs a part that is not installed; nothing is sent.

    Raises
    ------
    ConfigError
    MissingExtraError
    """
    from defacedask.io.remote import dicomweb, dimse

    if not is_remote(address) or not address.startswith(("dimse", "dicomweb+", "http://", "https://")):
        raise ConfigError(
            f"{address} is no address of an archive.",
            "Use https://HOST/dicom-web or dimse://AET@HOST:PORT.",
        )
    if address.startswith("dimse"):
        dimse.check(address)
    else:
        dicomweb.check(address)


def send(out: str | Path, address: str, *, key: bytes = b"", say: Said = lambda _: None) -> int:
    """Store a defaced folder in an archive, after it passed its verification.

    Parameters
    ----------
    out : path or str
        Folder that `deface` wrote, or an address that it wrote to: then a case at a time is here.
    address : str
        ``https://.../dicom-web`` (STOW-RS) or ``dimse://AET@host:port`` (C-STORE; ``dimse+tls://`` over TLS).
    key : bytes
        Of the run: also proves that its record is the one its holder wrote.
    say : callable
        Gets a line from time to time.

    Returns
    -------
    int
        Instances stored.

    Raises
    ------
    ConfigError, MissingExtraError
        As `check_archive`.
    RefusedError
        If the folder does not pass its verification.
    RemoteError
        If the archive did not take all of it; what it took is said.
    """
    from defacedask.io.remote import dicomweb, dimse
    from defacedask.verify import verified_files

    check_archive(address)
    store = dimse.store if address.startswith("dimse") else dicomweb.store
    if is_remote(str(out)):
        # what is there was verified before it went there, and comes as it went
        return sum(store(address, files, say) for files in _parts(str(out)) if files)
    files, problems = verified_files(out, key=key)
    if problems:
        first = problems[0]
        raise RefusedError(
            f"{out} did not pass its verification ({len(problems)} problems; {first.file}: {first.what}), so "
            "nothing was sent.",
            "See `defacedask verify`.",
        )
    if not files:
        raise InputError(f"{out} holds no DICOM that could be sent.", "See its audit.jsonl.")
    return store(address, files, say)


def _parts(out: str) -> Iterator[list[Path]]:
    """DICOM files of each part at an address, for as long as they are sent."""
    from defacedask.io.dicom.export.audit import AUDIT
    from defacedask.io.remote.objects import Objects
    from defacedask.io.remote.publish import manifest_of
    from defacedask.verify import dicom_files
    from defacedask.verify.cases import fetched_parts
    from defacedask.verify.lines import Record

    objects = Objects(out)
    with tempfile.TemporaryDirectory() as folder:
        objects.fetch(AUDIT, Path(folder, AUDIT))
        lines = Record(Path(folder, AUDIT))
        for place, some in fetched_parts(objects, manifest_of(objects), lines, Path(folder, "part")):
            yield dicom_files(place, some)
