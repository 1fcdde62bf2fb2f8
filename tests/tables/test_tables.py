"""Tables: schemas hold, files appear whole or not at all, empty tables keep their columns."""

from __future__ import annotations

import errno
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defacedask.errors import InputError, OutputError
from defacedask.tables import files as tables

RECOGNITION = {
    "case": "p1",
    "defacer": "original",
    "modality": "CT",
    "recogniser": "face_recognition",
    "attack": "plain",
    "view": "front",
    "level": -200.0,
    "detected": True,
    "distance_to_own": 0.21,
    "rank_of_own": 1,
    "gallery_size": 4,
}
RADIOMICS = {
    "case": "0012",
    "defacer": "quickshear",
    "structure": "Brain",
    "feature": "Median",
    "original": 40.0,
    "defaced": 41.0,
    "percent": -2.5,
    "voxels": 1000,
    "voxels_changed": 4,
}


@pytest.mark.parametrize("name", tables.table_names())
def test_empty_tables_keep_columns_and_types(name, tmp_path):
    tables.write_tables(tmp_path, {name: []})
    back = tables.read_tables(tmp_path)[name]
    assert not len(back)
    assert list(back.columns) == [c.name for c in tables.SCHEMAS[name]]
    assert back.dtypes.map(str).to_dict() == tables.empty_table(name).dtypes.map(str).to_dict()
    header = (tmp_path / "tables" / f"{name}.csv").read_text().splitlines()
    assert header == [",".join(c.name for c in tables.SCHEMAS[name])]


def test_the_columns_of_the_interface():
    names = {name: [c.name for c in schema] for name, schema in tables.SCHEMAS.items()}
    assert names["recognition"][: len(RECOGNITION)] == list(RECOGNITION)
    assert names["radiomics"][: len(RADIOMICS)] == list(RADIOMICS)
    assert names["dose"][:6] == ["case", "defacer", "structure", "metric", "original", "defaced"]
    assert {"case", "patient", "modality", "status", "reason", "peak_rss_mb"} <= set(names["cases"])


def test_round_trip_with_extra_columns_and_nothing_values(tmp_path):
    rows = [
        {"case": "a", "status": "done", "patient": "p,1", "modality": "CT", "seconds_read": 1.5},
        {"case": "b", "status": "refused", "reason": 'no "head"\nin view', "seconds_read": None},
    ]
    unencoded = RECOGNITION | {"detected": False, "distance_to_own": None, "rank_of_own": None}
    written = tables.write_tables(tmp_path, {"cases": rows, "recognition": [RECOGNITION, unencoded]})
    assert sorted(p.name for p in written) == sorted(p.name for p in (tmp_path / "tables").iterdir())
    back = tables.read_tables(tmp_path)
    cases = back["cases"]
    assert cases.reason.tolist() == ["", 'no "head"\nin view']
    assert cases.seconds_read.tolist()[0] == 1.5
    assert np.isnan(cases.seconds_read.tolist()[1])
    assert np.isnan(cases.peak_rss_mb).all()
    recognition = back["recognition"]
    assert recognition.detected.tolist() == [True, False]
    assert recognition.rank_of_own.isna().tolist() == [False, True]
    assert str(recognition.rank_of_own.dtype) == "Int64"


def test_csv_is_read_where_parquet_is_missing(tmp_path):
    tables.write_tables(tmp_path, {"radiomics": [RADIOMICS]})
    whole = tables.read_tables(tmp_path)["radiomics"]
    (tmp_path / "tables" / "radiomics.parquet").unlink()
    from_csv = tables.read_tables(tmp_path)["radiomics"]
    pd.testing.assert_frame_equal(whole, from_csv)
    assert from_csv.case.tolist() == ["0012"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=6),
    st.text(max_size=12).filter(lambda s: s.isprintable()),
)
def test_numbers_come_back_bit_by_bit(tmp_path_factory, numbers, name):
    out = tmp_path_factory.mktemp("t")
    rows = [RADIOMICS | {"percent": n, "structure": name} for n in numbers]
    tables.write_tables(out, {"radiomics": rows})
    back = tables.read_tables(out)["radiomics"]
    np.testing.assert_array_equal(back.percent.to_numpy(), np.array(numbers))
    assert back.structure.tolist() == [name] * len(numbers)


def test_same_rows_same_bytes(tmp_path):
    for folder in ("one", "two"):
        tables.write_tables(tmp_path / folder, {"radiomics": [RADIOMICS]})
    for name in ("radiomics.csv", "radiomics.parquet"):
        files = [(tmp_path / folder / "tables" / name).read_bytes() for folder in ("one", "two")]
        assert files[0] == files[1]


def test_wrong_rows_are_named():
    with pytest.raises(InputError, match="lack the columns distance_to_own"):
        tables.as_table("recognition", [{k: v for k, v in RECOGNITION.items() if k != "distance_to_own"}])
    with pytest.raises(InputError, match="column percent of the table radiomics"):
        tables.as_table("radiomics", [RADIOMICS | {"percent": "a lot"}])
    with pytest.raises(InputError, match="column detected"):
        tables.as_table("recognition", [RECOGNITION | {"detected": "maybe"}])
    with pytest.raises(InputError, match="column voxels "):
        tables.as_table("radiomics", [RADIOMICS | {"voxels": 2.5}])
    with pytest.raises(InputError, match="no table 'faces'"):
        tables.as_table("faces", [])


def test_missing_folder_and_damaged_table(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        tables.read_tables(tmp_path / "nothing")
    tables.write_tables(tmp_path, {"cases": [{"case": "a", "status": "done"}]})
    (tmp_path / "tables" / "cases.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match=r"table cases .* is damaged"):
        tables.read_tables(tmp_path)


def test_a_full_disk_leaves_the_earlier_tables(tmp_path, monkeypatch):
    tables.write_tables(tmp_path, {"cases": [{"case": "a", "status": "done"}]})
    before = (tmp_path / "tables" / "cases.parquet").read_bytes()
    real = os.fsync
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="the disk is full") as caught:
        tables.write_tables(tmp_path, {"cases": [], "dose": []})
    assert "\n" not in str(caught.value)
    assert len(calls) == 3
    assert (tmp_path / "tables" / "cases.parquet").read_bytes() == before
    assert sorted(p.name for p in (tmp_path / "tables").iterdir()) == ["cases.csv", "cases.parquet"]


def test_a_really_full_disk(tmp_path):
    """A tmpfs of 64 KiB, where mounting is allowed."""
    small = tmp_path / "small"
    small.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        rows = [RADIOMICS | {"case": str(i), "percent": i * np.pi} for i in range(20_000)]
        with pytest.raises(OutputError, match="the disk is full"):
            tables.write_tables(small, {"radiomics": rows})
        assert not list((small / "tables").iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "tables").write_text("not a folder")
    with pytest.raises(OutputError, match="nothing can be written to"):
        tables.write_tables(tmp_path, {"cases": []})


def test_read_only(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    with pytest.raises(OutputError, match="the disk is read-only"):
        tables.write_tables(tmp_path, {"cases": []})


def test_names_that_are_no_text_are_written_out(tmp_path):
    rows = [{"path": "/x/caf\udce9.txt", "reason": "it is empty", "files": 1}]
    table = tables.as_table("skipped", rows)
    tables.write_tables(tmp_path, {"skipped": table})
    assert tables.read_tables(tmp_path)["skipped"]["path"].tolist() == ["/x/caf\\udce9.txt"]
