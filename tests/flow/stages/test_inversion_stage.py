"""The stages of learned inversion: maps of a case, what a cohort teaches, and a prediction; balls for heads."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from support.made_heads import HEAD, around, balls

from defacedask.attacks.inversion.maps import ANGLES, HEIGHTS, SHAPE, DepthMaps, face_rays
from defacedask.attacks.inversion.planted import PLANTED
from defacedask.faces.recognition.base import Box, Face
from defacedask.flow.result import TaskResult, result_path
from defacedask.flow.stages.inversion import (
    DEPTHS,
    control_inversion,
    gathered,
    invert_faces,
    measure_depths,
)
from defacedask.io.store import create_case, write_volume
from defacedask.volume import make_volume

PATH, PERSONS = "images/CT", 8
SETTINGS = {"recognisers": ["eye"], "attacks": ["plain", "inversion"], "modalities": ["CT"], "size": 64}


class Eye:
    name, remote = "eye", False

    def analyse(self, images):
        return [[Face(Box(10, 50, 50, 10), im.mean(axis=(0, 1)), np.ones((5, 2)), 1.0)] for im in images]

    def encode(self, image, boxes, landmarks=None):
        return [image.mean(axis=(0, 1)) for _ in boxes]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Store of one ball, as it came and as ``weak`` left it; results of ``ingest``, ``plan``, ``faces``."""
    url = str(tmp_path_factory.mktemp("stores") / "c0.zarr")
    geometry = around(6.0)
    volume = make_volume(balls(geometry, HEAD).astype(np.int16), geometry, modality="CT", units="HU")
    nothing = make_volume(np.zeros(geometry.shape, np.uint8), geometry, modality="SEG", units="")
    with create_case(url, key="k", facts={"case": "c0", "images": ["CT"]}) as writer:
        writer.volume(PATH, volume)
    write_volume(url, f"head/{PATH}", nothing)
    write_volume(url, f"defaced/weak/{PATH}", volume)
    eye = np.eye(4).tolist()
    return (
        TaskResult("ingest", "c0", "", "k", facts={"store": url}),
        TaskResult("plan", "c0", "", "k", facts={"image": PATH, "pose": eye, "to_template": eye}),
        TaskResult("faces", "c0", "original", "k", facts={"levels": {PATH: -300.0}, "looks": []}),
    )


def kept(store, stage, case, defacer, facts):
    result = TaskResult(stage, case, defacer, "k", facts=facts)
    file = result_path(store / "results", case, stage, defacer)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(vars(result)))
    return result


def cohort(store, count=PERSONS):
    """Records of a cohort whose faces ``weak`` cut off to a constant depth."""
    rng = np.random.default_rng(0)
    bumps = gaussian_filter(rng.standard_normal((count, *SHAPE)), (0, 7, 7))
    bone, results = np.full(SHAPE, np.nan), {}
    for k, skin in enumerate(90.0 + 4.0 * bumps / bumps.std()):
        cut = DepthMaps(np.where(face_rays(), skin - 8.0, skin), bone).packed()
        own = {"modality": "CT", **DepthMaps(skin, bone).packed(), "planted": dict.fromkeys(PLANTED, cut)}
        common = {"scale": [1.0] * len(ANGLES)}
        results[k] = (
            kept(store, DEPTHS, f"c{k}", "original", {"depths": {PATH: own}, **common}),
            kept(store, DEPTHS, f"c{k}", "weak", {"depths": {PATH: {"modality": "CT", **cut}}, **common}),
        )
    return results


def test_depths_are_measured_of_an_original_and_of_what_planted_defacers_leave(case):
    own = measure_depths(*case, case="c0", defacer="original", settings=SETTINGS).facts["depths"][PATH]
    again = measure_depths(*case, case="c0", defacer="weak", settings=SETTINGS).facts["depths"][PATH]
    assert own["skin"] == again["skin"]
    assert set(own["planted"]) == set(PLANTED)
    assert again["planted"] == {}
    skin = DepthMaps.unpacked(own).skin
    assert (~np.isnan(skin[np.abs(HEIGHTS) < 40])).all()


def test_a_cohort_is_gathered_and_a_face_predicted_without_its_owner(case, tmp_path, monkeypatch):
    monkeypatch.setattr("defacedask.flow.stages.inversion.recognisers_of", lambda settings: [Eye()])
    results = cohort(tmp_path)
    people = [(f"c{k}", f"p{k}") for k in range(PERSONS)]
    lessons = gathered(tmp_path, people, ["none", "weak"])
    assert set(lessons) == {"weak", *PLANTED}
    about = {"case": "c0", "person": "p0"}
    found = invert_faces(
        *case, *results[0], **about, defacer="weak", settings=SETTINGS, lessons=lessons["weak"][0]
    )
    (row,) = found.rows["inversion"]
    assert row["persons"] == PERSONS - 1
    assert row["error_mm"] < 0.6 * row["average_mm"]
    assert row["nearer"] == 1.0
    assert row["shuffled_mm"] > 0.8 * row["shuffled_average_mm"]
    assert {look["attack"] for look in found.facts["looks"]} == {"inversion"}
    assert found.facts["recognisers"] == {"eye": "eye"}
    # a control has rows and no pictures
    rows = control_inversion(
        results[0][0], **about, lessons={"constant cut": lessons["constant cut"][0]}
    ).rows["inversion"]
    assert [(r["defacer"], r["planted"]) for r in rows] == [("original", "constant cut")]
    # other maps, another digest: what was learnt before is not taken for what is now
    kept(tmp_path, DEPTHS, "c1", "weak", results[2][1].facts)
    again = gathered(tmp_path, people, ["weak"])
    assert again["weak"][1] != lessons["weak"][1]
    assert again["constant cut"] == lessons["constant cut"]
    assert len(list((tmp_path / "inversion").iterdir())) == len(again)


def test_too_few_persons_teach_nothing(tmp_path):
    cohort(tmp_path, count=PERSONS)
    same = [(f"c{k}", "one") for k in range(PERSONS)]
    assert gathered(tmp_path, same, ["weak"]) == {}
