"""What is published of a region holds every voxel that changed, and tells nothing of the face."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.heads import placed, posed
from support.mask_attack import found_by_average, found_in_mask

from defacedask.anatomy.atlas import atlas_of
from defacedask.anatomy.head import Head
from defacedask.defacers import get_defacer
from defacedask.defacers.base import Plan
from defacedask.defacers.boxes import FAR, ROOM, Box, box_pieces, in_boxes
from defacedask.defacers.hull import CELL, covers, published, steps
from defacedask.errors import ContractError
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of

DEFACERS = ("quickshear", "biometric_mask", "biometric_mask_strict", "mri_reface", "carina", "surrogate")
#: Where the second head's face is fuller (mm of radius) or thinner (negative) than the first's.
OTHER_FACE = {
    "nose_tip": 13.0,
    "cheek_left": 18.0,
    "cheek_right": 15.0,
    "stomion": 9.0,
    "glabella": 10.0,
    "pogonion": -9.0,
}


def another_face(volume, truth, air):
    """The same head with another nose, cheeks, mouth, brow and chin."""
    geometry = geometry_of(volume)
    x, y, z = np.broadcast_arrays(*geometry.positions(dtype=np.float64))
    values = volume.values.copy()
    marks, back = atlas_of().landmarks, np.linalg.inv(truth)
    soft = np.median(volume.values[volume.values > air + 900]) if air < 0 else 400
    for name, radius in OTHER_FACE.items():
        cx, cy, cz = (back @ np.append(marks[name], 1.0))[:3]
        ball = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 < radius**2
        values[ball & (values < soft) if radius > 0 else ball] = soft if radius > 0 else air
    return volume.copy(data=values)


@pytest.fixture(scope="module", params=["CT", "MR"])
def pair(request):
    """Two heads in one pose whose faces differ."""
    volume, truth = posed(request.param, pitch=12.0, yaw=-8.0, spacing=(4.0, 2.5, 2.5))
    air = -1000 if request.param == "CT" else 0
    return [placed(v, truth) for v in (volume, another_face(volume, truth, air))]


@pytest.fixture(scope="module")
def left(pair):
    """(plan, voxels changed) of both heads by each defacer, each made once."""
    kept: dict[str, list[tuple[Plan, np.ndarray]]] = {}

    def of(name):
        if name not in kept:
            plans = [get_defacer(name).plan(head, key=b"k" * 32) for head in pair]
            kept[name] = [
                (plan, plan.apply(head.volume).values != head.volume.values)
                for plan, head in zip(plans, pair, strict=True)
            ]
        return kept[name]

    return of


@pytest.fixture(scope="module")
def without_a_mask(pair):
    """How much of these faces anybody finds who has no mask."""
    return min(found_by_average(head) for head in pair)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFACERS)
def test_two_faces_in_one_pose_have_one_hull(pair, left, name):
    hulls = []
    for head, (plan, changed) in zip(pair, left(name), strict=True):
        hull = published(plan, changed, head.geometry, head.to_template)
        assert changed.sum() > 1000
        assert not (changed & ~hull).any()
        if (
            name not in ("mri_reface", "surrogate") or head.modality != "MR"
        ):  # which replaces ghosts in air, wherever they are
            assert hull.mean() < 0.7
        assert not hull[_core(head)].all()  # and leaves of the brain what it can
        hulls.append(hull)
    assert np.array_equal(*hulls)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFACERS)
def test_the_face_is_not_found_in_the_hull(pair, left, without_a_mask, name):
    head, (plan, changed) = pair[0], left(name)[0]
    found = found_in_mask(published(plan, changed, head.geometry, head.to_template), head.geometry, *pair)
    assert found < 0.25
    # ... nor better than anybody finds it who has no mask
    assert found < without_a_mask


@pytest.mark.slow
@pytest.mark.parametrize("name", ["carina", "quickshear"])
def test_the_face_is_found_in_the_exact_mask(pair, left, name):
    """The attack works: the region that used to be published, and the voxels that changed."""
    for head, (plan, changed) in zip(pair, left(name), strict=True):
        exact = changed if name == "quickshear" else np.asarray(plan.region(head.geometry))
        assert found_in_mask(exact, head.geometry, head) > 0.6
    assert not np.array_equal(*(changed for _, changed in left(name)))


def _core(head):
    return np.asarray(list(steps(_Nothing(), head.geometry, head.to_template))[-2]) ^ True


@dataclasses.dataclass(frozen=True, eq=False)
class _Nothing(Plan):
    """A plan without a region."""

    defacer: ClassVar[str] = "nothing_for_hulls"

    def wanted(self, geometry: Geometry, xp: Any = np) -> Any:
        return np.zeros(geometry.shape, bool)


@dataclasses.dataclass(frozen=True, eq=False)
class _Ball(Plan):
    """A plug-in's plan that knows nothing of hulls."""

    defacer: ClassVar[str] = "ball_for_hulls"

    centre: tuple[float, float, float] = (3.0, -20.0, 8.0)
    radius: float = 23.0

    def wanted(self, geometry: Geometry, xp: Any = np) -> Any:
        x, y, z = geometry.positions(np, np.float64)
        a, b, c = self.centre
        return (x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 <= self.radius**2


def grid(shape=(24, 26, 28), spacing=(5.0, 4.0, 4.0)):
    return Geometry.from_spacing(shape, spacing, (-57.0, -50.0, -60.0))


def test_a_plan_that_says_nothing_gets_a_box_on_the_lattice():
    region = _Ball().region(grid())
    hull = published(_Ball(), region, grid())
    assert covers(hull, region)
    x, y, z = np.broadcast_arrays(*grid().positions(dtype=np.float64))
    for places, low, high in ((x, -20, 40), (y, -60, 20), (z, -20, 40)):
        assert places[hull].min() >= low - 0.1
        assert places[hull].max() <= high + 0.1
    assert hull.sum() == np.prod([len(np.unique(p[hull])) for p in (x, y, z)])  # a box


def test_a_change_outside_makes_the_hull_grow_by_whole_steps():
    plan, region = _Ball(), _Ball().region(grid())
    sizes = []
    for at in (None, (48.0, 3.0, 13.0), (-57.0, -50.0, -60.0)):
        changed = region.copy()
        if at is not None:
            changed[tuple(np.rint(grid().to_index(at)).astype(int))] = True
        hull = published(plan, changed, grid())
        assert covers(hull, changed)
        sizes.append(int(hull.sum()))
    assert sizes[0] < sizes[1] < sizes[2] == np.prod(grid().shape)
    assert len(list(steps(plan, grid()))) == 3


@dataclasses.dataclass(frozen=True, eq=False)
class _Tracing(_Ball):
    """A plug-in's plan that gives its region for a hull, voxel by voxel: the mask that is published would show it."""

    defacer: ClassVar[str] = "tracing_for_hulls"

    faces: int = 400

    def hull(self, to_template: Any) -> Any:
        turns = np.linspace(0, 2 * np.pi, self.faces, endpoint=False)
        planes = [(np.cos(a), np.sin(a), 0.0, float(np.cos(a) * 3 - np.sin(a) * 20 - 23)) for a in turns]
        return [tuple(planes)] if self.faces < 300 else [(one,) for one in planes]


@pytest.mark.parametrize("faces", [100, 400])
def test_a_hull_that_could_follow_the_skin_is_not_published(faces):
    region = _Ball().region(grid())
    with pytest.raises(ContractError, match="could follow the skin"):
        published(_Tracing(faces=faces), region, grid())
    assert covers(published(_Tracing(faces=8), region, grid()), region)


def test_no_region_no_hull():
    nothing = np.zeros(grid().shape, bool)
    assert not published(_Nothing(), nothing, grid()).any()
    nothing[0, 0, 0] = True
    assert published(_Nothing(), nothing, grid()).all()


@settings(max_examples=25)
@given(
    st.tuples(*[st.floats(-40, 40)] * 3),
    st.tuples(*[st.floats(1, 60)] * 3),
    st.lists(st.sampled_from(range(6)), max_size=3),
    st.integers(0, 2**31),
)
def test_planes_of_boxes_hold_the_boxes(low, size, opened, seed):
    ends = [list(low), [a + b for a, b in zip(low, size, strict=True)]]
    for side in opened:
        ends[side // 3][side % 3] = -FAR if side < 3 else FAR
    box = Box("box", *map(tuple, ends))
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.8, 1.2, 3)
    matrix[:3, 3] = rng.uniform(-20, 20, 3)
    inside = in_boxes([box], matrix, grid())

    @dataclasses.dataclass(frozen=True, eq=False)
    class Boxed(_Nothing):
        defacer: ClassVar[str] = ""

        def hull(self, to_template: Any) -> Any:
            return box_pieces([box], matrix)

    first, grown, every = steps(Boxed(), grid())
    assert covers(first, inside)
    wider = Box("wider", tuple(v - 2 * ROOM for v in box.low), tuple(v + 2 * ROOM for v in box.high))
    assert covers(in_boxes([wider], matrix, grid()), first)  # no more than rounding
    assert covers(grown, first)
    assert every.all()
    assert CELL >= 16.0  # cells as coarse as a nose is wide


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["mr_ixi012", "ct_pycerr_hn"])
def test_a_real_face_is_not_found(shared_data, name):
    import defacedask as dd
    from defacedask.io.dicom.image import read_image

    head = Head(read_image(dd.scan(shared_data / name).cases[0].primary).load())
    plan = get_defacer("carina").plan(head, key=b"k" * 32)
    region = np.asarray(plan.region(head.geometry))
    changed = plan.apply(head.volume).values != head.volume.values
    hull = published(plan, changed, head.geometry, head.to_template)
    assert not (changed & ~hull).any()
    assert found_in_mask(region, head.geometry, head) > 0.6
    assert found_in_mask(hull, head.geometry, head) < 0.25
