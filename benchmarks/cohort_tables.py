"""Tables, judgement and report of a made cohort through the real code: seconds and memory against the cases.

    uv run python -m benchmarks.cohort_tables --cases 300,1200,4800 [--most 20] [--figure cohort_tables.svg]

Each run is a process of its own. Results are made up, kept on disk as workers keep them, and told to the client as
receipts; parts are made here, as without a cluster. ``--most`` persons are everybody's gallery; of more than
``--sample`` cases medians are of a sample. Then the release heeds what was found (`defacedask.runs.release`), and the
page is written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from defacedask.memory import peak_mb, reset_peak

__all__ = ["main"]

DEFACERS = ("none", "quickshear")
_HEAD = (
    "| cases | rows of recognition | MB before | peak MB: parts, tables, heed, report | "
    "CPU ms a case: parts, tables, heed, report | page, MB |"
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", default="300,1200")
    parser.add_argument("--most", type=int, default=20)
    parser.add_argument("--sample", type=int, default=5000, help="report.most-cases")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure(options.one, options.most, options.sample)))
        return
    print(_HEAD + "\n|" + " ---: |" * 6)
    done = []
    for count in options.cases.split(","):
        command = [sys.executable, "-m", "benchmarks.cohort_tables"]
        command += ["--one", count, "--most", str(options.most), "--sample", str(options.sample)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(run.stdout.splitlines()[-1])
        done.append((int(count), found))
        peaks = ", ".join(f"{step['peak']:.0f}" for step in found["steps"])
        times = ", ".join(f"{1000 * step['seconds'] / int(count):.1f}" for step in found["steps"])
        line = (f"{int(count):,}", f"{found['rows']:,}", f"{found['before']:.0f}", peaks, times)
        print(f"| {' | '.join(line)} | {found['page']:.1f} |", flush=True)
    if options.figure:
        draw(options.figure, done)


def draw(path: Path, done: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """Peak memory of each step against the number of cases."""
    from defacedask.report.svg import COLOURS, MARKERS, drawing

    with drawing(6.0, 3.0) as figure:
        axis = figure.add_subplot()
        for k, name in enumerate(step["step"] for step in done[0][1]["steps"]):
            peaks = [found["steps"][k]["peak"] for _, found in done]
            cases = [count for count, _ in done]
            axis.plot(cases, peaks, color=COLOURS[k], marker=MARKERS[k], label=name)
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("cases")
        axis.set_ylabel("peak memory of the client, MB")
        figure.legend(loc="outside right upper")
        figure.savefig(path, metadata={"Date": None})


class Steps:
    """CPU seconds and peak memory of each step; Linux forgets the peak before each when asked to."""

    def __init__(self) -> None:
        self.done: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        reset_peak()
        begun = time.process_time()
        yield
        self.done.append({"step": name, "seconds": time.process_time() - begun, "peak": peak_mb()})


def measure(count: int, most: int, sample: int) -> dict[str, Any]:
    """One run."""
    import dask
    import psutil
    import yaml

    from defacedask.flow.executors import HereExecutor
    from defacedask.flow.settings import Settings
    from defacedask.report import write_report
    from defacedask.report.run import read_run
    from defacedask.runs.preparing import Prepared
    from defacedask.runs.release import Release
    from defacedask.tables.cohort import Cohort
    from defacedask.tables.parts import rows_of
    from defacedask.tables.rows import About

    steps = Steps()
    with (
        tempfile.TemporaryDirectory() as place,
        dask.config.set(
            {"defacedask.recognition.gallery-most": most, "defacedask.report.most-cases": sample}
        ),
    ):
        folder = Path(place)
        defacers: dict[str, dict[str, Any]] = {name: {} for name in DEFACERS}
        settings = Settings(
            defacers, "face_recognition", {"face_recognition": 0.3}, {}, {}, False, release=_RELEASE
        )
        (folder / "config.yaml").write_text(yaml.safe_dump({"settings": {"defacers": defacers}}))
        before = psutil.Process().memory_info().rss / 2**20
        with steps.step("parts"):
            cohort = Cohort(folder, [_name(k) for k in range(count)], settings, HereExecutor())
            for k in range(count):
                case = _name(k)
                found = _receipts(folder / "store" / "results", case, k)
                cohort.add(About(case, case, "CT", False, "FM"[k % 2], 20 + k % 60), found)
            cohort.parts()
        with steps.step("tables"):
            cohort.finish([])
        with steps.step("heed"):
            release = Release(Prepared(folder, [], [], settings, b"key"), {})
            release.heed(read_run(folder))
        with steps.step("report"):
            page = write_report(folder)
        made = [one for one in (folder / "store" / "rows").iterdir() if ".faces-" in one.name]
        return {
            "rows": rows_of(made, "recognition"),
            "before": before,
            "steps": steps.done,
            "page": page.stat().st_size / 1e6,
            "withheld": sorted(release.withheld),
        }


_RELEASE: dict[str, Any] = {}


def _name(number: int) -> str:
    return f"c{number:06d}"


def _receipts(kept: Path, case: str, number: int) -> Iterator[Any]:
    """Results of a case, of a usual size."""
    import numpy as np

    from defacedask.costs.features import TEN_FEATURES
    from defacedask.flow.result import Outcome, receipt
    from defacedask.flow.worker import run_task

    draw = np.random.default_rng(number)
    own = draw.normal(size=128) / 16

    def kept_as(stage: str, defacer: str, outcome: Outcome) -> Any:
        return receipt(
            run_task(lambda: outcome, {}, folder=str(kept), stage=stage, case=case, defacer=defacer)
        )

    for defacer, away in (("original", 0.01), *zip(DEFACERS, (0.01, 0.1), strict=True)):
        looks = [
            {
                "modality": "CT",
                "view": f"view {view}",
                "level": -300.0,
                "attack": attack,
                "detected": True,
                "encoding": (own + away * draw.normal(size=128)).tolist(),
            }
            for attack in ("plain", "denoise")
            for view in range(3)
        ]
        pictures = [
            {
                "case": case,
                "defacer": defacer,
                "modality": "CT",
                "view": "front",
                "kind": "render",
                "file": "x.png",
            }
        ]
        about = {"looks": looks, "recogniser": "face_recognition", "pictures": pictures}
        yield kept_as("faces", defacer, Outcome({}, about))
        if defacer == "original":
            continue
        row = {"case": case, "defacer": defacer, "modality": "CT"}
        change = 0.0 if defacer == "none" else 1.0
        rows = [
            {
                **row,
                "structure": structure,
                "feature": feature,
                "original": 10.0,
                "defaced": 10.0 + change * (value := float(draw.normal())),
                "percent": -10.0 * change * value,
                "voxels": 900,
                "voxels_changed": int(100 * change),
            }
            for structure in ("Brain", "Brainstem", "Eye_L", "Parotid_L", "Target")
            for feature in TEN_FEATURES
        ]
        yield kept_as("radiomics", defacer, Outcome({"radiomics": rows}))
        doses = [
            {
                **row,
                "structure": structure,
                "metric": metric,
                "original": 50.0,
                "defaced": 50.0 - change * cut,
            }
            for structure in ("Brainstem", "Parotid_L", "Target")
            for metric in ("Dmean", "D2", "D95")
            if (cut := float(draw.uniform())) >= 0
        ]
        yield kept_as("dose", defacer, Outcome({"dose": doses}))
        volumes = [
            {
                **row,
                "structure": structure,
                "target": structure == "Target",
                "volume_ml": 30.0,
                "region_ml": 3.0 * change,
                "region_percent": 10.0 * change * float(draw.uniform()),
                "after_ml": 30.0 - 3.0 * change,
            }
            for structure in ("Brain", "Parotid_L", "Target")
        ]
        yield kept_as("geometry", defacer, Outcome({"geometry": volumes}))
        masks = [
            {**row, "structure": mask, "measure": measure, "original": 1.0, "defaced": float(draw.uniform())}
            for mask in ("body", "brain")
            for measure in ("dice", "hd95_mm", "volume_ml")
        ]
        yield kept_as("utility", defacer, Outcome({"utility": masks}))
        yield kept_as("apply", defacer, Outcome())


if __name__ == "__main__":
    main()
