"""Data goes one way: no room of the package imports one further on, at the top of a file, inside a function, or for
types alone."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import defacedask

PACKAGE = Path(defacedask.__file__).parent
#: As in README, Design.
ROOMS = ["anatomy", "defacers", "io", "faces", "costs", "attacks", "flow", "tables", "report", "runs", "cli"]


@functools.cache
def nodes(text: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(text)))


def imported(text: str) -> Iterator[str]:
    """Rooms that a file imports, for types alone too."""
    for node in nodes(text):
        names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        yield from (name.split(".")[1] for name in names if name.startswith("defacedask."))


def circle(package: Path) -> list[str]:
    """Files that import each other in a circle, for types alone too, and those that need them; empty without one."""
    texts = {module_of(path, package): path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    waiting = {name: named(text, set(texts)) - {name} for name, text in texts.items()}
    while free := {name for name, needs in waiting.items() if not needs & set(waiting)}:
        waiting = {name: needs for name, needs in waiting.items() if name not in free}
    return sorted(waiting)


def module_of(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def named(text: str, modules: set[str]) -> set[str]:
    """Which of the modules a file imports: where what is taken is a module itself, that one."""
    found = set()
    for node in nodes(text):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            taken = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (taken & modules) | ({str(node.module)} if taken - modules else set())
    return found & modules


def further_on(room: str, text: str) -> list[str]:
    behind = ROOMS[: ROOMS.index(room) + 1]
    return [one for one in imported(text) if one in ROOMS and one not in behind]


def test_no_room_imports_one_further_on():
    found = {
        str(path.relative_to(PACKAGE)): wrong
        for room in ROOMS
        for path in (PACKAGE / room).rglob("*.py")
        if (wrong := further_on(room, path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_every_room_has_files():
    assert all(list((PACKAGE / room).glob("*.py")) for room in ROOMS)


def test_such_an_import_is_found():
    planted = (
        "from defacedask.runs.study import study\nimport defacedask.cli\n"
        "def later():\n    from defacedask import report\n    from defacedask.io.store import CaseStore\n"
        "if TYPE_CHECKING:\n    from defacedask.tables.files import as_table\n"
    )
    assert sorted(further_on("io", planted)) == ["cli", "report", "runs", "tables"]
    assert further_on("cli", planted) == []


def test_no_circle_of_files():
    assert circle(PACKAGE) == []


@pytest.mark.parametrize("last", ["c", "c/__init__", "deeper/c"])
def test_a_circle_is_found(tmp_path, last):
    package = tmp_path / "p"
    c = ".".join(last.removesuffix("/__init__").split("/"))
    for name, other in (("a", "b"), ("b", c), (last, "a"), ("d", "a")):
        path = package / "room" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        room, _, module = f"p.room.{other}".rpartition(".")
        path.write_text(f"def later():\n    from {room} import {module}\n")
    assert circle(package) == sorted(f"p.room.{name}" for name in ("a", "b", c, "d"))
    (package / "room" / f"{last}.py").write_text("")
    assert circle(package) == []
