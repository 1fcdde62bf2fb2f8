"""Galleries: originals, second scans, photographs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from defacedask.errors import ConfigError, InputError
from defacedask.evaluation.controls import controls
from defacedask.evaluation.galleries import (
    check_gallery,
    find_photographs,
    gallery_of_originals,
    gallery_of_photographs,
    gallery_of_second_scans,
    read_photograph,
)
from defacedask.evaluation.identification import Sighting, identify
from defacedask.evaluation.recognition import get_recogniser


def code(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=float)


def seen(person: str, case: str, at: float, view: str = "front") -> Sighting:
    return Sighting(person, view, code(at), True, {"case": case})


def test_a_second_scan_is_compared_with_other_scans_only():
    shots = [
        seen("a", "a-1", 0.0), seen("a", "a-2", 3.0),
        seen("b", "b-1", 10.0), seen("b", "b-2", 14.0),
        seen("c", "c-1", 20.0),
    ]  # fmt: skip
    gallery = gallery_of_second_scans(shots)
    assert gallery.missing == ("c",)
    scores = gallery.score(shots, own=True)
    assert scores.persons == ("a", "b", "c")
    # a's first scan meets the second scans of a and b, and c's only one
    assert scores.values[0].tolist() == [3, 14, 20]
    assert scores.values[1].tolist() == [3, 7, 17]
    assert np.array_equal(scores.values[4], [17, 6, np.nan], equal_nan=True)
    defaced = Sighting("a", "front", code(2.5), True, {"case": "a-2", "defacer": "x"})
    (row,) = identify(gallery.score([defaced]))
    assert (row["distance_to_own"], row["rank_of_own"], row["gallery_size"]) == (2.5, 1, 3)
    # the study's protocol would have met the very scan it was made from
    assert identify(gallery_of_originals(shots).score([defaced]))[0]["distance_to_own"] == 0.5


def test_controls_of_second_scans():
    rng = np.random.default_rng(0)
    shots = [
        Sighting(f"p{k}", view, base + rng.normal(0, 0.01, 128), True, {"case": f"p{k}-{scan}"})
        for k, base in enumerate(rng.normal(0, 0.06, (8, 128)))
        for scan in (1, 2)
        for view in ("front", "side")
    ]
    found = controls(shots, gallery_of_second_scans(shots))
    assert found["holds"]
    assert (found["gallery"], found["not_in_gallery"], found["positive_n"]) == ("second-scan", "", 8)
    strangers = [Sighting(s.person, s.view, rng.normal(0, 0.06, 128), True, s.facts) for s in shots]
    assert "match their other scan" in controls(strangers, gallery_of_second_scans(strangers))["reason"]
    once = [s for s in shots if s.facts["case"].endswith("-1")]
    assert not controls(once, gallery_of_second_scans(once))["holds"]


class Middle:
    """Encodes a picture by its mean; finds a face unless it is black."""

    def analyse(self, images):
        from defacedask.evaluation.recognition import Box, Face

        return [[Face(Box(0, 9, 9, 0), code(image.mean()))] if image.any() else [] for image in images]


def photographs(folder):
    folder.mkdir()
    (folder / "P2").mkdir()
    for name, grey in (("P1.jpg", 40), ("P2/left.PNG", 90), ("P2/front.jpeg", 120), ("stranger.png", 200)):
        Image.new("L", (30, 20), grey).save(folder / name)
    Image.new("L", (30, 20), 0).save(folder / "P3.png")
    (folder / "notes.txt").write_text("not a photograph")
    return folder


def test_photographs_are_found_by_patient_and_missing_ones_are_named(tmp_path):
    folder = photographs(tmp_path / "photos")
    assert {k: [p.name for p in v] for k, v in find_photographs(folder).items()} == {
        "P1": ["P1.jpg"],
        "P2": ["front.jpeg", "left.PNG"],
        "P3": ["P3.png"],
        "stranger": ["stranger.png"],
    }
    gallery = gallery_of_photographs(folder, ["P1", "P2", "P3", "P4"], Middle())
    assert gallery.missing == ("P3", "P4")  # no face in the photograph; no photograph
    probes = [Sighting("P2", "front", code(91.0)), Sighting("P4", "front", code(91.0))]
    rows = identify(gallery.score(probes))
    assert rows[0]["distance_to_own"] == pytest.approx(1, abs=0.5)
    assert rows[0]["rank_of_own"] == 1
    assert rows[0]["gallery_size"] == 3  # the stranger is one of those who might be taken for somebody
    assert rows[1]["distance_to_own"] is None


def test_what_cannot_work_is_said_before_anything_runs(tmp_path):
    check_gallery("originals", [])
    check_gallery("second-scan", ["a", "a", "b"])
    check_gallery(str(photographs(tmp_path / "photos")), ["P1", "P9"])
    with pytest.raises(ConfigError, match="no patient has two scans"):
        check_gallery("second-scan", ["a", "b"])
    with pytest.raises(ConfigError, match="is no gallery"):
        check_gallery("second_scan", ["a"])
    with pytest.raises(ConfigError, match="named after a patient") as error:
        check_gallery(str(tmp_path / "photos"), ["X1", "X2"])
    assert "X1, X2" in error.value.hint
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no photograph in"):
        check_gallery(str(tmp_path / "empty"), ["a"])


def test_a_photograph_is_read_upright_and_small(tmp_path):
    lying = Image.new("RGB", (3000, 1500))
    lying.paste((255, 255, 255), (0, 0, 1500, 1500))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right: left becomes top
    lying.save(tmp_path / "a.jpg", exif=exif)
    picture = read_photograph(tmp_path / "a.jpg")
    assert picture.shape == (1000, 500, 3)
    assert picture[:400].mean() > 250
    assert picture[600:].mean() < 5
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"b\.jpg cannot be read"):
        read_photograph(tmp_path / "b.jpg")


@pytest.mark.data
def test_real_portraits_are_encoded_by_the_recogniser(shared_data, tmp_path):
    source = shared_data / "face_photos"
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "any.jpg").write_bytes((source / "obama.jpg").read_bytes())
    (tmp_path / "P2.jpg").write_bytes((source / "biden.jpg").read_bytes())
    recogniser = get_recogniser("face_recognition")
    gallery = gallery_of_photographs(tmp_path, ["P1", "P2", "P3"], recogniser)
    assert gallery.missing == ("P3",)
    face = recogniser.analyse([read_photograph(source / "obama2.jpg")])[0][0]
    (row,) = identify(gallery.score([Sighting("P1", "photo", face.encoding, True)]))
    assert row["rank_of_own"] == 1
    assert row["distance_to_own"] < 0.5 < row["nearest_other"]
