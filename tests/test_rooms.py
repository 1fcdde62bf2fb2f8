"""Data goes one way: no room of the package imports one further on, at the top of a file, inside a function, or for
types alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import defacedask

PACKAGE = Path(defacedask.__file__).parent
#: As in README, Design.
ROOMS = ["anatomy", "defacers", "io", "faces", "costs", "attacks", "flow", "tables", "report", "runs", "cli"]


def imported(text: str) -> Iterator[str]:
    """Rooms that a file imports, for types alone too."""
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        yield from (name.split(".")[1] for name in names if name.startswith("defacedask."))


def circle(room: Path) -> list[str]:
    """Files of a room that import each other in a circle, for types alone too; empty without one."""
    files = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in room.glob("*.py")
    }
    waiting = {
        name: named(path.read_text(encoding="utf-8")) & set(files) - {name} for name, path in files.items()
    }
    while free := {name for name, needs in waiting.items() if not needs & set(waiting)}:
        waiting = {name: needs for name, needs in waiting.items() if name not in free}
    return sorted(waiting)


def named(text: str) -> set[str]:
    """Modules, and what is taken from them."""
    nodes = list(ast.walk(ast.parse(text)))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return found.union(*({str(n.module), *(f"{n.module}.{a.name}" for a in n.names)} for n in parts))


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


@pytest.mark.parametrize("room", ["flow", "flow/stages", "tables", "runs", "attacks", "costs"])
def test_no_circle_of_files(room):
    assert circle(PACKAGE / room) == []


def test_a_circle_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "p")
    (tmp_path / "p" / "room").mkdir(parents=True)
    for name, other in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")):
        text = f"def later():\n    from p.room import {other}\n"
        (tmp_path / "p" / "room" / f"{name}.py").write_text(text)
    assert circle(tmp_path / "p" / "room") == [f"p.room.{name}" for name in "abcd"]
    (tmp_path / "p" / "room" / "c.py").write_text("")
    assert circle(tmp_path / "p" / "room") == []
