"""A tree of objects as files of this machine: what is wanted of it comes, and what has changed goes back.

A file has changed if it is not the one that was brought: by its size, its time of change and its inode. Files are
only ever replaced as wholes (`defacedask.whole_files`).
"""

from __future__ import annotations

import dataclasses
import filecmp
import json
import os
import tarfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from defacedask.errors import OutputError, StoreError, writing
from defacedask.io.remote.trees import Change, Layer, State, Tree, layer_name
from defacedask.whole_files import file_hash, replacing, state_of, write_whole

__all__ = ["Checkout", "Pushed"]

#: Times that a layer may go while it is fetched, because another writer was there.
_OVERTAKEN = 20


@dataclasses.dataclass(frozen=True)
class Pushed:
    """What became of a push: whether another's work was there, too (``merged``), or had done the same (``other``)."""

    merged: bool = False
    other: bool = False


class Checkout:
    """Files of a tree on this machine.

    Parameters
    ----------
    tree : Tree
    index : Path
        File that keeps what was brought, as it was.
    where : callable
        Path in the tree -> file of this machine.
    listed : callable
        Gives the paths of all files here that belong to the tree.
    part : callable
        Path in the tree -> what kind of file it is.
    passing : callable, optional
        Path in the tree -> whether the file is made again from others, see `Tree.commit`.
    guarded : callable, optional
        Path in the tree -> whether somebody else's file may lie in its place, which is left alone then.
    room : callable, optional
        Gets the bytes that are needed here before anything comes, and raises where there are fewer.
    """

    def __init__(
        self,
        tree: Tree,
        index: Path,
        where: Callable[[str], Path],
        listed: Callable[[], Iterable[str]],
        part: Callable[[str], str],
        passing: Callable[[str], bool] = lambda path: False,
        guarded: Callable[[str], bool] = lambda path: False,
        room: Callable[[int], None] = lambda needed: None,
    ) -> None:
        self.tree, self.index, self.where, self.listed = tree, index, where, listed
        self.part, self.passing, self.guarded, self.room = part, passing, guarded, room
        self.state = State()
        #: Path -> layer it came from or went to, and what the file was then.
        self.seen: dict[str, tuple[str, list[int]]] = {}
        self._load()

    def bring(self, parts: Collection[str], state: State | None = None, *, strict: bool = False) -> State:
        """Let the files here be those of the last commit.

        Parameters
        ----------
        parts : collection of str
            Kinds of files that are wanted.
        state : State, optional
            The last commit, where it is known.
        strict : bool
            Undo what has changed here and was not pushed: it is what an interrupted run left.
        """
        for _ in range(_OVERTAKEN):
            state = state or self.tree.latest()
            if self._brought(state, parts, strict):
                return state
            state = None
        raise StoreError(
            f"{self.tree.objects.address}/{self.tree.name} changes all the time.",
            "See which runs are at work there.",
        )

    def _brought(self, state: State, parts: Collection[str], strict: bool) -> bool:
        with writing("what another run or task has taken away"):
            if strict:
                for path in set(self.listed()) - set(state.files):
                    self.where(path).unlink(missing_ok=True)
            for path in set(self.seen) - set(state.files):
                self.where(path).unlink(missing_ok=True)
                del self.seen[path]
        wanted: dict[str, set[str]] = {}
        for path, layer in state.files.items():
            if state.layers[layer].part not in parts:
                continue
            known = self.seen.get(path)
            if known is None or known[0] != layer or (strict and known[1] != _facts(self.where(path))):
                wanted.setdefault(layer, set()).add(path)
        if sizes := [state.layers[layer].size for layer in wanted]:
            # a layer lies here whole while its files are taken out of it
            self.room(sum(sizes) + max(sizes))
        for layer, paths in sorted(wanted.items()):
            if not self._unpack(layer, state.layers[layer], paths):
                return False
        changed = bool(wanted) or state.number != self.state.number
        self.state = state
        if changed:
            self._save()
        return True

    def changed(self) -> bool:
        """Whether any file here is not what was brought."""
        paths = {*self.listed(), *self.seen}
        return any(self.seen.get(path, ("", None))[1] != _facts(self.where(path)) for path in paths)

    def push(self, epoch: int, *, drop: Collection[str] = (), mine: bool = False) -> Pushed:
        """Let the next commit say what the files here are.

        Parameters
        ----------
        epoch : int
            Of the run.
        drop : collection of str
            Kinds of files that are to go, whether they were brought or not.
        mine : bool
            See `Tree.commit`.

        Raises
        ------
        RemoteError, OutputError
        """
        now = {path: facts for path in {*self.listed(), *self.seen} if (facts := _facts(self.where(path)))}
        new = sorted(path for path, facts in now.items() if self.seen.get(path, ("", []))[1] != facts)
        gone = {path for path in self.seen if path not in now}
        gone |= {path for path in self.state.files if self.state.part_of(path) in drop}
        new = [path for path in new if path not in gone]
        if not new and not gone:
            return Pushed()
        layers: dict[str, Layer] = {}
        files: dict[str, str] = {}
        for part in sorted({self.part(path) for path in new}):
            name = layer_name(part)
            paths = [path for path in new if self.part(path) == part]
            layers[name] = self._pack(name, part, paths)
            files |= dict.fromkeys(paths, name)
        change = Change(files, layers, frozenset(gone))
        passing = {path for path in files if self.passing(path)}
        done = self.tree.commit(self.state, change, epoch, passing=passing, mine=mine)
        if done is None:
            return Pushed(other=True)
        self.state, merged = done
        for path in gone:
            self.seen.pop(path, None)
        self.seen |= {path: (files[path], now[path]) for path in new}
        self._save()
        return Pushed(merged=merged)

    def _pack(self, name: str, part: str, paths: Iterable[str]) -> Layer:
        aside = self._aside(name)
        try:
            with writing(f"the layer {name}"):
                aside.parent.mkdir(parents=True, exist_ok=True)
                with tarfile.open(aside, "w", format=tarfile.PAX_FORMAT) as tar:
                    for path in paths:
                        info = tar.gettarinfo(self.where(path), arcname=path)
                        info.uid = info.gid = 0
                        info.uname = info.gname = ""
                        info.mtime = int(info.mtime)
                        with self.where(path).open("rb") as file:
                            tar.addfile(info, file)
                layer = Layer(aside.stat().st_size, file_hash(aside), part)
            self.tree.send(aside, name)
            return layer
        finally:
            aside.unlink(missing_ok=True)

    def _unpack(self, name: str, layer: Layer, paths: set[str]) -> bool:
        aside = self._aside(name)
        try:
            with writing(f"the layer {name}"):
                aside.parent.mkdir(parents=True, exist_ok=True)
            if not self.tree.fetch(name, aside, layer.size):
                return False
            if aside.stat().st_size != layer.size or file_hash(aside) != layer.sha256:
                raise StoreError(
                    f"{self.tree.objects.address}/{self.tree.name}/{name} is not what was put there.",
                    "Remove what lies below that folder; the case is then done again.",
                )
            left = set(paths)
            with writing(f"what {name} holds"), tarfile.open(aside, "r") as tar:
                for info in tar:
                    if info.name not in left:
                        continue
                    target, content = self.where(info.name), tar.extractfile(info)
                    assert content is not None
                    with replacing(target, info.mode & 0o755) as beside:
                        with beside.open("wb") as file:
                            while block := content.read(1 << 20):
                                file.write(block)
                        self._guard(info.name, beside)
                    os.utime(target, (info.mtime, info.mtime))
                    facts = _facts(target)
                    assert facts is not None
                    self.seen[info.name] = (name, facts)
                    left.discard(info.name)
            if left:
                raise StoreError(
                    f"{self.tree.objects.address}/{self.tree.name}/{name} lacks {sorted(left)[0]}.",
                    "Remove what lies below that folder; the case is then done again.",
                )
            return True
        finally:
            aside.unlink(missing_ok=True)

    def _guard(self, path: str, new: Path) -> None:
        """See that a file that was not brought does not take the place of another's."""
        target = self.where(path)
        if path in self.seen or not self.guarded(path) or not target.exists():
            return
        if not filecmp.cmp(new, target, shallow=False):
            raise OutputError(
                f"{path} is already in the output folder and not of an earlier run of this case.",
                "Remove it, or choose an empty output folder.",
            )

    def _aside(self, name: str) -> Path:
        return self.index.with_name(f"{self.index.name}.{name}")

    def _load(self) -> None:
        try:
            facts = json.loads(self.index.read_text(encoding="utf-8"))
            # the state itself is asked for: what is known here is what the files were
            self.seen = {path: (layer, list(file)) for path, (layer, file) in facts.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self.seen = {}

    def _save(self) -> None:
        content: dict[str, Any] = dict(self.seen)
        with writing(f"the list {self.index.name}"):
            write_whole(self.index, json.dumps(content))


def _facts(path: Path) -> list[int] | None:
    try:
        return list(state_of(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
