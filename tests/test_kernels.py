"""Every fused kernel gives NumPy's bits, on any grid; compiled for the host where there is no card."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fusing import LIBRARIES, library
from support.nvrtc import compiled, nvrtc
from support.strategies import field_and_places, geometries

from benchmarks.fused import kernels_beside
from defacedask.defacers.base import bits
from defacedask.defacers.biometric_mask import BiometricMaskPlan
from defacedask.defacers.boxes import Box
from defacedask.defacers.carina import CarinaPlan
from defacedask.defacers.carina.layer import Sheet
from defacedask.defacers.elementary import exp2
from defacedask.defacers.fields import Stack
from defacedask.defacers.mri_reface.intensity import UNKNOWN
from defacedask.defacers.noise import NoiseField
from defacedask.defacers.protect import Protected
from defacedask.defacers.quickshear import QuickshearPlan
from defacedask.geometry import Geometry
from defacedask.kernels import OPTIONS, Kernel, unfused
from defacedask.sampling import Between, apply_affine
from defacedask.testing.strict_cupy import counted

pytestmark = pytest.mark.gpu
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25)
TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]


@pytest.fixture(scope="module", params=LIBRARIES)
def xp(request):
    with library(request.param) as space:
        yield space


def same(here, there):
    """To the last bit, of one type and shape."""
    there = there.get()
    return here.dtype == there.dtype and here.shape == there.shape and np.array_equal(bits(here), bits(there))


def matrix_of(random, zeros=0.3):
    """A map of places, some of whose numbers are 0."""
    matrix = np.eye(4)
    matrix[:3] += random.normal(size=(3, 4)) * 0.3 * (random.random((3, 4)) > zeros)
    matrix[:3, 3] *= 50
    return matrix


def block_of(random, geometry):
    """Some block of a grid; with a step, now and then."""
    shape = geometry.shape
    start = [int(random.integers(0, n)) for n in shape]
    stop = [int(random.integers(a, n)) + 1 for a, n in zip(start, shape, strict=True)]
    return geometry.block(start, stop, (int(random.integers(1, 3)), 1, 1))


def protected_in(random, geometry, count):
    """Structures whose fields lie about a grid."""
    found = []
    for k in range(count):
        shape = tuple(int(n) for n in random.integers(2, 7, 3))
        grid = Geometry.from_spacing(
            shape, (3.0, 3.0, 3.0), geometry.centre + random.normal(size=3) * 5 - 1.5 * np.array(shape)[::-1]
        )
        distance = random.integers(-40, 60, shape).astype(np.int8)
        found.append(Protected(f"s{k}", float(random.uniform(0, 6)), grid, distance))
    return tuple(found)


@few
@given(geometries(max_size=12, sheared=True), seeds)
def test_places(xp, geometry, seed):
    random = np.random.default_rng(seed)
    block, matrix = block_of(random, geometry), matrix_of(random)
    at = np.nonzero(random.random(block.shape) > 0.3)
    there = [xp.asarray(a) for a in at]
    whole = [np.broadcast_to(p, block.shape)[at] for p in block.positions(dtype=np.float64)]
    for one, host, device in zip(whole, block.positions_at(at), block.positions_at(there, xp), strict=True):
        assert np.array_equal(one, host)
        assert same(one, device)
    mapped = apply_affine(matrix, *(xp.asarray(p) for p in whole))
    for row, (one, device) in enumerate(zip(apply_affine(matrix, *whole), mapped, strict=True)):
        assert same(one, device), row
    # a number that none of them moves
    flat = np.diag([1.0, 0.0, 1.0, 1.0])
    assert not apply_affine(flat, *(xp.asarray(p) for p in whole))[1].get().any()


@few
@given(
    st.lists(st.integers(1, 7), min_size=2, max_size=3),
    seeds,
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([None, 0.0, -7.5]),
)
def test_fields_between_their_elements(xp, shape, seed, dtype, outside):
    field, index = field_and_places(shape, seed, dtype, 200)
    there = Between(tuple(shape), [xp.asarray(i) for i in index], xp)
    here = Between(tuple(shape), index).read(field, outside=outside)
    assert same(here, there.read(field, outside=outside))
    with unfused():
        assert same(here, there.read(field, outside=outside))


@few
@given(geometries(max_size=9, sheared=True), seeds, st.integers(1, 4))
def test_stacks_of_fields(xp, geometry, seed, channels):
    random = np.random.default_rng(seed)
    grid = Geometry.from_spacing(
        tuple(int(n) for n in random.integers(2, 9, 3)), random.uniform(1, 6, 3), geometry.centre - 10
    )
    stack = Stack(random.normal(size=(channels, *grid.shape)) * 100, grid)
    matrix, block = matrix_of(random), block_of(random, geometry)
    assert same(stack.over(block, matrix), stack.over(block, matrix, xp))
    assert same(stack.above(3.0, block, matrix), stack.above(3.0, block, matrix, xp))
    places = tuple(random.uniform(-40, 40, 50) + c for c in geometry.centre)
    assert same(stack.at(places), stack.at(tuple(xp.asarray(p) for p in places), xp))


@few
@given(geometries(max_size=9, sheared=True), geometries(max_size=9), seeds, st.booleans())
def test_noise(xp, geometry, lattice, seed, own):
    random = np.random.default_rng(seed)
    sigma = tuple(random.choice([0.0, 0.4, 1.2], 3).tolist())
    # a lattice much finer than the block would be drawn by the million
    affine = geometry.affine if own else lattice.resampled([max(s, 2.0) for s in lattice.spacing]).affine
    block = geometry.block((0, 0, 0), [min(n, 5) for n in geometry.shape])
    field = NoiseField(seed.to_bytes(4, "big"), affine, sigma, "noise")
    at = np.nonzero(random.random(block.shape) > 0.3)
    here, there = block.positions_at(at), block.positions_at([xp.asarray(a) for a in at], xp)
    assert same(field.at(here), field.at(there, xp, within=block))
    assert same(field.uniform(here), field.uniform(there, xp))


@given(seeds)
@settings(max_examples=10)
def test_powers_and_palettes(xp, seed):
    random = np.random.default_rng(seed)
    values = random.uniform(-1200, 1200, 500)
    assert same(exp2(values), exp2(xp.asarray(values), xp))
    knots = np.sort(random.uniform(-1000, 2000, (int(random.integers(2, 9)), 2)), axis=0)
    palette = dataclasses.replace(UNKNOWN, knots=tuple((float(a), float(b)) for a, b in knots))
    painted = random.uniform(-1200, 2500, 500).astype(np.float32)
    painted[:5] = knots[0, 0]
    assert same(palette.paint(painted), palette.paint(xp.asarray(painted), xp))


def shear(random, geometry, protected):
    """Planes that meet a grid, some of them along its axes, and through voxels' very middles."""

    def plane():
        normal = random.normal(size=3) * (random.random(3) > 0.3)
        normal = normal if normal.any() else np.array([0.0, -1.0, 0.0])
        voxel = geometry.to_world([int(random.integers(0, n)) for n in geometry.shape])
        return (*normal.tolist(), float(normal @ voxel))

    first, bound = plane(), plane()
    return QuickshearPlan(
        normal=first[:3], offset=first[3], bounded=bool(random.integers(0, 2)), bound_normal=bound[:3],
        bound_offset=bound[3], buffer_mm=0.0, form="measured", angle_degrees=0.0, face_removed=0.0, tissue_ml=0.0,
        unbounded_tissue_ml=0.0, sides=tuple(plane() for _ in range(int(random.integers(0, 4)))), protected=protected,
    )  # fmt: skip


