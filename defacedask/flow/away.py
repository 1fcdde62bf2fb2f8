"""Stages of a run whose folder is objects: a case comes to the worker, and what became of it goes back as one commit.

Each task has a folder of its own for its case, which looks as the run's folder would. What is handed from stage to
stage, kept and sent home names the run's address in place of any folder, so that it means the same everywhere.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from defacedask.config import option
from defacedask.errors import DefacedaskError, RemoteError, StoreError, disk_is_full, writing
from defacedask.flow.begun_away import BegunAway, say_for_the_dead
from defacedask.flow.lent import borrow, texts
from defacedask.flow.result import FAILED, Outcome, TaskResult
from defacedask.flow.worker import run_task, settled_result
from defacedask.io.remote.checkout import Checkout
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.room import free_in, need_room
from defacedask.io.remote.trees import Tree
from defacedask.io.store import called_as, consolidate
from defacedask.whole_files import replacing

__all__ = ["CASES", "FILES", "PLANS", "SMALL", "VOXELS", "Away", "part_of", "passing", "tree_of"]

#: Kinds of files of a case: results and the like; plans, which only stages need; volumes; what is to be passed on.
SMALL, PLANS, VOXELS, FILES = "small", "plans", "voxels", "files"
#: Below the run's address.
CASES = "cases"
#: Stages that look at the files that an earlier run wrote.
WRITING = ("export",)
#: Cases that a process keeps between two of their tasks.
KEPT_CASES = 3


def part_of(path: str) -> str:
    """What kind of file a path of the run's folder is."""
    if ".zarr/" in path:
        return VOXELS
    if path.startswith(("plans/", "store/plans/")):
        return PLANS
    return FILES if path.startswith(("out/", "defaced/")) else SMALL


def passing(path: str) -> bool:
    """Whether a file only tells what else is in its store: two stages of a case may write it at a time."""
    return part_of(path) == VOXELS and path.endswith("/zarr.json")


def tree_of(objects: Objects, case: str) -> Tree:
    """Where a case lies."""
    return Tree(objects, f"{CASES}/{case}")


