"""On what a case's results depend."""

from __future__ import annotations

import types

from defacedask.flow.stages.ingest import case_key, input_state


def test_files_that_are_gone_are_never_what_was_done_before(tmp_path):
    path = tmp_path / "1.dcm"
    path.write_bytes(b"image")
    series = types.SimpleNamespace(uid="1.2", files=(str(path),), facts={})
    case = types.SimpleNamespace(images=(series,), structures=(), doses=())
    assert input_state(case) == case_key(case) == input_state(case)
    path.unlink()
    assert input_state(case) != input_state(case)
