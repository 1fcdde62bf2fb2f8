"""Learned inversion on real heads: how much of the removed face is told by what each defacer leaves.

    python -m benchmarks.heads.inversion DATA --out inversion [--persons 24] [--recogniser face_recognition]
        [--defacers quickshear,biometric_mask,mri_reface,surrogate,carina]

DATA is a folder of real heads (see `benchmarks.heads.data`); OpenKBP's are used, with the organs that its masks draw
kept where a defacer spares them. What is made of each head lies in OUT and is made once: it identifies people.

``table.md`` holds, for each defacer and each weak defacer that is planted as a control, error of the prediction and
of the average face over what was changed of the face (leave one person out; both moved and sized to fit best),
Wilcoxon's p over persons, and the AUC of the own face by agreement of the shapes; once more with the teachers' faces
exchanged, which must find nothing. With ``--recogniser`` the predictions and the averages are rendered and matched
with the originals, as the detector finds them.
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from defacedask.attacks.inversion.evidence import nearness, paired
from defacedask.attacks.inversion.maps import DepthMaps, ray_scale
from defacedask.attacks.inversion.planted import PLANTED
from defacedask.attacks.inversion.rebuild import rebuilt
from defacedask.attacks.inversion.regression import Inverter, Known, Prediction
from defacedask.attacks.target import Target, target_of

DEFACERS = "quickshear,biometric_mask,mri_reface,surrogate,carina"
SEED = 7


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--cases", type=Path, help="DICOM of the same patients, a folder each, with structures"
    )
    parser.add_argument("--persons", type=int, default=24)
    parser.add_argument("--only", default="", help="names, separated by commas, in their order")
    parser.add_argument("--defacers", default=DEFACERS)
    parser.add_argument("--recogniser", default="")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    defacers = options.defacers.split(",")
    heads = [
        head for name in names(options) if (head := Made.of(name, options.out, options.cases, defacers))
    ][: options.persons]
    lines = [
        "| left by | persons | error mm | average mm | gain mm | p | AUC of shapes | CPU s |",
        "|" + " --- |" * 8,
    ]
    for left in [*PLANTED, *defacers]:
        known = known_of(heads, left)
        for what, taught in ((left, known), (f"{left}, exchanged", known.shuffled(SEED))):
            begin = time.process_time()
            rows = list(judged(heads, known, taught))
            spent = (time.process_time() - begin) / max(len(heads), 1)
            found = paired(rows)
            lines.append(
                f"| {what} | {found.persons} | {found.error_mm:.2f} | {found.average_mm:.2f} | {found.gain_mm:+.2f} "
                f"| {found.p:.1e} | {found.auc:.2f} ({found.low:.2f} to {found.high:.2f}) | {spent:.1f} |"
            )
            print(lines[-1], flush=True)
    if options.recogniser:
        lines += ["", *Matching(options.recogniser, options.out, heads).lines([*PLANTED, *defacers])]
    (options.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def names(options: Any) -> list[str]:
    """Names of the patients."""
    if options.only:
        return [name for name in options.only.split(",") if name]
    from benchmarks.heads.data import named_heads

    return [name for name, _ in named_heads(options.data) if name.startswith("pt_")]


class Made:
    """One head and what the defacers made of it, 2 mm or coarser, of the head's box alone.

    Parameters
    ----------
    name : str
    kept : dict
        values (by defacer, and ``original``), geometry, pose, to_template, level.
    folder : Path
    """

    def __init__(self, name: str, kept: dict[str, Any], folder: Path) -> None:
        self.name, self.kept = name, kept
        self.scale = ray_scale(kept["to_template"])
        file = folder / f"{name}.maps.pickle"
        self.maps: dict[str, DepthMaps] = pickle.loads(file.read_bytes()) if file.exists() else {}
        for left in [*kept["values"], *PLANTED]:
            if left not in self.maps:
                self.maps[left] = DepthMaps.of(self.target(left))
        file.write_bytes(pickle.dumps(self.maps))

    @classmethod
    def of(cls, name: str, folder: Path, cases: Path, defacers: Sequence[str]) -> Made | None:
        """Make it, or read what was made before; None if the head is refused."""
        file = folder / f"{name}.pkl"
        if not file.exists():
            made = deface(name, cases, defacers)
            if made is None:
                return None
            file.write_bytes(pickle.dumps(made, protocol=5))
        return cls(name, pickle.loads(file.read_bytes()), folder)

    def target(self, left: str) -> Target:
        """What an attacker has."""
        if left in PLANTED:
            return PLANTED[left](self.target("original"))
        kept = self.kept
        values = kept["values"][left].astype(np.float32)
        return Target(values, kept["geometry"], "CT", kept["level"], kept["pose"], kept["to_template"])


def deface(name: str, cases: Path, defacers: Iterable[str]) -> dict[str, Any] | None:
    """Original and defaced values of one patient's CT."""
    import defacedask as dd
    from defacedask.anatomy.head import Head
    from defacedask.defacers import get_defacer
    from defacedask.errors import RefusedError
    from defacedask.flow.stages.drawn import DrawnStructures
    from defacedask.flow.stages.protecting import drawn_brain, spared_structures
    from defacedask.io.dicom.image import read_image
    from defacedask.volume import geometry_of, real_values

    case = dd.scan(cases / name).cases[0]
    volume = read_image(case.primary).load()
    head = Head(volume)
    try:
        head.require()
    except RefusedError:
        return None
    drawn, level = DrawnStructures(case), -300.0
    brain = drawn_brain(drawn, head)
    values: dict[str, np.ndarray] = {}

    def keep(left: str, image: Any) -> Target:
        target = target_of(
            real_values(image).load().values,
            geometry_of(volume),
            modality="CT",
            level=level,
            pose=head.pose,
            to_template=head.to_template,
            drop=head.drop,
        )
        values[left] = np.clip(np.rint(target.values), -1100, 3100).astype(np.int16)
        return target

    grid = keep("original", volume).geometry
    for defacer in defacers:
        maker = get_defacer(defacer)
        spared, _ = spared_structures(drawn, maker.spares, head)
        protected = [one.protected(0.0) for one in ([] if brain is None else [brain]) + list(spared)]
        plan = maker.plan(head, key=hashlib.sha256(name.encode()).digest(), protected=protected)
        keep(defacer, plan.apply(volume))
    return {
        "values": values,
        "geometry": grid,
        "pose": head.pose,
        "to_template": head.to_template,
        "level": level,
    }


