"""The kernel that paints the average's face gives the bits of the plain expressions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fusing import LIBRARIES, library
from support.strategies import geometries

from defacedask.defacers.base import bits
from defacedask.defacers.fields import Stack
from defacedask.defacers.mri_reface import MriRefacePlan
from defacedask.defacers.mri_reface.average import FIT_GRID, HALF_GRID
from defacedask.defacers.mri_reface.intensity import Noise, Palette
from defacedask.defacers.mri_reface.plan import _sha256
from defacedask.defacers.surrogate import SurrogatePlan
from defacedask.defacers.tiling import Tiling
from defacedask.geometry import Geometry
from defacedask.kernels import unfused
from defacedask.testing.strict_cupy import counted

pytestmark = pytest.mark.gpu
MODALITIES = ["CT", "MR", "PT", "RTDOSE"]
DRAW = np.random.default_rng(11)
#: Rough fields: every voxel of a block has other neighbours.
INSIDE, NEW, HEIGHT = ((DRAW.normal(size=FIT_GRID.shape) * k).astype(np.float32) for k in (4, 8, 8))
SHIFT = DRAW.normal(size=(3, *FIT_GRID.shape)).astype(np.float32) * 3
BONE = DRAW.integers(-60, 100, FIT_GRID.shape).astype(np.int8)
LAID = {
    "laid": (SHIFT, NEW, INSIDE),
    "_where": Stack(np.stack([INSIDE, NEW]), FIT_GRID),
    "_from": Stack(np.concatenate([SHIFT, HEIGHT[None]]), FIT_GRID),
    "_replaced": Tiling(INSIDE, FIT_GRID),
}


def palette(modality, random, lattice):
    noise = Noise(*random.uniform(1, 20, 2).tolist(), lattice, tuple(random.choice([0.0, 0.6], 3).tolist()))
    empty = np.zeros((0, 0, 0), np.int8)
    knots = np.sort(random.uniform(-1000, 900, (6, 2)), axis=0)
    facts = {"template": "average_ct", "field": empty, "step": 0.0, "deep": empty}
    if modality == "MR":
        facts |= {
            "template": "average_t1",
            "field": random.integers(-70, 70, HALF_GRID.shape).astype(np.int8),
        }
        knots = np.sort(random.uniform(0, 900, (5, 2)), axis=0)
    elif modality == "RTDOSE":
        facts |= {"field": random.integers(0, 60000, HALF_GRID.shape).astype(np.uint16), "step": 1.3e-3}
        facts |= {"deep": random.integers(0, 125, HALF_GRID.shape).astype(np.int8)}
    elif modality == "PT":
        knots = np.array([[0.0, 0.1], [1.0, 2.3]])
    pairs = tuple((float(a), float(b)) for a, b in knots)
    air = float(random.uniform(-1000, 1))
    return Palette(modality, knots=pairs, noise=noise, air=air, clean_above=float("inf"), **facts)


@pytest.fixture(scope="module", params=LIBRARIES)
def xp(request):
    with library(request.param) as space:
        yield space


@settings(max_examples=25)
@given(
    geometries(max_size=9, sheared=True),
    st.integers(0, 2**32 - 1),
    st.sampled_from(MODALITIES),
    st.sampled_from(["int16", "uint16", "uint32", "float32"]),
    st.booleans(),
    st.booleans(),
)
def test_a_block(xp, geometry, seed, modality, dtype, kept, own):
    """mri_reface, and surrogate with bone that stays; the palette of this modality, or of another: then air."""
    random = np.random.default_rng(seed)
    affine = geometry.affine.copy()
    affine[:3, :3] *= 1.5 / np.mean(geometry.spacing)
    affine[:3, 3] = FIT_GRID.centre + random.uniform(-60, 60, 3)
    grid = Geometry(geometry.shape, affine)
    block = grid.block((0, 0, 0), grid.shape, (1, 1, int(random.integers(1, 3))))
    matrix = np.eye(4)
    matrix[:3] += random.normal(size=(3, 4)) * 0.05
    colours = palette(modality if own else MODALITIES[MODALITIES.index(modality) - 1], random, affine)
    plan = (SurrogatePlan if kept else MriRefacePlan)(
        to_template=matrix, template="average", template_sha256=_sha256(), offset=np.zeros(0, np.int16),
        gap=np.zeros(0, np.int8), brain_margin_mm=6.0, palette=colours, body=np.zeros((0, 0, 0), np.int8),
        body_grid=FIT_GRID, key=seed.to_bytes(4, "big"), covered=1.0, **({"bone": BONE, "lift": 0.0} if kept else {}),
    )  # fmt: skip
    plan.__dict__.update(LAID)
    stored = (random.normal(size=block.shape) * 400).astype(dtype)
    slope, intercept = (
        random.uniform(0.5, 2, (block.shape[0], 1, 1)),
        random.uniform(-9, 9, (block.shape[0], 1, 1)),
    )
    here = plan.deface_block(stored, block, slope, intercept, modality)
    there = xp.asarray(stored)
    with counted() as asked:
        fused = plan.deface_block(there, block, slope, intercept, modality)
    assert np.array_equal(bits(fused.get()), bits(here))
    if getattr(xp, "STAND_IN", False):
        assert asked.waits + asked.downloads == 0
        assert asked.operations <= 11
    assert np.array_equal(bits(there.get()), bits(stored))
    assert np.array_equal(plan.region(block, xp).get(), plan.region(block))
    with unfused():
        assert np.array_equal(
            bits(plan.deface_block(there, block, slope, intercept, modality).get()), bits(here)
        )
