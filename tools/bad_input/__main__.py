"""Damage a small patient in many ways and count what becomes of it.

    python -m tools.bad_input 5000 --work FOLDER

Every trial damages one file, or one series, of a made patient (CT, structure set, plan, dose, segmentation) and
scans and reads the folder; every tenth is defaced and exported. Trials run in processes with bounded memory; a
process that dies is an outcome too. Exit code 1 if anything crashed, died, left a file outside, or half an export.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Trials of a process.
BATCH = 100


def worker(first: int, count: int, every: int, work: Path, memory: int) -> None:
    """Trials ``first`` to ``first + count``, one JSON line each."""
    import pytest
    from support.export_kit import write_patient

    from defacedask import defacers
    from defacedask.flow.stages import residual
    from defacedask.memory import peak_mb
    from tools.bad_input.trial import Patient, limit_memory, run

    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(dir=work) as place, pytest.MonkeyPatch.context() as patch:
        folder = Path(place)
        patch.setitem(defacers.BUILT_IN, "half_space", "support.export_kit:HalfSpaceDefacer")
        patch.setattr(residual, "residual_face", lambda *_: residual.Residual(1.0))
        write_patient(folder / "good")
        (folder / "trial").mkdir()
        patient = Patient(folder / "good", folder / "trial")
        run(patient, 0, whole=True)  # imports and caches before the limit
        limit_memory(memory)
        for seed in range(first, first + count):
            begin = time.perf_counter()
            # a tenth, spread over all kinds of damage
            kind, outcome, detail = run(patient, seed, whole=every > 0 and (seed * 7) % every == 0)
            line = [seed, kind, outcome, detail, time.perf_counter() - begin, int(peak_mb())]
            print(json.dumps(line), flush=True)


def main() -> int:
    """Run trials and print the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, nargs="?", default=5000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--every", type=int, default=10, help="deface one in so many")
    parser.add_argument("--memory", type=int, default=4096, help="MB of address space of a process")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
    if given.worker:
        worker(given.first, given.count, given.every, given.work, given.memory)
        return 0
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    details: list[str] = []
    slowest, peak, seed, end = (0.0, 0), 0, given.first, given.first + given.count
    while seed < end:
        size = min(BATCH, end - seed)
        own = [str(size), "--first", str(seed), "--every", str(given.every), "--memory", str(given.memory)]
        command = [sys.executable, "-m", "tools.bad_input", *own, "--work", str(given.work), "--worker"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        for number, kind, outcome, detail, seconds, mb in lines:
            counts[kind][outcome] += 1
            slowest, peak = max(slowest, (seconds, number)), max(peak, mb)
            if detail:
                details.append(f"seed {number}, {kind}: {outcome}\n{detail}")
        if len(lines) < size:
            from tools.bad_input.mutations import NAMES

            dead = seed + len(lines)
            counts[NAMES[dead % len(NAMES)]]["died"] += 1
            details.append(f"seed {dead}: the process died ({done.returncode})\n{done.stderr[-800:]}")
            seed = dead + 1
        else:
            seed += size
        print(f"{seed - given.first} of {given.count}", file=sys.stderr, flush=True)
    return report(counts, details, slowest, peak)


def report(counts: dict[str, Counter[str]], details: list[str], slowest: tuple[float, int], peak: int) -> int:
    """Print a table: kinds of damage by outcomes."""
    from tools.bad_input.trial import CRASHES

    outcomes = sorted({outcome for row in counts.values() for outcome in row})
    print("| damage | " + " | ".join(outcomes) + " | all |")
    print("| --- |" + " ---: |" * (len(outcomes) + 1))
    for kind, row in sorted(counts.items()):
        print(f"| {kind} | " + " | ".join(str(row[o]) for o in outcomes) + f" | {sum(row.values())} |")
    total = Counter({o: sum(row[o] for row in counts.values()) for o in outcomes})
    print("| all | " + " | ".join(str(total[o]) for o in outcomes) + f" | {sum(total.values())} |")
    print(f"slowest: {slowest[0]:.1f} s (seed {slowest[1]}); peak resident memory {peak} MB")
    print("\n".join(details[:12]))
    return 1 if any(total[o] for o in CRASHES) else 0


if __name__ == "__main__":
    sys.exit(main())
