"""A run's last look: the forced crop as a full matrix, on a sample of the persons.

It costs an encoding for each pair of persons, view, defacer and recogniser, so the persons are drawn: as many as the
option ``forced-matrix`` says, with the seed `SEED`, of those whose original shows a face.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from defacedask.errors import writing
from defacedask.faces.crops import Known
from defacedask.faces.galleries import ORIGINALS
from defacedask.flow.result import receipt
from defacedask.flow.stage import HOUR, Stage, Task
from defacedask.flow.stages.crops import write_known
from defacedask.flow.stages.layout import ORIGINAL
from defacedask.tables.crops import CROPS, matrix_rows
from defacedask.tables.evidence import limits
from defacedask.tables.files import read_table, write_tables
from defacedask.whole_files import write_whole

if TYPE_CHECKING:
    from defacedask.flow.flow import Flow
    from defacedask.flow.result import Outcome
    from defacedask.flow.run import Progress
    from defacedask.flow.settings import Settings

__all__ = ["SEED", "crops_stage", "fill_matrix"]

#: Of the sample of persons.
SEED = 0


class _Scanned(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def person(self) -> str: ...


RunT = TypeVar("RunT")
CaseT = TypeVar("CaseT", bound=_Scanned)


def fill_matrix(
    flow: Flow[RunT],
    run: RunT,
    folder: Path,
    settings: Settings,
    cases: Sequence[CaseT],
    looks_at: Callable[[CaseT], Iterable[Mapping[str, Any]]],
    stages: Callable[[str, str], tuple[Stage[RunT], ...]],
    progress: Progress | None = None,
) -> int:
    """Compare the sample, and write the table ``forced_matrix`` over the empty one.

    Parameters
    ----------
    flow : Flow
        The run's, whose stages have run.
    run : object
        Given to the stages.
    folder : Path
        The run's.
    settings : Settings
    cases : sequence
        With ``id`` and ``person``, whose original was looked at.
    looks_at : callable
        Case -> looks at its original.
    stages : callable
        File of everybody's faces, and digest of it -> what the comparison builds on, and the stage `CROPS`.
    progress : callable, optional

    Returns
    -------
    int
        Persons that were drawn; of fewer than two nothing is compared.
    """
    faces, chosen = _known(cases, looks_at, settings.forced_matrix, settings.gallery)
    if len(chosen) < 2:
        return len(chosen)
    text = write_known(faces)
    digest = hashlib.sha256(text.encode()).hexdigest()
    place = folder / "store" / "crops.json"
    with writing("the faces of the sample"):
        write_whole(place, text)
    flow.share(place)
    last = dataclasses.replace(
        flow,
        stages=stages(str(place), digest),
        brief=lambda result: result if result.stage == CROPS else receipt(result),
    )
    found = [
        result
        for _, results in last.run(run, chosen, settings.judged, progress)
        for result in results
        if result.stage == CROPS
    ]
    known = limits(read_table(folder / "tables", "controls"), settings.tolerance)
    order = {case.id: k for k, case in enumerate(chosen)}
    ranks = {name: k for k, name in enumerate((ORIGINAL, *settings.judged))}
    found.sort(key=lambda result: (ranks[result.defacer], order[result.case]))
    write_tables(folder, {"forced_matrix": matrix_rows(found, known, len(chosen), SEED)})
    return len(chosen)


def _known(
    cases: Sequence[CaseT],
    looks_at: Callable[[CaseT], Iterable[Mapping[str, Any]]],
    most: int,
    gallery: str = ORIGINALS,
) -> tuple[dict[str, Any], list[CaseT]]:
    """Faces of the sample (see `write_known`), and a case of each of its persons.

    In a gallery of second scans the faces are of each person's next scan: who was scanned once is left out.
    """
    scans: dict[str, list[CaseT]] = {}
    for case in sorted(cases, key=lambda case: case.id):
        scans.setdefault(case.person, []).append(case)
    # drawn one after the other, until enough show a face: nobody else's results are read
    order = np.random.default_rng(SEED).permutation(sorted(scans))
    faces: dict[str, Any] = {}
    chosen: list[CaseT] = []
    for person in map(str, order):
        if len(chosen) == most:
            break
        shown = scans[person][0] if gallery == ORIGINALS else next(iter(scans[person][1:]), None)
        seen = [
            look
            for look in (looks_at(shown) if shown is not None else ())
            if look["attack"] == "plain" and look["detected"] and look["encoding"]
        ]
        # a service's encodings are not numbers
        seen = [look for look in seen if not isinstance(look["encoding"], str)]
        for look in seen:
            some = faces.setdefault(look["modality"], {}).setdefault(look["recogniser"], {})
            some.setdefault(person, {}).setdefault(
                look["view"], Known(tuple(look["box"]), look["landmarks"], look["encoding"])
            )
        if seen:
            chosen.append(scans[person][0])
    return faces, sorted(chosen, key=lambda case: case.id)


def crops_stage(
    function: Callable[..., Outcome],
    needs: tuple[str | tuple[str, str], ...],
    each: str,
    place: str,
    digest: str,
    when: Callable[[Task[Any]], bool] = lambda _: True,
) -> Stage[Any]:
    """The stage that compares.

    Parameters
    ----------
    function : callable
        `defacedask.flow.stages.crops.compare_crops`, or what calls it.
    needs, each, when
        See `Stage`.
    place, digest : str
        File of everybody's faces, and of what it holds.
    """

    def arguments(task: Task[Any]) -> dict[str, Any]:
        return {
            "case": task.case.id,
            "defacer": task.defacer,
            "person": task.case.person,
            "known": place,
            "settings": task.run.settings.faces,
        }

    return Stage(
        CROPS,
        function,
        arguments,
        lambda task: [task.run.settings.faces, digest],
        needs=needs,
        each=each,
        when=when,
        seconds=6 * HOUR,
    )
