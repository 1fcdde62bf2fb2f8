"""Data that lies elsewhere: DICOMweb services, DIMSE archives, and files behind any fsspec address.

Nothing here listens. What is fetched lands in a folder of the run before anything looks at it; what is sent has
passed its verification. Credentials come from the environment or ``~/.netrc``, never from an address or an option.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["is_remote", "localise", "send"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
Said = Callable[[str], None]


def is_remote(given: str) -> bool:
    """Whether an input is an address and not a path."""
    return bool(_SCHEME.match(str(given)))


def localise(inputs: Iterable[str], folder: str | Path, *, say: Said = lambda _: None) -> list[str]:
    """Fetch the inputs that lie elsewhere; paths stay as they are.

    Parameters
    ----------
    inputs : iterable of str
        Paths; DICOMweb addresses of studies or series (``dicomweb+https://...`` or any ``https://.../studies/UID``);
        fsspec addresses of files and folders (``s3://...``, ``memory://...``, ``https://.../file``, or a text file of
        such addresses).
    folder : path
        Where they land, each below a name of its own; what is there already, whole, is not fetched again.
    say : callable
        Gets one line for each address.

    Returns
    -------
    list of str
        Paths, in the same order.

    Raises
    ------
    RemoteError
        If an address cannot be reached, does not let us in, or gives less than it promised.
    ConfigError
        If an address holds a password, or would send one in the clear.
    MissingExtraError
        If the library for a kind of address is not installed.
    """
    from defacedask.io.remote import dicomweb, files

    out = []
    for given in map(str, inputs):
        if not is_remote(given):
            out.append(given)
        elif dicomweb.is_dicomweb(given):
            out.append(str(dicomweb.fetch(given, Path(folder), say)))
        else:
            out.append(str(files.fetch(given, Path(folder), say)))
    return out


def send(out: str | Path, address: str, *, key: bytes = b"", say: Said = lambda _: None) -> int:
    """Store a defaced folder in an archive, after it passed its verification.

    Parameters
    ----------
    out : path
        Folder that `deface` wrote.
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
    RefusedError
        If the folder does not pass its verification.
    RemoteError
        If the archive did not take all of it; what it took is said.
    """
    from defacedask.errors import ConfigError, InputError, RefusedError
    from defacedask.io.remote import dicomweb, dimse
    from defacedask.verify import verified_files

    if not is_remote(address):
        raise ConfigError(
            f"{address} is no address of an archive.",
            "Use https://HOST/dicom-web or dimse://AET@HOST:PORT.",
        )
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
    store = dimse.store if address.startswith("dimse") else dicomweb.store
    return store(address, files, say)
