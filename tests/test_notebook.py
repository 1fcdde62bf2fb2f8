"""The notebook of the tour runs from top to bottom, and says what it claims."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "tour.ipynb"


def code_cells():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def run_cell(source, names):
    """Run a cell and show its last expression, as a notebook does; gives the text and the HTML of it."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if last is None:
        return ""
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    page = value._repr_html_() if hasattr(value, "_repr_html_") else ""
    return "" if value is None else f"{value!r}{page}"


def test_it_holds_no_output_and_so_no_path_and_no_picture():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


@pytest.mark.slow
@pytest.mark.timeout(1800)  # about a minute of computing; other tests may run beside it
def test_the_tour(monkeypatch):
    import matplotlib as mpl

    monkeypatch.setattr(mpl.rcParams, "backend", "agg", raising=False)
    mpl.use("agg")
    names = {"__name__": "__main__"}
    shown = [run_cell(source, names) for source in code_cells()]
    # xarray and pandas show as much as they like, ours a few lines
    assert max(map(len, shown)) < 60_000
    assert "2 cases" in shown[1]
    assert "quickshear" in "".join(shown)
    done, checked, tables = names["done"], names["checked"], names["attacked"].tables
    assert done.ok
    assert checked.ok
    assert names["again"].attrs["units"] == "HU"
    assert names["again"].attrs["defaced_by"] == "quickshear"
    assert 0 < names["changed"] < names["ct"].size / 3
    assert sorted(tables["cases"]["status"]) == ["done", "done"]
    looks = tables["recognition"]
    own = looks[looks["detected"] & (looks["defacer"] == "original")]
    assert len(own)  # the attack sees the originals: it works
    assert {"original", "defaced"} <= set(looks["defacer"])
    assert names["page"].is_file()
