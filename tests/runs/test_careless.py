"""A careless plug-in through the real program: what it writes has the whole brain in it, or it writes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.plugged import CARELESS, install, program

import defacedask as dd
from defacedask.io.dicom.image import read_image
from defacedask.io.dicom.structures import read_structures
from defacedask.volume import geometry_of

pytestmark = pytest.mark.slow

#: The base put out of action when the module is loaded, as a careless or clever author might.
BYPASS = (
    CARELESS
    + """

def _all_of_it(self, stored, geometry, slope, intercept, modality):
    return dataclasses.replace(self, protected=()).change_block(stored, geometry, slope, intercept, modality)


CarelessPlan.deface_block = _all_of_it
"""
)
#: As plug-ins were written before the base protected anything.
OLD = CARELESS.replace("def wanted(", "def region(").replace("def propose(", "def plan(")


@pytest.fixture(scope="module")
def patient(patient_of_three) -> Path:
    """A virtual patient: CT, MR, PET, dose and structures, the brain among them."""
    return patient_of_three


def changed_in_brain(patient: Path, out: Path) -> dict[str, int]:
    """Voxels of the drawn brain that differ between two folders' images, read anew from their files."""
    before, after = dd.scan(patient).cases[0], dd.scan(out).cases[0]
    found = {}
    grid = geometry_of(read_image(before.primary))
    (brain,) = [s for s in read_structures(before.structures[0], grid) if s.original_name == "Brain"]
    mask = brain.full(grid.shape)
    assert mask.sum() > 50_000
    inside = np.argwhere(mask)
    for old, new in zip(before.images, after.images, strict=True):
        a, b = read_image(old), read_image(new)
        differ = np.asarray(a.values) != np.asarray(b.values)
        # of other images, the voxels that lie nearest to the brain's own but for its rim
        at = inside
        if a.attrs["modality"] != "CT":
            from scipy.ndimage import binary_erosion

            deep = np.argwhere(binary_erosion(mask, iterations=3))
            at = np.unique(np.rint(geometry_of(a).to_index(grid.to_world(deep))).astype(int), axis=0)
            at = at[((at >= 0) & (at < a.shape)).all(axis=1)]
        found[old.modality] = int(differ[tuple(at.T)].sum())
        assert differ.mean() > 0.3, "the plug-in did change the image"
    return found


@pytest.mark.parametrize("protect", [(), ("--protect", "Brain")], ids=["alone", "--protect Brain"])
def test_the_brain_stays_whatever_the_plug_in_wants(patient, tmp_path, protect):
    install(tmp_path / "plug", CARELESS.replace("{value}", "-1000.0"))
    out = tmp_path / "out"
    run = program(
        tmp_path / "plug",
        "deface",
        patient,
        "--defacer",
        "careless",
        "--out",
        out,
        *protect,
        "--cluster",
        "here",
    )
    assert run.returncode == 0, run.stderr
    assert changed_in_brain(patient, out) == {"CT": 0, "MR": 0, "PT": 0}
    (record,) = (tmp_path / "out.work" / "results").glob("*/plan-careless.json")
    plan = json.loads(record.read_text())["facts"]["plans"]["careless"]
    assert plan["withheld_ml"]["Brain"] > 900
    (record,) = (tmp_path / "out.work" / "results").glob("*/apply-careless.json")
    counted = json.loads(record.read_text())["facts"]["changed"]
    assert set(counted) == {"images/CT", "images/MR", "images/PT", "doses/RTDOSE"}
    assert all(set(one["kept"].values()) == {0} for one in counted.values())


def test_a_plug_in_that_gets_round_the_base_writes_nothing(patient, tmp_path):
    """Control of the test above, too: without the base the same plug-in does reach the brain."""
    install(tmp_path / "plug", BYPASS.replace("{value}", "-1000.0"))
    run = program(
        tmp_path / "plug",
        "deface",
        patient,
        "--defacer",
        "careless",
        "--out",
        tmp_path / "out",
        "--cluster",
        "here",
    )
    assert run.returncode == 1
    assert "careless changed" in run.stdout
    assert "voxels of Brain" in run.stdout
    assert not list((tmp_path / "out").rglob("*.dcm"))


