"""How well synthetic voxels are found on every real head, by detectors that learnt elsewhere.

    python -m benchmarks.heads.synthetic DATA --out synthetic [--only pt_100,ct_headsq] [--every 5]

DATA is a folder of real heads (see `benchmarks.heads.data`). ``NAME.pickle`` holds the targets of a head, so that a
second call goes on; ``table.md`` the table: Dice of the detector that comes with the package, of one taught on the
other persons of the call (leave one person out, the same modality), and of one that knows only the place; the share
that each family of features alone tells apart (AUC); and what is told of the untouched head.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.heads.unmasking import Defaced, heads

DEFACERS = ("quickshear", "biometric_mask", "mri_reface", "carina", "surrogate")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--every", type=int, default=1, help="each n-th head alone")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    only = {n for n in options.only.split(",") if n}
    chosen = [(n, read) for n, read in heads(options.data) if not only or n in only][:: options.every]
    for name, read in chosen:
        if not (options.out / f"{name}.pickle").exists():
            kept = targets_of(name, read())
            (options.out / f"{name}.pickle").write_bytes(pickle.dumps(kept))
    seen = {name: look(options.out, name) for name, _ in chosen}
    lines = [
        "| head | defacer | changed | shipped | others | place | AUC by family | s |",
        "|" + " --- |" * 8,
    ]
    for name, head in seen.items():
        others = [h for n, h in seen.items() if n != name and h["modality"] == head["modality"]]
        for line in rows(name, head, others):
            lines.append(line)
            print(line, flush=True)
    (options.out / "table.md").write_text("\n".join(lines) + "\n")


def targets_of(name: str, volume: Any) -> dict[str, Any]:
    """The original and what each defacer leaves of it, empty for a head that is refused."""
    from defacedask.errors import RefusedError

    out: dict[str, Any] = {}
    for defacer in DEFACERS:
        try:
            done = Defaced.of(name, volume, defacer)
        except RefusedError:
            continue
        out.setdefault("original", done.target(volume))
        out[defacer] = done.target(done.plan.apply(volume))
    return out


def look(folder: Path, name: str) -> dict[str, Any]:
    """What one head teaches, and where it is kept."""
    from defacedask.attacks.synthetic.detector import lesson
    from defacedask.attacks.synthetic.planted import WEAK, weakly_defaced

    targets = pickle.loads((folder / f"{name}.pickle").read_bytes())
    original = targets["original"]
    taught = [targets[d] for d in ("mri_reface", "carina", "surrogate") if d in targets]
    lessons = [lesson(original, original, seed) for seed in range(3)]
    lessons += [lesson(original, weakly_defaced(original, kind, 7)) for kind in WEAK]
    lessons += [lesson(original, one) for one in taught]
    return {"modality": original.modality, "lessons": lessons, "file": folder / f"{name}.pickle"}


def rows(name: str, head: dict[str, Any], others: list[dict[str, Any]]) -> Any:
    """Lines of one head."""
    import time

    from defacedask.attacks.layer_classifier import LayerClassifier, Lesson
    from defacedask.attacks.synthetic.detector import SyntheticDetector, changed
    from defacedask.attacks.synthetic.features import FAMILIES, NAMES, near_skin
    from defacedask.attacks.synthetic.judged import dice
    from defacedask.attacks.synthetic.learned import shipped
    from defacedask.attacks.synthetic.planted import WEAK, weakly_defaced

    targets = pickle.loads(head["file"].read_bytes())
    original = targets["original"]
    for kind in WEAK:
        targets[f"weak: {kind}"] = weakly_defaced(original, kind)
    known = [one for other in others for one in other["lessons"]]
    detectors = {
        "shipped": shipped(original.modality),
        "others": SyntheticDetector.trained(known) if known else None,
        "place": SyntheticDetector.of_place(known) if known else shipped(original.modality, "place"),
    }
    for defacer, target in targets.items():
        begun = time.process_time()
        looks = near_skin(target)
        seconds = time.process_time() - begun
        true = changed(original, target).ravel()[looks.where]
        cells = []
        for detector in detectors.values():
            found = None if detector is None else detector.find(target, looks).odds > 0
            if found is None:
                cells.append("")
            else:
                cells.append(f"{dice(found, true):.2f}" if true.any() else f"told {found.mean():.2f}")
        apart = []
        for family, names in FAMILIES.items():
            columns = [NAMES.index(n) for n in names]
            part = Lesson(looks.features[::7, columns], true[::7])
            if known and true.any():
                mine = [Lesson(one.features[:, columns], one.added) for one in known]
                apart.append(f"{family} {LayerClassifier.trained(mine).auc(part):.2f}")
        share = f"{np.mean(true):.2f}"
        yield f"| {name} | {defacer} | {share} | {' | '.join(cells)} | {', '.join(apart)} | {seconds:.1f} |"


if __name__ == "__main__":
    main()
