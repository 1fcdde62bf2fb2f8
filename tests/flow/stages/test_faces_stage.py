"""The stage that looks at faces, with a service as the recogniser, on a cluster: balls for heads, no person."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.face_service import KEY, FaceService
from support.made_heads import HEAD, around, balls

from defacedask.errors import ConfigError
from defacedask.faces.crops import Known
from defacedask.faces.recognition import azure, azure_pictures
from defacedask.faces.recognition.base import Box, Face
from defacedask.faces.recognition.limiter import ClusterLimiter
from defacedask.flow.executors import HereExecutor
from defacedask.flow.result import TaskResult
from defacedask.flow.settings import Settings
from defacedask.flow.stages.crops import compare_crops, write_known
from defacedask.flow.stages.faces import judge_faces
from defacedask.io.store import CaseStore, create_case, write_volume
from defacedask.runs.face_settings import face_settings, upload_warning
from defacedask.tables.faces import face_tables
from defacedask.tables.looks import LOOKS, looks_table, sightings
from defacedask.tables.parts import read_part, write_parts
from defacedask.volume import make_volume

PER_SECOND = 20.0


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for known in (azure._renewed, azure._verified, azure_pictures._memory):
        known.clear()
    with FaceService() as running:
        monkeypatch.setenv("AZURE_FACE_ENDPOINT", running.url)
        monkeypatch.setenv("AZURE_FACE_KEY", KEY)
        yield running


def made_case(folder, name):
    """Store of one ball with a nose; the results that a study would have left."""
    geometry = around(6.0)
    volume = make_volume(balls(geometry, HEAD).astype(np.int16), geometry, modality="CT", units="HU")
    nothing = make_volume(np.zeros(geometry.shape, np.uint8), geometry, modality="SEG", units="")
    url = str(folder / f"{name}.zarr")
    with create_case(url, key="k", facts={"case": name, "images": ["CT"]}) as writer:
        writer.volume("images/CT", volume)
    write_volume(url, "head/images/CT", nothing)
    assert CaseStore(url).images == ["images/CT"]
    facts = {"image": "images/CT", "pose": np.eye(4).tolist(), "to_template": np.eye(4).tolist()}
    return TaskResult("ingest", name, "", "k", facts={"store": url}), TaskResult(
        "plan", name, "", "k", facts=facts
    )


def chosen(tmp_path, **changes):
    found = face_settings("azure", "basic", True, tmp_path / "faces")
    return {**found, "size": 96, "pitches": [-10, 0], "per_second": PER_SECOND, **changes}


def test_upload_is_said_and_needs_leave(tmp_path, service):
    with pytest.raises(ConfigError, match="sends rendered pictures"):
        face_settings("face_recognition,azure", None, False, tmp_path)
    said = upload_warning(face_settings("face_recognition,azure", None, True, tmp_path))
    assert "Rendered pictures of every head" in said
    assert service.url in said
    assert upload_warning(face_settings("face_recognition", "all", False, tmp_path)) == ""


def test_all_workers_of_a_cluster_share_one_rate(tmp_path, service, monkeypatch):
    from distributed import Client, LocalCluster

    turns = []
    turn = ClusterLimiter.turn
    monkeypatch.setattr(ClusterLimiter, "turn", lambda self: turns.append(self) or turn(self))
    settings = chosen(tmp_path)
    cases = [made_case(tmp_path, name) for name in "abcd"]
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None, protocol="inproc"
        ) as cluster,
        Client(cluster) as dask,
    ):
        futures = [
            dask.submit(
                judge_faces, *pair, case=pair[0].case, defacer="original", settings=settings, pure=False
            )
            for pair in cases
        ]
        facts = [outcome.facts for outcome in dask.gather(futures)]
    assert len(turns) == len(service.requests) == 8
    times = sorted(r["at"] for r in service.requests)
    # four leases, each kept for 4/20 s: the eighth asks no sooner than one such time after the first
    assert times[7] - times[0] >= 4 / PER_SECOND * 0.95
    assert all(look["recogniser"] == "azure" for one in facts for look in one["looks"])
    # what the ids were made from stays on site, for the process that compares them
    assert len(list((tmp_path / "faces").iterdir())) == 8
    results = [
        TaskResult("faces", p[0].case, "original", "k", facts=f) for p, f in zip(cases, facts, strict=True)
    ]
    service.requests.clear()
    service.ids.clear()  # a day later
    part = tmp_path / "rows" / "part"
    seen = sightings(results, {c: c for c in "abcd"})
    write_parts(part, {LOOKS: looks_table(seen, {"azure": "azure"})})
    found = face_tables(
        [part],
        Settings({"none": {}}, "azure", {"azure": 0.3}, settings, {}, False),
        HereExecutor(),
        repeats=5,
    )
    assert found.tables["controls"]["recogniser"].tolist() == ["azure"]
    rows = {"recognition": read_part(*found.parts, "recognition").to_dict("records")}
    # every head is the same ball
    assert all(row["distance_to_own"] == pytest.approx(0.07) for row in rows["recognition"])
    verified = [r for r in service.requests if r["path"].endswith("/verify")]
    assert len(verified) <= 8 * 7 / 2 + 8  # each pair once, and again where an id had expired


def test_a_services_encodings_are_its_face_ids(tmp_path, service):
    pair = made_case(tmp_path, "a")
    settings = chosen(tmp_path)
    own = judge_faces(*pair, case="a", defacer="original", settings=settings)
    assert own.facts["recognisers"] == {"azure": "azure"}
    assert [k["attack"] for k in own.facts["looks"]] == ["plain", "plain"]
    assert all(isinstance(k["encoding"], str) for k in own.facts["looks"])


class Eye:
    """Finds a face in every picture, and keeps what it was shown."""

    name, remote, tolerance = "eye", False, 0.3

    def __init__(self):
        self.shown = []

    def analyse(self, images):
        self.shown += [image.tobytes() for image in images]
        return [
            [Face(Box(10, 80, 80, 10), image.mean(axis=(0, 1)), np.ones((5, 2)), 1.0)] for image in images
        ]

    def encode(self, image, boxes, landmarks=None):
        self.shown.append(image.tobytes())
        return [image.mean(axis=(0, 1)) for _ in boxes]


def local(monkeypatch):
    eye = Eye()
    monkeypatch.setattr("defacedask.flow.stages.faces.recognisers_of", lambda settings: [eye])
    return eye


def defaced_as_it_came(pair, defacer="none", path="images/CT"):
    """Write the original as a defacer's result; the result that `apply` would have left."""
    store = CaseStore(pair[0].facts["store"])
    write_volume(store.url, f"defaced/{defacer}/{path}", store.volume(path))
    return TaskResult("apply", "a", defacer, "k", facts={"changed": {path: {"voxels": 0}}})


