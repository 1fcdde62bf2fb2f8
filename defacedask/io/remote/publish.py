"""The output of a run at an object store, or behind any other fsspec address.

What belongs to a case comes in parts (`defacedask.io.remote.parts`), from whoever made it; the rest is a folder,
copied at the end. Objects appear whole or not at all, but one after the other. A manifest says whether all of them
are there: it is the first to be marked and the last to be finished. What is not there any more is taken away before
the rest is added.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from defacedask.errors import ConfigError, DefacedaskError, RemoteError
from defacedask.io.remote.files import open_address
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.parts import ASIDE, Parts
from defacedask.io.remote.room import sending
from defacedask.whole_files import file_hash

__all__ = ["MANIFEST", "Published", "Target", "fetch_sent", "manifest_of", "require"]

MANIFEST = "defacedask-out.json"
#: Files that are sent at a time.
_AT_ONCE = 128


@dataclasses.dataclass(frozen=True)
class Published:
    """What `Target.publish` did: files sent, left as they were, and taken away."""

    sent: int
    unchanged: int
    removed: int


class Target:
    """An address that takes a folder.

    Parameters
    ----------
    address : str
        Such as ``s3://BUCKET/FOLDER``.

    Raises
    ------
    ConfigError
        If the address is of no known kind, holds a password, or has files of somebody else.
    RemoteError
        If it cannot be reached, or takes nothing.
    MissingExtraError
        If the library for it is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._fs, path = open_address(self.address)
        self._root = path.rstrip("/")
        with self._spoken("cannot be written"):
            self._run = self._manifest().get("run", "")
            if not self._run and (there := self._there()):
                raise ConfigError(
                    f"{address} holds files that no run of this program left there ({sorted(there)[0]}).",
                    "Choose an address below which nothing lies.",
                )
            # what cannot be written is said before anything is computed
            self._write(".probe", b"\0" * 4096)
            self._fs.rm_file(self._name(".probe"))

    def claim(self) -> str:
        """Say that a run is at work there, so that nothing is complete until it has published; gives its name."""
        with self._spoken("cannot be written"):
            before = self._manifest()
            self._run = secrets.token_hex(8)
            self._note(False, before.get("files", {}), before.get("ours", ()))
        return self._run

    def publish(self, folder: Path, leave: Iterable[str] = (), parts: Parts | None = None) -> Published:
        """Let nothing lie at the address but a folder, and the parts of a run.

        Parameters
        ----------
        folder : Path
        leave : iterable of str
            Parts of the folder that stay behind, such as ``store``.
        parts : Parts, optional
            What belongs to them stays as it is.

        Raises
        ------
        RemoteError
            If the address did not take all of it, or another run has written there since this object was made.
        InputError
            If a file cannot be read.
        """
        left = set(leave)
        files = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.relative_to(folder).parts[0] not in left
        }
        with sending(files.values()):
            facts = {name: [file_hash(path), path.stat().st_size] for name, path in files.items()}
        with self._spoken("did not take all files"):
            before = self._manifest()
            if before.get("run", "") != self._run:
                raise RemoteError(f"another run has written to {self.address}.", "Choose another address.")
            known = before.get("files", {})
            there = self._sizes({*facts, *known, *before.get("ours", ())})
            same = {n for n, fact in facts.items() if known.get(n) == fact and there.get(n) == fact[1]}
            ours = {*before.get("ours", ()), *known}
            self._run = secrets.token_hex(8)
            # until all is there, nothing says so; what was sent and not noted is sent again
            self._note(False, {name: facts[name] for name in sorted(same)}, sorted({*ours, *facts}))
            gone = self._take_away({name for name in ours if name in there} - set(facts), parts)
            due = [name for name in facts if name not in same]
            for first in range(0, len(due), _AT_ONCE):
                some = due[first : first + _AT_ONCE]
                with sending(files[n] for n in some):
                    self._fs.put([str(files[n]) for n in some], [self._name(n) for n in some])
            there = self._sizes(facts)
            short = [name for name, (_, size) in facts.items() if there.get(name) != size]
            if short:
                raise RemoteError(f"{self.address} did not take {short[0]}.", "Run the same command again.")
            self._note(True, facts)
        return Published(len(due), len(same), gone)

    def _take_away(self, gone: set[str], parts: Parts | None) -> int:
        """Remove files that belong to no part; gives their number."""
        objects = Objects(self.address)
        if parts is not None:
            for _, mark in parts.marks() if gone else ():
                gone = gone - set(mark.files)
            objects.remove(objects.names(ASIDE))
        objects.remove(sorted(gone))
        return len(gone)

    def _name(self, inside: str) -> str:
        return f"{self._root}/{inside}"

    def _there(self, below: str = "") -> dict[str, int]:
        """Name below the address -> bytes."""
        self._fs.invalidate_cache()
        found = self._fs.find(self._name(below) if below else self._root, detail=True)
        # object stores of some kinds hold empty objects that stand for folders
        return {
            str(name)[len(self._root) :].lstrip("/"): int(facts["size"])
            for name, facts in found.items()
            if facts.get("type") == "file" and not str(name).endswith("/")
        }

    def _sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Which of some names are there -> bytes; beside them nothing is listed but what lies in their folders."""
        wanted = set(names)
        found: dict[str, int] = {}
        for top in sorted({name.split("/")[0] for name in wanted}):
            found |= self._there(top)
        return {name: size for name, size in found.items() if name in wanted}

    def _manifest(self) -> dict[str, Any]:
        try:
            found = json.loads(self._fs.cat_file(self._name(MANIFEST)))
        except (ValueError, FileNotFoundError):
            return {}
        return found if isinstance(found, dict) else {}

    def _note(self, complete: bool, files: dict[str, Any], ours: Iterable[str] = ()) -> None:
        """Write the manifest; ``ours`` are files that may be there of this run or an earlier one."""
        facts = {"complete": complete, "run": self._run, "files": files, "ours": list(ours)}
        self._write(MANIFEST, json.dumps(facts, indent=1).encode())

    def _write(self, inside: str, content: bytes) -> None:
        self._fs.pipe_file(self._name(inside), content)

    @contextlib.contextmanager
    def _spoken(self, what: str) -> Iterator[None]:
        try:
            yield
        except DefacedaskError:
            raise
        except PermissionError:
            raise RemoteError(
                f"{self.address} does not let us write.",
                "Set the credentials as the service's own tools take them.",
            ) from None
        except FileNotFoundError:
            raise RemoteError(
                f"{self.address} {what}: there is no such place.", "Make the bucket first."
            ) from None
        except Exception as error:  # every file system raises its own
            text = " ".join(str(error).split())[:160]
            raise RemoteError(
                f"{self.address} {what} ({type(error).__name__}: {text}).", "Run the same command again."
            ) from None


def require(address: str, run: str) -> None:
    """See that a run still is the one that is at work at an address (`Target.claim`).

    Raises
    ------
    RemoteError
        If another one is.
    """
    content = Objects(address).read(MANIFEST)
    try:
        found = json.loads(content or b"{}").get("run")
    except (ValueError, AttributeError):
        found = None
    if found != run:
        raise RemoteError(f"another run writes to {address}.", "Let it end, or choose another address.")


def manifest_of(objects: Objects) -> dict[str, Any]:
    """The manifest of what `Target.publish` left, with the files of all parts among its files; empty without one.

    Raises
    ------
    RemoteError
        If the copying was not finished.
    """
    content = objects.read(MANIFEST)
    if content is None:
        return {}
    facts: dict[str, Any] = json.loads(content)
    marks = dict(Parts(objects, "").marks())
    if not facts["complete"] or not all(mark.complete for mark in marks.values()):
        raise RemoteError(
            "the copy to this address was not finished.", "Run the command that writes it again."
        )
    return {**facts, "parts": marks}


def fetch_sent(objects: Objects, files: Mapping[str, tuple[str, int]], folder: Path) -> None:
    """Fetch files that are what was sent.

    Parameters
    ----------
    objects : Objects
    files : mapping
        Name below the address -> SHA-256 and bytes, from the manifest or a mark.
    folder : Path

    Raises
    ------
    RemoteError
        If one is another, or the list leads out of the folder.
    """
    places = {name: folder / name for name in files}
    if any(folder.resolve() not in place.resolve().parents for place in places.values()):
        raise RemoteError(f"{objects.address}: its list names a file outside of it.", "Look who wrote there.")
    for place in places.values():
        place.parent.mkdir(parents=True, exist_ok=True)
    objects.fetch_all(places)
    for name, (digest, _) in files.items():
        if not places[name].is_file() or file_hash(places[name]) != digest:
            raise RemoteError(f"{name} is not what was copied to this address.", "Run the command again.")
