"""A trial's own ids: the table of them, and what comes out of it."""

from __future__ import annotations

import csv

import pydicom
import pytest
from click.testing import CliRunner
from support import make
from support.export_kit import geometry, half_space, head_ct, stub_plan, write_patient  # noqa: F401
from support.judges import named_errors

from defacedask.cli.deface import command
from defacedask.errors import ConfigError, InputError
from defacedask.runs import deface_stages
from defacedask.runs.trial import read_ids, trial_facts
from defacedask.verify import verify


@pytest.fixture(autouse=True)
def quick_plan(monkeypatch):
    monkeypatch.setattr(deface_stages, "plan_protected", stub_plan)


def table(tmp_path, text, name="ids.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8"))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "patient_id,subject_id\nP1,T-1\nP2,T-2\n",
        "\ufeffPatientID;ClinicalTrialSubjectID\r\nP1;T-1\r\nP2;T-2\r\n",
        "Subject ID\tcomment\tPatient ID\nT-1\tx\tP1\nT-2\ty\tP2\n",
        'patient_id,subject_id\n"P1","T-1"\n P2 , T-2 \nP1,T-1\n\n',
    ],
)
def test_tables_that_say_the_same(tmp_path, text):
    assert read_ids(table(tmp_path, text)).rows == (("P1", "T-1", ""), ("P2", "T-2", ""))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("P1,T-1\nP2,T-2\n", "columns patient_id and subject_id"),
        ("", "columns patient_id and subject_id"),
        ("patient_id,subject_id\n", "no rows"),
        ("patient_id,subject_id\nP1,\n", "row 2 .* lacks an id"),
        ("patient_id,subject_id\nP1\n", "row 2 .* lacks an id"),
        ("patient_id,subject_id\nP1,T-1\nP1,T-2\n", "two ids for P1"),
        ("patient_id,subject_id\nP1,T-1\nP2,t-1\n", "to two patients"),
        ("patient_id,subject_id\nP1,a\\b\n", "row 2"),
        ("patient_id,subject_id\nP1," + 65 * "x" + "\n", "row 2"),
    ],
)
def test_bad_tables(tmp_path, text, why):
    with pytest.raises(InputError, match=why):
        read_ids(table(tmp_path, text))