def boxes(random, geometry, protected):
    """Boxes whose sides meet a grid, one of them through voxels' middles."""
    matrix = matrix_of(random)
    low, high = geometry.corners.min(axis=0), geometry.corners.max(axis=0)

    def box(name):
        ends = np.sort(
            np.stack([matrix[:3, :3] @ random.uniform(low, high) + matrix[:3, 3] for _ in "ab"]), axis=0
        )
        ends[0, int(random.integers(0, 3))] = -1e4
        return Box(name, tuple(ends[0].tolist()), tuple(ends[1].tolist()))

    return BiometricMaskPlan(
        to_boxes=matrix, boxes=tuple(box(f"b{k}") for k in range(3)),
        fill_with=str(random.choice(["air", "minimum"])), modality="CT", quantiles=(-700.5, 3.0, 1800.25),
        lattice=np.eye(4), key=b"", covers="", bounded=False, tissue_ml=0.0, protected=protected,
    )  # fmt: skip


@settings(max_examples=60)
@given(
    geometries(max_size=9, sheared=True),
    seeds,
    st.sampled_from([shear, boxes]),
    st.sampled_from(TYPES),
    st.sampled_from(["CT", "MR", "PT", "RTDOSE"]),
    st.integers(0, 3),
)
def test_blocks_cut_by_planes_and_boxes(xp, geometry, seed, make, dtype, modality, count):
    """Every modality and stored type; two kernels at most, no wait; the plain expressions on a device, too."""
    random = np.random.default_rng(seed)
    plan = make(random, geometry, protected_in(random, geometry, count))
    block = block_of(random, geometry)
    stored = (random.normal(size=block.shape) * 50).astype(dtype)
    slope = random.uniform(0.5, 2.0, (block.shape[0], 1, 1))
    intercept = random.uniform(-5, 5, slope.shape)
    here = plan.deface_block(stored, block, slope, intercept, modality)
    there = xp.asarray(stored)
    with counted() as asked:
        fused = plan.deface_block(there, block, slope, intercept, modality)
    assert same(here, fused)
    if getattr(xp, "STAND_IN", False):
        assert (asked.operations, asked.waits, asked.downloads) == (1, 0, 0)
    assert same(stored, there)
    assert same(plan.region(block), plan.region(block, xp))
    with unfused():
        assert same(here, plan.deface_block(there, block, slope, intercept, modality))


