"""Un-masking a defacer on every real head: how much of the face's skin each attempt finds within 2 mm, beside a peel.

    python -m benchmarks.heads.unmasking DATA --out unmasking [--only pt_100,ct_headsq] [--every 5] [--trained-on 10]

DATA is a folder of real heads (see `benchmarks.heads.data`). ``NAME.npz`` holds what the classifier learns of a head,
``NAME.json`` its rows, so that a second call goes on; ``table.md`` the table. The classifier is trained on other
persons of the same modality among the heads of the call, defaced by the same defacer with other keys; where there is
none, it is left out. Of each kind of attempt the best setting counts, of the peel too: an attacker tries all.
Positive controls: the same attempts at weak layers planted on the same heads (`defacedask.attacks.planted`).
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.heads.data import named_heads

PEELS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0)
#: Attempts, and what their columns are called.
KINDS = ("mask", "seam", "classifier", "texture", "level", "peel")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--every", type=int, default=1, help="each n-th OpenKBP head alone")
    parser.add_argument(
        "--trained-on", type=int, default=10, help="other persons that the classifier learns from"
    )
    parser.add_argument("--defacer", default="carina")
    parser.add_argument("--no-controls", action="store_true")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    only = {n for n in options.only.split(",") if n}
    chosen, count = [], 0
    for name, read in heads(options.data):
        if only and name not in only:
            continue
        if name.startswith("pt_"):
            count += 1
            if (count - 1) % options.every:
                continue
        chosen.append((name, read))
    for name, read in chosen:
        if not (options.out / f"{name}.npz").exists() and not (options.out / f"{name}.json").exists():
            learn(name, read, options.out, options.defacer)
    for name, read in chosen:
        file = options.out / f"{name}.json"
        if not file.exists() or "rows" not in json.loads(file.read_text()):
            facts = look(name, read, options)
            file.write_text(json.dumps(facts))
            (options.out / f"{name}.pickle").unlink(missing_ok=True)
            print(name, facts, flush=True)
    write_table(options.out)


def heads(data: Path) -> Iterator[tuple[str, Any]]:
    """All of `named_heads`, and one whose mouth and chin are out of view."""
    from benchmarks.heads.data import scanned

    yield from named_heads(data)
    folder = data / "mr_colin27_ch2"
    if folder.exists():
        yield folder.name, lambda: scanned(folder)


def targets(name: str, volume: Any, defacer: str = "carina") -> tuple[Any, Any]:
    """Original and defaced head, with the mask that would be published with it.

    Raises
    ------
    RefusedError
        If the head is refused.
    """
    return Defaced.of(name, volume, defacer).pair


@dataclasses.dataclass(frozen=True)
class Defaced:
    """A head, its original and its plan: whatever was made of it becomes a target in one way.

    Attributes
    ----------
    volume : xarray.DataArray
        The original.
    head : Head
    plan : Plan
    """

    volume: Any
    head: Any
    plan: Any

    @classmethod
    def of(cls, name: str, volume: Any, defacer: str = "carina") -> Defaced:
        """Plan a head, with a key of its name.

        Raises
        ------
        RefusedError
            If the head is refused.
        """
        from defacedask.anatomy.head import Head
        from defacedask.defacers import get_defacer

        head = Head(volume)
        head.require()
        plan = get_defacer(defacer).plan(head, key=hashlib.sha256(name.encode()).digest())
        return cls(volume, head, plan)

    @property
    def pair(self) -> tuple[Any, Any]:
        """Targets of original and defaced head, the published mask with this one."""
        from defacedask.defacers.hull import published
        from defacedask.volume import geometry_of

        after = self.plan.apply(self.volume)
        changed = after.values != self.volume.values
        mask = published(self.plan, changed, geometry_of(self.volume), self.head.to_template)
        return self.target(self.volume), self.target(after, mask)

    def target(self, volume: Any, mask: np.ndarray | None = None) -> Any:
        """A target of values on the original's grid."""
        from defacedask.attacks.target import target_of
        from defacedask.faces.surface import skin_level
        from defacedask.volume import geometry_of, real_values

        return target_of(
            real_values(volume).load().values,
            geometry_of(self.volume),
            modality=self.head.modality,
            level=float(skin_level(self.head.modality, real_values(self.volume).load().values)),
            pose=self.head.pose,
            to_template=self.head.to_template,
            drop=self.head.drop,
            mask=mask,
        )


def learn(name: str, read: Any, out: Path, defacer: str = "carina") -> None:
    """Keep what the classifier may learn of a head, as defaced and as planted."""
    from defacedask.attacks.layer_classifier import lesson
    from defacedask.attacks.planted import planted
    from defacedask.errors import RefusedError

    try:
        original, defaced = both = targets(name, read(), defacer)
    except RefusedError as error:
        (out / f"{name}.json").write_text(json.dumps({"rows": {}, "refused": str(error)}))
        return
    (out / f"{name}.pickle").write_bytes(pickle.dumps(both))
    one, weak = lesson(original, defaced), lesson(original, planted(original, "classifier", seed=7))
    np.savez(
        out / f"{name}.npz",
        features=one.features,
        added=one.added,
        weak_features=weak.features,
        weak_added=weak.added,
        modality=original.modality,
    )


