"""More classes of pyradiomics: the same values as its extractor on the whole image, for less time."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from defacedask.costs.radiomics import compare_structures, measure_structures
from defacedask.costs.texture import CLASSES, check_classes, class_features, feature_names
from defacedask.errors import ConfigError, DefacedaskError, InputError, MissingExtraError
from defacedask.geometry import Geometry
from defacedask.io.dicom.structures import Structure
from defacedask.tables.schemas import TEN_FEATURES

pytest.importorskip("radiomics", reason="pyradiomics is not installed: the extra defacedask[radiomics]")
rng = np.random.default_rng(2)
GRID = Geometry.from_spacing((14, 20, 24), (3.0, 0.9, 1.1))
IMAGE = rng.normal(40, 80, GRID.shape).round().astype(np.int16)
BOX = np.s_[4:11, 6:15, 8:20]
MASK = np.zeros(GRID.shape, bool)
MASK[BOX] = rng.random((7, 9, 12)) < 0.8
PART = Structure("Parotid_L", "Parotid_L", 1, (0, 0, 0), "", (4, 6, 8), MASK[BOX])


def whole(image) -> dict[str, float]:
    """What everybody gets: pyradiomics' extractor on the whole image."""
    from radiomics import featureextractor

    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    images = [sitk.GetImageFromArray(a) for a in (image, MASK.astype(np.uint8))]
    for one in images:
        one.SetSpacing((1.1, 0.9, 3.0))
        one.SetOrigin((-50, 20, 7))
    it = featureextractor.RadiomicsFeatureExtractor(binWidth=25, additionalInfo=False)
    it.disableAllFeatures()
    for name in CLASSES:
        it.enableFeatureClassByName(name)
    return {k.removeprefix("original_"): float(v) for k, v in it.execute(*images).items()}


def test_equals_the_extractor_on_the_whole_image():
    theirs = whole(IMAGE)
    ours, note = class_features(IMAGE[BOX], MASK[BOX], GRID.spacing, CLASSES)
    assert note == ""
    assert len(ours) == len(theirs) - len(TEN_FEATURES)
    assert {k.split("_")[0] for k in ours} == set(CLASSES)
    for name, value in ours.items():
        assert value == pytest.approx(theirs[name], rel=1e-9), name


def test_rows_of_an_image_that_changed():
    changed = IMAGE.copy()
    changed[:7] = -1000
    rows = compare_structures(IMAGE, changed, [PART], GRID, classes=("glcm", "shape"))
    assert [r["feature"] for r in rows[:10]] == list(TEN_FEATURES)
    found = {r["feature"]: r for r in rows}
    after = whole(changed)
    assert found["glcm_Contrast"]["defaced"] == pytest.approx(after["glcm_Contrast"], rel=1e-9)
    assert found["glcm_Contrast"]["percent"] < -100
    assert found["shape_MeshVolume"]["percent"] == 0  # the contours stay as they were
    assert len(rows) == 10 + len(feature_names("glcm")) + len(feature_names("shape"))


def test_the_originals_features_may_be_given():
    changed = IMAGE + np.int16(7)
    known = measure_structures(IMAGE, [PART], GRID, classes=("ngtdm",))
    given = compare_structures(IMAGE, changed, [PART], GRID, classes=("ngtdm",), known=known)
    assert given == compare_structures(IMAGE, changed, [PART], GRID, classes=("ngtdm",))
    same = compare_structures(IMAGE, IMAGE, [PART], GRID, classes=("ngtdm",), known=known)
    assert {r["percent"] for r in same} == {0.0}


def test_what_pyradiomics_cannot_do_is_named():
    line = Structure("line", "line", 1, (0, 0, 0), "", (4, 6, 8), np.ones((1, 1, 3), bool))
    rows = compare_structures(IMAGE, IMAGE, [line], GRID, classes=("glcm",))
    glcm = [r for r in rows if r["feature"].startswith("glcm")]
    assert all(r["note"].startswith("pyradiomics: ") and np.isnan(r["percent"]) for r in glcm)
    assert not any(r["note"].startswith("pyradiomics") for r in rows[:10])
    nothing = Structure("none", "none", 1, (0, 0, 0), "", (0, 0, 0), np.zeros((1, 1, 1), bool))
    assert {r["note"] for r in compare_structures(IMAGE, IMAGE, [nothing], GRID, classes=("glcm",))} == {
        "no voxels"
    }


def test_options():
    assert check_classes("shape, glcm,glcm") == ["glcm", "shape"]
    assert check_classes(()) == []
    assert check_classes(None) == []  # the default of the configuration
    with pytest.raises(ConfigError, match="no feature class glcmm") as error:
        check_classes(["glcmm", "shape"])
    assert "glszm" in error.value.hint
    with pytest.raises(InputError, match="need the image's grid"):
        compare_structures(IMAGE, IMAGE, [PART], classes=("glcm",))


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "radiomics", None)
    feature_names.cache_clear()
    assert check_classes(()) == []
    for ask in (
        lambda: check_classes("glcm"),
        lambda: class_features(IMAGE[BOX], MASK[BOX], GRID.spacing, ["glcm"]),
    ):
        with pytest.raises(MissingExtraError, match=r"defacedask\[radiomics\]") as caught:
            ask()
        assert isinstance(caught.value, DefacedaskError)
