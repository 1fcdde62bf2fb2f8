"""A structure that is drawn along the skin is the body's outline, whatever it is called."""

from __future__ import annotations

import numpy as np
import pytest
from support import make
from support.export_kit import (
    HalfSpace,
    ball,
    geometry,
    half_space,  # noqa: F401
    head_ct,
    one_case,
    run_export,
    write_segments,
    write_structures,
)
from support.rt_writers import contours_of

from defacedask.flow.stages.layout import store_path
from defacedask.flow.stages.objects import shown_objects
from defacedask.geometry import Geometry
from defacedask.io.dicom.export.body_shape import OUTLINE, SKIN, roles_by_shape
from defacedask.io.dicom.structures import read_structures
from defacedask.io.store import CaseStore

GRID = Geometry.from_spacing((12, 80, 80), (3.0, 2.0, 2.0), frame_of_reference=make.uid("frame"))
CUT, LAID_ON = HalfSpace(-2.0), HalfSpace(-10.0, material=30.0)


def rod(radius: float, grid: Geometry = GRID) -> np.ndarray:
    """An upright cylinder around the middle of a grid."""
    x, y, z = grid.positions(dtype=np.float64)
    cx, cy, _ = grid.centre
    return np.hypot(x - cx, y - cy) + 0 * z < radius


BODY = rod(70.0)
FACE = BODY & (GRID.positions(dtype=np.float64)[1] < GRID.centre[1] - 30)
PTV = rod(25.0)
WIDE = np.arange(80)[:, None] > 10


class Part:
    """What is asked of a structure."""

    def __init__(self, name: str, mask: np.ndarray, number: int = 1) -> None:
        ends = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        box = tuple(slice(int(e[0]), int(e[-1]) + 1) for e in ends)
        self.original_name, self.number = name, number
        self.start, self.mask = tuple(s.start for s in box), mask[box]


@pytest.mark.parametrize("name", ["NormalTissue", "Patient", "Tissue", "Outer Contour", "zz1", "PTV-help"])
@pytest.mark.parametrize(
    ("mask", "role"),
    [
        (BODY, OUTLINE),
        (rod(68.0), OUTLINE),
        (rod(72.0) & rod(70.0), OUTLINE),
        (BODY & ~PTV, OUTLINE),
        (BODY & (np.arange(12) < 3)[:, None, None], OUTLINE),
        (BODY & ~rod(65.0), SKIN),
        (BODY & ~rod(52.0) & FACE, SKIN),
        (PTV, ""),
        (rod(50.0), ""),
        (rod(58.0), ""),
    ],
    ids=[
        "body",
        "a little inside",
        "rounded",
        "without target",
        "few slices",
        "shell",
        "front",
        "target",
        "deep",
        "deeper",
    ],
)
def test_roles(name, mask, role):
    region = GRID.positions(dtype=np.float64)[1] < GRID.centre[1] - 30
    found = roles_by_shape([Part(name, mask)], GRID, lambda k: BODY[k], np.broadcast_to(region, GRID.shape))
    assert found == ({1: role} if role else {})


@pytest.mark.parametrize(
    ("mask", "layer", "cut"),
    [
        (rod(58.0), True, False),  # 12 mm below the skin
        (np.roll(BODY, 8, axis=1), True, True),  # of a day on which the patient lay 16 mm farther back
        (np.roll(BODY, 30, axis=1) & WIDE, True, True),  # and of which the image's border cuts a part
        (np.roll(BODY, (3, 10), axis=(1, 2)), True, True),
        (rod(50.0), False, False),
        (np.roll(rod(50.0), 5, axis=1), False, False),
        (
            rod(58.0) & (np.arange(12) < 7)[:, None, None],
            False,
            False,
        ),  # as a brain, which ends above the nose
    ],
    ids=["deep", "moved back", "far back", "moved aside", "deeper", "aside in it", "in half of the slices"],
)
def test_what_is_drawn_after_a_body_is_an_outline_wherever_its_edge_is(mask, layer, cut):
    """A layer leaves an edge below it, and that draws the face; a cut by planes takes all of its front, if that is
    where the body's is."""
    y = GRID.positions(dtype=np.float64)[1]
    region = BODY & ~rod(62.0) & (y < GRID.centre[1])
    for anywhere in (False, True):
        found = roles_by_shape([Part("zz", mask)], GRID, lambda k: BODY[k], region, anywhere=anywhere)
        assert found.get(1, "") == (OUTLINE if (layer if anywhere else cut) else "")