def test_no_table(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_ids(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"patient_id,\xff\xfe\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_ids(tmp_path / "bytes.csv")


def test_facts_of_a_trial():
    assert trial_facts(["sponsor=A unit", "protocol=X-1", "site=07"]) == {
        "ClinicalTrialSponsorName": "A unit",
        "ClinicalTrialProtocolID": "X-1",
        "ClinicalTrialSiteID": "07",
    }
    assert trial_facts(()) == {}
    for bad, why in (
        (["protocol=X"], "sponsor"),
        (["phase=3"], "phase"),
        (["sponsor=", "protocol=X"], "sponsor"),
    ):
        with pytest.raises(ConfigError, match=why):
            trial_facts(bad)


@pytest.fixture
def cohort(tmp_path):
    """Two patients."""
    write_patient(tmp_path / "in" / "one")
    grid = make.grid(
        (12, 40, 36), (3.0, 1.5, 1.25), frame=make.uid("second"), origin=(-21.875, -29.25, 100.0)
    )
    named = {"change": lambda dataset, k: setattr(dataset, "PatientName", "Lindgren^Patient^Hull")}
    make.write_series(
        tmp_path / "in" / "two", head_ct(grid), grid, "CT", patient="P2", series="second", **named
    )
    return tmp_path


def run(folder, *more):
    args = [str(folder / "in"), "--out", str(folder / "out"), *map(str, more)]
    done = CliRunner().invoke(command, [*args, "--defacer", "half_space", "--cluster", "here"])
    return done


def test_ids_of_a_trial_in_every_file(cohort):
    ids = table(cohort, "patient_id,subject_id,site_id\nP1,TRI-0007,S1\nP2,TRI-0008,S2\n")
    trial = ("--trial", "sponsor=Some unit", "--trial", "protocol=TRI")
    done = run(cohort, "--deidentify", "--map", ids, *trial, "--mask", "seg", "--mask", "nifti")
    assert done.exit_code == 0, done.output
    found = {}
    for path in (cohort / "out").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        found.setdefault(str(dataset.PatientID), set()).add(dataset.Modality)
        assert str(dataset.PatientName) == dataset.PatientID == dataset.ClinicalTrialSubjectID
        assert dataset.ClinicalTrialSponsorName == "Some unit"
        assert dataset.ClinicalTrialProtocolID == "TRI"
        assert dataset.ClinicalTrialSiteID == {"TRI-0007": "S1", "TRI-0008": "S2"}[dataset.PatientID]
        if "defacemask" in path.name:
            assert named_errors(path) == set()
    assert found["TRI-0007"] >= {"CT", "RTSTRUCT", "RTDOSE", "RTPLAN", "SEG"}
    assert found["TRI-0008"] == {"CT", "SEG"}
    key = bytes.fromhex((cohort / "out.work" / "run.key").read_text())
    assert verify(cohort / "out", key=key, source=[cohort / "in"]).problems == []


def test_which_patient_got_which_id_stays_with_the_key(cohort):
    ids = table(cohort, "patient_id,subject_id\nP1,TRI-0007\nP2,TRI-0008\n")
    assert run(cohort, "--deidentify", "--map", ids).exit_code == 0
    kept = cohort / "out.work" / "patient_ids.csv"
    assert kept.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(kept.read_text().splitlines()))
    assert {(row["patient_id"], row["new_patient_id"]) for row in rows} == {
        ("P1", "TRI-0007"),
        ("P2", "TRI-0008"),
    }
    assert not list((cohort / "out").rglob("*.csv"))


def test_made_up_ids_are_kept_too(cohort):
    assert run(cohort, "--deidentify").exit_code == 0
    rows = list(csv.DictReader((cohort / "out.work" / "patient_ids.csv").read_text().splitlines()))
    out = {str(pydicom.dcmread(p).PatientID) for p in (cohort / "out").rglob("*.dcm")}
    assert {row["new_patient_id"] for row in rows} == out


@pytest.mark.parametrize(
    ("text", "more", "why"),
    [
        ("patient_id,subject_id\nP1,TRI-7\n", ["--deidentify"], "1 of the patients are not in the map: P2"),
        ("patient_id,subject_id\nP1,TRI-7\nP2,TRI-8\n", [], "Add --deidentify"),
        ("patient_id,subject_id\nP1,p_02\nP2,TRI-8\n", ["--deidentify"], "is the id of a patient"),
        (
            "patient_id,subject_id\nP1,TRI-Lindgren\nP2,TRI-8\n",
            ["--deidentify"],
            "tell nothing of the patient",
        ),
        ("patient_id,subject_id,site_id\nP1,TRI-7,1\nP2,TRI-8,2\n", ["--deidentify"], "the map names sites"),
    ],
)
def test_what_cannot_be_done_stops_before_any_work(cohort, text, more, why):
    done = run(cohort, "--map", table(cohort, text), *more)
    assert isinstance(done.exception, (ConfigError, InputError))
    assert why in str(done.exception)
    assert not list((cohort / "out").rglob("*.dcm"))


def test_a_table_in_the_output_is_refused(cohort):
    (cohort / "out").mkdir()
    ids = table(cohort / "out", "patient_id,subject_id\nP1,TRI-7\nP2,TRI-8\n")
    done = run(cohort, "--deidentify", "--map", ids)
    assert isinstance(done.exception, ConfigError)


def test_another_spelling_of_an_id(cohort):
    ids = table(cohort, "patient_id,subject_id\n p-0001,TRI-7\nP2,TRI-8\n")
    assert run(cohort, "--deidentify", "--map", ids).exit_code == 0
    assert {str(pydicom.dcmread(p).PatientID) for p in (cohort / "out").rglob("*.dcm")} == {"TRI-7", "TRI-8"}
