"""What the page needs of the large tables of a run, one table a file: gathered in one pass, batch by batch.

Nothing here grows with the number of cases; see `defacedask.tables.sampled` for what that means for medians.
"""

from __future__ import annotations

__all__ = ["CONTROL"]

#: The convert-only defacer.
CONTROL = "none"
