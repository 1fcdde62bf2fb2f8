"""A process's peak is its own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from defacedask import memory
from defacedask.memory import KEPT_MB, peak_mb, reset_peak


def test_what_was_held_counts_until_it_is_forgotten():
    reset_peak()
    before = peak_mb()
    np.ones(25_000_000)  # 200 MB, let go at once
    held = peak_mb()
    assert held > before + 150
    reset_peak()
    assert peak_mb() < held - 100 or sys.platform != "linux"


@pytest.mark.skipif(not memory._libc(), reason="the C library does not tell what it keeps")
def test_much_that_was_freed_goes_back_and_little_stays(monkeypatch):
    """Blocks so small that glibc keeps them when they are freed, below the last one, which is not."""
    returned, library = [], memory._libc()

    class Watched:
        def mallinfo2(self):
            return library.mallinfo2()

        def malloc_trim(self, pad):
            returned.append(pad)
            return library.malloc_trim(pad)

    watched = Watched()
    monkeypatch.setattr(memory, "_libc", lambda: watched)
    monkeypatch.setattr(memory, "_after_trim", 0.0)
    reset_peak()
    assert len(returned) == 1  # nothing was handed back before
    for mb, times in ((KEPT_MB / 4, 1), (8 * KEPT_MB, 2)):
        held = [bytes(4000) for _ in range(int(mb * 2**20 / 4096))]
        top = bytes(4000)
        del held
        reset_peak()
        assert len(returned) == times, mb
        assert top


def test_a_small_process_does_not_tell_the_peak_of_the_one_that_started_it():
    large = np.ones(50_000_000)
    code = "from defacedask.memory import peak_mb; print(peak_mb())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert peak_mb() > large.nbytes / 2**20
    assert float(done.stdout) < 300
