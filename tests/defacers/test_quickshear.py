"""Quickshear: the published plane where that one is right, a right one where it is not."""

from __future__ import annotations

from types import SimpleNamespace

import dask.array
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.heads import placed, posed
from support.strategies import geometries

from defacedask.anatomy.grid import resample
from defacedask.defacers import get_defacer, plan_from_dict
from defacedask.defacers.shear import beyond_planes, first_edge, front_edge, half_space, lower_chain, outline
from defacedask.errors import ConfigError, RefusedError
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, make_volume


def published(brain: np.ndarray, buffer: float = 10.0) -> np.ndarray:
    """What the authors' program keeps, written from the paper and its description; axes (x, P, S), True = kept.

    With its habits: neighbours across the border wrap, the line is drawn for as many columns as there are slices,
    the buffer is counted in voxels along S, and the line's height is cut to a whole number.
    """
    profile = brain.any(axis=0).astype(int)
    around = sum(np.roll(profile, step, axis) for axis in (0, 1) for step in (1, -1))
    edge = 4 * profile != around
    points = np.argwhere(edge)
    chain: list[np.ndarray] = []
    for point in points:
        while len(chain) > 1:
            (a0, a1), (b0, b1) = chain[-1] - chain[-2], point - chain[-2]
            if a0 * b1 - a1 * b0 > 0:
                break
            chain.pop()
        chain.append(point)
    (p0, s0), (p1, s1) = chain[0], chain[1]
    slope = (s1 - s0) / (p1 - p0)
    heights = s0 + slope * (np.arange(brain.shape[2]) - p0) - buffer
    kept = np.ones(brain.shape, dtype=bool)
    for column in np.flatnonzero(heights > 0):
        if column < brain.shape[1]:
            kept[:, column, : int(heights[column])] = False
    return kept


def brain_in(grid: Geometry, scale: float = 1.0) -> np.ndarray:
    """A brain's coarse shape: a large ellipsoid with a flat base, a stem below its back half."""
    x, y, z = (a / scale for a in grid.positions(dtype=np.float64))
    lobes = (x / 66) ** 2 + (y / 82) ** 2 + (z / 58) ** 2 <= 1
    stem = (x / 14) ** 2 + ((y - 25) / 14) ** 2 + ((z + 55) / 40) ** 2 <= 1
    return (lobes & (z > -42)) | stem


def head_of(grid: Geometry, brain: np.ndarray, **more) -> SimpleNamespace:
    """All that quickshear asks of a head, upright and at the world's origin."""
    fine = Geometry.from_spacing((180, 200, 150), (1.0, 1.0, 1.0), (-75.0, -100.0, -110.0))

    def to_upright(values, *, nearest=True, outside=0.0):
        return resample(values.astype(np.float32), grid, fine, outside=outside)

    x, y, z = grid.positions(dtype=np.float64)
    skull = (x / 78) ** 2 + (y / 98) ** 2 + (z / 75) ** 2 <= 1
    face = (np.abs(x) < 60) & (y > -105) & (y < 40) & (z > -130) & (z < 0)
    body = skull | face | brain
    facts = {"pose": np.eye(4), "upright": fine, "to_upright": to_upright, "body": body, "grid": grid}
    skin = face & ~skull & (y < -100)
    return SimpleNamespace(**facts, brain=brain, face_skin=skin, chin=np.array([0.0, -80.0, -125.0]), **more)


def face_box(grid: Geometry) -> np.ndarray:
    """Eyes, nose and mouth of that head."""
    x, y, z = grid.positions(dtype=np.float64)
    return np.broadcast_to((np.abs(x) < 55) & (y < -90) & (y > -105) & (z < -40) & (z > -110), grid.shape)


CUBE = Geometry.from_spacing((128, 128, 100), (2.0, 2.0, 2.0), (-99.5, -127.5, -139.5))


def test_equals_the_published_plane_on_isotropic_millimetres():
    grid = Geometry.from_spacing((128, 128, 100), (1.0, 1.0, 1.0), (-50.0, -60.0, -70.0))
    brain = brain_in(grid, scale=0.5)
    kept = np.transpose(published(np.transpose(brain, (2, 1, 0))), (2, 1, 0))
    plan = get_defacer("quickshear", form="published", buffer_mm=10, bounded="no").plan(head_of(grid, brain))
    ours = half_space(plan.normal, plan.offset, grid)
    assert 0.02 < ours.mean() < 0.9
    assert (~kept).mean() > 0.02
    # heights cut to whole voxels: theirs lies at most one voxel lower, never higher
    lower = np.zeros_like(ours)
    lower[:-1] = ours[1:]
    assert not (~kept & ~ours).any()
    assert not (kept & lower)[:-2].any()


