"""Seconds and peak memory of every stage, as one table, with the time of a memory copy measured beside it.

    uv run python -m benchmarks.stages                     coarse (128^3) and clinical (200 x 512 x 512)
    uv run python -m benchmarks.stages --sizes coarse --record "what changed"

Seconds mean little on another or a busy machine; the ratio to copying the image in memory, measured just before
and just after each stage, means more. Every stage runs on one core, as it does in a task of the study. ``--record``
adds the rows to ``benchmarks/RESULTS.md``.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
    os.environ.setdefault(_name, "1")

RESULTS = Path(__file__).with_name("RESULTS.md")
COLUMNS = ("size", "stage", "seconds", "copy, ms", "times the copy", "peak, MB", "added, MB")


@dataclasses.dataclass(frozen=True)
class Row:
    """One stage on one size.

    ``seconds`` is the best of the repeats (NaN if the stage failed), ``copy`` the mean of the copies before and
    after (seconds), ``peak`` the largest resident memory during the stage and ``added`` what of it was not there
    before (MB; None where the system does not tell).
    """

    size: str
    stage: str
    seconds: float
    copy: float
    peak: float | None
    added: float | None

    @property
    def ratio(self) -> float:
        """How many memory copies of the image the stage takes."""
        return self.seconds / self.copy

    def cells(self) -> list[str]:
        """What the table shows."""
        if self.seconds != self.seconds:
            return [self.size, self.stage, "failed", f"{self.copy * 1000:.2f}", "–", "–", "–"]
        digits = 4 if self.seconds < 0.1 else 3 if self.seconds < 1 else 2
        memory = ["–" if m is None else f"{m:.0f}" for m in (self.peak, self.added)]
        return [
            self.size,
            self.stage,
            f"{self.seconds:.{digits}f}",
            f"{self.copy * 1000:.2f}",
            f"{self.ratio:.3g}" if self.ratio < 100 else f"{self.ratio:.0f}",
            *memory,
        ]


def _status(key: str) -> float | None:
    """A figure of /proc/self/status in MB."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key):
                return float(line.split()[1]) / 1024
    except OSError:
        pass
    return None


def peak_mb() -> float | None:
    """Largest resident memory of this process so far, MB; None where the system does not tell."""
    return _status("VmHWM")


def _forget_peak() -> bool:
    """Start counting the peak anew (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def seconds_of(call: Callable[[], None], repeat: int) -> float:
    """Best wall time."""
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def measure(size: str, defacers: Sequence[str] | None = None, repeat: int = 3) -> list[Row]:
    """Measure all stages of one size.

    Parameters
    ----------
    size : str
        One of `benchmarks.patient.SIZES`.
    defacers : sequence of str, optional
        Default: all that are installed.
    repeat : int
        Stages that take more than ten seconds run once, others this often; the best time counts.
    """
    import numpy as np

    from benchmarks.chain import Chain, available_defacers
    from benchmarks.patient import SIZES

    image, target = np.ones(SIZES[size][0], np.int16), np.zeros(SIZES[size][0], np.int16)
    rows = []
    chain = Chain(size)
    try:
        for name, call in chain.stages(list(defacers) if defacers is not None else available_defacers()):
            copies = [seconds_of(lambda: np.copyto(target, image), 5)]
            before, known = _status("VmRSS"), _forget_peak()
            try:
                best = seconds_of(call, 1)
            except Exception as error:
                # one defacer that fails leaves the others; without a head nothing goes on
                if not name.startswith(("plan ", "apply ")):
                    raise
                print(f"{size}, {name}: {type(error).__name__}: {error}", file=sys.stderr)
                rows.append(Row(size, name, float("nan"), copies[0], None, None))
                continue
            peak = peak_mb() if known else None
            if best < 10 and repeat > 1:
                best = min(best, seconds_of(call, repeat - 1))
            copies.append(seconds_of(lambda: np.copyto(target, image), 5))
            added = None if peak is None or before is None else max(0.0, peak - before)
            rows.append(Row(size, name, best, sum(copies) / 2, peak, added))
    finally:
        chain.close()
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown, columns aligned so that it also reads well in a terminal."""
    lines = [list(COLUMNS), *(row.cells() for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(COLUMNS))]

    def written(line: list[str]) -> str:
        left, right = line[:2], line[2:]
        cells = [cell.ljust(w) for cell, w in zip(left, widths, strict=False)]
        cells += [cell.rjust(w) for cell, w in zip(right, widths[2:], strict=True)]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * w if k < 2 else "-" * (w - 1) + ":" for k, w in enumerate(widths)]
    return "\n".join([written(lines[0]), written(rule), *map(written, lines[1:])])


def machine() -> str:
    """Processor, cores, Python and load, in one line."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}{load}"


def _version() -> str:
    from defacedask import __version__

    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=False)
    except OSError:
        return __version__
    return f"{__version__} ({found.stdout.strip()})" if found.returncode == 0 else __version__


def record(text: str, what: str, path: Path = RESULTS) -> None:
    """Add a dated section to the results."""
    head = "# Measured\n\nNewest last; made by `python -m benchmarks.stages --record TEXT`.\n"
    before = path.read_text(encoding="utf-8") if path.is_file() else head
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    section = f"\n## {today}: {what}\n\ndefacedask {_version()}; {machine()}.\n\n{text}\n"
    path.write_text(before + section, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; each size in a process of its own, so that one does not inherit the other's memory."""
    from benchmarks.patient import SIZES

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="coarse,clinical", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--defacers", help="comma-separated; default: all that are installed")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--record", metavar="TEXT", help="add the rows to benchmarks/RESULTS.md under this title"
    )
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    sizes = options.sizes.split(",")
    unknown = sorted(set(sizes) - set(SIZES))
    if unknown:
        parser.error(f"there is no size {', '.join(unknown)}; choose from {', '.join(SIZES)}")
    if options.json:
        import json

        defacers = options.defacers.split(",") if options.defacers else None
        print(json.dumps([dataclasses.asdict(r) for r in measure(sizes[0], defacers, options.repeat)]))
        return 0
    rows = [row for size in sizes for row in _apart(size, options)]
    text = table(rows)
    print(text)
    if options.record:
        record(text, options.record)
    return int(any(row.seconds != row.seconds for row in rows))


def _apart(size: str, options: argparse.Namespace) -> list[Row]:
    import json

    command = [
        sys.executable,
        "-m",
        "benchmarks.stages",
        "--json",
        "--sizes",
        size,
        "--repeat",
        str(options.repeat),
    ]
    command += ["--defacers", options.defacers] if options.defacers else []
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=root)
    return [Row(**facts) for facts in json.loads(done.stdout.strip().splitlines()[-1])]


if __name__ == "__main__":
    sys.exit(main())
