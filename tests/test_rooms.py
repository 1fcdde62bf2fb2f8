"""Data goes one way: no room of the package imports one further on, at the top of a file or inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import defacedask

PACKAGE = Path(defacedask.__file__).parent
#: As in README, Design.
ROOMS = ["anatomy", "defacers", "io", "faces", "costs", "attacks", "flow", "tables", "report", "runs", "cli"]


def imported(text: str) -> Iterator[str]:
    """Rooms that a file imports; what stands there for types alone does not count."""
    waiting: list[ast.AST] = [ast.parse(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        yield from (name.split(".")[1] for name in names if name.startswith("defacedask."))


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
    assert sorted(further_on("io", planted)) == ["cli", "report", "runs"]
    assert further_on("cli", planted) == []
