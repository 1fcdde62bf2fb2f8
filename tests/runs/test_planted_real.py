"""Planted cases through the real study on real planning CTs."""

from __future__ import annotations

import numpy as np
import pytest
from support.planted import study, table
from support.rt_writers import openkbp_dicom


@pytest.mark.slow
@pytest.mark.data
def test_planted_cases_on_real_planning_cts(shared_data, shared_tools, tmp_path):
    tool, source = shared_tools / "openkbp_to_dicom.py", shared_data / "openkbp"
    folders = [openkbp_dicom(tool, source, patient) for patient in ("pt_100", "pt_101")]
    views = {"defacedask.render.pitches": [-30, -20, -10], "defacedask.render.yaws": [0]}
    result = study(folders, tmp_path / "out", None, settings=views)
    done = table(result, "cases", status="done")
    assert len(done) == 2
    faces = result.tables["faces_detected"].query("modality == 'CT'").set_index("defacer")
    seen = table(result, "recognition", defacer="original").groupby("case")["detected"].any().sum()
    assert seen >= 1
    assert faces.loc["planted_identity", "matches"] == seen
    assert faces.loc["planted_blank", ["faces_detected", "matches", "matches_any_attack"]].tolist() == [
        0,
        0,
        0,
    ]
    blur = table(result, "verification", defacer="planted_blur", modality="any").iloc[0]
    assert blur["matched"] == seen
    # the brain stays, and what lies in it or reaches into it
    volumes = table(result, "geometry", defacer="planted_blank").set_index(["case", "structure"])[
        "region_percent"
    ]
    rows = table(result, "radiomics", defacer="planted_blank", feature="Range").dropna(subset="percent")
    away = rows[[volumes.get((row.case, row.structure)) == 100 for row in rows.itertuples()]]
    assert len({*away["structure"]}) >= 3
    assert np.allclose(away["percent"], 100)
    brain = table(result, "radiomics", defacer="planted_blank", structure="Brain")
    assert (brain["voxels_changed"] == 0).all()
