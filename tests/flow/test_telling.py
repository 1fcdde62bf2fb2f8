from __future__ import annotations

import json
import logging
import subprocess
import sys
import types

import dask

from defacedask.flow import telling
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.worker import run_task


def test_a_stage_that_ran_is_a_line_of_json():
    """In a process of its own, for it changes the package's log."""
    code = (
        "from defacedask.flow.result import TaskResult\n"
        "from defacedask.flow.telling import tell\n"
        "tell(TaskResult('plan', 'pt_1', 'carina', 'k', 'refused', 'no \"head\".', 1.5, 200.0))\n"
    )
    env = {"DASK_DEFACEDASK__LOG": "json", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    (line,) = done.stderr.splitlines()
    found = json.loads(line)
    assert found["message"] == "plan of pt_1 by carina: refused in 1.5 s"
    wanted = {"stage": "plan", "case": "pt_1", "status": "refused", "reason": 'no "head".', "seconds": 1.5}
    assert wanted.items() <= found.items()
    assert found["level"] == "info"


def test_only_what_ran_is_told(tmp_path, caplog):
    with (
        caplog.at_level(logging.INFO, logger="defacedask.flow.telling"),
        dask.config.set({"defacedask.log": None}),
    ):
        for _ in range(2):
            run_task(lambda: Outcome(), {}, folder=str(tmp_path), stage="plan", case="c")
    assert [(r.stage, r.case, r.status) for r in caplog.records] == [("plan", "c", "done")]


def test_counters_are_those_of_prometheus(monkeypatch):
    counted = []

    class Metric:
        def __init__(self, name, text, labels):
            self.name, self.wanted = name, len(labels)

        def labels(self, *values):
            assert len(values) == self.wanted
            return types.SimpleNamespace(
                inc=lambda by=1: counted.append((self.name, *values, by)),
                set=lambda to: counted.append((self.name, *values, to)),
            )

    monkeypatch.setitem(sys.modules, "prometheus_client", types.SimpleNamespace(Counter=Metric, Gauge=Metric))
    telling._counters.cache_clear()
    try:
        telling.tell(TaskResult("plan", "c", "", "k", seconds=2.0, peak_rss_mb=3.0))
    finally:
        telling._counters.cache_clear()
    assert counted == [
        ("defacedask_stages", "plan", "done", 1),
        ("defacedask_stage_seconds", "plan", 2.0),
        ("defacedask_stage_peak_bytes", "plan", 3 * 2**20),
    ]
