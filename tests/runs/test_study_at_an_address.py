"""`study` whose own data lie on an object store: the same tables, files and pictures as in a folder.

The stages that look at heads and faces are replaced by light ones; the way of the data is the study's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from support import forked
from support.elsewhere import reads, set_up
from support.export_kit import HalfSpace, half_space, judge_as, save_plan, tree, write_patient  # noqa: F401
from support.faulty_store import memory  # noqa: F401
from support.object_store import s3  # noqa: F401

import defacedask as dd
from defacedask.cluster import connect
from defacedask.defacers import get_defacer
from defacedask.errors import ConfigError
from defacedask.flow import away as aways
from defacedask.flow.executors import DaskExecutor
from defacedask.flow.result import Outcome, TaskResult
from defacedask.io.store import CaseStore
from defacedask.runs import study_stages
from defacedask.runs.run_key import key_of_seed
from defacedask.verify.cases import verify_address


def make_plans(ingested: TaskResult, *, plans: str, defacers: Any, case: str, **options: Any) -> Outcome:
    """In place of looking at a head: the half-space, and the control."""
    store = CaseStore(ingested.facts["store"])
    found = {}
    for name in defacers:
        plan = HalfSpace(-2.0) if name == "half_space" else get_defacer(name).plan(None, key=b"")
        save_plan(Path(plans), case, plan)
        found[name] = {"status": "done", "reason": "", "digest": plan.digest, "summary": {}, "code": {}}
    pose = np.eye(4).tolist()
    return Outcome(facts={"image": store.images[0], "pose": pose, "plans": found, "notes": []})


def count(
    ingested: TaskResult, *before: TaskResult, case: str, settings: Any, defacer: str = "original"
) -> Outcome:
    """In place of radiomics: a row that tells what the worker found in the store."""
    store = CaseStore(ingested.facts["store"])
    twins = sorted(path.name for path in Path(store.url, "defaced").glob("*"))
    row = {"case": case, "defacer": defacer, "structure": "Brain", "feature": "Mean"}
    rows = [{**row, "original": 2.0, "defaced": 1.0, "percent": 50.0}] if twins else []
    rows = [] if defacer == "original" else rows  # which may be measured before, and after, there are twins
    return Outcome({"radiomics": rows}, {"twins": len(twins)})


def nothing(*before: TaskResult, **options: Any) -> Outcome:
    """In place of a stage."""
    return Outcome()


STUBS = {
    "make_plans": make_plans,
    **dict.fromkeys(("judge_faces", "measure_geometry", "measure_skin", "measure_utility"), nothing),
    **dict.fromkeys(("measure_original", "measure_radiomics"), count),
}


@pytest.fixture
def patients(tmp_path, monkeypatch):
    for name, stub in STUBS.items():
        monkeypatch.setattr(study_stages, name, stub)
    monkeypatch.chdir(tmp_path)
    write_patient(tmp_path / "in")
    yield tmp_path / "in"
    aways._FREE.clear()
    aways._objects.cache_clear()


def never() -> None:
    raise AssertionError("a cluster was asked for")


def study(patients: Path, out: Any, **options: Any) -> Any:
    return dd.study(patients, out, defacers="half_space", seed=3, allow_visible=True, **options)


def tables(folder: Path) -> dict[str, list[str]]:
    """Sorted lines of each table that holds no times."""
    return {
        path.name: sorted(path.read_text().splitlines())
        for path in (folder / "tables").glob("*.csv")
        if path.stem not in ("timing", "cases")
    }


@pytest.mark.usefixtures("half_space", "memory")
def test_a_study_leaves_the_same_at_an_address(patients, tmp_path, monkeypatch):
    here = study(patients, tmp_path / "local")
    addresses = {"out": "memory://bucket/out", "work": "memory://bucket/run"}
    there = study(patients, **addresses)
    assert there.out == tmp_path / "run.local/out"
    assert there.tables["cases"]["status"].tolist() == ["done"]
    assert len(tables(there.out)) > 10
    assert tables(there.out) == tables(here.out)
    assert len(tables(there.out)["radiomics.csv"]) == 3
    # what may be passed on is at one address, the originals and all else at the other
    fs = fsspec.filesystem("memory")
    fs.get("/bucket/out", str(tmp_path / "back"), recursive=True)
    for part in ("defaced", "pictures"):
        assert len(tree(here.out / part)) > 3
        assert tree(tmp_path / "back" / part) == tree(here.out / part)
    assert tree(there.out / "pictures") == tree(here.out / "pictures")
    assert not list(there.out.rglob("*.dcm"))
    out, run = (sorted(fs.find(f"/bucket/{name}")) for name in ("out", "run"))
    inside = {name.split("/")[3] for name in out}
    assert {"defaced", "tables", "report", "pictures", "audit.jsonl"} <= inside
    assert not inside & {"store", ".objects"}
    assert [name for name in run if "voxels" in name]
    assert verify_address(addresses["out"], key=key_of_seed(3)).ok
    # nothing is left to do, on any machine
    (tmp_path / "elsewhere").mkdir()
    for folder in (tmp_path, tmp_path / "elsewhere"):
        monkeypatch.chdir(folder)
        again = study(patients, **addresses, client=never)
        assert tables(again.out) == tables(here.out)
    assert [name for name in fs.find("/bucket/run") if "/lease/" not in name] == [
        name for name in run if "/lease/" not in name
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("half_space")
def test_workers_that_share_no_folder_leave_what_those_do_that_share_one(
    s3,  # noqa: F811
    patients,
    tmp_path,
    monkeypatch,
):
    s3.mkdir("bucket")
    here = study(patients, tmp_path / "local")
    with forked.workers(), connect("local", 2) as client:
        ours = [str(tmp_path / name) for name in ("in", "local", "run.local")]
        monkeypatch.setattr(DaskExecutor, "blind", lambda self, path: ["a worker"])
        assert len(set(client.run(set_up, ours, study_stages, STUBS).values())) == 2
        assert set(client.run(reads, str(tmp_path / "local")).values()) == {False}
        # one case: each stage is a task, and those of two defacers are on two workers at a time
        there = study(patients, "s3://bucket/out", work="s3://bucket/run", client=client)
    assert there.tables["cases"]["status"].tolist() == ["done"]
    assert tables(there.out) == tables(here.out)
    s3.get("bucket/out", str(tmp_path / "back"), recursive=True)
    for part in ("defaced", "pictures"):
        assert tree(tmp_path / "back" / part) == tree(here.out / part)
    # the store tells of all that is in it, whoever wrote last
    names = [str(name) for name in s3.find("bucket/run/cases")]
    assert not [name for name in names if "begun" in name]
    assert not s3.find("bucket/run/inputs")


@pytest.mark.usefixtures("memory")
def test_a_study_has_its_output_where_its_data_may_lie(patients, tmp_path):
    with pytest.raises(ConfigError, match="Let --out be an address, too"):
        study(patients, tmp_path / "out", work="memory://bucket/run")
