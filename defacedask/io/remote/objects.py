"""Objects below an address: each is put as a whole, and some only where there is none of that name yet.

That second kind of put is all that commits (`defacedask.io.remote.trees`) and leases (`defacedask.io.remote.lease`)
need of a service to be safe.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from defacedask.errors import ConfigError, DefacedaskError, RemoteError
from defacedask.io.remote.files import open_address
from defacedask.io.remote.room import fetching, sending

__all__ = ["Objects"]

T = TypeVar("T")

#: Seconds before each further try of what may pass.
WAITS = (0.5, 2.0, 8.0)
#: Files that are sent, or objects that are copied, at a time.
AT_ONCE = 128
#: What does not pass by itself: no right, no such place, a name that is taken, a fault of this machine.
LASTING = (
    DefacedaskError,
    PermissionError,
    FileNotFoundError,
    FileExistsError,
    NotImplementedError,
    TypeError,
)


class Objects:
    """Objects below an address.

    Parameters
    ----------
    address : str
        Such as ``s3://BUCKET/FOLDER``.

    Raises
    ------
    ConfigError
        If the address is of no known kind, or holds a password.
    MissingExtraError
        If the library for it is not installed.

    Notes
    -----
    Every method raises `RemoteError`, a sentence, where the service does not do what it should. Faults that may pass
    are tried again before.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self.fs, path = open_address(self.address)
        self.root = path.rstrip("/")
        #: Objects and bytes that went there and came from there.
        self.moved = {"sent": 0, "bytes_sent": 0, "fetched": 0, "bytes_fetched": 0}

    def check(self) -> None:
        """See that objects can be written, and that the service can refuse to overwrite one.

        Raises
        ------
        RemoteError
        ConfigError
            If it cannot: two runs could not be kept apart, nor two workers.
        """
        self._do("cannot be written", lambda: self.fs.pipe_file(self._name(".probe"), b"\0" * 16))
        try:
            safe = not self.create(".probe", b"\1" * 16)
        except (NotImplementedError, TypeError):
            safe = False
        self.remove([".probe"])
        if not safe:
            raise ConfigError(
                f"{self.address} does not keep an object from being overwritten (a put with If-None-Match).",
                "Choose a service that does, such as S3 or MinIO, or a folder that all workers share.",
            )

    def names(self, below: str = "") -> dict[str, int]:
        """Name -> bytes of all objects below a part of the address."""
        root = self._name(below) if below else self.root

        def find() -> dict[str, int]:
            self.fs.invalidate_cache()
            found = self.fs.find(root, detail=True)
            return {
                str(name)[len(self.root) :].lstrip("/"): int(facts["size"])
                for name, facts in found.items()
                if facts.get("type") == "file"
                and not str(name).endswith("/")
                and str(name).startswith(f"{root}/")
            }

        return self._do("cannot be listed", find)

    def read(self, name: str) -> bytes | None:
        """Content of an object; None if there is none of that name."""
        try:
            content = self._do("cannot be read", lambda: self.fs.cat_file(self._name(name)), gone=True)
        except FileNotFoundError:
            return None
        self._count("fetched", len(content))
        return bytes(content)

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Contents of several objects, at a time; of one that is not there any more nothing."""
        wanted = {self._name(name): name for name in names}

        def get() -> dict[str, Any]:
            # a single name gives no dictionary
            return dict(self.fs.cat(list(wanted), on_error="return")) if wanted else {}

        found = {}
        for path, content in self._do("cannot be read", get).items():
            name = wanted.get(str(path), str(path)[len(self.root) + 1 :])
            if isinstance(content, FileNotFoundError):
                continue
            if isinstance(content, Exception):  # alone, and patiently
                content = self.read(name)
            if content is not None:
                found[name] = bytes(content)
        return found

    def create(self, name: str, content: bytes) -> bool:
        """Put an object where there is none of that name; whether it is there now, and this one."""
        try:
            self._do("cannot be written", lambda: self.fs.pipe_file(self._name(name), content, mode="create"))
        except FileExistsError:
            # a try whose answer was lost may have been the one that put it
            return self.read(name) == content
        self._count("sent", len(content))
        return True

    def write(self, name: str, content: bytes) -> None:
        """Put an object, also over one."""
        self._do("cannot be written", lambda: self.fs.pipe_file(self._name(name), content))
        self._count("sent", len(content))

    def send(self, path: Path, name: str) -> None:
        """Put a file; raises InputError where it cannot be read."""

        def put() -> None:
            with sending([path]):
                self.fs.put_file(str(path), self._name(name))

        self._do("cannot be written", put)
        self._count("sent", path.stat().st_size)

    def send_all(self, files: Mapping[Path, str]) -> None:
        """Put several files at a time; raises InputError where one cannot be read."""
        paths = list(files)
        for first in range(0, len(paths), AT_ONCE):
            some = paths[first : first + AT_ONCE]

            def put(some: list[Path] = some) -> None:
                with sending(some):
                    self.fs.put([str(path) for path in some], [self._name(files[path]) for path in some])

            self._do("cannot be written", put)
            for path in some:
                self._count("sent", path.stat().st_size)

    def fetch_all(self, files: Mapping[str, Path]) -> None:
        """Get several objects at a time into files whose folders are there; one that is gone leaves none."""
        names = list(files)
        for first in range(0, len(names), AT_ONCE):
            some = names[first : first + AT_ONCE]

            def get(some: list[str] = some) -> None:
                self.fs.get([self._name(name) for name in some], [str(files[name]) for name in some])

            try:
                self._do("cannot be read", get, gone=True)
            except FileNotFoundError:
                for name in some:
                    self.fetch(name, files[name])
                continue
            for name in some:
                self._count("fetched", files[name].stat().st_size)

    def copy_all(self, names: Mapping[str, str]) -> None:
        """Copy objects, within the service, old name -> new name; one that was there is replaced."""
        old = list(names)
        for first in range(0, len(old), AT_ONCE):
            some = old[first : first + AT_ONCE]

            def copy(some: list[str] = some) -> None:
                self.fs.copy([self._name(one) for one in some], [self._name(names[one]) for one in some])

            self._do("cannot be written", copy)

    def fetch(self, name: str, path: Path, size: int | None = None) -> bool:
        """Get an object into a file; False if there is none of that name, OutputError if this machine fails."""

        def get() -> None:
            with fetching(path, size):
                self.fs.get_file(self._name(name), str(path))

        try:
            self._do("cannot be read", get, gone=True)
        except FileNotFoundError:
            return False
        self._count("fetched", path.stat().st_size)
        return True

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; one that is not there is no fault."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                gone = functools.partial(self.fs.rm_file, self._name(name))
                self._do("cannot be changed", gone, gone=True)

    def changed(self, name: str) -> float | None:
        """When an object was put, in seconds of the service's own clock; None if there is none."""

        def look() -> float:
            self.fs.invalidate_cache()
            facts = self.fs.info(self._name(name))
            for field in ("LastModified", "updated", "created", "mtime"):
                if field in facts:
                    at = facts[field]
                    return float(at.timestamp() if hasattr(at, "timestamp") else at)
            raise NotImplementedError("it does not say when an object was put")

        try:
            return self._do("cannot be read", look, gone=True)
        except FileNotFoundError:
            return None

    def _name(self, inside: str) -> str:
        return f"{self.root}/{inside}"

    def _count(self, what: str, size: int) -> None:
        self.moved[what] += 1
        self.moved[f"bytes_{what}"] += size

    def _do(self, what: str, work: Callable[[], T], *, gone: bool = False) -> T:
        """Do some work, patiently; ``gone``: that something is not there is the caller's to judge."""
        with self._spoken(what, gone):
            for wait in WAITS:
                try:
                    return work()
                except LASTING:
                    raise
                except Exception:
                    time.sleep(wait)
            return work()
        raise AssertionError  # not reached: what is spoken is raised

    @contextlib.contextmanager
    def _spoken(self, what: str, gone: bool) -> Iterator[None]:
        try:
            yield
        except (DefacedaskError, FileExistsError):
            raise
        except PermissionError:
            raise RemoteError(
                f"{self.address} does not let us in.",
                "Set the credentials as the service's own tools take them.",
            ) from None
        except FileNotFoundError:
            if gone:
                raise
            raise RemoteError(
                f"{self.address} {what}: there is no such place.", "Make the bucket first."
            ) from None
        except (NotImplementedError, TypeError):
            raise
        except Exception as error:  # every file system raises its own
            text = " ".join(str(error).split())[:160]
            raise RemoteError(
                f"{self.address} {what} ({type(error).__name__}: {text}).",
                "Run the same command again; what was finished stays.",
            ) from None
