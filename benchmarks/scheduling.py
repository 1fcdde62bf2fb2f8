"""The real submission code with stubbed stages: cases a second, and memory of client and scheduler over time.

    uv run python -m benchmarks.scheduling --cases 2000,20000 [--flow deface|study] [--workers 2] [--minutes 40]
        [--out scheduling]

A scheduler and its workers are processes of their own. The stages are those of the flow, with their order, keys,
options and time limits; only their functions are replaced, by one that gives back facts and rows of a usual size and
does nothing else. The results are written to disk and read again as ever. A run ends early after so many minutes.
``OUT/FLOW-N.csv`` holds the samples, ``OUT/table.md`` one line a run (processor time is that of the process alone, a
case), ``OUT/scheduling.svg`` the memory against the finished cases.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["main", "stub"]

#: Numbers of a usual result: an embedding for each look, some rows a structure.
FACTS = {"looks": [[0.1234567] * 128] * 4, "notes": ["a note of usual length, as a look leaves it"]}
ROWS = {"radiomics": [{"structure": "Brainstem", "feature": "Mean", "original": 1.5, "defaced": 1.5}] * 20}
#: Samples a run.
SAMPLES = 200


def stub(*before: Any, **arguments: Any) -> Any:
    """In place of every stage."""
    from defacedask.flow.result import Outcome

    return Outcome(dict(ROWS), dict(FACTS))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", default="2000,20000")
    parser.add_argument("--flow", default="deface", choices=("deface", "study"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=0.0, help="end a run after so long; 0: never")
    parser.add_argument("--out", type=Path, default=Path("scheduling"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with cluster(options.workers) as (client, scheduler):
        for count in (int(n) for n in options.cases.split(",")):
            rows = measure(client, scheduler, options.flow, count, 60 * options.minutes)
            with (options.out / f"{options.flow}-{count}.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(
                    ("cases", "seconds", "client_mb", "scheduler_mb", "client_cpu", "scheduler_cpu")
                )
                writer.writerows(rows)
    write_table(options.out)
    write_figure(options.out)


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[tuple[Any, int]]:
    """Client, and the scheduler's process id."""
    from distributed import Client

    folder = tempfile.mkdtemp()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        file = f"{folder}/scheduler.json"
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
        }
        dask = [sys.executable, "-m", "dask"]
        first = subprocess.Popen(
            [*dask, "scheduler", "--scheduler-file", file, "--port", "0", "--no-dashboard"],
            env=env,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(_end, first)
        for _ in range(workers):
            one = subprocess.Popen(
                [*dask, "worker", "--scheduler-file", file, "--nthreads", "1", "--local-directory", folder],
                env=env,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(_end, one)
        while not Path(file).exists():
            time.sleep(0.1)
        client = stack.enter_context(Client(scheduler_file=file))
        client.wait_for_workers(workers)
        yield client, first.pid


def _end(process: Any) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
        return
    process.kill()


def measure(
    client: Any, scheduler: int, flow: str, count: int, limit: float = 0.0
) -> list[tuple[float, ...]]:
    """Samples of one run: cases finished, seconds, MB and CPU seconds of the client and of the scheduler."""
    import psutil

    from defacedask.flow.executors import DaskExecutor
    from defacedask.flow.flow import Flow
    from defacedask.flow.result import receipt

    stages, defacers = _stages(flow)
    processes = [psutil.Process(), psutil.Process(scheduler)]
    rows = []
    with tempfile.TemporaryDirectory() as kept:
        running = Flow(stages, DaskExecutor(client), Path(kept), brief=receipt if flow == "study" else None)
        names = [f"case-{k:06d}" for k in range(count)]
        begun = time.perf_counter()
        spent = [sum(p.cpu_times()[:2]) for p in processes]
        for done, (case, results) in enumerate(running.run(None, names, defacers, case_id=str), 1):
            assert all(result.ok for result in results), results
            # what was kept would fill the disk; a run keeps it
            shutil.rmtree(Path(kept) / case, ignore_errors=True)
            if done % max(1, count // SAMPLES) == 0 or done == count:
                memory = [p.memory_info().rss / 2**20 for p in processes]
                cpu = [sum(p.cpu_times()[:2]) - s for p, s in zip(processes, spent, strict=True)]
                seconds = time.perf_counter() - begun
                rows.append((done, *(round(value, 2) for value in (seconds, *memory, *cpu))))
                if limit and seconds > limit:
                    break
    return rows


def _stages(flow: str) -> tuple[Any, tuple[str, ...]]:
    if flow == "deface":
        from defacedask.runs.deface_stages import stages as deface

        stages: Any = deface()
        defacers: tuple[str, ...] = ("quickshear",)
    else:
        from defacedask.runs.study_stages import stages as study

        stages = study()
        defacers = ("none", "quickshear", "biometric_mask", "mri_reface", "carina")
    empty = tuple(
        dataclasses.replace(
            stage,
            function=stub,
            arguments=lambda task: {"case": task.case},
            depends=lambda task: "options",
            when=lambda task: True,
        )
        for stage in stages
    )
    return empty, defacers


def _read(file: Path) -> list[list[float]]:
    with file.open(newline="") as text:
        return [[float(v) for v in row] for row in list(csv.reader(text))[1:]]


def write_table(folder: Path) -> None:
    """One line a run; memory as the median of its first and last tenth."""
    lines = [
        "| flow | cases | cases a second | client, MB: first, last tenth | scheduler, MB: first, last tenth | "
        "CPU ms a case: client, scheduler |",
        "|" + " --- |" * 6,
    ]
    for file in sorted(folder.glob("*.csv")):
        rows = _read(file)
        part = max(1, len(rows) // 10)

        def middle(some: list[list[float]], column: int) -> str:
            return f"{sorted(row[column] for row in some)[len(some) // 2]:.0f}"

        cells = [f"{middle(rows[:part], k)}, {middle(rows[-part:], k)}" for k in (2, 3)]
        speed = rows[-1][0] / rows[-1][1]
        lines.append(
            f"| {file.stem.split('-')[0]} | {rows[-1][0]:.0f} | {speed:.1f} | {cells[0]} | {cells[1]} | "
            + ", ".join(f"{1000 * value / rows[-1][0]:.1f}" for value in rows[-1][4:6])
            + " |"
        )
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def write_figure(folder: Path) -> None:
    """Memory against finished cases."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for file in sorted(folder.glob("*.csv")):
        rows = _read(file)
        for column, what in ((2, "client"), (3, "scheduler")):
            axes.plot([r[0] for r in rows], [r[column] for r in rows], label=f"{file.stem}: {what}")
    axes.set(xlabel="cases finished", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend(fontsize=8)
    figure.savefig(folder / "scheduling.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
