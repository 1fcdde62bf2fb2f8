"""The tables over real heads, on a made one."""

from __future__ import annotations

import json

from benchmarks.heads import defacers, poses
from benchmarks.heads.data import named_heads
from tests.heads import posed


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
