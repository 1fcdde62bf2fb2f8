"""Tables of what features lost, of one run or of a part of it."""

from __future__ import annotations

import pandas as pd

from defacedask.tables.batches import Reader
from defacedask.tables.radiomics_parts import radiomics_tables
from defacedask.tables.rescan import rescan_table

__all__ = ["cost_tables"]


def cost_tables(read: Reader) -> dict[str, pd.DataFrame]:
    """Make ``radiomics_percent``, ``radiomics_summary`` and ``rescan`` from the rows of ``radiomics``.

    Parameters
    ----------
    read : Reader
        It is gone through several times.
    """
    percent, summary = radiomics_tables(read)
    return {"radiomics_percent": percent, "radiomics_summary": summary, "rescan": rescan_table(read)}
