"""Files as wholes: they appear whole or not at all, written under another name beside and renamed; and their hash."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

__all__ = ["file_hash", "replacing", "state_of", "write_whole"]


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_of(path: str | Path) -> tuple[int, int, int]:
    """Size, time of change and inode: what is remembered of a file holds as long as they are the same.

    Raises
    ------
    OSError
        If it is not there.
    """
    found = Path(path).stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


@contextlib.contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Name to write to; when the block ends well the file takes its place, and otherwise nothing is left.

    Parameters
    ----------
    path : Path
        Where the file shall be; its folder is made.
    mode : int, optional
        Permissions, in force before anything is written: of what others must not read.

    Yields
    ------
    Path
        Beside it, hidden, of nobody else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # two processes, and two threads of one, may write the same file
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        if mode is not None:
            aside.touch(mode)
            aside.chmod(mode)
        yield aside
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def write_whole(path: Path, content: str | bytes, mode: int | None = None) -> None:
    """Write a file, text as UTF-8; see `replacing`."""
    with replacing(path, mode) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