def test_the_published_program_fails_where_this_one_cuts():
    """512 x 512 x 30: the line is drawn for 30 of 512 columns, and ten voxels are 50 mm."""
    grid = Geometry.from_spacing((30, 512, 512), (5.0, 0.5, 0.5), (-128.0, -128.0, -75.0))
    brain = brain_in(grid)
    face = face_box(grid) & (grid.positions()[2] > -74)
    theirs = ~np.transpose(published(np.transpose(brain, (2, 1, 0))), (2, 1, 0))
    assert theirs[face].mean() < 0.2
    plan = get_defacer("quickshear").plan(head_of(grid, brain))
    region = plan.region(grid)
    assert region[face].all()
    assert not region[brain].any()
    assert region[:, :, 100:400].any(axis=(0, 2)).sum() > 120


@pytest.mark.parametrize("shape", [(45, 255, 255), (255, 45, 100), (60, 129, 128)])
def test_odd_grids(shape):
    extent = np.array([250.0, 256.0, 200.0])
    spacing = extent / shape
    grid = Geometry.from_spacing(shape, spacing.tolist(), (-99.5, -127.5, -139.5))
    brain = brain_in(grid)
    region = get_defacer("quickshear").plan(head_of(grid, brain)).region(grid)
    assert region[face_box(grid)].mean() > 0.99
    assert not region[brain].any()


def test_a_brain_cut_by_the_field_of_view_adds_no_false_points():
    whole = get_defacer("quickshear").plan(head_of(CUBE, brain_in(CUBE)))
    for top in (30.0, 12.0):
        layers = int(np.ceil(top - CUBE.origin[2]))
        grid = CUBE.block((0, 0, 0), (layers // 2, *CUBE.shape[1:]))
        brain = brain_in(grid)
        assert brain[-1].any()
        plan = get_defacer("quickshear").plan(head_of(grid, brain))
        assert plan.angle_degrees == pytest.approx(whole.angle_degrees, abs=8)
        assert plan.region(grid)[face_box(grid)].all()
        # there the published program's wrapped outline has a point at the bottom of the picture
        wrapped = published(np.transpose(brain, (2, 1, 0)))
        assert not np.array_equal(
            wrapped, published(np.transpose(brain_in(CUBE), (2, 1, 0)))[:, :, : layers // 2]
        )


def test_the_angle_hardly_depends_on_the_voxels():
    angles: dict[str, list[float]] = {"front": [], "first": []}
    for spacing in (0.5, 1.0, 2.0, 3.0):
        shape = np.round(np.array([200, 180]) / spacing).astype(int)
        p, s = ((np.arange(n) + 0.5) * spacing - n * spacing / 2 for n in shape)
        profile = (p[:, None] / 82) ** 2 + (s[None, :] / 58) ** 2 <= 1
        chain = lower_chain(profile) * spacing
        for name, (_, along) in (("front", front_edge(chain, 40.0)), ("first", first_edge(chain))):
            angles[name].append(float(np.rad2deg(np.arctan2(-along[1], along[0]))))
    assert np.ptp(angles["front"]) < 9
    assert min(angles["first"]) > max(angles["front"]) + 8  # the tip of the pole: a cut in front of the face


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 60))
def test_the_plane_leaves_the_whole_profile_behind(seed, span):
    random = np.random.default_rng(seed)
    profile = random.random((random.integers(2, 20), random.integers(2, 20))) < 0.4
    profile[0, 0] = profile[-1, -1] = True
    chain = lower_chain(profile)
    points = np.argwhere(profile)
    for at, along in (first_edge(chain), front_edge(chain, max(span, 0.1))):
        away = np.array([along[1], -along[0]])
        assert ((points - at) @ away <= 1e-9).all()


def test_outline_by_hand():
    picture = np.zeros((3, 3), dtype=bool)
    picture[1, 1] = True
    cross = np.array(
        [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], bool
    )
    assert np.array_equal(outline(picture), cross)


def test_the_buffer_is_millimetres_across_the_plane():
    brain = brain_in(CUBE)
    near, far = (get_defacer("quickshear", buffer_mm=b).plan(head_of(CUBE, brain)) for b in (5.0, 12.0))
    assert far.offset - near.offset == pytest.approx(7.0)
    world = CUBE.to_world(np.argwhere(brain)) @ np.array(near.normal)
    assert near.offset - world.max() == pytest.approx(5.0, abs=2.0)


def test_the_cut_ends_below_the_chin_where_more_is_in_view():
    brain = brain_in(CUBE)
    head = head_of(CUBE, brain)
    assert not get_defacer("quickshear").plan(head).bounded
    x, y, z = CUBE.positions(dtype=np.float64)
    head.body = head.body | ((np.abs(x) < 90) & (y < 60) & (y > -60) & (z < -145 + 10)) | (z < -139)
    head.chin = np.array([0.0, -80.0, -100.0])
    bounded, free = (get_defacer("quickshear", bounded=b).plan(head) for b in ("auto", "no"))
    assert bounded.bounded
    assert not free.bounded
    assert bounded.tissue_ml < free.tissue_ml == pytest.approx(bounded.unbounded_tissue_ml)
    kept_below = ~bounded.region(CUBE) & np.broadcast_to(z < -115, CUBE.shape)
    assert np.array_equal(kept_below, np.broadcast_to(z < -115, CUBE.shape))
    assert free.region(CUBE)[z[:, 0, 0] < -115].any()
    changed = bounded.region(CUBE) & head.body
    assert changed.sum() * 8 / 1000.0 == pytest.approx(bounded.tissue_ml, rel=0.02)


@settings(max_examples=30, deadline=None)
@given(geometries(max_size=14), st.tuples(*[st.floats(-1, 1)] * 3), st.data())
def test_blocks_of_a_half_space_equal_the_whole(grid, normal, data):
    if not any(normal):
        return
    offset = float(np.dot(normal, grid.centre))
    whole = half_space(normal, offset, grid)
    assert whole.shape == grid.shape
    start = [data.draw(st.integers(0, n - 1)) for n in grid.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, grid.shape, strict=True)]
    part = half_space(normal, offset, grid.block(start, stop))
    assert np.array_equal(part, whole[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))])