def known_of(heads: Sequence[Made], left: str) -> Known:
    """All heads as teachers."""
    return Known.of(
        [head.name for head in heads],
        [head.maps["original"] for head in heads],
        [head.maps[left] for head in heads],
    )


def judged(heads: Sequence[Made], known: Known, taught: Known) -> Iterable[tuple[str, float, float, float]]:
    """Rows for `paired`, each person left out."""
    for k, head in enumerate(heads):
        others = taught.without(head.name)
        prediction = Inverter(others).predict(taught.skin[k], taught.bone[k])
        near = nearness(prediction, known.original[k], known.skin[k], head.scale, others)
        if near is not None:
            yield head.name, near.error_mm, near.average_mm, near.nearer


class Matching:
    """Predictions and averages before a recogniser.

    Parameters
    ----------
    recogniser : str
        As on the command line.
    folder : Path
        Encodings are kept there.
    heads : sequence of Made
    """

    def __init__(self, recogniser: str, folder: Path, heads: Sequence[Made]) -> None:
        from defacedask.faces.recognition import open_recogniser

        self.eye, self.heads = open_recogniser(recogniser), heads
        self.file = folder / f"encodings-{self.eye.name}.pickle"
        self.codes: dict[tuple[str, str, str], Any] = (
            pickle.loads(self.file.read_bytes()) if self.file.exists() else {}
        )

    def code(self, head: Made, left: str, what: str, view: tuple[float, float], make: Any) -> Any:
        """Encoding of a picture as the detector finds it; None where it finds no face."""
        key = (head.name, f"{left} {view}", what)
        if key not in self.codes:
            from defacedask.faces.render import render_views
            from defacedask.faces.surface import skin_surface
            from defacedask.faces.views import View

            values, geometry = make()
            surface = skin_surface(values, geometry, level=head.kept["level"], pose=head.kept["pose"])
            picture = render_views(surface, head.kept["pose"], [View(*view)], size=400)
            faces = self.eye.analyse(picture)[0]
            self.codes[key] = np.asarray(faces[0].encoding) if faces else None
            self.file.write_bytes(pickle.dumps(self.codes))
        return self.codes[key]

    def lines(self, lefts: Sequence[str], view: tuple[float, float] = (0.0, -10.0)) -> list[str]:
        """Rows of a table: AUC of the own original, of the prediction and of the average face."""
        plain = {
            head.name: self.code(head, "original", "plain", view, lambda head=head: _plain(head, "original"))
            for head in self.heads
        }
        out = [
            "| left by | detected | AUC as it is | average | inversion | inversion minus average |",
            "|" + " --- |" * 6,
        ]
        for left in lefts:
            known = known_of(self.heads, left)
            found: dict[str, dict[str, float]] = {"as it is": {}, "average": {}, "inversion": {}}
            seen = 0
            for k, head in enumerate(self.heads):
                prediction = Inverter(known.without(head.name)).predict(known.skin[k], known.bone[k])
                ways = {
                    "as it is": lambda head=head, left=left: _plain(head, left),
                    "average": lambda head=head, left=left, p=prediction: _drawn(head, left, _average(p)),
                    "inversion": lambda head=head, left=left, p=prediction: _drawn(head, left, p),
                }
                for what, make in ways.items():
                    code = self.code(head, left, what, view, make)
                    seen += what == "inversion" and code is not None
                    share = self._share(head.name, code, plain)
                    if share is not None:
                        found[what][head.name] = share
            both = sorted(set(found["average"]) & set(found["inversion"]))
            more = {name: found["inversion"][name] - found["average"][name] for name in both}
            out.append(
                f"| {left} | {seen} of {len(self.heads)} | "
                + " | ".join([*(_mean(found[what]) for what in found), _mean(more)])
                + " |"
            )
            print(out[-1], flush=True)
        return out

    def _share(self, name: str, code: Any, plain: dict[str, Any]) -> float | None:
        """Share of other persons whose original lies farther than the own."""
        if code is None or plain[name] is None:
            return None
        own = self.eye.distance(code, plain[name])
        others = [self.eye.distance(code, p) for who, p in plain.items() if who != name and p is not None]
        return float(np.mean([(d > own) + 0.5 * (d == own) for d in others]))


def _plain(head: Made, left: str) -> Any:
    target = head.target(left)
    return target.values, target.geometry


def _average(prediction: Prediction) -> Prediction:
    """The same places, filled with the average face of the others."""
    with np.errstate(invalid="ignore"):
        skin = prediction.skin + prediction.replaced * (prediction.average - prediction.learnt)
    return Prediction(skin, prediction.average, prediction.average, prediction.replaced)


def _drawn(head: Made, left: str, prediction: Prediction) -> Any:
    attempt = rebuilt(head.target(left), prediction)
    return attempt.values, attempt.geometry


def _mean(by: dict[str, float]) -> str:
    """Mean over persons with its 95 % interval (bootstrap)."""
    each = np.array([by[name] for name in sorted(by)])
    if not len(each):
        return "none"
    rng = np.random.default_rng(0)
    means = each[rng.integers(0, len(each), (2000, len(each)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{each.mean():.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
