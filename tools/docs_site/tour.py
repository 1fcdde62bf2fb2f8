"""The notebook of the tour as a page: its words and its code."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["page"]


def page(notebook: Path) -> str:
    """Markdown of a notebook, without outputs; it says where the notebook is."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    parts.insert(1, f"The notebook itself is `docs/{notebook.name}`. The tests run it from top to bottom.")
    return "\n\n".join(parts) + "\n"