@pytest.fixture(scope="module")
def turned():
    """A CT of the average head, chin up and turned, its head and plan."""
    volume, truth = posed(pitch=20, yaw=25, spacing=(3.0, 1.5, 1.5))
    head = placed(volume, truth)
    return volume, head, get_defacer("quickshear").plan(head)


@settings(max_examples=80)
@given(
    geometries(max_size=9, sheared=True),
    st.lists(st.tuples(*[st.floats(-1, 1)] * 3, st.floats(-40, 40)), min_size=1, max_size=3),
    st.lists(st.tuples(*[st.floats(-1, 1)] * 3, st.floats(-40, 40)), max_size=2),
    st.booleans(),
    st.permutations([0, 1, 2]),
)
def test_rows_that_a_plane_meets_once_are_the_half_spaces(grid, planes, within, straight, order):
    planes, within = ([p if any(p[:3]) else (0.0, 1.0, 0.0, p[3]) for p in some] for some in (planes, within))
    if straight:  # along the axes of the world, in any order and direction
        affine = np.eye(4)
        for axis, along in enumerate(order):
            affine[:3, axis] = 0.0
            affine[along, axis] = grid.spacing[axis] * (-1) ** (axis + order[0])
        grid = Geometry(grid.shape, affine)
    expected = np.zeros(grid.shape, bool)
    for plane in planes:
        expected |= half_space(plane[:3], plane[3], grid)
    for plane in within:
        expected &= half_space(plane[:3], plane[3], grid)
    assert np.array_equal(beyond_planes(planes, within, grid), expected)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_any_chunking_gives_the_same_bits(turned, dtype):
    volume, _, plan = turned
    volume = volume.astype(dtype)
    whole = plan.apply(volume)
    assert whole.dtype == dtype
    for chunks in ((7, 50, 1000), (1000, 33, 41), (32, 1000, 1000)):
        lazy = volume.copy(data=dask.array.from_array(volume.values, chunks=chunks))
        assert np.array_equal(plan.apply(lazy).compute(scheduler="synchronous"), whole)


def test_no_voxel_of_the_brain_changes_and_the_face_goes(turned):
    volume, head, plan = turned
    grid = geometry_of(volume)
    changed = plan.apply(volume).values != volume.values
    brain = resample(head.brain, head.grid, grid, nearest=True)
    assert brain.sum() > 1000
    assert not changed[brain].any()
    atlas = head.atlas
    for name in ("nose_tip", "eye_left", "eye_right", "cheilion_left", "pogonion"):
        inward = np.append(atlas.landmarks[name] + np.array([0.0, 5.0, 0.0]), 1.0)
        at = (np.linalg.inv(head.to_template) @ inward)[:3]
        assert changed[tuple(np.round(grid.to_index(at)).astype(int))], name