@dataclasses.dataclass(frozen=True, eq=False)
class _Spoils(QuickshearPlan):
    """Wants all, and changes all."""

    defacer = "spoils_kernels"

    def wanted(self, geometry, xp=np):
        return xp.ones(geometry.shape, dtype=bool)

    def change_block(self, stored, geometry, slope, intercept, modality):
        return stored + stored.dtype.type(1)


@few
@given(geometries(max_size=9, sheared=True), seeds, st.sampled_from(["int16", "uint16", "float32"]))
def test_what_is_protected_is_put_back(xp, geometry, seed, dtype):
    random = np.random.default_rng(seed)
    plan = _Spoils(**vars(shear(random, geometry, protected_in(random, geometry, 2))))
    stored = (random.normal(size=geometry.shape) * 50).astype(dtype)
    if stored.dtype.kind == "f":
        stored.ravel()[::5] = np.nan
    one, none = np.ones((geometry.shape[0], 1, 1)), np.zeros((geometry.shape[0], 1, 1))
    here = plan.deface_block(stored, geometry, one, none, "CT")
    assert same(here, plan.deface_block(xp.asarray(stored), geometry, one, none, "CT"))


@dataclasses.dataclass(frozen=True, eq=False)
class _Wider(QuickshearPlan):
    """Wants something else than its base, and says nothing of its solid."""

    defacer = "wider_kernels"

    def wanted(self, geometry, xp=np):
        return xp.ones(geometry.shape, dtype=bool)


def test_who_wants_something_else_than_its_base_is_asked(xp, rng):
    geometry = Geometry.from_spacing((4, 5, 6), (1, 1, 1), (0, 0, 0))
    plan = _Wider(**vars(shear(rng, geometry, ())))
    stored, one = xp.asarray(np.zeros(geometry.shape, np.int16)), np.ones((4, 1, 1))
    assert (plan.deface_block(stored, geometry, one, one * 0, "CT").get() == -1000).all()


