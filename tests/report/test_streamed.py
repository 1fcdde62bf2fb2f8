"""The page of a run whose tables are read batch by batch: the same as of whole tables, and in bounded memory."""

from __future__ import annotations

import dataclasses
import gc
import pickle

import dask
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support import small_run
from support.split_tables import split_tables
from support.synthetic_run import make_run

from defacedask.report import render_report
from defacedask.report.run import read_run
from defacedask.report.sections import (
    controls,
    decision,
    dose,
    glance,
    privacy,
    radiomics,
    record,
    rescan,
    tried,
    verdict,
)
from defacedask.report.sections.chosen import chosen_cases
from defacedask.tables.files import write_tables
from defacedask.tables.sampled import Numbers

CASES = 7


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of everything the page has, but for its size."""
    out = tmp_path_factory.mktemp("streamed")
    cases = make_run(out, n=CASES, structures=("Brain", "Eye_L"), defacers=("quickshear",))
    rng = np.random.default_rng(1)
    masks = [
        {"case": c, "defacer": "quickshear", "modality": "CT", "structure": "body"}
        | {"measure": m, "original": 1.0, "defaced": rng.uniform()}
        for c in cases
        for m in ("dice", "hd95_mm", "volume_ml")
    ]
    hidden = [
        {"case": c, "defacer": "quickshear", "modality": "CT", "attempt": "mask", "skin_found": rng.uniform()}
        | {"peel_found": rng.uniform(), "control_found": 0.9, "control_holds": True, "reason": ""}
        for c in cases
    ]
    kinds = [
        {"case": c, "defacer": "quickshear", "modality": "CT", "structure": "Brain"}
        | {"feature": f"glcm_{k}", "original": 2.0, "defaced": 2.0 - change, "percent": 50 * change}
        for c in cases
        for k in range(2)
        for change in [rng.uniform()]
    ]
    exports = [{"case": c, "defacer": "quickshear", "status": "done", "face_moved": 0.9} for c in cases]
    table = read_run(out).tables["radiomics"].to_dict("records")
    write_tables(
        out, {"utility": masks, "unmasking": hidden, "exports": exports, "radiomics": [*table, *kinds]}
    )
    return out


def said(folder):
    """All tables and lines of the page; figures are made of the same numbers."""
    run = read_run(folder)
    return [
        verdict.headline(run),
        glance.glance_table(run),
        decision.decision_table(run),
        controls.control_table(run),
        privacy.faces_table(run),
        privacy.attacks_table(run),
        dose.dose_table(run),
        dose.volume_table(run),
        rescan.masks_table(run),
        radiomics.radiomics_tables(run),
        radiomics.hazard_table(run),
        radiomics.classes_table(run),
        record.cases_table(run),
        record.undone_table(run),
        record.timing_table(run),
        record.status_counts(run),
        tried.tried_lines(run),
        chosen_cases(run),
        [one.values.tolist() for one in run.features.percents.values()],
        [one.swept.tolist() for one in run.looked.swept.values()],
    ]


def differing(one, other, place=""):
    """Places where two answers differ; sums of the same numbers in another order are the same to nine digits."""
    if dataclasses.is_dataclass(one):
        one, other = vars(one), vars(other)
    if isinstance(one, dict):
        assert list(one) == list(other), place
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list | tuple):
        assert len(one) == len(other), place
        return [
            found
            for k, (a, b) in enumerate(zip(one, other, strict=True))
            for found in differing(a, b, f"{place}[{k}]")
        ]
    same = one == other or (isinstance(one, float) and one == pytest.approx(other, rel=1e-9, nan_ok=True))
    return [] if same else [(place, one, other)]


@pytest.fixture(scope="module")
def at_once(whole):
    found = {}
    for most in (5000, 3):
        with dask.config.set({"defacedask.report.most-cases": most}):
            found[most] = said(whole)
    return found


@given(cuts=st.lists(st.integers(1, CASES + 1), min_size=1, max_size=4), most=st.sampled_from([5000, 3]))
@settings(max_examples=3, phases=[Phase.generate])  # an example costs a second
def test_any_split_says_what_whole_tables_say(whole, at_once, tmp_path_factory, cuts, most):
    split = split_tables(whole, tmp_path_factory.mktemp("split") / "run", cuts)
    with dask.config.set({"defacedask.report.most-cases": most}):
        found = said(split)
    if most > CASES:  # nothing is summed up in another order
        assert (repr(found) == repr(at_once[most])) is True
    assert differing(found, at_once[most]) == []
    assert ("of a sample of 3 cases (seed 0)" in repr(found)) == (most < CASES)


def test_the_page_is_the_same(whole, tmp_path):
    split = split_tables(whole, tmp_path / "run", range(1, CASES + 2))
    one, other = (render_report(read_run(out)).splitlines() for out in (split, whole))
    assert [a[:200] for a, b in zip(one, other, strict=True) if a != b] == []


def test_what_is_counted_is_of_all_cases_also_where_medians_are_of_some(whole):
    with dask.config.set({"defacedask.report.most-cases": 2}):
        some = read_run(whole)
        few = (some.features, some.looked, some.doses)
        counts = privacy.faces_table(some), glance.glance_table(some)
    run = read_run(whole)
    assert counts[0].rows == privacy.faces_table(run).rows
    assert [cell.text for row in counts[1].rows for cell in row] == [
        cell.text for row in glance.glance_table(run).rows for cell in row
    ]
    assert few[0].cases == run.features.cases == CASES
    for key, one in few[2].moved.items():
        assert one.changes.mean == pytest.approx(run.doses.moved[key].changes.mean)
        assert one.worst == run.doses.moved[key].worst
    assert any(one.sampled for one in few[0].percents.values())


def held(folder, most):
    """Bytes of all that is kept for the page, and the most rows that are read at a time."""
    with dask.config.set({"defacedask.report.most-cases": most}):
        run = read_run(folder)
        kept = [run.looked, run.features, run.doses, run.volumes, run.times, run.cases, run.exports]
        run.looked.detected()
        for one in gc.get_objects():  # what waits to be thinned is thinned
            if type(one) is Numbers:
                one.values  # noqa: B018
        rows = max(len(part) for part in run.read("recognition", ["case"]))
        return sum(len(pickle.dumps(one)) for one in kept), rows


def test_ten_times_the_cases_need_no_more_memory(tmp_path, monkeypatch):
    """Batches of 10 cases, a sample of 10; the positive controls are no sample, and tables that are read whole."""
    monkeypatch.setattr("defacedask.report.run.MOST_LINES", 10)
    found = {}
    for n in (20, 200):
        made = small_run.write(tmp_path / f"made{n}", small_run.tables(n=n))
        found[n] = held(split_tables(made, tmp_path / f"split{n}", range(10, n, 10)), 10)
    assert found[200][0] < 1.1 * found[20][0]
    assert found[200][1] == found[20][1]
    assert held(tmp_path / "split200", 5000)[0] > 3 * found[200][0]
    assert held(made, 10)[1] == 10 * 2 * found[20][1]
