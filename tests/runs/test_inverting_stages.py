"""When the stages of learned inversion run: with that attack alone, never on the convert-only control."""

from __future__ import annotations

from types import SimpleNamespace

from defacedask.flow.stage import Task
from defacedask.io.dicom.model import Case
from defacedask.runs.study_stages import StudyRun, inverting, stages

DEFACERS = ("none", "weak", "refused")


def running(all_stages, attacks, lessons):
    """(stage, defacer) of depth maps and inversion that would run."""
    settings = SimpleNamespace(faces={"attacks": attacks, "modalities": ["CT"]})
    run = SimpleNamespace(settings=settings, lessons=lessons)
    run.inverts = StudyRun.inverts.fget(run)
    case = Case("c", "p", "", ())
    return [
        (stage.name, defacer)
        for stage in all_stages
        if stage.name in ("depths", "inversion")
        for defacer in stage.whose(DEFACERS)
        if stage.when(Task(run, case, defacer))
    ]


def test_nothing_is_measured_without_the_attack():
    assert running(stages(), ["plain", "forced_crop"], {}) == []


def test_maps_come_first_and_then_what_was_taught():
    taught = {name: (f"{name}.npz", "digest") for name in ("weak", "constant cut", "rim left")}
    first = [("depths", "original"), ("depths", "weak"), ("depths", "refused")]
    assert running(stages(), ["plain", "inversion"], {}) == first
    # of a defacer that too few persons were defaced with nothing is taught
    found = running(inverting(), ["plain", "inversion"], taught)
    assert found == [*first, ("inversion", "original"), ("inversion", "weak")]
    assert running(inverting(), ["plain", "inversion"], {}) == first


def test_what_was_taught_belongs_to_the_key():
    (stage,) = [one for one in inverting() if one.name == "inversion" and one.each == "*"]
    run = SimpleNamespace(settings=SimpleNamespace(faces={"attacks": ["inversion"]}))
    keys = []
    for digest in "ab":
        run.lessons = {"weak": ("file", digest)}
        keys.append(stage.depends(Task(run, None, "weak")))
    assert keys[0] != keys[1]
