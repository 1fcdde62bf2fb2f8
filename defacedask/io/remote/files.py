"""Files behind any fsspec address: object stores, web servers, archives; fetched whole, into one folder."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from defacedask.errors import ConfigError, DefacedaskError, MissingExtraError, RemoteError
from defacedask.io.remote.credentials import access_to
from defacedask.io.remote.room import fetching, need_room
from defacedask.io.store import writing
from defacedask.whole_files import replacing

__all__ = ["fetch", "open_address"]

#: A text file of addresses has at most this many bytes.
LIST_BYTES = 16 << 20
_LINE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://\S+")
_EXTRAS = {"s3": "s3", "s3a": "s3"}


def fetch(address: str, folder: Path, say: Any) -> Path:
    """Fetch a file, everything below a folder, or every address that a text file names.

    Returns
    -------
    Path
        Of a folder, or of a file where the address is one.

    Raises
    ------
    RemoteError
        If it is not there or cannot be read.
    OutputError
        If this machine has no room for it, or cannot write it.
    ConfigError
        If the address is of no known kind, or holds a password.
    MissingExtraError
    """
    place = folder / f"files-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
    fs, path = open_address(address)
    with _spoken(address):
        if fs.isdir(path):
            names = {str(name): facts for name, facts in fs.find(path, detail=True).items()}
            if not names:
                raise RemoteError(f"there is nothing at {address}.", "Check the address.")
            root = str(path).rstrip("/")
            sizes = {place / _inside(name, root): facts.get("size") or 0 for name, facts in names.items()}
            need_room(f"the files at {address}", sum(n for p, n in sizes.items() if not p.exists()), place)
            for name, facts in names.items():
                _get(address, fs, name, place / _inside(name, root), facts)
            say(f"{len(names)} files fetched from {address}")
            return place
        about = fs.info(path)
        size = about.get("size")
        listed = _list(fs, path, size)
        if listed:
            for number, one in enumerate(listed, 1):
                other, name = open_address(one)
                target = place / f"{number:06d}" / _last(name)
                _get(one, other, name, target, other.info(name))
            say(f"{len(listed)} files fetched from the list {address}")
            return place
        target = place / _last(path)
        _get(address, fs, path, target, about)
        say(f"1 file fetched from {address}")
        return target


@contextlib.contextmanager
def _spoken(address: str) -> Iterator[None]:
    """Turn what a service can come to into one sentence; what is none of its faults is a sentence already."""
    try:
        yield
    except DefacedaskError:
        raise
    except FileNotFoundError:
        raise RemoteError(f"there is nothing at {address}.", "Check the address.") from None
    except PermissionError:
        raise RemoteError(
            f"{address} does not let us in.", "Set the credentials as the service's own tools take them."
        ) from None
    except Exception as error:  # every file system raises its own
        text = " ".join(str(error).split())[:160]
        raise RemoteError(
            f"{address} cannot be read ({type(error).__name__}: {text}).", "Check the address."
        ) from None


def open_address(address: str) -> tuple[Any, str]:
    """File system of an address, and the path in it.

    Raises
    ------
    ConfigError
        If the address is of no known kind, of a local file, or holds a password.
    RemoteError
        If it cannot be reached.
    MissingExtraError
    """
    import fsspec

    access_to(address)
    scheme = address.split("://", 1)[0].split("::")[-1]
    if scheme in ("file", "local"):
        raise ConfigError(f"{address} is a local file.", "Name its path.")
    try:
        fs, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        hint = f"Install it with: pip install 'defacedask[{extra}]'." if extra else f"{error}"
        raise MissingExtraError(f"{scheme}:// needs a library that is not installed.", hint) from None
    except ValueError:
        raise ConfigError(
            f"{scheme}:// is no kind of address that is known here.",
            "Use one of fsspec's, such as s3://BUCKET/FOLDER, or a path.",
        ) from None
    except Exception as error:  # some connect at once, such as ftp
        with _spoken(address):
            raise error
    return fs, str(path)


def _last(name: str) -> str:
    """Last part of an address as a file name."""
    last = PurePosixPath(name.split("?", 1)[0].rstrip("/")).name
    return re.sub(r"[^\w.+-]", "_", last)[:120].lstrip(".") or "file"


def _inside(name: str, root: str) -> Path:
    """Path below a folder for a file below ``root``; nothing leads out of it."""
    rest = name[len(root) :] if name.startswith(root) else name
    parts = [p for p in re.split(r"[/\\]+", rest) if p not in ("..", ".", "")]
    return Path(*[re.sub(r"[\0-\37]", "_", part)[:200] for part in parts] or ["file"])


def _list(fs: Any, path: str, size: int | None) -> list[str]:
    """Addresses of a text file that holds nothing else."""
    if not path.split("?", 1)[0].endswith((".txt", ".list", ".csv")) or (size or 0) > LIST_BYTES:
        return []
    with fs.open(path, "rb") as file:
        raw = file.read(LIST_BYTES)
    try:
        lines = [line.strip() for line in raw.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        return []
    lines = [line for line in lines if line and not line.startswith("#")]
    return lines if lines and all(_LINE.fullmatch(line) for line in lines) else []


def _get(address: str, fs: Any, name: str, target: Path, about: Mapping[str, Any]) -> None:
    """Fetch one file, whole or not at all; one of the right size is there already.

    It has the time of change that the service tells: fetched again, elsewhere, it is the same input.
    """
    size = about.get("size")
    if target.exists() and size is not None and target.stat().st_size == size:
        return
    with writing(f"the fetched file {target.name}"), replacing(target) as aside:
        with _spoken(address), fetching(aside, size):
            fs.get_file(name, str(aside))
        if size is not None and aside.stat().st_size != size:
            raise RemoteError(f"{name} came with {aside.stat().st_size} of {size} bytes.", "Try again.")
        if isinstance(changed := about.get("LastModified"), datetime.datetime):
            os.utime(aside, (changed.timestamp(), changed.timestamp()))
