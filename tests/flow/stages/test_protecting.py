"""Protected structures in a study: read from the case's store, part of what is recomputed, told in the tables."""

from __future__ import annotations

import hashlib
import hmac
import types

import numpy as np
import pytest

import defacedask as dd
from defacedask.errors import ConfigError, RefusedError
from defacedask.flow.settings import Settings
from defacedask.flow.stages import protecting
from defacedask.flow.stages.apply import apply
from defacedask.flow.stages.ingest import ingest
from defacedask.flow.stages.layout import volume_path
from defacedask.flow.stages.plans import load_plan, make_plans
from defacedask.flow.worker import run_task
from defacedask.geometry import Geometry
from defacedask.io.store import CaseStore
from defacedask.report.run import Run
from defacedask.report.sections.record import cases_table
from defacedask.runs.preparing import prepare
from defacedask.tables.files import as_table
from defacedask.tables.rows import About, case_rows


@pytest.fixture(scope="module")
def cohort(virtual_patients):
    return virtual_patients / "VP-0001"


@pytest.fixture(scope="module")
def stored(cohort, tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    case = dd.scan(cohort).cases[0]
    made = run_task(
        ingest, {"case": case.to_dict(), "root": str(root)}, folder=str(root), stage="ingest", case=case.id
    )
    assert made.ok
    return root, case, made


def defaced(stored, protect, margin_mm=3.0, name="biometric_mask_strict"):
    root, case, made = stored
    settings = Settings({name: {}}, "", {}, {}, {}, False, protect=protect, margin_mm=margin_mm)
    arguments = {
        "plans": str(root / "plans"),
        "defacers": settings.defacers,
        "run_key": b"k",
        "case": case.id,
        "protect": settings.protect,
        "margin_mm": settings.margin_mm,
    }
    kept = {"folder": str(root), "case": case.id}
    planned = run_task(make_plans, arguments, made, stage="plan", depends=settings.planning, **kept)
    assert planned.ok, planned.reason
    arguments = {"plans": str(root / "plans"), "case": case.id, "defacer": name}
    applied = run_task(apply, arguments, made, planned, stage="apply", defacer=name, **kept)
    assert applied.ok, applied.reason
    voxels = CaseStore(made.facts["store"]).volume(volume_path(name, "images/CT")).values
    return voxels, case_rows([About.of(case)], [made, planned, applied])[0], planned, applied


@pytest.mark.slow
def test_a_study_keeps_them_and_flags_the_case(stored):
    store = CaseStore(stored[2].facts["store"])
    before = store.volume("images/CT").values
    (jaw,) = [s for s in store.structures("structures/RTSTRUCT") if s.name == "Bone_Mandible"]
    taken, row, planned, applied = defaced(stored, ())
    assert row["face_kept"] == ""
    assert row["face_kept_percent"] < 1
    assert (taken[jaw.box][jaw.mask] != before[jaw.box][jaw.mask]).any()

    # what is protected has changed, so the plan and all after it is made anew
    after, row, again, anew = defaced(stored, ("*mandible", "Nothing*"), 15.0)
    assert again.key != planned.key
    assert anew.key != applied.key
    assert row["status"] == "done"
    assert row["face_kept_percent"] > 5
    assert "Mandible is protected; visible:" in row["face_kept"]
    assert "chin" in row["face_kept"]
    assert "Nothing*" in row["notes"]
    np.testing.assert_array_equal(after[jaw.box][jaw.mask], before[jaw.box][jaw.mask])
    assert (after != before).any()
    # and what has not is taken as it is
    assert defaced(stored, ("*mandible", "Nothing*"), 15.0)[3].key == anew.key

    made = as_table("cases", [row])
    page = cases_table(Run(stored[0], {"cases": made}, {}))
    assert any("face partly kept" in cell.text for cell in page.rows[0])


@pytest.mark.slow
def test_a_defacer_that_spares_organs_leaves_them_to_the_bit_without_being_asked(stored):
    from defacedask.defacers.surrogate import Surrogate

    store = CaseStore(stored[2].facts["store"])
    before = store.volume("images/CT").values
    after, row, planned, _ = defaced(stored, (), name="surrogate")
    assert row["status"] == "done"
    there = [s for s in store.structures("structures/RTSTRUCT") if s.name in Surrogate.spares]
    assert {"Eye_L", "Parotid_R", "Bone_Mandible"} <= {s.name for s in there}
    air = -900 if before.min() < 0 else 124
    for one in there:
        # the part of a contour in the air before the head is no organ
        organ = one.mask & (before[one.box] > air)
        np.testing.assert_array_equal(after[one.box][organ], before[one.box][organ], err_msg=one.name)
    assert (after != before).mean() > 0.01
    # the control: another defacer changes some of them
    taken, *_ = defaced(stored, ())
    assert any((taken[s.box][s.mask] != before[s.box][s.mask]).any() for s in there)
    # the face is the person's in every session: the key is that of run and person, not of the case
    whose = load_plan(str(stored[0] / "plans"), stored[1].id, "surrogate")
    person = f"person\0{stored[1].patient_id}\0surrogate"
    assert whose.key == hmac.new(b"k", person.encode(), hashlib.sha256).digest()
    assert planned.facts["plans"]["surrogate"]["summary"]["lift"] > 0


def test_a_structure_that_could_not_be_read_refuses_the_case(stored):
    store = CaseStore(stored[2].facts["store"])
    kept, missing = protecting.kept_structures(store, ["Parotid_?"])
    assert len(kept) == 2
    assert missing == []
    store.facts["unread_structures"] = [{"names": ["PTV70", "Cord"], "reason": "it is damaged."}]
    with pytest.raises(RefusedError, match="PTV70 is to be protected but could not be read: it is damaged"):
        protecting.kept_structures(store, ["ptv*"])
    assert protecting.kept_structures(store, ["Parotid_L"])[1] == []
    # what nobody asked for refuses nothing, and is said
    body = types.SimpleNamespace(
        body=np.ones((2, 2, 2), bool), grid=Geometry((2, 2, 2), np.diag([500.0, 500, 500, 1]))
    )
    kept, notes = protecting.spared_structures(store, ("Cord", "Nothing"), body)
    assert kept == []
    assert notes == ["Cord is not spared, for it could not be read: it is damaged."]


def test_unread_structure_sets_are_on_record(cohort, tmp_path, monkeypatch):
    from defacedask.errors import InputError
    from defacedask.io.dicom import structures

    def broken(*_):
        raise InputError("it is damaged.")

    monkeypatch.setattr(structures, "read_structures", broken)
    case = dd.scan(cohort).cases[0]
    store = CaseStore(ingest(case=case.to_dict(), root=str(tmp_path)).facts["store"])
    with pytest.raises(RefusedError, match="could not be read"):
        protecting.kept_structures(store, ["Bone_Mandible"])


def test_patterns_and_margins(tmp_path):
    assert protecting.patterns_of(" PTV*, Brain,PTV* ,") == ("PTV*", "Brain")
    assert protecting.patterns_of(None) == ()
    with pytest.raises(ConfigError, match="40 mm"):
        prepare(tmp_path, tmp_path / "out", margin_mm=40)
