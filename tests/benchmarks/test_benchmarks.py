"""Benchmarks run, on the tiny size, and say what they measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import stages, suite
from benchmarks.chain import Chain

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return Chain("tiny", tmp_path_factory.mktemp("benchmark"))


def test_the_suite_runs_every_stage(chain, monkeypatch):
    monkeypatch.setattr(suite, "_chain", lambda size: chain)
    bench = suite.Stages()
    bench.setup("tiny")
    seen = set()
    for name in sorted(dir(bench), reverse=True):  # time_ before peakmem_, which would only repeat it
        kind, _, stage = name.partition("_")
        if kind in ("time", "peakmem") and stage not in seen:
            getattr(bench, name)("tiny")
            seen.add(stage)
    assert seen >= {"scan", "read", "store_write", "store_read", "head", "render", "recognise", "radiomics"}
    for defacer in ("none", "quickshear"):
        bench = suite.Defacers()
        bench.setup("tiny", defacer)
        bench.time_plan("tiny", defacer)
        bench.time_apply("tiny", defacer)
    original = chain.made["volume"].values
    np.testing.assert_array_equal(chain.defaced["none"], original)
    assert 0.01 < (chain.defaced["quickshear"] != original).mean() < 0.6
    assert {row["structure"] for row in chain.made["radiomics"]} >= {"Brain", "Bone_Mandible", "Eye_L"}
    assert len(chain.made["views"]) == len(chain.made["faces"])
    assert chain.made["views"][0].std() > 5  # something is to be seen


def test_the_table(chain, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.chain.Chain", lambda size: chain)
    rows = stages.measure("tiny", ["none"], repeat=1)
    names = [row.stage for row in rows]
    assert names[:5] == ["scan", "read", "store write", "store read", "head"]
    assert names[5:] == ["plan none", "apply none", "render", "recognise", "radiomics"]
    assert all(row.seconds > 0 and row.copy > 0 for row in rows)
    if rows[0].peak is not None:
        assert all(row.peak > 20 for row in rows)
    text = stages.table(rows)
    assert len({len(line) for line in text.splitlines()}) == 1
    path = tmp_path / "RESULTS.md"
    stages.record(text, "first", path)
    stages.record(text, "second", path)
    written = path.read_text()
    assert written.startswith("# Measured")
    assert written.index(": first") < written.index(": second")
    assert written.count("| tiny | scan") == 2


ROOT = Path(__file__).resolve().parents[2]
HUNGRY = """
import numpy as np
import benchmarks.chain
from benchmarks import stages

class Hungry:
    def stages(self, defacers):
        return [("big", lambda: np.ones(8_000_000).sum()), ("small", lambda: None)]

    def close(self):
        pass

benchmarks.chain.Chain = lambda size: Hungry()
big, small = stages.measure("tiny", [], repeat=1)
print(big.added, small.added)
"""


def test_peak_memory_is_that_of_the_stage():
    """A stage that takes and frees 64 MB is seen to have taken it, and the next one is not blamed for it."""
    if not stages._forget_peak():
        pytest.skip("this system does not let the peak be counted anew")
    # in a process of its own: memory that other tests give back meanwhile would hide what the stage takes
    done = subprocess.run(
        [sys.executable, "-c", HUNGRY], capture_output=True, text=True, check=True, cwd=ROOT
    )
    big, small = map(float, done.stdout.split())
    assert 55 < big < 90
    assert small < 10


def test_an_unknown_size_is_refused(capsys):
    with pytest.raises(SystemExit):
        stages.main(["--sizes", "huge"])
    assert "no size huge" in capsys.readouterr().err


@pytest.fixture(scope="module")
def patient(virtual_patients):
    """The smallest virtual patient; the session knows where that head lies."""
    return virtual_patients / "VP-0001"


def test_every_line_of_the_comparison_runs(patient):
    """On the smallest patient; the whole study by four defacers is left to the benchmark."""
    pytest.importorskip("radiomics")
    pytest.importorskip("quickshear")
    from benchmarks import compare

    lines = [
        line for line in compare.LINES if line.work not in ("four defacers, default attacks", "whole case")
    ]
    rows = [(line, compare.run_one(line, patient)) for line in lines]
    assert all(one["cpu"] > 0 for _, one in rows)
    text = compare.table([*rows, (compare.LINES[0], {"error": "could not run: why"})])
    assert len(text.splitlines()) == 2 + len(rows) + 1
    assert "could not run: why" in text
    assert "| apply | PyPI quickshear |" in text
    fast = compare.throughput([(compare.Line("apply", "x", compare._fresh_copy), {"cpu": 0.5, "bytes": 2e9})])
    assert fast.splitlines()[-1] == "| x | 4 | 7,200 |"
    assert len(compare.throughput(rows).splitlines()) == 2 + sum(line.work == "apply" for line, _ in rows)


def test_the_plain_script_does_the_same_work(patient):
    """Its masks are ours, and it takes something away, but nothing of the brain."""
    pytest.importorskip("radiomics")
    pytest.importorskip("quickshear")
    from benchmarks import plain_script
    from defacedask.geometry import Geometry
    from defacedask.io.dicom.catalogue import scan
    from defacedask.io.dicom.structures import read_structures

    found = plain_script.files_of(patient)
    ct = plain_script.read_ct(found["CT"])
    masks = plain_script.masks_of(found["RTSTRUCT"][0], ct)
    case = scan(patient).cases[0]
    ours = read_structures(case.structures[0], Geometry.from_dict(case.primary.geometry))
    brain = next(part for part in ours if part.original_name == "Brain")
    assert masks["Brain"].sum() == pytest.approx(brain.voxels, rel=0.05)
    import SimpleITK as sitk

    values = sitk.GetArrayFromImage(ct)
    after = plain_script.defaced_by_quickshear(values, masks["Brain"], np.array(ct.GetSpacing()))
    changed = after != values
    assert 0.01 < changed.mean() < 0.6
    assert not (changed & masks["Brain"]).any()


def test_the_gpu_script_is_rehearsed(tmp_path, capsys):
    """On the stand-in: plans written and read, values compared, all tables made; a planted difference is found."""
    from benchmarks import gpu

    names = "quickshear,biometric_mask:fill=shuffle"
    plans = tmp_path / "plans.json.gz"
    assert gpu.main(["--plans", str(plans), "--defacers", names, "--prepare"]) == 0
    assert plans.exists()
    given = ["--plans", str(plans), "--defacers", names, "--rehearse", "--small"]
    assert gpu.main(given) == 0
    said = capsys.readouterr().out
    assert "Rehearsal" in said
    assert "no card" in said
    for head in ("| defacer | image |", "| kernels |", "| decode and encode |"):
        assert head in said
    assert said.count("| quickshear |") == 5 + 1 + 1 + 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            gpu, "bits", lambda values: np.arange(values.size).reshape(values.shape) + len(seen(values))
        )
        assert gpu.main(given) == 1


_SEEN: list[int] = []


def seen(values: np.ndarray) -> list[int]:
    """Grows with each call, so that no two arrays are alike."""
    _SEEN.append(values.size)
    return _SEEN
