"""Tables of a run written again in row groups of some cases each, as a large study leaves them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from defacedask.tables.batches import WHOLE_CASES
from defacedask.tables.files import read_tables


def split_tables(source: Path, out: Path, cuts: Sequence[int], *, marked: bool = True) -> Path:
    """Write the tables of ``source`` to ``out`` with the cases cut at these numbers; rows of a case stay together.

    Cases keep the order in which the table ``cases`` has them. Unmarked files say nothing of their row groups.
    """
    (out / "tables").mkdir(parents=True)
    (out / "config.yaml").symlink_to(source / "config.yaml")
    if (source / "pictures").exists():  # what lies outside of a run is not shown
        shutil.copytree(source / "pictures", out / "pictures")
    tables = read_tables(source)
    order = {case: k for k, case in enumerate(dict.fromkeys(tables["cases"]["case"]))}
    ends = [*sorted({cut for cut in cuts if 0 < cut < len(order)}), len(order)]
    for name, table in tables.items():
        if "case" not in table:
            table.to_parquet(out / "tables" / f"{name}.parquet", index=False)
            continue
        place = table["case"].map(order).fillna(0)
        schema = pa.Schema.from_pandas(table, preserve_index=False)
        schema = schema.with_metadata({WHOLE_CASES: b"1"}) if marked else schema.remove_metadata()
        with pq.ParquetWriter(out / "tables" / f"{name}.parquet", schema) as writer:
            for begin, end in zip([0, *ends[:-1]], ends, strict=True):
                some = table.loc[(place >= begin) & (place < end)]
                if len(some):
                    rows = pa.Table.from_pandas(some, schema, preserve_index=False)
                    writer.write_table(rows, row_group_size=len(some))
    return out
