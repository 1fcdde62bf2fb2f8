"""What `deface` was asked for, checked before anything is read or written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.defacers import resolve
from defacedask.errors import ConfigError
from defacedask.flow.release_options import ReleaseOptions, check_reversible
from defacedask.flow.stages.protecting import check_margin, patterns_of
from defacedask.runs.already import check_mode
from defacedask.runs.trial import check_trial, facts_by_case, read_ids, trial_facts

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case
    from defacedask.runs.trial import TrialIds

__all__ = ["Asked"]


@dataclasses.dataclass(frozen=True)
class Asked:
    """Options of `defacedask.runs.deface.deface`, where its parameters are told.

    Attributes
    ----------
    defacer : str
    options : dict
        Of the defacer.
    protected : tuple of str
        Patterns of names.
    margin_mm : float
    release : ReleaseOptions
    about : mapping
        What headers say of the trial.
    table : TrialIds or None
        The trial's own ids.
    """

    defacer: str
    options: dict[str, Any]
    protected: tuple[str, ...]
    margin_mm: float
    release: ReleaseOptions
    about: Mapping[str, str]
    table: TrialIds | None

    @classmethod
    def of(
        cls,
        defacer: str,
        *,
        options: Mapping[str, Any] | None = None,
        protect: str | Sequence[str] = (),
        margin_mm: float = 3.0,
        private: str | None = None,
        deidentify: bool = False,
        allow_visible: bool = False,
        already_defaced: str = "skip",
        allow_reversible: bool = False,
        masks: Sequence[str] = (),
        ids: str | Path | None = None,
        trial: Sequence[str] | Mapping[str, str] = (),
    ) -> Asked:
        """Check and read what was asked for.

        Raises
        ------
        ConfigError, InputError
            As `defacedask.runs.deface.deface` does.
        """
        name, chosen = resolve(defacer, **(options or {}))
        if name == "none":
            raise ConfigError("`none` leaves the face in: its result is not exported.", "Choose a defacer.")
        check_reversible(name, allow_reversible)
        check_margin(margin_mm)
        about = trial_facts(trial)
        check_trial(about, ids, deidentify)
        check_mode(already_defaced, deidentify)
        release = ReleaseOptions.of(private, deidentify, allow_visible, allow_reversible, masks)
        table = None if ids is None else read_ids(ids)
        return cls(name, chosen, patterns_of(protect), margin_mm, release, about, table)

    def facts(self, cases: Sequence[Case]) -> dict[str, dict[str, str]]:
        """Case id -> what its headers say of the trial.

        Raises
        ------
        InputError
            If the table of ids lacks a patient.
        """
        return facts_by_case(self.table, self.about, cases)
