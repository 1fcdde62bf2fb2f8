"""The detectors that come with the package: taught on virtual patients, who are nobody.

``python -m tools.synthetic_detectors`` writes them. Better teachers are other persons' heads, which a study may know
(``benchmarks/heads/synthetic.py``).
"""

from __future__ import annotations

import functools
import json
from importlib import resources

import numpy as np

from defacedask.attacks.layer_classifier import LayerClassifier
from defacedask.attacks.synthetic.detector import SyntheticDetector

__all__ = ["FILE", "shipped"]

#: Below the package's data.
FILE = "synthetic_detectors.json"


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
    known = json.loads(resources.files("defacedask").joinpath("data", FILE).read_text("utf-8"))
    if modality not in known:
        return None
    one = known[modality][kind]
    parts = (np.array(one[name]) for name in ("middle", "spread", "weights"))
    return SyntheticDetector(LayerClassifier(*parts), tuple(one["columns"]))
