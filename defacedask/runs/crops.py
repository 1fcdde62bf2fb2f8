"""A study's last look: the forced crop as a full matrix, on a sample of the persons.

It costs an encoding for each pair of persons, view, defacer and recogniser, so the persons are drawn: as many as the
option ``forced-matrix`` says, with the seed `SEED`, of those whose original shows a face.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.errors import writing
from defacedask.faces.crops import Known
from defacedask.flow.result import kept_result, receipt
from defacedask.flow.stage import EACH_DEFACER, HOUR, Stage, Task
from defacedask.flow.stages.crops import compare_crops, write_known
from defacedask.flow.stages.layout import KEPT, ORIGINAL
from defacedask.runs.study_stages import StudyRun, stages
from defacedask.tables.crops import CROPS, matrix_rows
from defacedask.tables.evidence import limits
from defacedask.tables.files import read_table, write_tables
from defacedask.whole_files import write_whole

if TYPE_CHECKING:
    from defacedask.flow.flow import Flow
    from defacedask.flow.run import Progress
    from defacedask.io.dicom.catalogue import Case

__all__ = ["SEED", "fill_matrix"]

#: Of the sample of persons.
SEED = 0


def fill_matrix(
    flow: Flow[StudyRun],
    context: StudyRun,
    originals: Collection[str],
    progress: Progress | None = None,
) -> None:
    """Compare the sample, and write the table ``forced_matrix`` over the empty one.

    Parameters
    ----------
    flow : Flow
        The study's, whose stages have run.
    context : StudyRun
    originals : collection of str
        Cases whose original was looked at.
    progress : callable, optional
    """
    prepared, settings = context.prepared, context.settings
    faces, cases = _known(prepared.folder / KEPT, originals, prepared.cases, settings.forced_matrix)
    if len(cases) < 2:
        return
    text = write_known(faces)
    digest = hashlib.sha256(text.encode()).hexdigest()
    place = prepared.folder / "store" / "crops.json"
    with writing("the faces of the sample"):
        write_whole(place, text)
    flow.share(place)
    last = dataclasses.replace(
        flow,
        stages=_stages(settings.device, str(place), digest),
        brief=lambda result: result if result.stage == CROPS else receipt(result),
    )
    found = [
        result
        for _, results in last.run(context, cases, settings.judged, progress)
        for result in results
        if result.stage == CROPS
    ]
    known = limits(read_table(prepared.folder / "tables", "controls"), settings.tolerance)
    order = {case.id: k for k, case in enumerate(cases)}
    ranks = {name: k for k, name in enumerate(settings.judged)}
    found.sort(key=lambda result: (ranks[result.defacer], order[result.case]))
    write_tables(prepared.folder, {"forced_matrix": matrix_rows(found, known, len(cases), SEED)})


def _known(
    kept: Path, originals: Collection[str], cases: Sequence[Case], most: int
) -> tuple[dict[str, Any], list[Case]]:
    """Faces of the sample (see `write_known`), and a case of each of its persons."""
    first: dict[str, Case] = {}
    for case in sorted(cases, key=lambda case: case.id):
        if case.id in originals:
            first.setdefault(case.person, case)
    # drawn one after the other, until enough show a face: nobody else's results are read
    order = np.random.default_rng(SEED).permutation(sorted(first))
    faces: dict[str, Any] = {}
    chosen: list[Case] = []
    for person in map(str, order):
        if len(chosen) == most:
            break
        result = kept_result(kept, first[person].id, "faces", ORIGINAL)
        looks = result.facts.get("looks", ()) if result else ()
        seen = [look for look in looks if look["attack"] == "plain" and look["detected"] and look["encoding"]]
        # a service's encodings are not numbers
        seen = [look for look in seen if not isinstance(look["encoding"], str)]
        for look in seen:
            some = faces.setdefault(look["modality"], {}).setdefault(look["recogniser"], {})
            some.setdefault(person, {}).setdefault(
                look["view"], Known(tuple(look["box"]), look["landmarks"], look["encoding"])
            )
        if seen:
            chosen.append(first[person])
    return faces, sorted(chosen, key=lambda case: case.id)


def _stages(device: str, place: str, digest: str) -> tuple[Stage[StudyRun], ...]:
    """What the comparison builds on, which is done, and the comparison."""

    def arguments(task: Task[StudyRun]) -> dict[str, Any]:
        return {
            "case": task.case.id,
            "defacer": task.defacer,
            "person": task.case.person,
            "known": place,
            "settings": task.run.settings.faces,
        }

    before = [
        one
        for one in stages(device)
        if one.name in ("ingest", "plan", "apply") or (one.name, one.each) == ("faces", ORIGINAL)
    ]
    return (
        *before,
        Stage(
            CROPS,
            compare_crops,
            arguments,
            lambda task: [task.run.settings.faces, digest],
            needs=("ingest", "plan", ("faces", ORIGINAL), "apply"),
            each=EACH_DEFACER,
            seconds=6 * HOUR,
        ),
    )
