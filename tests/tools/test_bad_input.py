"""Damaged and hostile files: refused with a reason or read, and nothing else ever happens (`tools.bad_input`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.export_kit import half_space, write_patient  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.bad_input.mutations import NAMES, mutate  # noqa: E402
from tools.bad_input.trial import CRASHES  # noqa: E402

TRIALS = 308  # fourteen of each kind of damage


# one of the longest files, which must not be the last to start
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> list[list]:
    """Every kind of damage, read and (14 of them, of as many kinds) defaced, in a process of bounded memory."""
    command = [sys.executable, "-m", "tools.bad_input", str(TRIALS), "--worker", "--every", "23"]
    command += ["--work", str(tmp_path_factory.mktemp("bad"))]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def test_nothing_crashes_leaks_or_is_left_half_done(trials):
    assert len(trials) == TRIALS
    assert Counter(kind for _, kind, *_ in trials) == dict.fromkeys(NAMES, TRIALS // len(NAMES))
    bad = [(seed, kind, outcome, detail) for seed, kind, outcome, detail, *_ in trials if outcome in CRASHES]
    assert bad == []


def test_memory_and_time_are_bounded(trials):
    assert max(mb for *_, mb in trials) < 2500
    assert [seed for seed, _, outcome, *_ in trials if outcome == "out of memory"] == []


def test_damage_is_noticed(trials):
    """The trials are worth something: much is refused, and something still goes through."""
    outcomes = Counter(outcome for _, _, outcome, *_ in trials)
    assert sum(n for name, n in outcomes.items() if "refused" in name) > TRIALS // 3
    assert outcomes["read"] > 10
    refused = {kind for _, kind, outcome, *_ in trials if "refused" in outcome}
    assert refused >= {
        "truncated",
        "zip_bomb",
        "nothing_or_noise",
        "wrong_bits",
        "huge_dimensions",
        "tag_missing",
    }


@pytest.fixture(scope="module")
def structure_set(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("good")
    write_patient(folder)
    return (folder / "RS.dcm").read_bytes()


@pytest.mark.parametrize("kind", NAMES)
def test_damage_is_damage_and_the_same_again(kind, structure_set):
    data = structure_set
    once, again = (mutate(data, np.random.default_rng(7), kind) for _ in range(2))
    assert once == again
    assert any(mutate(data, np.random.default_rng(seed), kind) != data for seed in range(5))


def test_a_deflated_dose_is_bounded_too(tmp_path):
    from defacedask.errors import InputError
    from defacedask.io.dicom.dose import read_dose

    write_patient(tmp_path)
    path = tmp_path / "RD.dcm"
    good = path.read_bytes()
    sizes = set()
    for seed in range(6):
        path.write_bytes(mutate(good, np.random.default_rng(seed), "zip_bomb"))
        sizes.add(path.stat().st_size)
        if path.stat().st_size > 500_000:  # inflates to a gigabyte or more
            with pytest.raises(InputError, match="inflates to more than"):
                read_dose(path)
    assert max(sizes) > 500_000
