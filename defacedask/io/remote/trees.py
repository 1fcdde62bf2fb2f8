"""Trees of files as objects: what one commit names is there, whole, and nothing else is.

A commit is one small object. It names every file of the tree, and the layer (a tar) that holds it. Layers are put
first, under names that nobody else uses, and the commit last, under the next number, where there is none yet. So
whoever reads finds the old tree or the new one, wherever a writer was interrupted, and of two writers at a time the
second sees what the first did before it adds its own. What no commit names any more is removed afterwards.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import secrets
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from defacedask.errors import OutputError, RemoteError, StoreError
from defacedask.io.remote.objects import Objects

__all__ = ["Change", "Layer", "State", "Tree", "layer_name"]

FORMAT = 1
_COMMIT = "commit-"
#: Times that a reader, or a writer, is overtaken before something else must be wrong.
_OVERTAKEN = 20
#: Commits before it that a commit knows: a writer is not overtaken by more between two of its steps.
_REMEMBERED = 200


@dataclasses.dataclass(frozen=True)
class Layer:
    """A tar with some files of a tree.

    Attributes
    ----------
    size : int
        Bytes.
    sha256 : str
    part : str
        What kind of files it holds; a reader may want some kinds only.
    """

    size: int
    sha256: str
    part: str


@dataclasses.dataclass(frozen=True)
class State:
    """What a commit says.

    Attributes
    ----------
    number : int
        Of the commit; 0: there is none yet.
    epoch : int
        Number of the run that made it (`defacedask.io.remote.lease.Lease`).
    files : dict
        Path -> name of its layer.
    layers : dict
        Name -> `Layer`; only those that hold a file.
    history : tuple of str
        What tells this commit, and those that it builds on, from all others; the last is its own.
    """

    number: int = 0
    epoch: int = 0
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    layers: dict[str, Layer] = dataclasses.field(default_factory=dict)
    history: tuple[str, ...] = ()

    def part_of(self, path: str) -> str:
        """What kind of file a path is."""
        return self.layers[self.files[path]].part

    def with_change(self, change: Change, epoch: int) -> State:
        """What the next commit says."""
        files = {path: layer for path, layer in self.files.items() if path not in change.gone}
        files |= change.files
        known = {**self.layers, **change.layers}
        layers = {name: known[name] for name in set(files.values())}
        return State(self.number + 1, epoch, files, layers, self._history())

    def renewed(self, epoch: int) -> State:
        """The same as a commit of another run."""
        return dataclasses.replace(self, number=self.number + 1, epoch=epoch, history=self._history())

    def _history(self) -> tuple[str, ...]:
        return (*self.history[-_REMEMBERED:], secrets.token_hex(8))

    def to_bytes(self) -> bytes:
        """As the object holds it."""
        inside: dict[str, list[str]] = {name: [] for name in sorted(self.layers)}
        for path in sorted(self.files):
            inside[self.files[path]].append(path)
        facts = {
            "format": FORMAT,
            "epoch": self.epoch,
            "history": list(self.history),
            "layers": [
                {"name": name, **dataclasses.asdict(self.layers[name]), "files": paths}
                for name, paths in inside.items()
            ],
        }
        return gzip.compress(json.dumps(facts).encode(), mtime=0)

    @classmethod
    def from_bytes(cls, number: int, content: bytes) -> State:
        """Read what `to_bytes` gave.

        Raises
        ------
        ValueError, KeyError, OSError
        """
        facts = json.loads(gzip.decompress(content))
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']}")
        files = {path: one["name"] for one in facts["layers"] for path in one["files"]}
        for path in files:
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise ValueError(f"{path} leads elsewhere")
        layers = {one["name"]: Layer(one["size"], one["sha256"], one["part"]) for one in facts["layers"]}
        return cls(number, int(facts["epoch"]), files, layers, tuple(facts["history"]))


@dataclasses.dataclass(frozen=True)
class Change:
    """What a writer adds to a tree: files in new layers, and paths that are gone."""

    files: Mapping[str, str]
    layers: Mapping[str, Layer]
    gone: frozenset[str] = frozenset()

    def meets(self, base: State, other: State) -> set[str]:
        """Paths that it touches, and that another writer touched since ``base``."""
        return {path for path in (*self.files, *self.gone) if base.files.get(path) != other.files.get(path)}


class Tree:
    """A tree below an address.

    Parameters
    ----------
    objects : Objects
    name : str
        Below their address.
    """

    def __init__(self, objects: Objects, name: str) -> None:
        self.objects, self.name = objects, name

    def latest(self) -> State:
        """What the last commit says."""
        for _ in range(_OVERTAKEN):
            number = _last(self.objects.names(self.name))
            if not number:
                return State()
            state = self.at(number)
            if state is not None:
                return state
        raise StoreError(f"{self._said()} changes all the time.", "See which runs are at work there.")

    def at(self, number: int) -> State | None:
        """What a commit says; None if it is gone: there is a later one."""
        content = self.objects.read(self._commit(number))
        if content is None:
            return None
        try:
            return State.from_bytes(number, content)
        except (ValueError, KeyError, OSError, TypeError, EOFError) as error:
            raise StoreError(
                f"{self._said()} cannot be read: its commit {number} is damaged ({error}).",
                "Remove what lies below it; the case is then done again.",
            ) from None

    def send(self, path: Path, layer: str) -> None:
        """Put the tar of a layer."""
        self.objects.send(path, f"{self.name}/{layer}")

    def fetch(self, layer: str, path: Path, size: int | None = None) -> bool:
        """Get the tar of a layer; False if it is gone: there is a later commit."""
        return self.objects.fetch(f"{self.name}/{layer}", path, size)

    def commit(
        self, base: State, change: Change, epoch: int, *, passing: Collection[str] = (), mine: bool = False
    ) -> tuple[State, bool] | None:
        """Make a change of a tree be there, at once and whole.

        Parameters
        ----------
        base : State
            That the change was made from.
        change : Change
            Its layers are there.
        epoch : int
            Of the run.
        passing : collection of str
            Paths of which either's content will do for now.
        mine : bool
            Whether this writer is right where another has touched the same paths.

        Returns
        -------
        (State, bool) or None
            What is there now, and whether another writer's work is in it that was not in ``base``. None if another
            did the same meanwhile: then nothing has changed, and the layers are gone.

        Raises
        ------
        OutputError
            If a later run is at work there.
        """
        merged, now = False, base
        for _ in range(_OVERTAKEN):
            if now.epoch > epoch:
                self.remove(change.layers)
                raise OutputError(
                    f"another run goes on at {self.objects.address}, and this worker was taken for dead.",
                    "What was finished stays.",
                    fatal=True,
                )
            if merged and not mine and change.meets(base, now) - set(passing):
                self.remove(change.layers)
                return None
            after = now.with_change(change, epoch)
            mark = self._commit(after.number)
            if self.objects.create(mark, after.to_bytes()):
                last = self.latest()
                if after.history[-1] in last.history:
                    # who comes later builds on this commit: what it does not name is nobody's. Where removing it
                    # fails, the next run sweeps
                    with contextlib.suppress(RemoteError):
                        self.remove(set(now.layers) - set(after.layers))
                        self.remove([self._name_of(now.number)] if now.number else [])
                    return last, merged or last.number != after.number
                # this number had been used and removed long ago: the tree is further on
                self.objects.remove([mark])
                now = last
            else:
                now = self.latest()
            merged = True
        raise StoreError(f"{self._said()} changes all the time.", "See which runs are at work there.")

    def sweep(self, there: Iterable[str], epoch: int) -> State:
        """Remove what interrupted writers left; they can add nothing afterwards.

        Parameters
        ----------
        there : iterable of str
            Names below the address, as they were listed before.
        epoch : int
            Of the run, whose workers have not begun.
        """
        names = {name.removeprefix(f"{self.name}/") for name in there}
        state = self.latest()
        lost = {name for name in names if name.endswith(".tar")} - set(state.layers)
        if lost:
            # who put these knew an earlier commit, and is refused the next one
            after = state.renewed(epoch)
            if not self.objects.create(self._commit(after.number), after.to_bytes()):
                return self.latest()
            self.remove(lost)
            state = after
        old = [name for name in names if name.startswith(_COMMIT) and _number(name) < state.number]
        signs = [name for name in names if name.startswith("begun/")]
        self.remove([*old, *signs])
        return state

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects of the tree."""
        self.objects.remove(f"{self.name}/{name}" for name in sorted(names))

    def _name_of(self, number: int) -> str:
        return f"{_COMMIT}{number:08d}"

    def _commit(self, number: int) -> str:
        return f"{self.name}/{self._name_of(number)}"

    def _said(self) -> str:
        return f"{self.objects.address}/{self.name}"


def _number(name: str) -> int:
    text = name.rsplit("/", 1)[-1].removeprefix(_COMMIT)
    return int(text) if text.isdigit() else 0


def _last(names: Iterable[str]) -> int:
    return max((_number(name) for name in names if f"/{_COMMIT}" in name), default=0)


def layer_name(part: str) -> str:
    """Name of a layer that nobody else uses."""
    return f"{secrets.token_hex(8)}-{part}.tar"
