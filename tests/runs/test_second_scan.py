"""Learned attacks against another scan: a weak defacer is seen through, and nobody is found in another's head."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from support.cohort_kit import SETTINGS, look, series
from support.made_heads import HEAD, around, balls

from defacedask.attacks.examination import Examination
from defacedask.attacks.inversion.maps import ANGLES, SHAPE, DepthMaps, face_rays
from defacedask.attacks.inversion.planted import CUT_MM
from defacedask.attacks.target import Target
from defacedask.flow.result import TaskResult, result_path
from defacedask.flow.stages.inversion import DEPTHS, gathered, invert_faces
from defacedask.io.dicom.model import Case
from defacedask.io.store import create_case, write_volume
from defacedask.tables.cohort import collect
from defacedask.volume import make_volume

PATH, PERSONS, SCANS = "images/CT", 8, (1, 2)
#: Who is looked for; all others teach and are the gallery.
PROBES = [("c0-1", 0), ("c1-2", 1), ("c2-1", 2)]
STAGE = {"recognisers": [], "attacks": ["plain", "inversion"], "modalities": ["CT"], "size": 64}


def encoding(skin):
    """What a recogniser would make of a face, if it saw its shape alone: depths of blocks of the face's rays."""
    face = np.where(face_rays() & ~np.isnan(skin), skin - 90.0, 0.0)
    return face[:90, :180].reshape(18, 5, 30, 6).mean(axis=(1, 3)).ravel()


@pytest.fixture(scope="module")
def skins():
    """Skin of each scan: the person's own, with what a scanner adds."""
    rng = np.random.default_rng(0)
    bumps = gaussian_filter(rng.standard_normal((PERSONS, *SHAPE)), (0, 7, 7))
    own = 90.0 + 4.0 * bumps / bumps.std()
    return {(k, scan): own[k] + rng.normal(0, 0.3, SHAPE) for k in range(PERSONS) for scan in SCANS}


@pytest.fixture(scope="module")
def store(skins, tmp_path_factory):
    """Depths of all scans, as they came and as a weak defacer left them: cut to a constant depth."""
    store, bone = tmp_path_factory.mktemp("run"), np.full(SHAPE, np.nan)
    for (k, scan), skin in skins.items():
        own = {"modality": "CT", **DepthMaps(skin, bone).packed(), "planted": {}}
        cut = DepthMaps(np.where(face_rays(), skin - CUT_MM, skin), bone).packed()
        for who, maps in (("original", own), ("weak", {"modality": "CT", **cut})):
            facts = {"depths": {PATH: maps}, "scale": [1.0] * len(ANGLES)}
            file = result_path(store / "results", f"c{k}-{scan}", DEPTHS, who)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(vars(TaskResult(DEPTHS, f"c{k}-{scan}", who, "k", facts=facts))))
    return store


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """Results of ``ingest``, ``plan`` and ``faces`` of a ball, on which every prediction is drawn."""
    url, geometry = str(tmp_path_factory.mktemp("stores") / "c.zarr"), around(5.0)
    volume = make_volume(balls(geometry, HEAD), geometry, modality="CT", units="HU")
    with create_case(url, key="k", facts={"images": ["CT"]}) as writer:
        writer.volume(PATH, volume)
    for who in ("weak", "swapped"):
        write_volume(url, f"defaced/{who}/{PATH}", volume)
    eye = np.eye(4).tolist()
    return (
        TaskResult("ingest", "c", "", "k", facts={"store": url}),
        TaskResult("plan", "c", "", "k", facts={"image": "", "pose": eye, "to_template": eye}),
        TaskResult("faces", "c", "original", "k", facts={"levels": {PATH: -300.0}, "looks": []}),
    )


def see(self, examiner, attempt, target, own, path):
    """Stands for render and recogniser: the shape that an attempt shows."""
    shown = Target(attempt.values, attempt.geometry, "CT", attempt.level, np.eye(4), np.eye(4))
    code = encoding(DepthMaps.of(shown).skin)
    examiner.looks.append({**look("front", code.tolist(), "inversion"), "forced": False, "variant": ""})


