"""Every error of this package: one base class, one clear sentence, and what to do next.

Subclasses also are the builtin a caller would catch anyway (`ValueError`, `OSError`, `ImportError`).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

__all__ = [
    "FULL",
    "AccessError",
    "ConfigError",
    "ContractError",
    "DamagedError",
    "DefacedaskError",
    "InputError",
    "MissingExtraError",
    "OutputError",
    "RefusedError",
    "RemoteError",
    "StoreError",
    "disk_is_full",
    "os_error_in",
    "printable",
    "writing",
]

#: Errors of the disk itself, which the next case would meet too.
FULL = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT})


def printable(text: object) -> str:
    """Text that any terminal and table takes: bytes of a file name that are no text are written as numbers."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


class DefacedaskError(Exception):
    """Base class.

    Parameters
    ----------
    message : str
        What is wrong, one sentence.
    hint : str, optional
        What the user can do next, one sentence.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message, hint)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(DefacedaskError, ValueError):
    """The input cannot be used: not DICOM, truncated, inconsistent, unknown name."""


class ConfigError(DefacedaskError, ValueError):
    """An option or configuration value is wrong."""


class ContractError(DefacedaskError, AssertionError):
    """A plug-in does not keep what `defacedask.defacers.base` asks of it."""


class OutputError(DefacedaskError, OSError):
    """The output cannot be written: read-only, full, or in use.

    Parameters
    ----------
    message, hint : str
    fatal : bool
        No other case could be written either: the disk is full or read-only, or its quota is used up.
    """

    def __init__(self, message: str, hint: str = "", *, fatal: bool = False) -> None:
        super().__init__(message, hint)
        self.fatal = fatal


class StoreError(DefacedaskError, OSError):
    """A case store is missing, half-written, or of another version."""


class RefusedError(DefacedaskError, ValueError):
    """A case is refused on purpose: no head, too little of it in view, or a quality below its gate.

    A refusal is a result: it becomes a row with its reason, and nothing of the case is exported.
    """


class DamagedError(RefusedError, InputError):
    """A file is cut off, spoiled or cannot be opened: what it held is missing, whatever else is done."""


class RemoteError(DefacedaskError, ConnectionError):
    """A service elsewhere cannot be reached, does not let us in, or did less than it should."""


class AccessError(DefacedaskError, PermissionError):
    """A service elsewhere has it and does not give it to us: asking again does not help."""


class MissingExtraError(DefacedaskError, ImportError):
    """An optional part is not installed; the hint names the extra."""


def os_error_in(error: BaseException) -> OSError | None:
    """The system's own error behind an error: libraries wrap it in one that has its text alone, and no number.

    Returns
    -------
    OSError or None
        The nearest with a number among the error and what it came of.
    """
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        if isinstance(one, OSError) and one.errno is not None:
            return one
        seen.add(id(one))
        one = one.__cause__ or one.__context__
    return None


def disk_is_full(error: BaseException) -> bool:
    """Whether the disk itself is behind an error: full, read-only, or its quota used up."""
    found = os_error_in(error)
    return found is not None and found.errno in FULL


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn a failure of the file system into one `OutputError` that says what could not be written."""
    try:
        yield
    except DefacedaskError:
        raise
    except Exception as error:
        full = disk_is_full(error)
        if not full and not isinstance(error, OSError):
            raise
        found = os_error_in(error) or error
        reason = getattr(found, "strerror", None) or " ".join(str(found).splitlines()[:1])
        if full:
            # no room comes free where nothing may be written
            locked = getattr(found, "errno", None) == errno.EROFS
            hint = f"{'C' if locked else 'Free space or c'}hoose another output or work folder."
            raise OutputError(f"cannot write {what}: {reason}.", hint, fatal=True) from error
        # no fault of the disk: a name that is too long, a file in the way, an input that is gone
        name = getattr(found, "filename", None)
        where = f" ({os.fsdecode(name)})" if isinstance(name, str | bytes) else ""
        hint = "Look at what is named there, then run again." if where else "Choose another output folder."
        raise OutputError(f"cannot write {what}: {reason}{where}.", hint) from error