def test_a_plug_in_of_the_old_kind_is_told_what_to_write(patient, tmp_path):
    install(tmp_path / "plug", OLD.replace("{value}", "-1000.0"))
    call = ("deface", patient, "--defacer", "careless", "--out", tmp_path / "out", "--cluster", "here")
    run = program(tmp_path / "plug", *call)
    assert run.returncode == 1
    assert "'careless' (careless:Careless of careless 1.0) cannot be loaded" in run.stderr
    assert "Write wanted instead" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()
    told = program(tmp_path / "plug", *call, "-v")
    assert told.returncode == 1
    assert "Traceback" in told.stderr
    assert str(tmp_path / "plug" / "careless.py") in told.stderr


def test_edited_code_gives_a_new_result_from_the_same_folder(patient, tmp_path):
    """The plan and its digest stay the same; the code that fills the region does not."""
    source = tmp_path / "in"
    shutil.copytree(patient, source, ignore=shutil.ignore_patterns("MR*", "PT*"))
    out = tmp_path / "out"

    def lowest() -> float:
        case = dd.scan(out).cases[0]
        return float(np.median(np.asarray(read_image(case.primary).values)))

    def run(value: float, version: str = "1.0") -> list[str]:
        shutil.rmtree(tmp_path / "plug", ignore_errors=True)
        install(tmp_path / "plug", CARELESS.replace("{value}", str(value)), version=version)
        call = ("deface", source, "--defacer", "careless", "--out", out, "--cluster", "here", "--keep-work")
        done = program(tmp_path / "plug", *call)
        assert done.returncode == 0, done.stderr
        results = (tmp_path / "out.work" / "results").glob("*/*-careless.json")
        return sorted(json.loads(result.read_text())["key"] for result in results)

    first = run(-1000.0)
    before = lowest()
    assert run(-1000.0) == first  # nothing new, nothing done
    second = run(-990.0)
    assert len(second) == 3
    assert not set(second) & set(first)
    assert lowest() == before + 10
    # the same code in another version of the distribution, too
    assert not set(run(-990.0, version="1.1")) & set(second)


def test_a_study_makes_anew_what_edited_code_made_and_nothing_else(virtual_patients, tmp_path, monkeypatch):
    """All stages of one case, those after the apply without their work."""
    from defacedask import defacers
    from defacedask.flow.executors import executor_for
    from defacedask.flow.flow import Flow
    from defacedask.flow.result import Outcome
    from defacedask.runs import study_stages as dataflow
    from defacedask.runs.preparing import KEPT, prepare

    for stage in ("judge_faces", "measure_original", "measure_radiomics", "measure_geometry", "measure_dose"):
        monkeypatch.setattr(dataflow, stage, lambda *before, **options: Outcome())
    case = dd.scan(virtual_patients).cases[0]

    def keys() -> dict[tuple[str, str], str]:
        names = "quickshear,biometric_mask"
        ready = prepare(case, tmp_path / "out", defacers=names, seed=1, export=False, pictures=False)
        flow = Flow(dataflow.stages(), executor_for(None), ready.folder / KEPT)
        graph = flow.submit(dataflow.StudyRun(ready), case, case.id, ready.settings.defacers)
        results = {(stage, defacer): future.result() for (stage, _, defacer), future in graph.items()}
        assert {result.status for result in results.values()} == {"done"}
        return {name: result.key for name, result in results.items()}

    first = keys()
    real = defacers.source_hash
    edited = {"Quickshear": "0" * 64}
    monkeypatch.setattr(defacers, "source_hash", lambda kind: edited.get(kind.__name__) or real(kind))
    second = keys()
    new = {name for name in first if first[name] != second[name]}
    assert new == {("plan", ""), *(name for name in first if name[1] == "quickshear")}
    assert {("apply", "biometric_mask"), ("faces", "biometric_mask"), ("faces", "original")} <= set(
        first
    ) - new
