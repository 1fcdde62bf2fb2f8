"""Volumes of structures against a plan's region."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from defacedask.costs.overlap import compare_volumes, is_target
from defacedask.defacers.base import Plan
from defacedask.geometry import Geometry
from defacedask.io.dicom.structures import Structure

GRID = Geometry.from_spacing((10, 20, 20), (3, 1, 1), (-5, -40, 100))


@dataclasses.dataclass(frozen=True, eq=False)
class Below(Plan):
    """Everything in front of (anterior to) a coronal plane."""

    defacer: ClassVar[str] = "planted_below"
    y: float = 0.0

    def wanted(self, geometry, xp=np):
        return xp.broadcast_to(geometry.positions()[1] < self.y, geometry.shape)


def part(name, start, shape, kind="", own=""):
    return Structure(name, own or name, 1, (0, 0, 0), kind, start, np.ones(shape, bool))


def test_volumes_and_overlap():
    structures = [
        part("Target", (2, 4, 4), (2, 8, 5), own="PTV_70"),
        part("Brain", (0, 12, 0), (4, 8, 20)),
        part("BODY", (0, 0, 0), (10, 20, 20), "EXTERNAL"),
        part("Bolus", (0, 0, 0), (1, 2, 2), "BOLUS"),
        Structure("GTVn", "GTVn", 2, (0, 0, 0), "", (0, 0, 0), np.zeros((1, 1, 1), bool)),
    ]
    rows = {r["structure"]: r for r in compare_volumes(structures, GRID, Below(y=-34.0))}
    # rows 0..5 of 20 lie in front of y = -34
    assert rows["Target"]["volume_ml"] == pytest.approx(2 * 8 * 5 * 3 / 1000)
    assert rows["Target"]["region_percent"] == pytest.approx(100 * 2 / 8)
    assert rows["Target"]["after_ml"] == pytest.approx(0.75 * rows["Target"]["volume_ml"])
    assert rows["Target"]["region_ml"] == pytest.approx(0.25 * rows["Target"]["volume_ml"])
    assert rows["Brain"]["region_percent"] == 0
    assert rows["Brain"]["after_ml"] == rows["Brain"]["volume_ml"]
    assert "outline" in rows["BODY"]["note"]
    assert "margin" in rows["Bolus"]["note"]
    assert np.isnan(rows["GTVn"]["region_percent"])
    assert rows["GTVn"]["note"] == "no voxels"
    assert {n: r["target"] for n, r in rows.items()} == {
        "Target": True, "Brain": False, "BODY": False, "Bolus": False, "GTVn": True,
    }  # fmt: skip


def test_what_is_a_target():
    assert is_target(part("x", (0, 0, 0), (1, 1, 1), "PTV"))
    assert is_target(part("CTV_54", (0, 0, 0), (1, 1, 1)))
    assert not is_target(part("Brain_PRV", (0, 0, 0), (1, 1, 1), "ORGAN"))


def test_the_region_of_a_box_within_another_is_asked_once(monkeypatch):
    structures = [
        part("BODY", (0, 0, 0), (8, 20, 18), "EXTERNAL"),
        part("Brain", (1, 2, 3), (4, 8, 9)),
        part("Couch", (7, 10, 10), (3, 10, 10)),  # reaches beyond the largest
        Structure("GTVn", "GTVn", 2, (0, 0, 0), "", (0, 0, 0), np.zeros((1, 1, 1), bool)),
    ]
    apart = [compare_volumes([one], GRID, Below(y=-33.0))[0] for one in structures]
    asked = []
    region = Below.region
    monkeypatch.setattr(
        Below, "region", lambda self, grid, xp=np: asked.append(grid.shape) or region(self, grid, xp)
    )
    rows = compare_volumes(structures, GRID, Below(y=-33.0))
    assert asked == [(8, 20, 18), (3, 10, 10)]
    for one, row in zip(apart, rows, strict=True):
        assert {k: v for k, v in one.items() if v == v} == {k: v for k, v in row.items() if v == v}
    assert rows[1]["region_ml"] > 0
