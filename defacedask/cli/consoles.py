"""Where tables are printed: as wide as the terminal, and in a pipe as wide as they are, so that no word is broken."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["table_console"]

#: Columns of a pipe: more than any table has.
WIDE = 10_000


def table_console() -> Console:
    """Console on standard output; a pipe is taken for 80 columns by rich, unless COLUMNS says more."""
    from rich.console import Console

    console = Console(soft_wrap=False)
    if console.is_terminal or os.environ.get("COLUMNS"):
        return console
    return Console(soft_wrap=False, width=WIDE)
