"""Box plots of percent changes: all structures in one figure, then one figure a structure."""

from __future__ import annotations

from typing import Any

from defacedask.report import figures
from defacedask.report.gathered.features import Features
from defacedask.report.run import Run
from defacedask.report.sampled import sample_notes
from defacedask.tables.derive import in_order
from defacedask.tables.files import TEN_FEATURES
from defacedask.tables.sampled import Numbers

__all__ = ["box_plots"]

_MOST_STRUCTURES = 24
#: Fewer cases have no distribution: the tables say as much, and the figures take most of the time of a page.
_FEWEST_CASES = 5


def box_plots(run: Run) -> dict[str, Any] | None:
    """Pooled over features first, then one figure a structure that has at least five cases."""
    features = run.features
    if not features.sizes:
        return None
    defacers = [d for d in run.defacers if any(d == who for who, _, _ in features.sizes)]
    every: list[tuple[str, str]] = []
    images = sorted({modality for _, modality, _ in features.sizes})
    for structure in in_order(list({structure for _, _, structure in features.sizes})):
        mine = [m for m in images if (m, structure) in features.measured]
        every += [(m, structure) for m in mine]  # a box is of one image
    structures = every[:_MOST_STRUCTURES]
    names = [f"{s} ({m})" if len(images) > 1 else s for m, s in structures]
    nothing = Numbers()
    pooled = [
        (d, run.look(d), [features.sizes.get((d, *pair), nothing).values for pair in structures])
        for d in defacers
    ]
    single = []
    for number, (pair, structure) in enumerate(zip(structures, names, strict=True)):
        n = features.measured[pair]
        if n < _FEWEST_CASES:
            continue
        series = [
            (d, run.look(d), [features.percents.get((d, *pair, f), nothing).values for f in TEN_FEATURES])
            for d in defacers
        ]
        single.append(
            {
                "structure": structure,
                "n": n,
                "svg": figures.boxes(
                    TEN_FEATURES,
                    series,
                    name=f"box{number}",
                    title=f"{structure}: percent change by feature",
                    xlabel="100·(original − defaced)/original, %  (left of 0: increased by defacing)",
                ),
            }
        )
    return {
        "pooled": figures.boxes(
            names,
            pooled,
            name="boxes",
            title="Median absolute percent change of the ten features, by structure",
            xlabel="median |percent change| of a case's ten features, %",
            absolute=True,
        ),
        "single": single,
        "left_out": len(every) - len(structures),
        "notes": [*sample_notes(features.sampled), *_outermost(features)],
    }


def _outermost(features: Features) -> tuple[str, ...]:
    """Say that not every point beyond the whiskers is drawn, where it is so."""
    if all(one.count <= 10 * figures.MOST_POINTS for one in features.percents.values()):
        return ()
    return (f"Beyond the whiskers the outermost {figures.MOST_POINTS} values are drawn.",)
