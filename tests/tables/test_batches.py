"""Tables read some rows at a time."""

from __future__ import annotations

import pandas as pd
import pytest
from support import small_run
from support.split_tables import split_tables

from defacedask.errors import InputError
from defacedask.tables.batches import batches, stored_batches
from defacedask.tables.files import SCHEMAS, as_table, read_table
from defacedask.tables.lazy import LazyTables
from defacedask.tables.parts import write_batches


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return small_run.write(tmp_path_factory.mktemp("whole"), small_run.tables(n=8))


def test_batches_hold_whole_cases_and_make_the_table(whole, tmp_path):
    out = split_tables(whole, tmp_path / "split", [2, 3, 7])
    for name in ("recognition", "radiomics", "cases", "controls"):
        table = read_table(whole / "tables", name)
        parts = list(stored_batches(out / "tables", name))
        assert len(parts) == (4 if "case" in table else 1)
        joined = pd.concat(parts, ignore_index=True)
        key = [c for c in ("case", "defacer", "modality", "attack", "structure") if c in table]
        pd.testing.assert_frame_equal(
            joined.sort_values(key, ignore_index=True), table.sort_values(key, ignore_index=True)
        )
        if "case" in table:
            seen = [set(part["case"]) for part in parts]
            assert sum(map(len, seen)) == len(set.union(*seen)) == 8
    # who does not say what its row groups hold is read as one
    plain = split_tables(whole, tmp_path / "plain", [2, 3, 7], marked=False)
    assert len(list(stored_batches(plain / "tables", "recognition"))) == 1


def test_columns_and_rows_can_be_chosen(whole, tmp_path):
    out = split_tables(whole, tmp_path / "split", [4])
    tables = LazyTables(out, list(SCHEMAS))
    filters = [("structure", "in", ["Brain"])]
    parts = list(batches(tables, "radiomics", ["case", "note", "structure_set"], filters))
    assert [list(part.columns) for part in parts] == [["case", "note", "structure_set"]] * 2
    assert sum(map(len, parts)) == 8
    assert tables.rows("radiomics") == 24
    assert tables.columns("radiomics")[:2] == ["case", "defacer"]
    assert not tables._read["radiomics"]  # nothing was kept
    # what was read, or set, is what is given
    tables["radiomics"] = as_table("radiomics", [])
    assert list(batches(tables, "radiomics")) == []
    assert list(batches(tables, "unmasking")) == []


def test_without_parquet_the_csv_is_read(whole, tmp_path):
    (tmp_path / "tables").mkdir()
    text = (whole / "tables" / "dose.csv").read_text()
    (tmp_path / "tables" / "dose.csv").write_text(text)
    (part,) = batches(LazyTables(tmp_path, list(SCHEMAS)), "dose", ["case", "metric"])
    assert part["metric"].unique().tolist() == ["Dmean"]


def test_a_damaged_table_is_said(tmp_path):
    (tmp_path / "dose.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match=r"the table dose in .* is damaged"):
        list(stored_batches(tmp_path, "dose"))


def test_a_table_is_written_batch_by_batch(whole, tmp_path, monkeypatch):
    tables = LazyTables(whole, list(SCHEMAS))
    write_batches(tmp_path, "radiomics", batches(tables, "radiomics"))
    for name in ("radiomics.csv",):
        assert (tmp_path / "tables" / name).read_bytes() == (whole / "tables" / name).read_bytes()
    pd.testing.assert_frame_equal(read_table(tmp_path / "tables", "radiomics"), tables["radiomics"])
    monkeypatch.setattr("defacedask.tables.parts.MOST_LINES", 3)
    write_batches(tmp_path, "radiomics", batches(tables, "radiomics"))
    assert [p.name for p in (tmp_path / "tables").iterdir()] == ["radiomics.parquet"]
