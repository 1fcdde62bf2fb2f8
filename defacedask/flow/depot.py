"""The folder of a run as objects: held by one run at a time, with what the machine that started it needs of it.

That machine keeps results, pictures, and files that are to be passed on if these go to a folder; volumes and plans
stay away, and so does the work. What it changes itself, such as an export that it takes back, goes there like
everything else: a case at a time.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from defacedask.errors import ConfigError
from defacedask.flow.away import CASES, FILES, SMALL, VOXELS, Away, part_of, tree_of
from defacedask.flow.lending import INPUTS
from defacedask.io.remote.checkout import Checkout
from defacedask.io.remote.lease import LEASE, Lease
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.room import need_room
from defacedask.io.store import writing
from defacedask.whole_files import file_hash, write_whole

__all__ = ["Depot"]

#: Of the folder on this machine: lists of what was brought, and the address.
INDEX, ADDRESS = ".objects", "address"
#: Of the address: files that are of no case.
SHARED = "shared"
#: Cases that are brought at a time.
AT_ONCE = 8


class Depot:
    """A run's folder at an address.

    Parameters
    ----------
    address : str
        Such as ``s3://BUCKET/RUN``.
    home : Path
        Folder of this machine for what is here of it, absolute.
    place : Path, optional
        Folder that stands for it, in ``home``; by default that itself.
    own : str
        Part of it where the run keeps its own data: ``""``, or ``store``.
    out : Path, optional
        Output folder, where it does not lie there.
    lease : float
        Seconds without a sign of life after which a run is taken for dead.
    """

    def __init__(
        self,
        address: str,
        home: Path,
        *,
        place: Path | None = None,
        own: str = "",
        out: Path | None = None,
        lease: float = LEASE,
    ) -> None:
        self.objects = Objects(address)
        self.address, self.home, self.place, self.own = self.objects.address, home, place or home, own
        self.out = None if out is None or self.place in (out, *out.parents) else out
        self._lease = Lease(self.objects, lease)
        self._key = "/".join(filter(None, [own, "run.key"]))
        self._clear: set[str] = set()
        self._shared: dict[str, str] = {}

    @property
    def away(self) -> Away:
        """For the tasks of this run."""
        roots = [(str(self.place), self.address)]
        if self.out is not None:
            roots.append((str(self.out), f"{self.address}/out"))
        return Away(
            self.address,
            self._lease.number,
            "/".join(filter(None, [self.own, "results"])),
            tuple(sorted(roots, key=lambda root: -len(root[0]))),
            str(self.home / INDEX / "scratch"),
            tuple(self._shared.items()),
        )

    @contextlib.contextmanager
    def held(self) -> Iterator[Depot]:
        """Hold the address for one run, and bring what this machine needs of it.

        Raises
        ------
        ConfigError
            If another run holds it, or the service cannot keep two apart, or the folder is that of another address.
        RemoteError
        """
        self.claim()
        self.objects.check()
        with self._lease.held():
            self._bring_key()
            self._bring_all()
            self.objects.remove(self.objects.names(SHARED))
            yield self
            self.objects.remove(self.objects.names(INPUTS))
            # what was changed of a case that was not run
            for path in sorted((self.home / INDEX).glob("*.json")):
                self.push(path.stem)

    def claim(self) -> None:
        """Let the folder of this machine stand for the address.

        Raises
        ------
        ConfigError
            If it is that of another address, or holds anything else.
        OutputError
        """
        note = self.home / INDEX / ADDRESS
        try:
            known, _, out = note.read_text(encoding="utf-8").strip().partition("\n")
        except OSError:
            known = out = ""
        if known != self.address and (known or (self.home.is_dir() and any(self.home.iterdir()))):
            what = f"that of {known}" if known else "not empty"
            raise ConfigError(
                f"the folder {self.home}, which is to stand for {self.address} here, is {what}.",
                "Remove it, or start from another folder.",
            )
        if known and out == str(self.out or ""):
            return
        with writing(f"the folder {self.home}"):
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            # what is known of files in another output folder is not known of those in this one
            for path in (self.home / INDEX).glob("*.json"):
                path.unlink()
            write_whole(note, f"{self.address}\n{self.out or ''}\n", 0o600)

    def _bring_key(self) -> None:
        if (content := self.objects.read(self._key)) is not None:
            with writing("the key of the run"):
                write_whole(self.place / self._key, content, 0o600)

    def keep_key(self) -> None:
        """See that the key of the run lies there before anything that was made with it.

        Raises
        ------
        RemoteError
        """
        path = self.place / self._key
        if path.exists() and self.objects.read(self._key) is None:
            self.objects.create(self._key, path.read_bytes())

    def _bring_all(self) -> None:
        """What is there of all cases; what interrupted writers left goes."""
        there: defaultdict[str, list[str]] = defaultdict(list)
        for name in self.objects.names(CASES):
            there[name.split("/")[1]].append(name)

        def bring(case: str) -> None:
            state = tree_of(self.objects, case).sweep(there[case], self._lease.number)
            self._checkout(case).bring((SMALL, FILES), state, strict=True)

        with ThreadPoolExecutor(AT_ONCE) as threads:
            for _ in threads.map(bring, sorted(there)):
                pass
        # what is here of cases that are not there
        known = {path.stem for path in (self.home / INDEX).glob("*.json")} - set(there)
        for case in known | set(self._cases_here()) - set(there):
            for path in self._own(case):
                self._where(path).unlink(missing_ok=True)
            self._index(case).unlink(missing_ok=True)

    def bring(self, case: str) -> None:
        """What the workers left of a case.

        Raises
        ------
        RemoteError
        OutputError
            If another run goes on in the place of this one.
        """
        self._lease.require()
        self._checkout(case).bring((SMALL, FILES))

    def push(self, case: str) -> None:
        """What this machine has changed of a case.

        Raises
        ------
        RemoteError, OutputError
        """
        self._lease.require()
        checkout = self._checkout(case)
        drop = (VOXELS,) if case in self._clear else ()
        self._clear.discard(case)
        if drop or checkout.changed():
            checkout.state = checkout.tree.latest()
            checkout.push(self._lease.number, drop=drop, mine=True)
        if drop:
            self.objects.remove(self.objects.names(f"{INPUTS}/{case}"))

    def clear(self, case: str) -> None:
        """Remove the volumes of a case, and the input that was lent for it, with the next `push`."""
        self._clear.add(case)

    def share(self, path: Path) -> None:
        """Let every task that is given the name of a file of the run have it.

        Parameters
        ----------
        path : Path
            Of a file that stays as it is, in the folder that stands for the address.

        Raises
        ------
        RemoteError
        """
        inside = path.relative_to(self.place).as_posix()
        name = f"{SHARED}/{file_hash(path)}"
        self.objects.send(path, name)
        self._shared[f"{self.address}/{inside}"] = name

    def _checkout(self, case: str) -> Checkout:
        return Checkout(
            tree_of(self.objects, case),
            self._index(case),
            self._where,
            lambda: self._own(case),
            part_of,
            guarded=lambda path: part_of(path) == FILES,
            room=lambda needed: need_room(f"the results and output of {case}", needed, self.out or self.home),
        )

    def _index(self, case: str) -> Path:
        return self.home / INDEX / f"{case}.json"

    def _where(self, path: str) -> Path:
        if self.out is not None and path.startswith("out/"):
            return self.out / path.removeprefix("out/")
        return self.place / path

    def _kinds(self) -> Iterator[Path]:
        """Folders that hold one of each case."""
        for base in {self.place, self.place / self.own}:
            with contextlib.suppress(FileNotFoundError):
                for entry in os.scandir(base):
                    if entry.is_dir() and entry.name not in (INDEX, "out", "defaced", "fetched", self.own):
                        yield Path(entry.path)

    def _own(self, case: str) -> Iterable[str]:
        """Files of a case that stages, or this machine, leave below its name."""
        for kind in self._kinds():
            folder = kind / case
            for base, _, files in os.walk(folder):
                inside = Path(base).relative_to(self.place).as_posix()
                yield from (f"{inside}/{name}" for name in files if not name.startswith("."))

    def _cases_here(self) -> list[str]:
        results = self.place / self.own / "results"
        return [path.name for path in results.iterdir()] if results.is_dir() else []
