"""Real heads: nothing of them leaves the test."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.heads.data import openkbp
from defacedask.anatomy.head import Head
from defacedask.faces.controls import controls
from defacedask.faces.identification import Sighting
from defacedask.faces.recognition import get_recogniser
from defacedask.faces.render import View, render_views, skin_level, skin_surface
from defacedask.geometry import Geometry
from defacedask.volume import geometry_of, make_volume

VIEWS = [View(0, pitch) for pitch in (-20, -10, 0)]


def from_sitk(image, modality):
    import SimpleITK as sitk

    stored = sitk.GetArrayFromImage(image)
    steps = (np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing())[:, ::-1]
    geometry = Geometry.from_steps(stored.shape, image.GetOrigin(), *steps.T)
    return make_volume(stored, geometry, modality=modality, units="HU" if modality == "CT" else "1")


def look(volume):
    """Pictures of one head, as a study takes them."""
    head = Head(volume)
    values = volume.values.astype(np.float32)
    modality = volume.attrs["modality"]
    level = skin_level(modality, values)
    geometry = geometry_of(volume)
    surface = skin_surface(values, geometry, level=level, pose=head.pose)
    return render_views(surface, head.pose, VIEWS)


@pytest.mark.data
@pytest.mark.slow
def test_planning_cts_are_detected_and_told_apart(shared_data):
    recogniser = get_recogniser()
    shots = []
    for number in (100, 112, 20):
        for view, faces in zip(
            VIEWS,
            recogniser.analyse(look(openkbp(shared_data / "openkbp" / f"pt_{number}.npz"))),
            strict=True,
        ):
            code = faces[0].encoding if faces else None
            shots.append(Sighting(str(number), view.name, code, bool(faces)))
    found = controls(shots, tolerance=recogniser.tolerance)
    assert found["persons_detected"] == 3
    assert found["holds"], found["reason"]
    assert found["positive_rank_1"] >= 2
    assert found["calibration"].auc > 0.9
    assert found["negative_rate"] == 0


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ct_pycerr_hn", "mr_trio_b17"])
def test_fine_heads_are_detected(shared_data, name):
    import SimpleITK as sitk

    folder = shared_data / name
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)) or str(next(folder.glob("*.nii.gz")))
    volume = from_sitk(sitk.ReadImage(files), name[:2].upper())
    faces = get_recogniser().analyse(look(volume))
    assert sum(bool(found) for found in faces) >= 2
