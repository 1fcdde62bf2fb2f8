"""From the results of all cases to the tables of the run, some cases at a time.

Results stay where the workers kept them. When some cases in a row have finished, a worker makes their part of each
table (`tabulate`); when all have, distances between faces are computed, because they need everybody's original as
the gallery (`defacedask.tables.faces`), and the parts are joined. The client holds no more than one part.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from defacedask.config import option
from defacedask.flow.executors import Executor, HereExecutor
from defacedask.flow.result import TaskResult, whole
from defacedask.flow.running import Batches, result_of
from defacedask.flow.stages.layout import KEPT, ORIGINAL
from defacedask.io.store import writing
from defacedask.stamp import package_state
from defacedask.tables.cost_tables import cost_tables
from defacedask.tables.ears import EAR_MAPS, ear_maps_table, ears_table
from defacedask.tables.faces import face_tables
from defacedask.tables.files import as_table
from defacedask.tables.lazy import LazyTables
from defacedask.tables.looks import ENROLLED, LOOKING, LOOKS, PLANTED, looks_table, sightings
from defacedask.tables.parts import frames, join_parts, keep_parts, reader_of, write_parts
from defacedask.tables.rows import About, case_rows, export_rows, timing_rows, with_exports
from defacedask.whole_files import replacing

if TYPE_CHECKING:
    from defacedask.flow.settings import Settings
    from defacedask.io.dicom.catalogue import Case, Skipped

__all__ = ["Cohort", "collect", "tabulate"]

#: Tables whose rows the stages make.
MEASURED = (
    *("radiomics", "dose", "geometry", "unmasking", "inversion", "synthetic", "deblurring", "utility"),
    "residual_skin",
)
#: Tables that have a part for every few cases.
PARTED = ("cases", *MEASURED, "exports", "timing")
#: Table of pictures, a line of JSON each.
PICTURES = "pictures"
#: Tables about faces and features, and what was left out.
FURTHER = (
    "recognition",
    "best_attempts",
    "skipped",
    "controls",
    "verification",
    "agreement",
    "forced_matrix",
    "curves",
    "open_set",
    "average_face",
    "verification_groups",
    "faces_detected",
    "radiomics_percent",
    "radiomics_summary",
    "rescan",
    "ears",
)
#: Cases in a part.
AT_ONCE = 100
#: Of the parts, in the run's folder.
ROWS = "store/rows"


class Some:
    """Some cases, for `tabulate`. No dataclass: Dask would look through all it holds for futures.

    Parameters
    ----------
    number : int
        Among the parts.
    cases : sequence of About
    results : sequence of TaskResult
        Whole, or receipts of what is kept.
    defacers : sequence of str
    kept : Path
        Folder of the results.
    rows : mapping, optional
        Case -> its row in ``cases``, where it is not the usual one.
    """

    def __init__(
        self,
        number: int,
        cases: Sequence[About],
        results: Sequence[TaskResult],
        defacers: Sequence[str],
        kept: Path,
        rows: Mapping[str, Mapping[str, Any]],
    ) -> None:
        order = {case.id: k for k, case in enumerate(cases)}
        ranks = {name: k for k, name in enumerate([ORIGINAL, *defacers])}
        self.number, self.cases, self.kept, self.rows = number, cases, kept, rows
        self.results = sorted(results, key=lambda p: (order[p.case], p.stage, ranks.get(p.defacer, -1)))

    @property
    def name(self) -> str:
        """Of the part: the same for the same results."""
        from defacedask import __version__

        made = [__version__, list(map(vars, self.cases)), list(map(vars, self.results)), self.rows]
        digest = hashlib.sha256(json.dumps(made, default=str, sort_keys=True).encode()).hexdigest()
        return f"{self.number:06d}-{digest[:16]}"


def tabulate(some: Some, rows: Path) -> str:
    """Make the part of each table that some cases have; gives its folder, and leaves one that is there as it is.

    Raises
    ------
    StoreError
        If a result that was kept is not there any more.
    """
    out = rows / some.name
    if out.exists():
        return str(out)
    results = [whole(some.kept, result) for result in some.results]
    patients = {case.id: case.patient_id or case.id for case in some.cases}
    rows_of_cases = [some.rows.get(row["case"], row) for row in case_rows(some.cases, results)]
    tables: dict[str, Any] = {
        "cases": with_exports(as_table("cases", rows_of_cases), results),
        **{name: as_table(name, [r for p in results for r in p.rows.get(name, ())]) for name in MEASURED},
        "exports": as_table("exports", export_rows(results)),
        "timing": as_table("timing", timing_rows(results)),
    }
    # results that were kept from an earlier version may have it the other way round
    tables["dose"]["difference"] = tables["dose"]["original"] - tables["dose"]["defaced"]
    specs = {
        name: spec
        for result in results
        if result.stage in LOOKING and result.ok
        for name, spec in result.facts.get("recognisers", {}).items()
    }
    for kind in (LOOKS, ENROLLED, PLANTED):
        tables[kind] = looks_table(sightings(results, patients, kind), specs)
    tables[EAR_MAPS] = ear_maps_table(results, patients)
    pictures = [
        json.dumps({**picture, "patient": patients[result.case]})
        for result in results
        for picture in result.facts.get("pictures", ())
    ]
    tables[PICTURES] = pd.DataFrame({"json": pd.Series(pictures, dtype=object)})
    write_parts(out, tables)
    return str(out)


class Cohort:
    """Collects what became of all cases, and makes the tables of it.

    Parameters
    ----------
    folder : Path
        The run's.
    cases : sequence of str
        Ids of all cases, in the order of the tables: cases finish in any order, and tables must not depend on it.
    settings : Settings
    executor : Executor
        Where parts are made.
    measured : sequence of str
        Tables to write beside those about cases, faces and features.
    """

    def __init__(
        self,
        folder: Path,
        cases: Sequence[str],
        settings: Settings,
        executor: Executor,
        *,
        measured: Sequence[str] = PARTED,
    ) -> None:
        self.folder, self.settings, self.executor, self.measured = folder, settings, executor, measured
        self.rows = folder / ROWS
        self._place = {case: k for k, case in enumerate(cases)}
        self._count = len(cases)
        self._open: dict[int, dict[str, tuple[About, list[TaskResult]]]] = defaultdict(dict)
        self._told: dict[str, Mapping[str, Any]] = {}
        self._parts = Batches(executor, tabulate)

    def add(self, case: About, results: Iterable[TaskResult], row: Mapping[str, Any] | None = None) -> None:
        """One case has finished; ``row`` is its row in ``cases``, where it is not the usual one."""
        number = self.number_of(case.id)
        self._open[number][case.id] = (case, list(results))
        if row is not None:
            self._told[case.id] = row
        if len(self._open[number]) == self.size_of(number):
            self._close(number)

    def _close(self, number: int) -> None:
        some = self._open.pop(number)
        found = [some[case] for case in sorted(some, key=lambda case: self._place[case])]
        part = Some(
            number,
            [about for about, _ in found],
            [result for _, results in found for result in results],
            self.settings.judged,
            self.folder / KEPT,
            {case: self._told.pop(case) for case in some if case in self._told},
        )
        self._parts.begin(number, part, self.rows)

    def parts(self) -> list[Path]:
        """Folders of all parts, in their order, once they are made."""
        for number in sorted(self._open):
            self._close(number)
        return [Path(part) for _, part in sorted(self._parts.done().items())]

    def number_of(self, case: str) -> int:
        """Of the part that a case is in."""
        return self._place[case] // AT_ONCE

    def size_of(self, number: int) -> int:
        """Cases of a part."""
        return min(AT_ONCE, self._count - number * AT_ONCE)

    def made(self, skipped: Iterable[Mapping[str, Any]]) -> str:
        """What all tables are made from."""
        facts = [
            [part.name for part in self.parts()],
            list(map(dict, skipped)),
            vars(self.settings),
            [option("recognition"), package_state()],
        ]
        return hashlib.sha256(json.dumps(facts, default=str, sort_keys=True).encode()).hexdigest()

    def known(self) -> LazyTables:
        """The tables that an earlier run left."""
        return LazyTables(self.folder, [*self.measured, *FURTHER])

    def finish(self, skipped: Iterable[Mapping[str, Any]]) -> LazyTables:
        """Make and write all tables, and the list of pictures.

        Parameters
        ----------
        skipped : iterable of mapping
            Rows of the table of that name.
        """
        parts = self.parts()
        about = parts, self.settings.gallery, self.settings.judged
        # a worker adds the costs up while faces are compared here
        begun = self.executor.beside().submit(_costs, *about, name=("costs", "tables", ""), priority=1)
        faces = face_tables(parts, self.settings, self.executor.beside())
        costs = result_of(begun, _costs, about)
        small = {"skipped": as_table("skipped", skipped), **faces.tables, **costs}
        with writing("the list of pictures"):
            _write_pictures(self.folder / "pictures" / "index.json", parts)
        join_parts(
            self.folder,
            {
                **dict.fromkeys(self.measured, parts),
                "recognition": faces.parts,
                "best_attempts": faces.parts,
            },
            small,
        )
        keep_parts(self.rows, [*parts, *faces.parts])
        return self.known()


def _costs(parts: Sequence[Path], gallery: str, defacers: Sequence[str]) -> dict[str, pd.DataFrame]:
    return {**cost_tables(reader_of(parts)), "ears": ears_table(parts, gallery, defacers)}


def _write_pictures(index: Path, parts: Sequence[Path]) -> None:
    with replacing(index) as aside, aside.open("w", encoding="utf-8") as file:
        lines = (line for part in frames(parts, PICTURES) for line in part["json"])
        file.write("[")
        for number, line in enumerate(lines):
            file.write(("," if number else "") + "\n " + line)
        file.write("]")


def collect(
    folder: Path,
    cases: Sequence[Case],
    skipped: Sequence[Skipped],
    results: Iterable[TaskResult],
    settings: Settings,
) -> LazyTables:
    """Make and write all tables of results that are at hand; see `Cohort`."""
    cohort = Cohort(folder, [case.id for case in cases], settings, HereExecutor())
    by_case: dict[str, list[TaskResult]] = defaultdict(list)
    for result in results:
        by_case[result.case].append(result)
    for case in cases:
        cohort.add(About.of(case), by_case[case.id])
    return cohort.finish(dataclasses.asdict(skip) for skip in skipped)