def test_a_voxel_on_a_plane_lies_on_the_same_side_in_blocks_of_any_shape(rng):
    """The order of a sum decides its last bit: it may not follow from the block's shape."""
    for _ in range(60):
        spacing = rng.uniform(0.5, 3, 3)
        geometry = Geometry.from_spacing((7, 8, 9), spacing, rng.uniform(-200, 200, 3))
        plan = shear(rng, geometry, ())
        whole = plan.wanted(geometry)
        for start, stop in (((0, 0, 0), (7, 2, 3)), ((2, 3, 1), (3, 8, 9)), ((1, 1, 5), (7, 8, 6))):
            cut = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
            assert np.array_equal(plan.wanted(geometry.block(start, stop)), whole[cut])


def test_no_kernel_contracts_a_product_and_a_sum():
    """What NVIDIA's own compiler makes of every body: no fused multiply-add. Allowed to, it makes them."""
    if nvrtc() is None:
        pytest.skip(
            "NVIDIA's runtime compiler is not there (pip install nvidia-cuda-nvrtc-cu12; it needs no card)"
        )
    names = [kernel.name for kernel in Kernel.known]
    assert len(names) >= 14
    assert len(names) == len(set(names))
    free = []
    for kernel, kind in itertools.product(Kernel.known, ("short", "float", "double")):
        if kind != "float" and "T " not in kernel.inputs:
            continue
        assert "fma." not in compiled(kernel, kind, OPTIONS), kernel.name
        free.append("fma." in compiled(kernel, kind, ()))
    assert sum(free) > 10


def sheets(random, geometry):
    """Three sheets over a grid: front, left and right."""
    found = []
    for axis, sign in ((1, -1), (0, 1), (0, -1)):
        shape = tuple(int(n) for n in random.integers(3, 9, 2))
        spacing = float(random.uniform(2, 5))
        across = geometry.centre[1 - axis]
        origin = tuple((np.array([geometry.centre[2], across]) - spacing * np.array(shape) / 2).tolist())
        skin = np.rint(sign * geometry.centre[axis] / 0.05 + random.integers(-100, 100, shape)).astype(
            np.int16
        )
        thick = np.where(random.random(shape) > 0.2, random.integers(0, 300, shape), 0).astype(np.int16)
        seam = skin - random.integers(0, 40, shape).astype(np.int16)
        floor = seam - random.integers(0, 80, shape).astype(np.int16)
        tone = random.integers(-90, 90, shape).astype(np.int8)
        found.append(
            Sheet(axis, sign, origin, spacing, skin, skin + thick, seam=seam, floor=floor, tone=tone)
            if random.random() > 0.2
            else Sheet(axis, sign, origin, spacing, skin, skin + thick)
        )
    return tuple(found)


@few
@given(geometries(max_size=10, sheared=True), seeds)
def test_sheets(xp, geometry, seed):
    random = np.random.default_rng(seed)
    # heights are held to 1.6 m
    affine = geometry.affine.copy()
    affine[:3, 3] *= 0.2
    geometry = Geometry(geometry.shape, affine)
    pose = np.eye(4)
    pose[:3, :3] += random.normal(size=(3, 3)) * 0.1
    plan = CarinaPlan(
        pose=pose, sheets=sheets(random, geometry), modality="CT", strata=None, edge=float(random.uniform(0, 2)),
        deepest_mm=9.0, key=b"", added_ml=0.0, replaced_ml=0.0,
    )  # fmt: skip
    block = block_of(random, geometry)
    assert same(plan.wanted(block), plan.wanted(block, xp))
    deep = dataclasses.replace(plan, sheets=tuple(s for s in plan.sheets if s.floor.size))
    at = np.nonzero(random.random(block.shape) > 0.3)
    head = apply_affine(pose, *block.positions_at(at))
    for one, other in zip(
        deep._deepest(head, np), deep._deepest(tuple(map(xp.asarray, head)), xp), strict=True
    ):
        assert same(one, other)


def test_the_benchmark_compares_each_expression_with_numpy(xp):
    rows = kernels_beside(xp, 1, 300)
    assert len(rows) >= 10
    assert all(row["differs"] == row["plain differs"] == 0 for row in rows)
