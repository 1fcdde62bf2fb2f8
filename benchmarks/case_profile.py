"""Where the CPU seconds of one case go: stage by stage, for which defacer, and in whose code.

    uv run python -m benchmarks.case_profile OUT                 a planning CT of 512 x 512 x 200, four defacers
    uv run python -m benchmarks.case_profile OUT --case FOLDER --defacers quickshear --attacks basic --export

The study runs in this process, on one core, as a task of a cluster does. A hundred times a second it is noted which
stage runs, and whose code is innermost: that gets the CPU seconds since the last note. Code in C is counted for the
package that called it. ``OUT/profile.csv`` has the numbers, ``OUT/profile.md`` two tables, ``OUT/profile.svg`` the
figure.
"""

from __future__ import annotations

import argparse
import collections
import csv
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.stages import machine

__all__ = ["Sampler", "main"]

DEFACERS = "quickshear,biometric_mask,mri_reface,carina"
#: What runs outside of any stage: scan, tables, report.
BESIDE = "beside the stages"
#: Packages that are told by name; all others are "other packages".
PACKAGES = (
    "defacedask",
    "numpy",
    "scipy",
    "SimpleITK",
    "pydicom",
    "zarr",
    "dask",
    "onnxruntime",
    "vtkmodules",
)

Key = tuple[str, str, str]


class Sampler:
    """CPU seconds of this process by stage, defacer and package, while the block runs; the caller's thread works.

    Parameters
    ----------
    every : float
        Seconds between two notes.
    """

    def __init__(self, every: float = 0.01) -> None:
        self.every = every
        #: (stage, defacer, package) -> CPU seconds.
        self.seconds: collections.Counter[Key] = collections.Counter()
        self._over = threading.Event()

    def __enter__(self) -> Sampler:
        from defacedask.flow.worker import run_task

        self._task = run_task.__code__
        self._worker = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        last = time.process_time()
        while not self._over.wait(self.every):
            now = time.process_time()
            self.seconds[self._place(sys._current_frames().get(self._worker))] += now - last
            last = now

    def _place(self, frame: FrameType | None) -> Key:
        package = ""
        while frame is not None:
            package = package or _package(frame.f_code.co_filename)
            if frame.f_code is self._task:
                return frame.f_locals["stage"], frame.f_locals["defacer"], package
            frame = frame.f_back
        return BESIDE, "", package or "other packages"


def _package(file: str) -> str:
    """Whose code a file is; "" for Python's own, which works for who called it."""
    parts = Path(file).parts
    if "site-packages" in parts:
        name = parts[parts.index("site-packages") + 1]
        return name if name in PACKAGES else "other packages"
    return "defacedask" if "defacedask" in parts and "lib" not in parts else ""


def profile(case: Path, out: Path, options: dict[str, Any]) -> collections.Counter[Key]:
    """Run a study of one case under the sampler; libraries are imported and networks loaded before."""
    import numpy as np

    import defacedask as dd
    from defacedask.faces.recognition import get_recogniser

    get_recogniser("face_recognition").analyse([np.zeros((64, 64, 3), np.uint8)])
    with Sampler() as sampler:
        dd.study(case, out, pictures=False, seed=1, **options)
    return sampler.seconds


def table(seconds: collections.Counter[Key]) -> str:
    """Markdown: stages by defacer, and packages."""
    stages, defacers, packages = (_largest(seconds, k) for k in range(3))
    total = sum(seconds.values())
    lines = ["| stage | " + " | ".join(d or "once a case" for d in defacers) + " | CPU s |"]
    lines.append("| --- |" + " ---: |" * (len(defacers) + 1))
    for stage in stages:
        cells = [sum(v for (s, d, _), v in seconds.items() if (s, d) == (stage, one)) for one in defacers]
        lines.append(
            f"| {stage} | " + " | ".join(f"{v:.1f}" if v else "" for v in cells) + f" | {sum(cells):.1f} |"
        )
    sums = [sum(v for (_, d, _), v in seconds.items() if d == one) for one in defacers]
    lines.append("| **all** | " + " | ".join(f"{v:.1f}" for v in sums) + f" | **{total:.1f}** |")
    lines += ["", "| package | CPU s | share |", "| --- | ---: | ---: |"]
    for name in packages:
        spent = sum(v for (_, _, p), v in seconds.items() if p == name)
        lines.append(f"| {name} | {spent:.1f} | {100 * spent / total:.0f} % |")
    return "\n".join(lines)


def draw(seconds: collections.Counter[Key], path: Path) -> None:
    """A bar a stage, twice: divided by defacer, and by package."""
    from matplotlib.figure import Figure

    stages = _largest(seconds, 0)[::-1]
    figure = Figure(figsize=(10, 0.4 * len(stages) + 1.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, part, title in ((left, 1, "for which defacer"), (right, 2, "in whose code")):
        before = [0.0] * len(stages)
        for number, name in enumerate(_largest(seconds, part)):
            wide = [
                sum(v for k, v in seconds.items() if (k[0], k[part]) == (stage, name)) for stage in stages
            ]
            axes.barh(stages, wide, left=before, label=name or "once a case", color=f"C{number}")
            before = [a + b for a, b in zip(before, wide, strict=True)]
        axes.set(xlabel="CPU seconds", title=title)
        axes.legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})


def _largest(seconds: collections.Counter[Key], part: int) -> list[str]:
    """Names in one part of the keys, the most seconds first."""
    sums: collections.Counter[str] = collections.Counter()
    for key, value in seconds.items():
        sums[key[part]] += value
    return [name for name, _ in sums.most_common()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--case", type=Path, help="folder of one patient; default: a virtual one is written")
    parser.add_argument("--size", default="clinical", choices=["coarse", "normal", "clinical"])
    parser.add_argument("--defacers", default=DEFACERS)
    parser.add_argument("--attacks", default="default")
    parser.add_argument("--export", action="store_true")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="defacedask-profile-") as scratch:
        case = options.case
        if case is None:
            from defacedask.phantom import write_phantom

            case = Path(scratch, "case")
            write_phantom(case, 1, seed=1, size=options.size, modalities=["CT"])
        chosen = {"defacers": options.defacers, "attacks": options.attacks, "export": options.export}
        seconds = profile(case, Path(scratch, "out"), chosen)
    with (options.out / "profile.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["stage", "defacer", "package", "cpu_seconds"])
        writer.writerows([*key, f"{value:.3f}"] for key, value in sorted(seconds.items()))
    text = f"{machine()}\n\n{table(seconds)}\n"
    (options.out / "profile.md").write_text(text, encoding="utf-8")
    draw(seconds, options.out / "profile.svg")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
