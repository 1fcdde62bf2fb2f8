"""The disk of this machine, where something comes from an address or goes there: its room, and its faults.

A library that moves a file between a disk and a service raises errors of one kind for both. So after one the disk is
asked by itself: whether it takes a file of that size in that place, or gives what was to be sent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from defacedask.errors import DefacedaskError, InputError, OutputError, disk_is_full, writing
from defacedask.showing import sized

__all__ = ["fetching", "free_in", "need_room", "sending"]

#: Bytes that were to come at least when the disk failed, where nobody says how many.
_MORE = 1 << 20
#: Of file systems that cannot set room aside.
_NOT_HERE = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


def free_in(folder: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def need_room(what: str, needed: int, folder: Path, hint: str = "") -> None:
    """See that a disk has room for what is to come, before any of it comes.

    Parameters
    ----------
    what : str
        In the plural, such as ``the series``.
    needed : int
        Bytes.
    folder : Path
        It need not exist.
    hint : str
        What to do without it.

    Raises
    ------
    OutputError
        With both numbers.
    """
    free = free_in(folder)
    if needed > free:
        raise OutputError(
            f"{what} need {sized(needed)}, and {folder} has {sized(free)} free.",
            hint or "Free space or choose another output folder.",
            fatal=True,
        )


@contextlib.contextmanager
def fetching(path: Path, size: int | None = None) -> Iterator[None]:
    """While a library writes a file that comes from an address: an error of the disk is told as such.

    Parameters
    ----------
    path : Path
        What came of the file is taken away after an error.
    size : int, optional
        Bytes that it should have; by default some more than came.

    Raises
    ------
    OutputError
        If it is the disk that fails. Any other error stays as it is.
    """
    try:
        yield
    except DefacedaskError:
        raise
    except Exception as error:
        came = 0
        with contextlib.suppress(OSError):
            came = path.stat().st_size
            path.unlink()
        with writing(f"what was fetched, {path.name}"):
            if disk_is_full(error):
                raise
            _reserve(path, size or came + _MORE)
        raise


def _reserve(path: Path, size: int) -> None:
    """Set room aside for a file and give it back; raises OSError as writing the file would."""
    try:
        with path.open("wb") as file:
            file.write(b"\0")
            file.flush()
            if hasattr(os, "posix_fallocate"):
                try:
                    os.posix_fallocate(file.fileno(), 0, max(size, 1))
                except OSError as error:
                    if error.errno not in _NOT_HERE:
                        raise
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def sending(paths: Iterable[Path]) -> Iterator[None]:
    """While a library reads files that go to an address: an error of the disk is told as such.

    Raises
    ------
    InputError
        If one of the files cannot be read. Any other error stays as it is.
    """
    try:
        yield
    except DefacedaskError:
        raise
    except Exception:
        for path in paths:
            try:
                with path.open("rb") as file:
                    while file.read(1 << 20):
                        pass
            except OSError as error:
                raise InputError(
                    f"{path} cannot be read on this machine ({error.strerror or error}).",
                    "Look at the disk, then run the same command again.",
                ) from error
        raise
