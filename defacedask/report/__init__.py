"""The report: one self-contained HTML page that a person reads, made from the tables a run left."""

from __future__ import annotations

from defacedask.door import callable_module
from defacedask.report.write import render_report, write_report

__all__ = ["render_report", "write_report"]

callable_module(__name__, write_report)  # dd.report(out)
