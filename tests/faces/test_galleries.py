"""Galleries: originals, second scans, photographs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from defacedask.errors import ConfigError, InputError
from defacedask.faces.controls import controls
from defacedask.faces.galleries import (
    check_gallery,
    find_photographs,
    gallery_of_originals,
    gallery_of_photographs,
    gallery_of_second_scans,
    read_photograph,
)
from defacedask.faces.identification import Sighting, identify
from defacedask.faces.recognition import get_recogniser
from defacedask.faces.verification import best_scores, verification


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


def test_who_cannot_be_compared_is_not_judged():
    def shot(person, case, at):
        return Sighting(person, "front", None if at is None else code(at), at is not None, {"case": case})

    shots = [shot("a", "a-1", 0.0), shot("a", "a-2", None), shot("b", "b-1", 5.0), shot("c", "c-1", None)]
    defaced = [shot(s.person, s.facts["case"], None) for s in shots]
    known = gallery_of_originals(shots)
    assert known.missing == ("c",)
    assert known.unable(defaced) == {"c-1"}  # a's second scan meets the face of the first
    again = gallery_of_second_scans(shots)
    assert again.missing == ("b", "c")
    assert again.unable(defaced) == {"a-1", "b-1", "c-1"}  # in a's second scan there is nothing to find
    assert again.notes == (
        "a: no face was found in a-2, so that nothing can be compared with it.",
        "b: there is one scan only.",
        "c: there is one scan only.",
    )
    best = best_scores(again.score(defaced), again.unable(defaced))
    assert verification(best, limit=0.4, repeats=5)["judged"] == 1


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
    """Encodes a picture by its mean; finds a face unless it is black, and two where it is white."""

    def analyse(self, images):
        from defacedask.faces.recognition import Box, Face

        faces = [[Face(Box(0, 9, 9, 0), code(image.mean()))] for image in images]
        number = [0 if not image.any() else 2 if image.min() > 250 else 1 for image in images]
        return [face * n for face, n in zip(faces, number, strict=True)]


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
    Image.new("L", (30, 20), 255).save(folder / "P2" / "wedding.jpg")
    assert gallery_of_photographs(folder, ["P1", "P2", "P3", "P4"], Middle()).notes == (
        "P2/wedding.jpg: 2 faces were found in this photograph; the largest was taken.",
        "P3.png: no face was found in this photograph.",
        "P4: there is no photograph.",
        "1 named after nobody in this study stay in as other persons (stranger).",
    )


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
