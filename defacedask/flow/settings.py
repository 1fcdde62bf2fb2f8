"""Every choice of a study, in one place."""

from __future__ import annotations

import dataclasses
from typing import Any

from defacedask.devices import CPU

__all__ = ["Settings"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every choice of a run; written to config.yaml, and part of the key of what depends on it.

    Attributes
    ----------
    defacers : dict
        Name -> options, the control ``none`` among them.
    recogniser : str
        One name, or several with commas between.
    tolerance : dict
        Recogniser -> largest distance that counts as a match whatever the calibration says, where it has one.
    faces, radiomics : dict
        Options of those stages.
    pictures : bool
        Whether pictures of heads are kept for the report.
    export : bool
        Whether defaced DICOM is written.
    release : dict
        How: fields of `defacedask.flow.release_options.ReleaseOptions`.
    gallery : str
        Whom defaced heads are compared with: ``originals``, ``second-scan``, or a folder of photographs.
    forced_matrix : int
        Persons of the sample whose landmarks are put on each other's defaced heads; 0: it is not done.
    protect : tuple of str
        Patterns of names of structures that stay as they are, besides the brain.
    margin_mm : float
        Kept around them.
    code : dict
        Name of a defacer -> `defacedask.defacers.code_of`.
    device : str
        Where kernels run (`defacedask.devices`); nothing depends on it but the time.
    arms : dict
        Name of somebody else's defacer -> `defacedask.runs.arms.read_arms`.
    """

    defacers: dict[str, dict[str, Any]]
    recogniser: str
    tolerance: dict[str, float]
    faces: dict[str, Any]
    radiomics: dict[str, Any]
    pictures: bool
    export: bool = False
    release: dict[str, Any] = dataclasses.field(default_factory=dict)
    gallery: str = "originals"
    forced_matrix: int = 0
    protect: tuple[str, ...] = ()
    margin_mm: float = 3.0
    code: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    device: str = CPU
    arms: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def judged(self) -> tuple[str, ...]:
        """All that are compared: defacers, then arms."""
        return (*self.defacers, *self.arms)

    @property
    def planning(self) -> list[Any]:
        """What the plans of a head depend on, JSON-able."""
        return [self.defacers, self.code, [list(self.protect), self.margin_mm] if self.protect else None]