@dataclasses.dataclass(frozen=True)
class Away:
    """What a task needs to know of a run whose folder is objects.

    Attributes
    ----------
    address : str
        Of the run.
    epoch : int
        Number of the run, see `defacedask.io.remote.lease.Lease`.
    kept : str
        Where results lie in the run's folder, such as ``store/results``.
    roots : tuple of (str, str)
        Folders of the machine where the run was started, and what they are called everywhere; the longest first.
    scratch : str
        Folder for tasks that run in a process that is no worker of a cluster.
    shared : tuple of (str, str)
        Files that are of no case: what they are called, and the object of each.
    lent : tuple of str
        Object with the input of the case, and one of the files in it; empty where workers see the input.
    """

    address: str
    epoch: int
    kept: str
    roots: tuple[tuple[str, str], ...]
    scratch: str
    shared: tuple[tuple[str, str], ...] = ()
    lent: tuple[str, ...] = ()

    def inward(self, name: str) -> str:
        """What it is called on the machine where the run was started."""
        return str(
            _renamed(name, tuple((new, old) for old, new in sorted(self.roots, key=lambda r: -len(r[1]))))
        )

    def outward(self, value: Any) -> Any:
        """With the run's address for folders of the machine where it was started."""
        return _renamed(value, self.roots)

    def run(
        self,
        function: Callable[..., Outcome],
        arguments: dict[str, Any],
        *before: TaskResult,
        token: str = "",
        limit: float = 0.0,
        rows: bool = True,
        again: bool = True,
        **name: Any,
    ) -> TaskResult:
        """As `defacedask.flow.worker.run_task`, here, on a case that lies there."""
        case, stage = name["case"], name["stage"]
        try:
            say_for_the_dead(_objects(self.address), self._notes())
            with self._taken(case) as here:
                here.checkout.bring((SMALL,))
                folder = str(here.root / self.kept)
                kept = settled_result(
                    function, arguments, *before, rows=rows, again=again, folder=folder, **name
                )
                if kept is not None:
                    return kept
                here.checkout.bring((SMALL, PLANS, VOXELS, *((FILES,) if stage in WRITING else ())))
                result = run_task(
                    here.renaming(function, self._shared(arguments), here.borrowed(self.lent)),
                    arguments,
                    *before,
                    token=token,
                    limit=limit,
                    rows=rows,
                    again=again,
                    folder=folder,
                    begin=functools.partial(BegunAway, here.checkout.tree, self._notes()),
                    **name,
                )
                here.push(self.epoch)
                return dataclasses.replace(result, reason=here.outward(result.reason))
        except DefacedaskError as error:
            # the service, or another run: nobody else's case would fare better
            fatal = isinstance(error, RemoteError) or bool(getattr(error, "fatal", False))
            return TaskResult(stage, case, name["defacer"], "", FAILED, str(error), fatal=fatal)
        except OSError as error:  # of this machine's disk, before or after the stage
            reason = f"{stage}: {error.strerror or error}"
            return TaskResult(stage, case, name["defacer"], "", FAILED, reason, fatal=disk_is_full(error))

    def _shared(self, arguments: dict[str, Any]) -> tuple[tuple[str, str], ...]:
        """Bring files that are of no case and are named among the arguments: their names everywhere, and here."""
        named = set(texts(arguments)) if self.shared else set()
        found = []
        for name, thing in self.shared:
            if name in named:
                path = self._place() / thing
                if not path.exists():
                    with writing(f"the file {path.name}"), replacing(path) as aside:
                        if not _objects(self.address).fetch(thing, aside):
                            raise StoreError(f"{name} has gone.", "Run the same command again.")
                found.append((name, str(path)))
        return tuple(found)

    def let_go(self, case: str) -> None:
        """Remove what is kept here of a case for its next task."""
        for here in _FREE.pop((self.address, self.epoch, case), ()):
            here.remove()

    @contextlib.contextmanager
    def _taken(self, case: str) -> Iterator[_Here]:
        """A folder with a case, for one task; it is kept for the next one if nothing went wrong."""
        key = (self.address, self.epoch, case)
        with _LOCK:
            free = _FREE.get(key)
            here = free.pop() if free else None
        here = here or _Here(_objects(self.address), self.address, case, self._scratch())
        try:
            yield here
        except BaseException:
            here.remove()
            raise
        if here.stale:
            here.remove()
            return
        with _LOCK:
            _FREE.setdefault(key, []).append(here)
            _FREE.move_to_end(key)
            old = [_FREE.popitem(last=False)[1] for _ in range(len(_FREE) - KEPT_CASES)]
        for one in itertools.chain(*old):
            one.remove()

    def _scratch(self) -> Path:
        place = self._place()
        with writing(f"a folder in {place}"):
            return Path(tempfile.mkdtemp(dir=place))

    def _notes(self) -> Path:
        """Folder of this machine that outlives its workers, for what the dead have to say."""
        own = _of_worker()
        return self._base(option("store.scratch") or (str(Path(own).parent) if own else ""), "notes")

    def _base(self, given: str, name: str) -> Path:
        digest = hashlib.sha256(f"{self.address} {self.epoch}".encode()).hexdigest()[:12]
        return Path(given or self.scratch) / f"{name}-{digest}"

    def _place(self) -> Path:
        """Folder of this process for the run."""
        base = self._base(option("store.scratch") or _of_worker(), "cases")
        place = base.with_name(f"{base.name}-{os.getpid()}")
        with writing(f"the folder {place}"):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        return place


#: Folders of cases that no task has just now.
_FREE: collections.OrderedDict[tuple[str, int, str], list[_Here]] = collections.OrderedDict()
_LOCK = threading.Lock()


def _let_go_of_all() -> None:
    """Remove the folders of cases that no task has just now."""
    with _LOCK:
        free = list(itertools.chain(*_FREE.values()))
        _FREE.clear()
    for here in free:
        here.remove()


@functools.lru_cache(maxsize=4)
def _objects(address: str) -> Objects:
    return Objects(address)


def _of_worker() -> str:
    """Folder of the worker that this task runs on; empty without one."""
    if "distributed.worker" not in sys.modules:
        return ""
    from distributed import get_worker

    try:
        return str(get_worker().local_directory)
    except ValueError:
        return ""


