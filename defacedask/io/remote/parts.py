"""Files at an address that come and go in parts: a part is what one defacer left of one case.

Each part has a mark, a small object that names its files with their hashes and sizes. It is finished last. What takes
the place of earlier files is sent beside them first, and copied within the store when all of it is there: an upload
that is interrupted leaves the earlier files, and their mark, as they were.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from defacedask.errors import OutputError
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.room import sending

__all__ = ["ASIDE", "MARKS", "Mark", "Parts", "digest_of"]

T = TypeVar("T")

#: Below the address: marks, and files on their way to the place of earlier ones.
MARKS, ASIDE = "defacedask-parts", "defacedask-aside"
#: Marks that are read at a time, and folders that are listed.
AT_ONCE, LISTS = 128, 8


def digest_of(files: Mapping[str, str]) -> str:
    """What tells some files (name -> SHA-256) from others."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Mark:
    """What is known of a part.

    Attributes
    ----------
    run : str
        What tells the runs of one key from those of others.
    complete : bool
        Whether exactly its files are there.
    files : dict
        Name below the address -> SHA-256 and bytes.
    ours : tuple of str
        Names that may be there of it, if it is not complete.
    """

    run: str
    complete: bool
    files: dict[str, tuple[str, int]] = dataclasses.field(default_factory=dict)
    ours: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """All names that may be there of it."""
        return {*self.files, *self.ours}

    @property
    def digest(self) -> str:
        """See `digest_of`."""
        return digest_of({name: digest for name, (digest, _) in self.files.items()})

    def to_bytes(self) -> bytes:
        """As the object holds it."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Mark:
        """Read what `to_bytes` gave; of one that is damaged nothing is known."""
        try:
            facts = json.loads(content)
            files = {str(name): (str(one), int(size)) for name, (one, size) in facts["files"].items()}
            return cls(str(facts["run"]), bool(facts["complete"]), files, tuple(map(str, facts["ours"])))
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls("", False)


class Parts:
    """Parts at an address.

    Parameters
    ----------
    objects : Objects
        Of the address.
    run : str
        See `Mark`.
    """

    def __init__(self, objects: Objects, run: str) -> None:
        self.objects, self.run = objects, run

    def mark(self, part: str) -> Mark | None:
        """Mark of a part; None if nothing is there of it."""
        content = self.objects.read(_mark(part))
        return None if content is None else Mark.from_bytes(content)

    def marks(self) -> Iterator[tuple[str, Mark]]:
        """All parts, with their marks."""
        names = sorted(name for name in self.objects.names(MARKS) if name.endswith(".json"))
        for some in _some(names):
            for name, content in self.objects.read_all(some).items():
                yield Path(name).stem, Mark.from_bytes(content)

    def deliver(
        self, part: str, folder: Path, files: Mapping[str, str], changing: Callable[[], None] = lambda: None
    ) -> int:
        """Let a part be some files of a folder.

        Parameters
        ----------
        part : str
        folder : Path
        files : mapping
            Name below the folder, and the address -> SHA-256.
        changing : callable
            Called before anything is sent.

        Returns
        -------
        int
            Files that were sent; the others were there.

        Raises
        ------
        RemoteError
            If the address did not take all of it.
        OutputError
            If a file of something else lies in the place of one.
        """
        if not files:
            self.take_back(part)
            return 0
        with sending(folder / name for name in files):
            facts = {name: (digest, (folder / name).stat().st_size) for name, digest in files.items()}
        whole, known = Mark(self.run, True, facts), self.mark(part) or Mark(self.run, False)
        due = [name for name, fact in facts.items() if known.files.get(name) != fact]
        if known == whole and not due:
            return 0
        changing()
        if strangers := self._there(name for name in due if name not in known.names):
            raise OutputError(
                f"{min(strangers)} is already at {self.objects.address} and not of an earlier run of this case.",
                "Remove it, or choose another address.",
            )
        # what may be in the place of earlier files goes beside them first
        aside = {name: f"{ASIDE}/{part}/{name}" for name in due if name in known.names}
        self.objects.send_all({folder / name: place for name, place in aside.items()})
        kept = {name: fact for name, fact in facts.items() if name not in due}
        unfinished = Mark(self.run, False, kept, tuple(sorted({*facts, *known.names})))
        self.objects.write(_mark(part), unfinished.to_bytes())
        self.objects.remove(sorted(known.names - set(facts)))
        self.objects.copy_all({place: name for name, place in aside.items()})
        self.objects.send_all({folder / name: name for name in due if name not in aside})
        self.objects.write(_mark(part), whole.to_bytes())
        self.objects.remove(aside.values())
        return len(due)

    def doubt(self, part: str) -> Mark | None:
        """Have it said of a part that its files may not be there; None if nothing is there of it."""
        mark = self.mark(part)
        if mark is None:
            return None
        unsure = Mark(mark.run, False, {}, tuple(sorted(mark.names)))
        if mark != unsure:
            self.objects.write(_mark(part), unsure.to_bytes())
        return unsure

    def take_back(self, part: str) -> None:
        """Let nothing be there of a part."""
        mark = self.doubt(part)
        if mark is None:
            return
        self.objects.remove(sorted(mark.names))
        self.objects.remove(sorted(self.objects.names(f"{ASIDE}/{part}")))
        self.objects.remove([_mark(part)])

    def _there(self, names: Iterable[str]) -> set[str]:
        """Which of some names are there."""
        wanted = set(names)
        if folder := _common(wanted):
            return wanted & set(self.objects.names(folder))
        with ThreadPoolExecutor(LISTS) as threads:
            found = dict(zip(wanted, threads.map(self.objects.changed, wanted), strict=True))
        return {name for name, when in found.items() if when is not None}

    def looked_at(self) -> Iterator[tuple[str, Mark, bool]]:
        """Parts, their marks, and whether all files are there, by their sizes."""
        flat: dict[str, int] = {}

        def there(one: tuple[str, Mark]) -> bool:
            folder = _common(one[1].files)
            found = self.objects.names(folder) if folder else flat
            return one[1].complete and all(
                found.get(name) == size for name, (_, size) in one[1].files.items()
            )

        with ThreadPoolExecutor(LISTS) as threads:
            for some in _some(self.marks()):
                if not flat and not all(_common(mark.files) for _, mark in some):
                    flat = self.objects.names()
                for (part, mark), whole in zip(some, threads.map(there, some), strict=True):
                    yield part, mark, whole


def _some(things: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(things)
    while some := list(itertools.islice(rest, AT_ONCE)):
        yield some


def _common(names: Iterable[str]) -> str:
    """Folder that holds all of some files; empty if that is the address."""
    return os.path.commonpath([name.rpartition("/")[0] for name in names] or [""])


def _mark(part: str) -> str:
    return f"{MARKS}/{part}.json"
