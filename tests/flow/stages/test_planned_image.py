"""Arms and the table of cases go by the image that the plan was made on, which need not be the case's first."""

from __future__ import annotations

import numpy as np
import pytest
from support import make
from support.export_kit import ball, geometry, head_ct, one_case

from defacedask.flow.result import TaskResult
from defacedask.flow.stages.arms import take_arm
from defacedask.flow.stages.ingest import ingest
from defacedask.flow.stages.kept import Kept, save_kept
from defacedask.io.store import CaseStore
from defacedask.tables.rows import About, case_rows


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A case with a large CT and a small one, which is told to be the one with the head."""
    folder = tmp_path_factory.mktemp("two")
    grid = geometry()
    small = make.grid((10, 30, 30), (3.0, 1.5, 1.25), frame=grid.frame_of_reference, origin=(-18, -22, 103))
    make.write_series(folder / "in" / "a", head_ct(grid), grid, "CT", series="large")
    make.write_series(folder / "in" / "b", head_ct(small), small, "CT", series="small")
    case = one_case(folder / "in")
    facts = ingest(case=case.to_dict(), root=str(folder)).facts
    made = TaskResult("ingest", case.id, "", "k", facts=facts)
    shown = {"modality": "MR", "sequence": "T2"}
    planned = TaskResult("plan", case.id, "", "k", facts={"image": "images/CT-2", "shown": shown})
    save_kept(folder / "plans", case.id, [Kept("Brain", ball(small, 9.0), small)])
    return folder, case, made, planned


def test_a_command_is_given_the_image_that_the_plan_was_made_on(two):
    folder, case, made, planned = two
    arguments = {"case": case.to_dict(), "plans": str(folder / "plans"), "command": "cp {input} {output}"}
    done = take_arm(made, planned, arm="copy", seconds=60, **arguments)
    assert list(done.facts["changed"]) == ["images/CT-2"]
    store = CaseStore(made.facts["store"])
    before = store.volume("images/CT-2")
    assert before.shape == (10, 30, 30)
    after = store.volume("defaced/copy/images/CT-2")
    assert np.array_equal(after.values, before.values)


def test_the_table_of_cases_names_what_the_plan_was_made_on(two):
    _, case, made, planned = two
    (row,) = case_rows([About.of(case)], [made, planned])
    assert (row["modality"], row["sequence"]) == ("MR", "T2")
    (row,) = case_rows([About.of(case)], [made])
    assert (row["modality"], row["sequence"]) == ("CT", "")
