"""Data that lies elsewhere: DICOMweb services, DIMSE archives, and files behind any fsspec address.

Nothing here listens. What is fetched lands in a folder of the run before anything looks at it; what is sent has
passed its verification (`defacedask.runs.sending`). Credentials come from the environment or ``~/.netrc``, never from
an address or an option.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["Said", "is_remote", "localise"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
#: Gets a line from time to time.
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
