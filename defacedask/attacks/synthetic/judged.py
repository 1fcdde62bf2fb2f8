"""How well synthetic voxels are found in one image, against its original: rows of the table ``synthetic``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.planted import Ground
from defacedask.attacks.synthetic.detector import Finding, changed
from defacedask.attacks.synthetic.learned import shipped
from defacedask.attacks.synthetic.peel import found_in
from defacedask.attacks.synthetic.planted import LEAST_DICE, WEAK, weakly_defaced

if TYPE_CHECKING:
    from defacedask.attacks.target import Target

__all__ = ["MOST_FALSE", "controls_of", "dice", "judged_synthetic"]

#: Share of an untouched original's tissue near the skin that may be told to be synthetic.
MOST_FALSE = 0.15


def dice(found: Any, true: Any) -> float:
    """Dice coefficient of two bool arrays; NaN if both are empty."""
    both = int(np.sum(found)) + int(np.sum(true))
    return 2.0 * int(np.sum(found & true)) / both if both else float("nan")


def controls_of(original: Target) -> dict[str, float]:
    """Dice at each weak defacer of `planted.WEAK`, and ``false``: the share of the original told to be synthetic.

    Returns
    -------
    dict
        Empty for a modality that no detector knows.
    """
    plain = found_in(original)
    if plain is None:
        return {}
    ground = Ground.of(original)
    out = {"false": _share(plain.odds > 0)}
    for kind in WEAK:
        weak = weakly_defaced(original, kind, ground=ground)
        found = found_in(weak)
        assert found is not None
        out[kind] = dice(*_told(found, original, weak))
    return out


def judged_synthetic(original: Target, released: Target, controls: dict[str, float]) -> list[dict[str, Any]]:
    """One row, without case and defacer; none for a modality that no detector knows, or another grid.

    Parameters
    ----------
    original, released : Target
    controls : dict
        See `controls_of`.
    """
    found, of_place = found_in(released), shipped(released.modality, "place")
    if not controls or found is None or of_place is None or found.shape != original.finest[0].shape:
        return []
    told, true = _told(found, original, released)
    place = of_place.find(released).odds > 0
    failed = [f"{WEAK[kind]}: Dice {controls[kind]:.2f}" for kind in WEAK if not controls[kind] >= LEAST_DICE]
    if not controls["false"] <= MOST_FALSE:
        failed.append(f"of the untouched original it tells {100 * controls['false']:.0f} % to be synthetic")
    return [
        {
            "modality": released.modality,
            "changed": _share(true),
            "told": _share(told),
            "dice": dice(told, true) if true.any() else float("nan"),
            "dice_place": dice(place, true) if true.any() else float("nan"),
            "control_dice": min(controls[kind] for kind in WEAK),
            "control_false": controls["false"],
            "control_holds": not failed,
            "reason": "; ".join(failed),
        }
    ]


def _told(found: Finding, original: Target, released: Target) -> tuple[Any, Any]:
    return found.odds > 0, changed(original, released).ravel()[found.where]


def _share(part: Any) -> float:
    return float(np.mean(part)) if len(part) else 0.0