def test_the_same_plan_on_a_pet_and_a_dose_grid(turned):
    _, head, plan = turned
    coarse = head.geometry.resampled(5.0)
    for modality, units in (("PT", "g/mL"), ("RTDOSE", "Gy"), ("MR", "1")):
        other = make_volume(np.full(coarse.shape, 7, np.uint16), coarse, modality=modality, units=units)
        new = plan.apply(other)
        assert np.array_equal(new.values == 0, plan.region(coarse))


def test_a_plan_is_kilobytes_and_survives_its_dict(turned):
    volume, _, plan = turned
    again = plan_from_dict(plan.to_dict())
    assert again.digest == plan.digest
    assert np.array_equal(again.region(geometry_of(volume)), plan.region(geometry_of(volume)))
    assert len(str(plan.to_dict())) < 100_000
    facts = plan.summary()
    assert facts["tissue_ml"] > 50
    assert 0.85 < facts["face_removed"] <= 1
    assert facts["protected"][0]["name"] == "Brain"


def test_planes_at_the_sides_take_the_corners_that_one_leaves(turned):
    volume, head, plan = turned
    one = get_defacer("quickshear", sides_degrees=0).plan(head)
    assert (one.normal, one.offset) == (plan.normal, plan.offset)
    assert len(plan.sides) == 2
    assert not one.sides
    assert plan.face_removed > 0.98
    assert plan.face_removed > one.face_removed
    grid = geometry_of(volume)
    assert not (one.region(grid) & ~plan.region(grid)).any()
    brain = head.grid.to_world(np.argwhere(head.brain))
    for *normal, offset in plan.sides:
        assert offset - (brain @ np.array(normal)).max() == pytest.approx(plan.buffer_mm + 1.0)


def test_a_brow_close_before_a_brain_cut_above_it_goes_too(monkeypatch):
    """A head whose image ends above the brow: the first edge lies flat, and the brow stays in front of the brain."""
    from defacedask.defacers import quickshear

    x, y, z = CUBE.positions(dtype=np.float64)
    brain = brain_in(CUBE) & (z < 20)
    head = head_of(CUBE, brain)
    head.face_skin = (np.abs(x) < 60) & (np.abs(y + 92) < 3) & (z > -110) & (z < 18)
    plan = get_defacer("quickshear").propose(head, key=b"", protected=())
    monkeypatch.setattr(quickshear, "MOST_MORE", 0)
    without = get_defacer("quickshear").propose(head, key=b"", protected=())
    assert plan.sides[:2] == without.sides
    assert plan.face_removed > 0.99 > 0.95 > without.face_removed
    assert not plan.wanted(CUBE)[brain].any()


def test_the_published_form_is_one_plane(turned):
    _, head, _ = turned
    assert get_defacer("quickshear", form="published").plan(head).sides == ()


def test_more_can_be_protected(turned):
    from defacedask.defacers.protect import Protected

    volume, head, plan = turned
    grid = geometry_of(volume)
    target = np.zeros(grid.shape, dtype=bool)
    at = np.argwhere(plan.region(grid) & (volume.values > 0))[1000]
    target[tuple(slice(max(0, i - 3), i + 4) for i in at)] = True
    kept = get_defacer("quickshear").plan(head, protected=(Protected.of("PTV70", target, grid, margin_mm=3),))
    assert plan.region(grid)[target].any()
    assert not kept.region(grid)[target].any()


def test_no_brain_no_plan():
    empty = np.zeros(CUBE.shape, dtype=bool)
    with pytest.raises(RefusedError, match="brain"):
        get_defacer("quickshear").plan(head_of(CUBE, empty))


def test_wrong_options():
    with pytest.raises(ConfigError, match="auto, yes, no"):
        get_defacer("quickshear", bounded="maybe")
    with pytest.raises(ConfigError, match="published"):
        get_defacer("quickshear", form="other")
    with pytest.raises(ConfigError, match="0 to 60"):
        get_defacer("quickshear", sides_degrees=75)


@pytest.mark.gpu
def test_half_space_on_a_gpu(cupy):
    there = half_space((0.1, -0.8, -0.5), 3.0, CUBE, cupy)
    assert isinstance(there, cupy.ndarray)
    assert np.array_equal(there.get(), half_space((0.1, -0.8, -0.5), 3.0, CUBE))
