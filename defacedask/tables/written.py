"""Tables of a cohort brought up to date with the files that were written after they were made, some cases at a time.

A study judges faces from its tables and writes files after that. What it wrote belongs into tables that are there:
a worker takes the part of some cases and adds what became of their exports (`amend`), and the parts are joined anew.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from defacedask.flow.result import TaskResult
from defacedask.flow.running import Batches
from defacedask.flow.stages.layout import ORIGINAL
from defacedask.tables.files import as_table
from defacedask.tables.parts import join_parts, keep_parts, read_part, write_parts
from defacedask.tables.rows import export_rows, timing_rows, with_exports

if TYPE_CHECKING:
    from defacedask.flow.executors import Executor
    from defacedask.tables.cohort import Cohort

__all__ = ["AMENDED", "Written", "amend"]

#: Tables that tell of exports.
AMENDED = ("cases", "exports", "timing")
#: Of the parts, in the run's folder.
ROWS = "store/written"


class Amendment:
    """What became of the exports of some cases, for `amend`. No dataclass: Dask would look through all it holds.

    Parameters
    ----------
    part : Path
        Of the tables of these cases, from `defacedask.tables.cohort.tabulate`.
    results : sequence of TaskResult
        Of the stage ``export``, with their facts.
    defacers : sequence of str
    """

    def __init__(self, part: Path, results: Iterable[TaskResult], defacers: Sequence[str]) -> None:
        self.part = part
        self.ranks = {name: k for k, name in enumerate([ORIGINAL, *defacers])}
        self.results = sorted(results, key=lambda p: (p.case, self.ranks[p.defacer]))

    @property
    def name(self) -> str:
        """Of the part: the same for the same results."""
        made = json.dumps(list(map(vars, self.results)), default=str, sort_keys=True)
        return f"{self.part.name}-{hashlib.sha256(made.encode()).hexdigest()[:16]}"


def amend(some: Amendment, rows: Path) -> str:
    """Make the part of each of the `AMENDED` tables anew; gives its folder, and leaves one that is there as it is."""
    out = rows / some.name
    if out.exists():
        return str(out)
    cases = with_exports(read_part(some.part, "cases"), some.results)
    order = {case: k for k, case in enumerate(cases["case"])}
    new = {"exports": export_rows(some.results), "timing": timing_rows(some.results)}
    tables = {"cases": as_table("cases", cases)}
    for name, made in new.items():
        both = [t for t in (read_part(some.part, name), as_table(name, made)) if len(t)]
        table = as_table(name, pd.concat(both, ignore_index=True) if both else None)
        tables[name] = _in_order(table, order, some.ranks)
    write_parts(out, tables)
    return str(out)


def _in_order(table: pd.DataFrame, order: Mapping[str, int], ranks: Mapping[str, int]) -> pd.DataFrame:
    """Rows by case, stage and defacer, as they are where all is made at once."""
    stage = {"stage": table["stage"]} if "stage" in table else {}
    defacer = table["defacer"].map(ranks).fillna(-1)
    keys = pd.DataFrame({"case": table["case"].map(order), **stage, "defacer": defacer})
    return table.loc[keys.sort_values(list(keys), kind="stable").index].reset_index(drop=True)


class Written:
    """Collects what became of exports, and brings the tables of a cohort up to date.

    Parameters
    ----------
    cohort : Cohort
        Of which all parts are made.
    executor : Executor
        Where parts are made.
    """

    def __init__(self, cohort: Cohort, executor: Executor) -> None:
        self.cohort, self.rows = cohort, cohort.folder / ROWS
        self._before = cohort.parts()
        self._open: dict[int, dict[str, list[TaskResult]]] = defaultdict(dict)
        self._parts = Batches(executor, amend)

    def add(self, case: str, results: Iterable[TaskResult]) -> None:
        """What became of all exports of a case, once for each case of the cohort; may be nothing."""
        number = self.cohort.number_of(case)
        self._open[number][case] = list(results)
        if len(self._open[number]) == self.cohort.size_of(number):
            self._close(number)

    def _close(self, number: int) -> None:
        results = [result for found in self._open.pop(number).values() for result in found]
        if results:
            some = Amendment(self._before[number], results, self.cohort.settings.judged)
            self._parts.begin(number, some, self.rows)

    def parts(self) -> list[Path]:
        """Folders of all parts, in their order, once they are made; without exports they are as they were."""
        for number in sorted(self._open):
            self._close(number)
        done = self._parts.done()
        return [Path(done.get(number, part)) for number, part in enumerate(self._before)]

    def finish(self) -> None:
        """Write the `AMENDED` tables."""
        parts = self.parts()
        join_parts(self.cohort.folder, dict.fromkeys(AMENDED, parts))
        keep_parts(self.rows, parts)
