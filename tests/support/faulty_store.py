"""An object store in memory whose every write can be made to fail, or to be where something else happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from defacedask.io.remote import objects
from defacedask.io.remote.checkout import Checkout
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.trees import Tree

ADDRESS = "memory://bucket/run"


class Killed(BaseException):
    """The process ended here: nothing of it goes on."""


class Watched:
    """A file system that calls ``watch(number, "before" | "after")`` around each put and each removal."""

    def __init__(self, fs: Any, watch: Callable[[int, str], None]) -> None:
        self.fs, self.watch, self.count = fs, watch, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.fs, name)
        if name not in ("pipe_file", "put_file", "rm_file", "put", "copy"):
            return found

        def watched(*arguments: Any, **options: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return found(*arguments, **options)  # a sign of life, which comes at any time
            number, self.count = self.count, self.count + 1
            self.watch(number, "before")
            try:
                return found(*arguments, **options)
            finally:
                # also of what fails, as the removal of what is not there
                self.watch(number, "after")

        return watched


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty object store in memory; nobody waits before a further try."""
    monkeypatch.setattr(objects, "WAITS", (0.0, 0.0))
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield fs
    fs.store.clear()


def watched(watch: Callable[[int, str], None]) -> Objects:
    """Objects of `ADDRESS`, watched."""
    out = Objects(ADDRESS)
    out.fs = Watched(out.fs, watch)
    return out


class Desk:
    """A machine with files of one tree: the first part of a path says what kind of file it is."""

    def __init__(self, folder: Path, objects: Objects | None = None, name: str = "cases/one") -> None:
        self.objects = objects or Objects(ADDRESS)
        self.root = folder / "tree"
        self.root.mkdir(parents=True, exist_ok=True)
        self.checkout = Checkout(
            Tree(self.objects, name),
            folder / "index.json",
            lambda path: self.root / path,
            lambda: list(self.files()),
            lambda path: path.split("/")[0],
        )

    def files(self) -> dict[str, str]:
        """Path -> text."""
        return {
            path.relative_to(self.root).as_posix(): path.read_text()
            for path in self.root.rglob("*")
            if path.is_file()
        }

    def write(self, files: dict[str, str]) -> None:
        """Let the files here be these."""
        for path in set(self.files()) - set(files):
            (self.root / path).unlink()
        for path, text in files.items():
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists() or target.read_text() != text:
                beside = target.with_name(f"{target.name}.new")
                beside.write_text(text)
                beside.replace(target)

    def bring(self, *parts: str, **options: Any) -> dict[str, str]:
        """Bring kinds of files; all by default."""
        self.checkout.bring(parts or ("small", "voxels", "files"), **options)
        return self.files()


def held_by(address: Objects, name: str = "cases/one") -> set[str]:
    """Objects of a tree that its last commit names, and the commit."""
    tree = Tree(address, name)
    state = tree.latest()
    return {f"{name}/{layer}" for layer in state.layers} | {f"{name}/commit-{state.number:08d}"}
