"""A segment that is cut along the face would draw the skin by its edge: it is held back."""

from __future__ import annotations

import numpy as np
import pytest
from support import make
from support.export_kit import HalfSpace, ball, geometry, half_space, head_ct, run_export, write_segments  # noqa: F401

from defacedask.io.dicom.export.segmentation import cut_cm2

RADIUS = {"Muscle": 22.0, "Tumour": 9.0}


@pytest.fixture
def source(tmp_path):
    def write(label):
        grid = geometry()
        files = make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
        write_segments(tmp_path / "in", files, grid, {label: ball(grid, RADIUS[label])})
        return tmp_path / "in"

    return write


@pytest.mark.parametrize(
    ("label", "flat", "written"), [("Muscle", False, False), ("Muscle", True, True), ("Tumour", False, True)]
)
def test_held_back_where_the_edge_may_follow_the_skin(source, tmp_path, monkeypatch, label, flat, written):
    monkeypatch.setattr(HalfSpace, "flat", flat)
    outcome, out = run_export(source(label), tmp_path)
    assert (out / "SEG.dcm").exists() == written
    reasons = [held["reason"] for held in outcome.facts["held_back"]]
    assert len(reasons) == (not written)
    assert all("edge may draw the skin" in reason for reason in reasons)


@pytest.mark.parametrize("radius", [9.0, 16.0, 22.0])
def test_area_of_a_cut(radius):
    grid = geometry()
    plane = grid.centre[1] - 2.0
    before = ball(grid, radius).astype(np.uint8)
    _, y, _ = grid.positions(dtype=np.float64)
    after = np.where(y < plane, 0, before).astype(np.uint8)
    frames = [grid.block((k, 0, 0), (k + 1, *grid.shape[1:])) for k in range(grid.shape[0])]
    # a disc, within the stack
    disc = sum(
        2 * np.sqrt(max(radius**2 - 4.0 - (3.0 * (k - (grid.shape[0] - 1) / 2)) ** 2, 0.0)) * 3.0
        for k in range(grid.shape[0])
    )
    assert cut_cm2(before, after, frames) == pytest.approx(disc / 100, rel=0.12)
    assert cut_cm2(before, before, frames) == 0.0
