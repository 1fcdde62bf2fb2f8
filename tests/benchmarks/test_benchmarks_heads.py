"""The tables over real heads, on a made one."""

from __future__ import annotations

import json

from support.heads import posed

from benchmarks.heads import defacers, poses
from benchmarks.heads.data import named_heads


def test_no_data_no_heads(tmp_path):
    assert list(named_heads(tmp_path)) == []


def test_a_head_under_known_changes(tmp_path):
    volume = posed(spacing=(4.0, 3.0, 3.0))[0]
    names = ("turned left 30", "prone (stored upside down)", "thermoplastic mask")
    rows = poses.look("made", volume, {name: poses.CHANGES[name] for name in names})
    assert {name: row["outcome"] for name, row in rows.items()} == dict.fromkeys(names, "right")
    (tmp_path / "made.json").write_text(json.dumps(rows))
    poses.write_table(tmp_path)
    assert "| turned left 30 | 1 | 1 | 0 | 0 |" in (tmp_path / "table.md").read_text()


def test_defacers_on_a_head(tmp_path):
    facts = {"rows": {}}
    volume = posed(spacing=(4.0, 3.0, 3.0))[0]
    defacers.measure("made", lambda: volume, ("quickshear", "biometric_mask"), facts, faces=False)
    assert facts["rows"]["quickshear"]["moved"] > 0.95 > facts["rows"]["biometric_mask"]["moved"]
    assert facts["rows"]["quickshear"]["brain_changed"] == 0
    (tmp_path / "made.json").write_text(json.dumps(facts))
    defacers.write_table(tmp_path)
    assert (tmp_path / "table.csv").read_text().count("made,") == 2


def test_looks_at_turned_heads_are_taken_over_from_an_earlier_call(tmp_path):
    from benchmarks.heads import orientations

    rows = [
        {
            "head": "a",
            "turn": "3",
            "outcome": "done",
            "unchanged": 0.25,
            "score": 0.4,
            "margin": 0.3,
            "mm": [1.5, 2.0],
        },
        {"head": "a", "turn": "mirrored", "outcome": "refused", "why": "match", "score": 0.1, "margin": 0.0},
    ]
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (first / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    none = {"head": "limb", "turn": "", "outcome": "refused", "why": "margin", "score": 0.2, "margin": 0.01}
    (first / "non-heads.jsonl").write_text(json.dumps(none) + "\n")
    orientations.write_looks(first)
    orientations.take_over(first / "looks.csv", second)
    assert [json.loads(line) for line in (second / "a.jsonl").read_text().splitlines()] == rows
    assert json.loads((second / "non-heads.jsonl").read_text()) == none
    orientations.write_table(second)
    assert "With a face: a 3 0.25" in (second / "table.md").read_text()