class _Here:
    """One case in a folder of this process."""

    def __init__(self, objects: Objects, address: str, case: str, folder: Path) -> None:
        self.folder, self.root, self.case = folder, folder / "run", case
        self.roots = ((str(self.root), address),)
        self.back = ((address, str(self.root)),)
        #: Input that was lent: its path here -> what it is called everywhere.
        self.called: dict[str, str] = {}
        self._lent = ""
        #: What is here is not what is there.
        self.stale = False
        self.checkout = Checkout(
            tree_of(objects, case),
            folder / "index.json",
            lambda path: self.root / path,
            self._files,
            part_of,
            passing,
            room=self._room,
        )

    def _room(self, needed: int) -> None:
        """See that there is room for the case; what is kept of others goes before it is refused."""
        if free_in(self.folder) < needed:
            _let_go_of_all()
        hint = "Give the workers more room, or a folder elsewhere (the option store.scratch)."
        need_room(f"the files of {self.case}", needed, self.folder, hint)

    def _files(self) -> Iterator[str]:
        for base, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if ".partial-" not in name]
            inside = Path(base).relative_to(self.root).as_posix()
            for name in files:
                if not name.endswith((".begun", ".late")):
                    yield name if inside == "." else f"{inside}/{name}"

    def borrowed(self, lent: tuple[str, ...]) -> dict[str, str]:
        """Input that this process does not see: what it is called everywhere -> its path here."""
        if not lent or _readable(Path(lent[1])):
            return {}
        if self._lent != lent[0]:
            found = borrow(self.checkout.tree.objects, lent[0], self.folder / "input")
            self._lent, self.called = lent[0], {path: name for name, path in found.items()}
        return {name: path for path, name in self.called.items()}

    def push(self, epoch: int) -> None:
        """Commit what has changed."""
        pushed = self.checkout.push(epoch)
        self.stale = pushed.other
        while pushed.merged:
            # another stage of the case was at work at the same time: what tells of both is made of both
            self.checkout.bring((SMALL, PLANS, VOXELS))
            for store in self.root.glob("**/*.zarr"):
                consolidate(str(store))
            pushed = self.checkout.push(epoch)

    def renaming(
        self,
        function: Callable[..., Outcome],
        shared: tuple[tuple[str, str], ...] = (),
        borrowed: Mapping[str, str] | None = None,
    ) -> Callable[..., Outcome]:
        """A stage that is given folders of this process, and gives back the run's address."""
        known = {**dict(shared), **(borrowed or {})}

        def renamed(*before: TaskResult, **arguments: Any) -> Outcome:
            try:
                with called_as(self.outward):
                    found = function(
                        *_renamed(before, self.back, known=known),
                        **_renamed(arguments, self.back, known=known),
                    )
            except DefacedaskError as error:
                error.message = self.outward(error.message)
                error.args = (error.message, *error.args[1:])
                raise
            return Outcome(self.outward(found.rows), self.outward(found.facts))

        return renamed

    def outward(self, value: Any) -> Any:
        """With the run's address for this folder, also within sentences."""
        return _renamed(value, self.roots, anywhere=True, known=self.called)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False


def _renamed(
    value: Any,
    roots: tuple[tuple[str, str], ...],
    anywhere: bool = False,
    known: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Some arguments, facts or results with other names for folders, and for files that are ``known``."""

    def again(one: Any) -> Any:
        return _renamed(one, roots, anywhere, known)

    if isinstance(value, str):
        if value in known:
            return known[value]
        if anywhere:
            for old, new in known.items():
                value = value.replace(old, new)
        for old, new in roots:
            if anywhere and old in value:
                value = value.replace(old, new)
            elif value == old or value.startswith(f"{old}/"):
                return new + value[len(old) :]
        return value
    if isinstance(value, Path):
        return Path(again(str(value)))
    if isinstance(value, TaskResult):
        return dataclasses.replace(value, facts=again(value.facts))
    if isinstance(value, dict):
        return {again(key): again(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(map(again, value))
    return value
