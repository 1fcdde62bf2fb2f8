"""CPU seconds of each test, with all that it starts: ``CPU_LOG=FILE pytest``, a file a worker.

A line is: seconds of the test process, of its descendants (living ones, and those that were waited for), wall
seconds, and what ran. Other work on the machine adds to CPU seconds, too: compare on a quiet one. Linux alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["cpu_seconds", "start"]

_TICKS = os.sysconf("SC_CLK_TCK")


def _processes() -> dict[int, tuple[int, int, int]]:
    """Parent, ticks of its own, and ticks of children it waited for, of each process."""
    found = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                text = (place / "stat").read_text()
            except OSError:
                continue  # it has just ended
            fields = text[text.rindex(")") + 2 :].split()
            own, waited = (sum(map(int, fields[k : k + 2])) for k in (11, 13))
            found[int(place.name)] = int(fields[1]), own, waited
    return found


def cpu_seconds(process: int) -> tuple[float, float]:
    """CPU seconds so far of a process, and of all its descendants."""
    found = _processes()
    children: dict[int, list[int]] = {}
    for number, (parent, _, _) in found.items():
        children.setdefault(parent, []).append(number)
    _, own, rest = found[process]
    todo = list(children.get(process, []))
    while todo:
        number = todo.pop()
        rest += sum(found[number][1:])
        todo += children.get(number, [])
    return own / _TICKS, rest / _TICKS


class _Log:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.unlink(missing_ok=True)
        self.last = 0.0, 0.0, time.time()

    def note(self, what: str) -> None:
        now = *cpu_seconds(os.getpid()), time.time()
        with self.path.open("a") as file:
            print(*(f"{b - a:.2f}" for a, b in zip(self.last, now, strict=True)), what, sep="\t", file=file)
        self.last = now

    def pytest_collection_finish(self) -> None:
        self.note("collection")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        done = yield
        self.note(item.nodeid)
        return done


def start(config: pytest.Config) -> None:
    """Write from now on, if the environment says where."""
    if path := os.environ.get("CPU_LOG"):
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        config.pluginmanager.register(_Log(Path(f"{path}.{worker}" if worker else path)))
