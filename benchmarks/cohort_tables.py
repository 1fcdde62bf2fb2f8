"""Tables of a made cohort through the real code, part by part: seconds and memory against the number of cases.

    uv run python -m benchmarks.cohort_tables --cases 300,1200 [--most 100]

Each run is a process of its own. Results are made up, kept on disk as workers keep them, and told to the client as
receipts; parts are made here, as without a cluster. ``--most`` persons are everybody's gallery.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["main"]

DEFACERS = ("none", "quickshear")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", default="300,1200")
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure(options.one, options.most)))
        return
    print(
        "| cases | rows of recognition | CPU s: parts, rest | MB: before, after parts, peak |\n|"
        + " ---: |" * 4
    )
    for count in options.cases.split(","):
        command = [
            sys.executable,
            "-m",
            "benchmarks.cohort_tables",
            "--one",
            count,
            "--most",
            str(options.most),
        ]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"| {count} | {found['rows']} | {found['parts']}, {found['rest']} | {found['memory']} |")


def measure(count: int, most: int) -> dict[str, Any]:
    """One run."""
    import dask
    import psutil

    from defacedask.flow.executors import HereExecutor
    from defacedask.runs.preparing import Settings
    from defacedask.tables.cohort import Cohort
    from defacedask.tables.parts import rows_of
    from defacedask.tables.rows import About

    process = psutil.Process()
    with (
        tempfile.TemporaryDirectory() as folder,
        dask.config.set({"defacedask.recognition.gallery-most": most}),
    ):
        settings = Settings(
            {name: {} for name in DEFACERS}, "face_recognition", {"face_recognition": 0.3}, {}, {}, False
        )
        ids = [f"c{k:06d}" for k in range(count)]
        cohort = Cohort(Path(folder), ids, settings, HereExecutor())
        before = process.memory_info().rss
        begun = time.process_time()
        for k, case in enumerate(ids):
            cohort.add(About(case, case, "CT", False), _receipts(Path(folder) / "store" / "pieces", case, k))
        parts, after = time.process_time() - begun, process.memory_info().rss
        cohort.finish([])
        made = [one for one in (Path(folder) / "store" / "rows").iterdir() if ".faces-" in one.name]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {
            "rows": rows_of(made, "recognition"),
            "parts": round(parts, 1),
            "rest": round(time.process_time() - begun - parts, 1),
            "memory": ", ".join(f"{value / 2**20:.0f}" for value in (before, after, peak)),
        }


def _receipts(kept: Path, case: str, number: int) -> Iterator[Any]:
    """Results of a case, of a usual size."""
    import numpy as np

    from defacedask.flow.result import Outcome, receipt, run_piece

    draw = np.random.default_rng(number)
    own = draw.normal(size=128) / 16

    def kept_as(stage: str, defacer: str, outcome: Outcome) -> Any:
        return receipt(
            run_piece(lambda: outcome, {}, folder=str(kept), stage=stage, case=case, defacer=defacer)
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
        yield kept_as("faces", defacer, Outcome({}, {"looks": looks, "recogniser": "face_recognition"}))
        if defacer == "original":
            continue
        row = {"case": case, "defacer": defacer, "modality": "CT", "original": 1.0, "defaced": 2.0}
        rows = [
            {
                **row,
                "structure": f"S{k}",
                "feature": "Mean",
                "percent": -100.0,
                "voxels": 9,
                "voxels_changed": 1,
            }
            for k in range(50)
        ]
        yield kept_as("radiomics", defacer, Outcome({"radiomics": rows}))
        yield kept_as("apply", defacer, Outcome())


if __name__ == "__main__":
    main()
