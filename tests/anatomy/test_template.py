import hashlib
import json
from importlib import resources

import numpy as np
import pytest
from scipy import ndimage

from defacedask.anatomy.template import load_template, template_names
from defacedask.errors import ConfigError, InputError
from defacedask.volume import real_values


@pytest.fixture(scope="module")
def t1():
    return load_template("average_t1")


def centre(template, mask):
    return template.geometry.to_world(np.argwhere(mask).mean(axis=0))


def test_files_are_those_that_were_derived():
    data = resources.files("defacedask") / "data"
    facts = json.loads((data / "average_head.json").read_text())
    for name, digest in facts["sha256"].items():
        assert hashlib.sha256((data / f"{name}.nii.gz").read_bytes()).hexdigest() == digest
    assert "MIT License" in (data / "LICENSE.pydeface").read_text()


def test_both_images_lie_on_one_grid_and_read_as_what_they_are(t1):
    ct = load_template("average_ct")
    assert template_names() == ["average_t1", "average_ct"]
    assert (t1.modality, ct.modality, ct.image.attrs["units"]) == ("MR", "CT", "HU")
    assert ct.geometry == t1.geometry
    assert t1.geometry.codes == "SPL"
    assert t1.sha256 != ct.sha256
    assert t1.image.dtype == ct.image.dtype == np.int16
    assert ct.image.values[t1.mask("brain")].mean() == pytest.approx(36, abs=3)
    assert np.median(ct.image.values[t1.mask("bone")]) > 400
    assert ct.image.values[0, 0, 0] == -1000


def test_left_is_plus_x(t1):
    for name in ("Eye", "Parotid", "OpticNrv"):
        assert centre(t1, t1.mask(f"{name}_L"))[0] > 5
        assert centre(t1, t1.mask(f"{name}_R"))[0] < -5
    assert centre(t1, t1.mask("ear_left"))[0] > 60
    assert t1.landmarks["eye_left"][0] > 0


def test_left_and_right_agree_with_simpleitk(t1, tmp_path):
    """An independent reader puts the left eye where we do (ITK is LPS as well)."""
    import SimpleITK as sitk

    with resources.as_file(resources.files("defacedask") / "data" / "structures.nii.gz") as path:
        image = sitk.ReadImage(str(path))
    bit = t1.structure_names.index("Eye_L")
    where = np.argwhere((sitk.GetArrayFromImage(image) >> bit) & 1).mean(axis=0)[::-1]
    world = image.TransformContinuousIndexToPhysicalPoint(where.tolist())
    assert world == pytest.approx(centre(t1, t1.mask("Eye_L")), abs=1e-3)
    assert world[0] > 20


def test_anatomy_is_where_it_should_be(t1):
    marks = t1.landmarks
    order = ["glabella", "nasion", "nose_tip", "subnasale", "stomion", "pogonion", "menton"]
    heights = [marks[name][2] for name in order]
    assert heights == sorted(heights, reverse=True)
    assert marks["nose_tip"][1] == min(point[1] for point in marks.values())
    # adult: nasion to menton 105 to 135 mm
    assert 105 < marks["nasion"][2] - marks["menton"][2] < 135
    millilitres = {n: t1.mask(n).sum() * t1.geometry.voxel_volume / 1000 for n in t1.structure_names}
    assert 1100 < millilitres["Brain"] < 1500
    assert 5 < millilitres["Eye_L"] < 9
    assert all(volume > 0.3 for volume in millilitres.values())
    assert centre(t1, t1.mask("Brain"))[2] > centre(t1, t1.mask("Cavity_Oral"))[2]


def test_landmarks_lie_on_the_skin(t1):
    skin = real_values(t1.skin).values
    for name, point in t1.landmarks.items():
        value = ndimage.map_coordinates(skin, t1.geometry.to_index(point)[:, None], order=1)[0]
        assert abs(value) < 2.5, name


def test_one_head_with_no_crumbs_in_the_air(t1):
    solid = t1.tissue.values != t1.tissue_names["air"]
    _, pieces = ndimage.label(solid)
    assert pieces == 1
    far = real_values(t1.skin).values > 6
    assert np.abs(t1.image.values[far]).max() == 0


def test_regions_do_not_reach_the_brain(t1):
    brain = t1.mask("Brain")
    for name in ("face", "ears", "brow_to_chin"):
        assert not (t1.mask(name) & brain).any()
    assert t1.mask("brow_to_chin").sum() < t1.mask("face").sum()
    for name in ("nose_tip", "eye_left", "eye_right", "stomion", "pogonion", "brow_left"):
        z, y, x = np.round(t1.geometry.to_index(t1.landmarks[name])).astype(int)
        assert t1.mask("brow_to_chin")[z, y, x], name


def test_symmetric(t1):
    values = t1.image.values
    assert np.abs(values - values[:, :, ::-1]).max() <= 1


def test_unknown_names_list_the_known_ones(t1):
    with pytest.raises(ConfigError, match="average_ct"):
        load_template("mni")
    with pytest.raises(InputError, match="Brainstem"):
        t1.mask("Brainsteem")


def test_volumes_cannot_be_written_into(t1):
    with pytest.raises(ValueError, match="read-only"):
        t1.image.values[0, 0, 0] = 1


@pytest.mark.data
def test_sources_are_the_published_files(shared_data):
    facts = load_template().facts
    for name, digest in facts["source_sha256"].items():
        assert hashlib.sha256((shared_data / "templates_pydeface" / name).read_bytes()).hexdigest() == digest