def lessons(out: Path, name: str, modality: str, count: int, prefix: str = "") -> list[Any]:
    """Of other persons of the modality, those after this one in the order of names first."""
    from defacedask.attacks.layer_classifier import Lesson

    files = sorted(out.glob("*.npz"))
    names = [f.stem for f in files]
    start = names.index(name) + 1 if name in names else 0
    found: list[Lesson] = []
    for file in [*files[start:], *files[: max(start - 1, 0)]]:
        with np.load(file) as kept:
            if str(kept["modality"]) == modality and len(found) < count:
                found.append(Lesson(kept[f"{prefix}features"], kept[f"{prefix}added"]))
    return found


def look(name: str, read: Any, options: Any) -> dict[str, Any]:
    """Shares of one head."""
    from defacedask.attacks.layer_classifier import LayerClassifier, Lesson, attempts_by
    from defacedask.attacks.planted import planted
    from defacedask.attacks.skin_found import FaceSkin
    from defacedask.attacks.unmasking import peeled, unmasked
    from defacedask.attacks.unmasking_lines import mask_attempts, seam_attempt

    kept_file = options.out / f"{name}.pickle"
    original, defaced = pickle.loads(kept_file.read_bytes()) if kept_file.exists() else targets(name, read())
    truth = FaceSkin.of(original)
    tried: dict[str, float] = {}
    for found in (
        unmasked(defaced, mm=()),
        peeled(defaced, PEELS),
        mask_attempts(defaced),
        seam_attempt(defaced),
    ):
        tried |= truth.shares(defaced, found)
    facts: dict[str, Any] = {
        "modality": original.modality,
        "plain": truth.share(defaced.values, defaced.geometry, defaced.level),
        "itself": truth.share(original.values, original.geometry, original.level),
    }
    known = lessons(options.out, name, original.modality, options.trained_on)
    if known:
        classifier = LayerClassifier.trained(known)
        tried |= truth.shares(defaced, attempts_by([classifier], defaced))
        with np.load(options.out / f"{name}.npz") as kept:
            facts["auc"] = classifier.auc(Lesson(kept["features"], kept["added"]))
        facts["trained_on"] = len(known)
    facts["tried"] = tried
    facts["rows"] = {
        kind: max((v for k, v in tried.items() if k.startswith(kind)), default=None) for kind in KINDS
    }
    if not options.no_controls:
        weak = {kind: planted(original, kind) for kind in ("mask", "seam", "classifier")}
        control = {
            "mask": truth.shares(weak["mask"], mask_attempts(weak["mask"], (0.0,))),
            "seam": truth.shares(weak["seam"], seam_attempt(weak["seam"])),
        }
        known = lessons(options.out, name, original.modality, options.trained_on, "weak_")
        if known:
            classifier = LayerClassifier.trained(known)
            control["classifier"] = truth.shares(
                weak["classifier"], attempts_by([classifier], weak["classifier"])
            )
            control["peel"] = truth.shares(weak["classifier"], peeled(weak["classifier"], PEELS))
        facts["controls"] = {kind: max(found.values(), default=0.0) for kind, found in control.items()}
    return facts


def write_table(folder: Path) -> None:
    """Percent of the skin found, one line a head and the median of each modality."""
    heads = {f.stem: json.loads(f.read_text()) for f in sorted(folder.glob("*.json"))}
    known = {name: h for name, h in heads.items() if h.get("rows")}
    columns = [*KINDS, "AUC", *(f"control: {k}" for k in ("mask", "seam", "classifier"))]
    lines = ["| head | " + " | ".join(columns) + " |", "|" + " --- |" * (len(columns) + 1)]

    def cells(facts: dict[str, Any]) -> list[float | None]:
        control = facts.get("controls", {})
        found = [facts["rows"].get(k) for k in KINDS] + [facts.get("auc")]
        return found + [control.get(k) for k in ("mask", "seam", "classifier")]

    def line(title: str, values: Sequence[float | None]) -> str:
        out = []
        for name, v in zip(columns, values, strict=True):
            out.append("" if v is None or v != v else f"{v:.3f}" if name == "AUC" else f"{100 * v:.0f}")
        return f"| {title} | " + " | ".join(out) + " |"

    for modality in ("CT", "MR"):
        rows = [cells(h) for h in known.values() if h["modality"] == modality]
        if not rows:
            continue
        table = np.array([[np.nan if v is None else v for v in row] for row in rows], float)
        lines.append(line(f"{modality}, median of {len(rows)}", np.nanmedian(table, axis=0).tolist()))
        lines.append(line(f"{modality}, most", np.nanmax(table, axis=0).tolist()))
        least = [*[None] * (len(KINDS) + 1), *np.nanmin(table[:, -3:], axis=0).tolist()]
        lines.append(line(f"{modality}, least of the controls", least))
    lines += [line(name, cells(h)) for name, h in known.items()]
    lines += [f"| {name} | {h['refused']} |" for name, h in heads.items() if h.get("refused")]
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
