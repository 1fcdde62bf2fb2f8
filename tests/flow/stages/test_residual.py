"""A face that is still there is not exported, unless the user says so, and then the files say so too."""

from __future__ import annotations

import json

import pydicom
import pytest
from click.testing import CliRunner
from support.export_kit import KEY, half_space, one_case, run_export, tree, write_patient  # noqa: F401

from defacedask.errors import RefusedError
from defacedask.flow.stages.residual import LEAST_MOVED, Residual
from defacedask.flow.stages.witnessing import judge
from defacedask.io.dicom.export.audit import collect, read_lines
from defacedask.verify import verify


@pytest.fixture
def patient(tmp_path):
    write_patient(tmp_path / "in")
    return tmp_path / "in"


def test_held_back_with_the_figure(patient, tmp_path):
    run_export(patient, tmp_path)  # an earlier run that passed
    with pytest.raises(RefusedError, match=r"36 % of the face's skin .* still visible.*--allow-visible"):
        run_export(patient, tmp_path, moved=0.36)
    assert tree(tmp_path / "out") == {}
    lines = read_lines(tmp_path / "record" / one_case(patient).id / "half_space.jsonl")
    assert {line["status"] for line in lines} == {"refused"}
    assert len(lines) == 16
    assert all("still visible" in line["reason"] for line in lines)


def test_written_if_asked_for_and_said_so(patient, tmp_path):
    outcome, out = run_export(patient, tmp_path, moved=0.36, allow_visible=True)
    assert outcome.facts["visible"]
    assert outcome.facts["face_moved"] == 0.36
    assert any("still visible" in note for note in outcome.facts["notes"])
    for path in out.rglob("*.dcm"):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        codes = [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence]
        assert codes == ["half_space"]
        assert dataset.get("RecognizableVisualFeatures", "YES") == "YES"
    part = tmp_path / "record" / one_case(patient).id / "half_space.jsonl"
    collect(out, [part], (), KEY)
    assert verify(out, key=KEY).problems == []
    lines = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
    assert all(line["visible"] and line["face_moved"] == 0.36 for line in lines)


@pytest.mark.parametrize(("moved", "ok"), [(None, True), (1.0, True), (LEAST_MOVED, True), (0.89, False)])
def test_gate(moved, ok):
    assert Residual(moved).ok == ok
    if ok:
        Residual(moved).require()


def test_no_skin_in_view_is_a_note(patient, tmp_path):
    outcome, _ = run_export(patient, tmp_path, moved=None)
    assert any("no skin of the face is in view" in note for note in outcome.facts["notes"])
    assert not outcome.facts["visible"]


def test_a_head_whose_place_is_not_known_is_not_exported(patient, tmp_path):
    with pytest.raises(RefusedError, match="not on record"):
        run_export(patient, tmp_path, judge=judge)  # nothing is said of a pose
    assert tree(tmp_path / "out") == {}


@pytest.mark.data
@pytest.mark.slow
def test_the_published_boxes_leave_a_real_face(shared_data, tmp_path, monkeypatch):
    """Measured on the image: eyes and nose stay, which is that algorithm's known fault."""
    from defacedask.cli.deface import command
    from defacedask.flow.stages import witnessing

    monkeypatch.setattr(witnessing, "judge", judge)  # the real one
    out = tmp_path / "out"
    arguments = [str(shared_data / "ct_pycerr_hn"), "--defacer", "biometric_mask", "--out", str(out)]
    result = CliRunner().invoke(command, [*arguments, "--cluster", "here"])
    assert result.exit_code == 1
    assert "the face is still visible" in " ".join(result.output.split())
    assert [p.name for p in sorted(out.iterdir())] == ["audit.jsonl", "audit.seal.json"]
