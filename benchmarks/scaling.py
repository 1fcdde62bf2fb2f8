"""What a second worker is worth.

    uv run python -m benchmarks.scaling PATIENTS --out FOLDER [--workers 1,2,1,2] [--defacers none,quickshear]
        [--attacks basic]

Each run is ``defacedask study`` of the same patients, in a folder of its own, on a scheduler and so many workers of
one thread that are processes of their own. The clock runs from the command to the end of the program; starting the
cluster is not in it, starting the program is.

The efficiency of ``n`` workers is the time of one worker, divided by ``n`` times the time of ``n``. It is told twice:
of the whole program, and of the cases alone, from the first result of a stage to the last.

``FOLDER/scaling.md`` has one line a run.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.faults import cluster, cpu_seconds, results

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("patients", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", default="1,2,1,2")
    parser.add_argument("--defacers", default="none,quickshear")
    parser.add_argument("--attacks", default="basic")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for number, workers in enumerate(options.workers.split(",")):
        line = run(number, int(workers), options)
        with (options.out / "runs.csv").open("a", newline="") as file:
            csv.writer(file).writerow(line)
    write_table(options.out)


def run(number: int, workers: int, options: argparse.Namespace) -> list[object]:
    """One study: workers, wall seconds of the program and of its cases, CPU seconds, results, load, exit status."""
    folder = options.out / f"{number}-of-{workers}"
    study = [sys.executable, "-m", "defacedask", "study", str(options.patients), "--out", str(folder)]
    study += ["--seed", "1", "--defacers", options.defacers, "--attacks", options.attacks, "--no-pictures"]
    spent = cpu_seconds()
    with (
        (options.out / f"{number}.log").open("w") as log,
        cluster(workers) as (address, _),
    ):
        begun = time.monotonic()
        status = subprocess.run(
            [*study, "--cluster", address], stdout=log, stderr=log, check=False
        ).returncode
        wall = time.monotonic() - begun
        load = os.getloadavg()[0]
    cpu = cpu_seconds() - spent
    times = [file.stat().st_mtime for file in (folder / "store" / "results").glob("*/*.json")]
    cases = max(times) - min(times) if times else 0.0
    return [workers, round(wall, 1), round(cases, 1), round(cpu, 1), results(folder), round(load, 1), status]


def write_table(folder: Path) -> None:
    """One line a run, and the efficiency against the mean of those with one worker."""
    with (folder / "runs.csv").open(newline="") as file:
        rows = [[float(value) for value in row] for row in csv.reader(file)]
    one = [row for row in rows if row[0] == 1]
    lines = [
        "| workers | wall s | of the cases | CPU s | results | load | exit | efficiency: program, cases |",
        "|" + " --- |" * 8,
    ]
    for row in rows:
        shares = [sum(r[k] for r in one) / len(one) / (row[0] * row[k]) if one else 0.0 for k in (1, 2)]
        cells = [
            f"{row[0]:.0f}",
            f"{row[1]:.0f}",
            f"{row[2]:.0f}",
            f"{row[3]:.0f}",
            f"{row[4]:.0f}",
            f"{row[5]}",
        ]
        lines.append(f"| {' | '.join(cells)} | {row[6]:.0f} | {shares[0]:.2f}, {shares[1]:.2f} |")
    (folder / "scaling.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
