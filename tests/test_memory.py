"""A process's peak is its own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from defacedask.memory import peak_mb, reset_peak


def test_what_was_held_counts_until_it_is_forgotten():
    reset_peak()
    before = peak_mb()
    np.ones(25_000_000)  # 200 MB, let go at once
    held = peak_mb()
    assert held > before + 150
    reset_peak()
    assert peak_mb() < held - 100 or sys.platform != "linux"


def test_a_small_process_does_not_tell_the_peak_of_the_one_that_started_it():
    large = np.ones(50_000_000)
    code = "from defacedask.memory import peak_mb; print(peak_mb())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert peak_mb() > large.nbytes / 2**20
    assert float(done.stdout) < 300
