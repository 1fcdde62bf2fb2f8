"""A writer that is killed while files go into place: the next run takes them for its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.export_kit import HalfSpace, half_space, run_export, tree, write_patient  # noqa: F401

from defacedask.errors import OutputError
from defacedask.flow.stages.case_export import CaseExport


class Killed(BaseException):
    """The process ended here."""


@pytest.mark.usefixtures("half_space")
@pytest.mark.parametrize("rewritten", [False, True])
def test_files_that_went_into_place_before_are_taken_over(tmp_path, monkeypatch, rewritten):
    write_patient(tmp_path / "in")
    _, whole = run_export(tmp_path / "in", tmp_path / "whole", private="drop")
    work = tmp_path / "work"
    if rewritten:
        run_export(tmp_path / "in", work, below="before")
    real, moved = Path.replace, []

    def replace(self, target):
        if ".partial-" in str(self):
            if len(moved) == 5:
                raise Killed
            moved.append(target)
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        patch.setattr(CaseExport, "give_up", lambda *_: None)
        with pytest.raises(Killed):
            run_export(tmp_path / "in", work, private="drop")
    _, out = run_export(tmp_path / "in", work, private="drop")
    assert tree(out) == tree(whole)
    # the control: a file of somebody else is not
    (work / "record").rename(tmp_path / "gone")
    with pytest.raises(OutputError, match="is already in the output folder"):
        run_export(tmp_path / "in", work, private="drop")