def predicted(store, head, lessons, case, person, defacer, whose):
    """The stage, on the head of a case as ``whose`` was left."""
    before, after = (
        TaskResult(**json.loads(result_path(store / "results", name, DEPTHS, who).read_text()))
        for name, who in ((case, "original"), (whose, "weak"))
    )
    about = {"case": case, "person": f"P{person}", "defacer": defacer, "settings": STAGE}
    found = invert_faces(*head, before, after, **about, lessons=lessons)
    (row,) = found.rows["inversion"]
    # nobody teaches who is predicted, by neither scan
    assert row["persons"] == PERSONS - 1
    facts = {"looks": found.facts["looks"], "recogniser": "face_recognition"}
    return TaskResult("inversion", case, defacer, "k", facts=facts)


def test_a_weak_defacer_is_seen_through_in_the_other_scan_and_another_persons_head_is_not(
    skins, store, head, tmp_path, monkeypatch
):
    monkeypatch.setattr("defacedask.flow.stages.inversion.recognisers_of", lambda settings: [])
    monkeypatch.setattr(Examination, "look_at", see)
    people = [(f"c{k}-{scan}", f"P{k}") for k, scan in skins]
    (lessons, _) = gathered(store, people, ["weak"])["weak"]
    cases = [Case(f"c{k}-{scan}", f"P{k}", "1.2", (series(f"c{k}-{scan}"),)) for k, scan in skins]
    results = [
        TaskResult(
            "faces",
            f"c{k}-{scan}",
            "original",
            "k",
            facts={
                "looks": [look(view, encoding(skin).tolist()) for view in ("front", "turned")],
                "recogniser": "face_recognition",
            },
        )
        for (k, scan), skin in skins.items()
    ]
    for case, person in PROBES:
        other = f"c{person + 4}-{case[-1]}"
        results += [
            predicted(store, head, lessons, case, person, "weak", case),
            predicted(store, head, lessons, case, person, "swapped", other),
        ]
    (tmp_path / "pictures").mkdir()
    settings = SETTINGS.__class__(**{**vars(SETTINGS), "gallery": "second-scan"})
    tables = collect(tmp_path, cases, [], results, settings)
    rates = tables["verification"].query("attack == 'inversion' and modality == 'CT'").set_index("defacer")
    assert rates.loc["weak", "judged"] == rates.loc["swapped", "judged"] == len(PROBES)
    assert (rates.loc["weak", "auc"], rates.loc["weak", "rank_1"]) == (1.0, len(PROBES))
    assert rates.loc["swapped", "rank_1"] == 0
    assert rates.loc["swapped", "auc"] < 0.8
    # it is the other one who is found
    seen = tables["recognition"].query("attack == 'inversion' and defacer == 'swapped'")
    assert (seen["nearest_other"] < seen["distance_to_own"]).all()


def test_the_own_scan_is_in_no_gallery(skins, store, tmp_path):
    """Against the very scan a copy of it would lie at 0; against the other one it does not."""
    results = []
    for (k, scan), skin in skins.items():
        looks = [look(view, encoding(skin).tolist()) for view in ("front", "turned")]
        facts = {"looks": looks, "recogniser": "face_recognition"}
        results += [
            TaskResult("faces", f"c{k}-{scan}", who, "k", facts=facts) for who in ("original", "none")
        ]
    cases = [Case(f"c{k}-{scan}", f"P{k}", "1.2", (series(f"c{k}-{scan}"),)) for k, scan in skins]
    (tmp_path / "pictures").mkdir()
    least = {}
    for gallery in ("originals", "second-scan"):
        settings = SETTINGS.__class__(**{**vars(SETTINGS), "gallery": gallery})
        table = collect(tmp_path, cases, [], results, settings)["recognition"]
        least[gallery] = table.query("defacer == 'none'")["distance_to_own"].min()
    assert least["originals"] == 0 < least["second-scan"]
