"""Real heads and limbs beside the repository: accepted, refused for the right reason, brain untouched."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.heads.data import openkbp
from defacedask.anatomy.grid import resample
from defacedask.anatomy.head import Head
from defacedask.defacers import get_defacer
from defacedask.errors import RefusedError
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.image import read_image

pytestmark = [pytest.mark.data, pytest.mark.slow]


def image(folder, modality):
    series = [s for case in scan(folder).cases for s in case.images if s.modality == modality]
    return read_image(max(series, key=lambda s: len(s.files)))


def look(volume) -> None:
    head = Head(volume)
    head.require()
    plan = get_defacer("quickshear").plan(head)
    brain = resample(head.brain, head.grid, head.geometry, nearest=True)
    changed = plan.apply(volume).values != volume.values
    assert brain.sum() * head.geometry.voxel_volume > 250_000
    assert not changed[brain].any()
    assert plan.face_removed > 0.75
    nose = head.geometry.to_index(head.landmark("nose_tip") + head.pose[:3, :3].T @ [0.0, 6.0, 0.0])
    assert plan.region(head.geometry)[
        tuple(np.clip(np.round(nose), 0, np.array(volume.shape) - 1).astype(int))
    ]


@pytest.mark.parametrize(
    ("folder", "modality"), [("ct_pycerr_hn", "CT"), ("mr_trio_b17", "MR"), ("mr_ixi012", "MR")]
)
def test_whole_heads(shared_data, folder, modality):
    look(image(shared_data / folder, modality))


@pytest.mark.parametrize("patient", ["pt_24", "pt_113", "pt_177", "pt_91"])
def test_planning_ct_with_a_face(shared_data, patient):
    """A usual one; crown cut at the eyes; skull stripped above the ears; cut at the eyes, no skin outside."""
    look(openkbp(shared_data / "openkbp" / f"{patient}.npz"))


@pytest.mark.parametrize("number", [0, 4, 11])
def test_planning_ct_cut_below_the_eyes(shared_data, number):
    patient = json.loads((shared_data / "openkbp" / "split.json").read_text())["cut_below_eyes"][number]
    with pytest.raises(RefusedError, match=r"in view|field of view"):
        Head(openkbp(shared_data / "openkbp" / f"{patient}.npz")).require()


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_a_limb_is_no_head(shared_data, modality):
    with pytest.raises(RefusedError, match="no head was found"):
        Head(image(shared_data / "rt_sts_001", modality)).require()


def test_a_pet_of_the_whole_trunk_has_a_head(shared_data):
    head = Head(image(shared_data / "pet_qin_hn_0024" / "PET", "PT"))
    head.require()
    assert 900 < head.brain.sum() * head.grid.voxel_volume / 1000 < 1700
