"""What columns the tables of a run have: one schema each, with the meaning of every column."""

from __future__ import annotations

from defacedask.costs.features import TEN_FEATURES
from defacedask.tables.schemas.attacks import ATTACKS
from defacedask.tables.schemas.column import Column
from defacedask.tables.schemas.costs import COSTS
from defacedask.tables.schemas.faces import FACES
from defacedask.tables.schemas.run import RUN

__all__ = ["SCHEMAS", "TEN_FEATURES", "Column"]

_ALL = {**RUN, **FACES, **ATTACKS, **COSTS}
#: In the order in which people read them.
_ORDER = (
    "cases",
    "skipped",
    "recognition",
    "best_attempts",
    "controls",
    "verification",
    "agreement",
    "forced_matrix",
    "open_set",
    "average_face",
    "verification_groups",
    "curves",
    "radiomics",
    "dose",
    "geometry",
    "exports",
    "unmasking",
    "inversion",
    "utility",
    "residual_skin",
    "ears",
    "rescan",
    "synthetic",
    "deblurring",
    "timing",
    "faces_detected",
    "radiomics_percent",
    "radiomics_summary",
)
SCHEMAS: dict[str, tuple[Column, ...]] = {name: _ALL[name] for name in _ORDER}