def test_a_name_of_the_study_is_what_it_says():
    assert roles_by_shape([Part("Brain", BODY), Part("Parotid_L", BODY, 2)], GRID, lambda k: BODY[k]) == {}


def test_without_a_body_nothing_is_said():
    assert roles_by_shape([Part("x", BODY)], GRID, lambda k: None) == {}


def patient(folder, name, kind, mask=None):
    grid = geometry()
    files = make.write_series(folder / "CT", head_ct(grid), grid)
    lines = contours_of(ball(grid) if mask is None else mask, grid)
    return grid, write_structures(folder, files, grid, [(name, kind, lines)])


def after(folder, work, plan):
    _, out = run_export(folder, work, plan)
    grid = geometry()
    (part,) = read_structures(out / "RS.dcm", grid)
    store = CaseStore(store_path(str(work / "store"), one_case(folder).id))
    shown = {
        who: [s.values for s in shown_objects(store, who, p, ["body_contour"], {})]
        for who, p in (("original", None), (plan.defacer, plan))
    }
    return part.full(grid.shape), shown


@pytest.mark.parametrize("plan", [CUT, LAID_ON], ids=["cut", "laid on"])
@pytest.mark.parametrize(("name", "kind"), [("NormalTissue", "ORGAN"), ("Patient", "AVOIDANCE"), ("xyz", "")])
def test_a_renamed_body_is_clipped_and_attacked_like_body(tmp_path, plan, name, kind):
    patient(tmp_path / "a", "BODY", "EXTERNAL")
    patient(tmp_path / "b", name, kind)
    body, seen = after(tmp_path / "a", tmp_path / "wa", plan)
    other, also = after(tmp_path / "b", tmp_path / "wb", plan)
    assert np.array_equal(body, other)
    assert (body != ball(geometry())).sum() > 400
    assert [len(v) for v in also.values()] == [1, 1]
    for who in seen:
        assert np.array_equal(seen[who][0], also[who][0])


def test_a_shell_loses_what_lies_near_a_layer(tmp_path):
    """It cannot be redrawn; under a layer that only adds, nothing of it may stay before the face."""
    grid = geometry()
    shell = ball(grid) & ~ball(grid, 13.0)
    patient(tmp_path / "in", "zz_help", "ORGAN", shell)
    left, _ = after(tmp_path / "in", tmp_path, LAID_ON)
    near = LAID_ON.region(grid)
    assert not left[near.any(axis=(1, 2)) & shell.any(axis=(1, 2))].any()


def test_an_organ_below_the_skin_stays_as_it_is(tmp_path):
    """The control: what is deep enough keeps its contours under a layer."""
    grid = geometry()
    organ = ball(grid, 7.0)
    patient(tmp_path / "in", "Tongue", "ORGAN", organ)
    left, _ = after(tmp_path / "in", tmp_path, LAID_ON)
    assert np.array_equal(left, organ & ~LAID_ON.region(grid))


@pytest.mark.parametrize(("plan", "held"), [(CUT, False), (LAID_ON, True)], ids=["cut", "laid on"])
def test_a_segment_along_the_skin_is_held_back_under_a_layer(tmp_path, plan, held):
    grid = geometry()
    files = make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    write_segments(tmp_path / "in", files, grid, {"Tumour": ball(grid, 7.0), "Tissue 1": ball(grid)})
    outcome, out = run_export(tmp_path / "in", tmp_path, plan)
    reasons = [one["reason"] for one in outcome.facts["held_back"]]
    assert reasons == (["its segment 'Tissue 1' is drawn along the skin of the face"] if held else [])
    assert (out / "SEG.dcm").exists() != held


def test_a_segment_below_the_skin_goes_out_under_a_layer(tmp_path):
    grid = geometry()
    files = make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    write_segments(tmp_path / "in", files, grid, {"Tumour": ball(grid, 7.0)})
    outcome, out = run_export(tmp_path / "in", tmp_path, LAID_ON)
    assert outcome.facts["held_back"] == []
    assert (out / "SEG.dcm").exists()
