"""The whole way on a coarse virtual patient, in this process."""

from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pytest
import yaml
from support.export_kit import write_patient
from support.planted import FEW_VIEWS

import defacedask as dd
from defacedask.errors import ConfigError, InputError
from defacedask.flow.executors import HereExecutor
from defacedask.flow.flow import Flow
from defacedask.io.store import CaseStore
from defacedask.runs import study as dataflow
from defacedask.runs.preparing import KEPT, prepare
from defacedask.runs.sample import write_sample
from defacedask.tables.files import read_tables
from defacedask.verify import verify


@pytest.fixture(scope="module")
def study(virtual_patients, tmp_path_factory):
    """Run it, or go on with it; what is exported is tested elsewhere."""
    out = tmp_path_factory.mktemp("study") / "out"

    def run(defacers):
        with dask.config.set(FEW_VIEWS):
            return dd.study(virtual_patients, out, defacers=defacers, seed=3, export=False, forced_matrix=2)

    return run


@pytest.fixture(scope="module")
def run(study):
    return study("quickshear")


def times(out: Path) -> dict[str, int]:
    return {
        str(p.relative_to(out)): p.stat().st_mtime_ns for p in (out / "store" / "results").rglob("*.json")
    }


@pytest.mark.slow
def test_every_case_is_done_and_everything_is_left(run):
    assert run.tables["cases"]["status"].tolist() == ["done", "done"]
    for name in ("cases", "recognition", "radiomics", "dose", "faces_detected", "radiomics_percent"):
        assert len(run.tables[name]), name
        for end in ("csv", "parquet"):
            assert (run.out / "tables" / f"{name}.{end}").stat().st_size
    text = run.report.read_text(encoding="utf-8")
    assert "quickshear" in text
    config = yaml.safe_load((run.out / "config.yaml").read_text())
    assert config["settings"]["tolerance"] == {"face_recognition": 0.3}
    assert len(config["run_key_sha256"]) == 64


@pytest.mark.slow
def test_everybodys_landmarks_are_put_on_everybodys_heads(run):
    found = run.tables["forced_matrix"].set_index("defacer")
    assert list(found.index) == ["none", "quickshear"]
    assert found["persons"].eq(2).all()
    # where nothing was taken the own landmarks on the own picture are the original's look
    own = found.loc["none"]
    assert (own["matched"], own["rank_1"], own["auc"], own["plain_auc"]) == (2, 2, 1.0, 1.0)
    assert "everybody’s own" in run.report.read_text(encoding="utf-8")


@pytest.mark.slow
def test_convert_only_changes_nothing(run):
    for table in ("radiomics", "dose"):
        rows = run.tables[table]
        rows = rows[rows["defacer"] == "none"]
        assert len(rows) > 50
        same = (rows["original"] == rows["defaced"]) | (rows["original"].isna() & rows["defaced"].isna())
        assert same.all()
    changed = run.tables["radiomics"].query("defacer == 'none'")["voxels_changed"]
    assert (changed == 0).all()


@pytest.mark.slow
def test_originals_are_recognised_and_the_defacer_is_what_changes_that(run):
    faces = run.tables["faces_detected"].query("modality == 'CT'").set_index("defacer")
    assert faces.loc["original", "faces_detected"] == 2
    assert faces.loc["none", "matches"] == 2
    none = (
        run.tables["recognition"].query("defacer == 'none' and attack == 'plain'")["distance_to_own"].dropna()
    )
    assert len(none)
    assert (none == 0).all()
    assert faces.loc["quickshear", "matches"] == 0


@pytest.mark.slow
def test_every_attack_has_its_rows(run):
    rows = run.tables["recognition"]
    tried = {
        (defacer, modality): set(part["attack"])
        for (defacer, modality), part in rows.groupby(["defacer", "modality"])
    }
    assert tried["quickshear", "CT"] == {"plain", "forced_crop", "template_filled", "unmasked"}
    assert tried["none", "CT"] == {"plain", "forced_crop"}
    # contour and dose show the head too, and neither changes where nothing was defaced
    for modality in ("RTSTRUCT", "RTDOSE"):
        assert "plain" in tried["quickshear", modality]
        none = rows.query("defacer == 'none' and modality == @modality and attack == 'forced_crop'")
        assert none["distance_to_own"].min() == 0
    best = run.tables["best_attempts"].set_index(["case", "defacer", "modality", "attack"]).sort_index()
    for name, part in rows.query("defacer == 'quickshear' and attack == 'unmasked'").groupby("case"):
        row = best.loc[(name, "quickshear", "CT", "unmasked")]
        assert row["attempts"] == len(part)
        assert row["distance_to_own"] == part["distance_to_own"].min()


