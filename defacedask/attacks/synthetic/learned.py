"""The detectors that come with the package: taught on virtual patients, who are nobody.

``python -m tools.synthetic_detectors`` writes them: boosted trees that look twice, and a regression that knows only
the place. Better teachers are other persons' heads, which a study may know (``benchmarks/heads/synthetic.py``).
"""

from __future__ import annotations

import functools
import json
from importlib import resources

import numpy as np

from defacedask.attacks.layer_classifier import LayerClassifier
from defacedask.attacks.synthetic.detector import SyntheticDetector
from defacedask.attacks.synthetic.trees import Trees

__all__ = ["FILE", "TREES", "shipped"]

#: Below the package's data: the places, and the trees.
FILE, TREES = "synthetic_detectors.json", "synthetic_trees.npz"


@functools.cache
def shipped(modality: str, kind: str = "looks") -> SyntheticDetector | None:
    """The detector of a modality.

    Parameters
    ----------
    modality : str
    kind : str
        ``looks``, or ``place`` for the one that knows only where heads are usually changed.

    Returns
    -------
    SyntheticDetector or None
        None for a modality that none was taught for.
    """
    data = resources.files("defacedask").joinpath("data")
    if kind == "looks":
        with data.joinpath(TREES).open("rb") as file, np.load(file) as kept:
            if f"{modality} columns" not in kept:
                return None
            first, second = (Trees.of(kept, f"{modality} {look}") for look in ("first", "second"))
            columns = tuple(kept[f"{modality} columns"].tolist())
            return SyntheticDetector(first, columns, second, float(kept[f"{modality} sure"]))
    known = json.loads(data.joinpath(FILE).read_text("utf-8"))
    if modality not in known:
        return None
    one = known[modality][kind]
    parts = (np.array(one[name]) for name in ("middle", "spread", "weights"))
    return SyntheticDetector(LayerClassifier(*parts), tuple(one["columns"]))
