"""Seconds are counted for the stage that ran, and for whose code it was; those of nobody's stage apart."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.case_profile import BESIDE, Sampler, draw, table
from defacedask.flow.result import Outcome
from defacedask.flow.worker import run_task


def busy(seconds):
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        scipy.ndimage.distance_transform_edt(np.ones((20, 60, 60)))
    return Outcome()


def test_work_is_told_by_stage_and_package(tmp_path):
    with Sampler(0.002) as sampler:
        run_task(busy, {"seconds": 0.4}, folder=str(tmp_path), stage="long", case="a", defacer="quickshear")
        run_task(busy, {"seconds": 0.1}, folder=str(tmp_path), stage="short", case="a")
        busy(0.1)
    by = {}
    for (stage, defacer, package), seconds in sampler.seconds.items():
        by[stage, defacer] = by.get((stage, defacer), 0) + seconds
        by[package] = by.get(package, 0) + seconds
    assert by["long", "quickshear"] == pytest.approx(0.4, abs=0.1)
    assert by["short", ""] == pytest.approx(0.1, abs=0.07)
    assert by[BESIDE, ""] == pytest.approx(0.1, abs=0.07)
    assert by["scipy"] > 0.5 * sum(sampler.seconds.values())
    text = table(sampler.seconds)
    assert text.splitlines()[2].startswith("| long |")
    assert "| **all** |" in text
    draw(sampler.seconds, tmp_path / "profile.svg")
    assert (
        "CPU seconds" in (tmp_path / "profile.svg").read_text()
        or (tmp_path / "profile.svg").stat().st_size > 5000
    )