def test_everybodys_crop_is_put_on_the_head_as_its_original_was_seen(tmp_path, monkeypatch):
    """The same pictures as of the original: what did not change is at no distance from itself."""
    eye, pair = local(monkeypatch), made_case(tmp_path, "a")
    eye.distance = lambda a, b: float(np.abs(np.asarray(a) - b).sum())
    monkeypatch.setattr("defacedask.flow.stages.crops.recognisers_of", lambda settings: [eye])
    settings = {**chosen(tmp_path), "recognisers": ["eye"]}
    own = judge_faces(*pair, case="a", defacer="original", settings=settings)
    result = TaskResult("faces", "a", "original", "k", facts=own.facts)
    looks = [look for look in own.facts["looks"] if look["attack"] == "plain"]
    mine = {look["view"]: Known(look["box"], look["landmarks"], look["encoding"]) for look in looks}
    other = {view: dataclasses.replace(one, encoding=np.zeros(3)) for view, one in mine.items()}
    known = tmp_path / "known.json"
    known.write_text(write_known({"CT": {"eye": {"A": mine, "B": other}}}))
    shown = set(eye.shown)
    about = {"case": "a", "defacer": "none", "known": str(known), "settings": settings}
    applied = defaced_as_it_came(pair)
    (found,) = compare_crops(*pair, result, applied, person="A", **about).facts["crops"]
    assert (found["modality"], found["recogniser"], found["person"]) == ("CT", "eye", "A")
    assert found["matrix"] == found["plain"]
    assert found["matrix"]["A"] == pytest.approx(0, abs=1e-9)
    assert found["matrix"]["B"] > 1
    assert set(eye.shown) == shown
    assert compare_crops(*pair, result, applied, person="nobody", **about).facts["crops"] == []


def test_what_did_not_change_is_drawn_once_however_many_defacers_there_are(tmp_path, monkeypatch):
    eye, pair = local(monkeypatch), made_case(tmp_path, "a")
    settings = {**chosen(tmp_path), "recognisers": ["eye"]}
    own = judge_faces(*pair, case="a", defacer="original", settings=settings)
    result = TaskResult("faces", "a", "original", "k", facts=own.facts)
    defaced_as_it_came(pair)
    plans = {"case": "a", "settings": settings, "plans": str(tmp_path)}
    monkeypatch.setattr("defacedask.flow.stages.faces.load_plan", lambda *_: None)
    drawn = TaskResult("apply", "a", "none", "k", facts={"changed": {"images/CT": {"voxels": 1}}})
    anew = judge_faces(*pair, result, drawn, defacer="none", **plans)
    before = len(eye.shown)
    assert before > 2 * len(own.facts["looks"])  # it was drawn, and shown twice
    for defacer in ("none", "other", "third"):
        applied = defaced_as_it_came(pair, defacer=defacer)
        kept = judge_faces(*pair, result, applied, defacer=defacer, **plans)
        assert len(eye.shown) == before
        assert comparable(kept.facts["looks"]) == comparable(anew.facts["looks"])
        assert kept.facts["levels"] == anew.facts["levels"]


def comparable(looks):
    return [{k: np.asarray(v).tolist() if k == "encoding" else v for k, v in one.items()} for one in looks]


def test_attempts_are_made_once_to_be_looked_at_and_to_be_judged(tmp_path, monkeypatch):
    from defacedask.attacks.face_rays import Rays

    local(monkeypatch)
    pair = made_case(tmp_path, "a")
    settings = {**chosen(tmp_path), "recognisers": ["eye"], "attacks": ["plain", "forced_crop", "unmasked"]}
    own = judge_faces(*pair, case="a", defacer="original", settings=settings)
    own.facts["unmasking_controls"] = {"images/CT": {"seam": 1.0, "classifier": 1.0}}
    result = TaskResult("faces", "a", "original", "k", facts=own.facts)
    applied = defaced_as_it_came(pair, defacer="carina")
    monkeypatch.setattr("defacedask.flow.stages.faces.load_plan", lambda *_: None)
    shot = []
    rays = Rays.of.__func__
    monkeypatch.setattr(Rays, "of", classmethod(lambda cls, target: shot.append(1) or rays(cls, target)))
    found = judge_faces(
        *pair, result, applied, case="a", defacer="carina", settings=settings, plans=str(tmp_path)
    )
    # in a ball of one value there is no seam
    assert {k["variant"] for k in found.facts["looks"]} > {"classifier"}
    assert [r["attempt"] for r in found.rows["unmasking"]] == ["classifier"]
    assert len(shot) == 1