@pytest.mark.slow
def test_quickshear_takes_the_face_and_leaves_the_brain(run):
    for store in sorted((run.out / "store").glob("*.zarr")):
        case = CaseStore(str(store))
        before = case.volume("images/CT").values
        after = case.volume("defaced/quickshear/images/CT").values
        assert (before != after).sum() > 1000
        (brain,) = [s for s in case.structures("structures/RTSTRUCT") if s.name == "Brain"]
        inside = brain.mask
        np.testing.assert_array_equal(before[brain.box][inside], after[brain.box][inside])


@pytest.mark.slow
def test_a_second_run_does_nothing_and_one_more_defacer_only_its_own(run, study):
    first = times(run.out)
    again = study("quickshear")
    assert times(run.out) == first
    assert again.tables["cases"].equals(run.tables["cases"])
    more = study("quickshear,biometric_mask")
    changed = {name for name, t in times(run.out).items() if first.get(name) != t}
    assert changed
    assert all("biometric_mask" in name or Path(name).name == "plan.json" for name in changed)
    assert set(more.tables["faces_detected"]["defacer"]) == {
        "original",
        "none",
        "quickshear",
        "biometric_mask",
    }


@pytest.mark.slow
def test_one_patient_is_written_after_a_study_that_wrote_none(run, virtual_patients):
    """By a defacer against which nothing was found; on record, verified, and in the table."""
    assert not (run.out / "audit.jsonl").exists()
    with dask.config.set(FEW_VIEWS):
        prepared = prepare(virtual_patients, run.out, defacers="quickshear", seed=3, export=False)
        written = write_sample(prepared, run.tables)
    assert written == (prepared.cases[0].id, "quickshear")
    found = verify(run.out, key=prepared.run_key)
    assert found.ok, found.problems
    assert found.written == len(list((run.out / "defaced" / "quickshear").rglob("*.dcm")))
    assert read_tables(run.out)["exports"][["case", "status"]].to_numpy().tolist() == [[written[0], "done"]]
    assert run.tables["cases"]["virtual"].all()
    path = next((run.out / "defaced").rglob("CT/*.dcm"))
    before = path.stat().st_mtime_ns
    assert write_sample(prepared, run.tables) == written
    assert path.stat().st_mtime_ns == before  # what is there is not written again


def test_nothing_to_work_on(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="no image series to work on"):
        dd.study(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"defacers": "smudge"}, "no defacer 'smudge'"),
        ({"defacers": ""}, "no defacer was named"),
        ({"tolerance": 3.0}, "between 0 and 2"),
        ({"recogniser": "grandma"}, "no recogniser 'grandma'"),
    ],
)
def test_bad_options_are_said_before_anything_is_done(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        dd.study(tmp_path, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_paths_that_workers_are_given_are_absolute(tmp_path, monkeypatch):
    """A worker elsewhere would read a relative one from its own folder, and leave everything there."""
    given = []

    class Watched(HereExecutor):
        def submit(self, function, work, arguments, /, *before, **options):
            given.append({**arguments, "kept": options["folder"]})

    write_patient(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    ready = prepare(tmp_path / "in", "out", defacers="quickshear")
    (case,) = ready.cases
    run = dataflow.StudyRun(ready)
    assert run.release
    run.release.defaced[case.id] = ("quickshear",)
    for part in (dataflow.stages(), dataflow.writing()):
        flow = Flow(part, Watched(), ready.folder / KEPT)
        flow.submit(run, case, case.id, ready.settings.defacers)
    folders = {"kept", "root", "plans", "pictures", "folder", "out", "record"}
    paths = {(name, one[name]) for one in given for name in folders & set(one)}
    assert {name for name, _ in paths} == folders
    assert all(Path(path).is_relative_to(tmp_path) for _, path in paths)
