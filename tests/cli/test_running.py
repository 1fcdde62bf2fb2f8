"""The summary in the terminal says what the page says first."""

from __future__ import annotations

from defacedask.cli.running import finish
from defacedask.dataflow import StudyResult
from defacedask.report.derive import derive_tables
from defacedask.tables import read_tables, write_tables


def test_a_void_result_is_said_before_its_numbers(tmp_path, capsys):
    """One case, of whose original no face was found: zero matches must not look like a result."""
    about = {"case": "a", "modality": "PT", "recogniser": "r", "attack": "plain", "view": "v", "level": 0.1}
    looks = [
        {**about, "defacer": defacer, "detected": False, "distance_to_own": None, "comparable": own}
        for defacer, own in (("original", True), ("none", False), ("quickshear", False))
    ]
    control = {"modality": "PT", "recogniser": "r", "persons": 1, "persons_detected": 0, "positive_n": 0}
    control |= {"positive_matches": 0, "holds": False, "reason": "no face.", "not_in_gallery": "P"}
    case = {"case": "a", "patient": "P", "modality": "PT", "status": "done", "reason": ""}
    write_tables(tmp_path, {"recognition": looks, "controls": [control], "cases": [case]})
    tables = read_tables(tmp_path)
    tables |= derive_tables(tables, 0.3)
    finish(StudyResult(tmp_path, tables, tmp_path / "report" / "index.html"))
    said = capsys.readouterr().out
    assert said.startswith("The privacy result is void: the originals themselves are not recognised")
    assert "Not judged: 1 of 1 cases" in said
    assert "no structure was measured" in said
    (line,) = [text for text in said.splitlines() if "quickshear" in text]
    assert "not judged" in line
    assert "%" not in line  # no bound that nothing stands behind
