"""The defaced DICOM that a study leaves: one tree a defacer, and one record of all that was written or refused.

It is written when the faces have been judged. A tree behind which people were recognised is not written, or says that
the face is visible: no file says what the study has just found untrue.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import RefusedError
from defacedask.flow.release_options import ReleaseOptions, recognised_reason
from defacedask.flow.result import FAILED, REFUSED, TaskResult, forget
from defacedask.flow.stages.export import not_taken_back, record_path, refuse
from defacedask.flow.stages.lost import forget_lost
from defacedask.runs.preparing import KEPT, PLANS
from defacedask.runs.trial import patient_ids, trial_code, write_patient_ids

if TYPE_CHECKING:
    from defacedask.io.dicom.catalogue import Case
    from defacedask.report.run import Run
    from defacedask.runs.outbox import Outbox
    from defacedask.runs.preparing import Prepared

__all__ = ["Release", "record_folder"]


def record_folder(folder: Path) -> Path:
    """Where the parts of the record of a study lie."""
    return folder / "store" / "record"


@dataclasses.dataclass
class Release:
    """The export of a study; the control ``none`` leaves the face in and is never exported.

    Attributes
    ----------
    prepared : Prepared
    names : dict
        Source file -> path below a defacer's folder.
    recognised : dict
        Defacer -> clause on the persons who were recognised behind it, from `heed`.
    withheld : dict
        Defacer -> why nothing of it is written, from `heed`.
    defaced : dict
        Case id -> defacers that defaced it, where these are not all, from `note`.
    """

    prepared: Prepared
    names: dict[str, str]
    recognised: dict[str, str] = dataclasses.field(default_factory=dict)
    withheld: dict[str, str] = dataclasses.field(default_factory=dict)
    defaced: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    #: Where files go from here, if that is an address.
    outbox: Outbox | None = None

    @classmethod
    def of(cls, prepared: Prepared) -> Release:
        """Names for every file of the study."""
        from defacedask.io.dicom.export import output_names

        return cls(prepared, output_names([f for case in prepared.cases for f in case.files]))

    @property
    def options(self) -> ReleaseOptions:
        """What the user chose."""
        return ReleaseOptions(**self.prepared.settings.release)

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.prepared.folder

    @property
    def parts(self) -> Path:
        """Where each case's part of the record lies."""
        return record_folder(self.folder)

    @property
    def defacers(self) -> list[str]:
        """Whose results are exported."""
        return [name for name in self.prepared.settings.defacers if name != "none"]

    def _key(self, defacer: str) -> bytes:
        """Key of one defacer's UID map: two defacers' results of one image are two images."""
        return hmac.new(self.prepared.run_key, f"uids {defacer}".encode(), hashlib.sha256).digest()

    def _names(self, case: Case) -> dict[str, str]:
        return {f: self.names[f] for f in case.files}

    def note(self, case: Case, results: Sequence[TaskResult]) -> list[TaskResult]:
        """Keep in mind who defaced a case that has finished, and take back what there is of the others.

        Parameters
        ----------
        case : Case
        results : sequence of TaskResult
            Of the stages before files are written; receipts do.

        Returns
        -------
        list of TaskResult
            As given, and for each defacer that did not deface the case one of the stage ``export`` that says so.
        """
        before = {p.defacer: p for p in results if p.stage in ("apply", "submit")}
        done, out = [], list(results)
        for defacer in self.defacers:
            result = before.get(defacer) or before.get("")
            if result is not None and result.ok:
                done.append(defacer)
                continue
            status, reason = (result.status, result.reason) if result else (FAILED, "it was not defaced.")
            out += self._not_written(
                case, TaskResult("export", case.id, defacer, "", status, reason, upstream=True)
            )
        if done != self.defacers:
            self.defaced[case.id] = tuple(done)
        return out

    def heed(self, run: Run) -> None:
        """Learn behind which defacers people were recognised, in more cases than chance explains."""
        from defacedask.defacers import is_reversible
        from defacedask.report.sections.decision import recognised
        from defacedask.report.sections.standing import count_words
        from defacedask.report.sections.threshold import threshold_words

        for defacer in self.defacers:
            hits = recognised(run, defacer)
            if hits is None:
                continue
            clause = (
                f"this study recognised {count_words(hits)} cases behind {defacer} (within "
                f"{threshold_words(run)}), more than chance explains"
            ).replace("\u00a0", " ")
            self.recognised[defacer] = clause
            # of what only covers the face the export itself says so
            covers = is_reversible(defacer) and not self.options.allow_reversible
            if not self.options.allow_visible and not covers:
                self.withheld[defacer] = str(RefusedError(*recognised_reason(clause)))

    def due(self, case: str) -> tuple[str, ...]:
        """Defacers of which files of a case are to be written, after `note` and `heed`."""
        return tuple(name for name in self._defaced(case) if name not in self.withheld)

    def _defaced(self, case: str) -> Sequence[str]:
        return self.defaced.get(case, self.defacers)

    def withhold(self, case: Case) -> list[TaskResult]:
        """Take back what there is of a case by defacers that did not hide everybody.

        Returns
        -------
        list of TaskResult
            Of the stage ``export``, for each defacer that defaced the case and of which nothing is written.
        """
        return [after for result in self._refused(case) for after in self._not_written(case, result)]

    def refusals(self, case: Case) -> list[TaskResult]:
        """What `withhold` gives where everything could be taken back, without doing it."""
        return [self._said(result) for result in self._refused(case)]

    def _refused(self, case: Case) -> list[TaskResult]:
        return [
            TaskResult("export", case.id, defacer, "", REFUSED, why)
            for defacer in self._defaced(case.id)
            if (why := self.withheld.get(defacer))
        ]

    def _said(self, result: TaskResult) -> TaskResult:
        """A result that says that people were recognised, where it is so."""
        if result.defacer in self.recognised and not result.upstream:
            return dataclasses.replace(result, facts={**result.facts, "recognised": True})
        return result

    def _not_written(self, case: Case, result: TaskResult) -> list[TaskResult]:
        # what it was made from may be the same another time, and then it is to be written again
        forget(self.folder / KEPT, case.id, "export", result.defacer)
        return self.settled(case, [result])

    def exported(self, case: Case, results: Sequence[TaskResult]) -> list[TaskResult]:
        """Results of the exports of a case; where it could not even be begun, of each that was due.

        What a stage before the export could not do again it says itself: the tables know that stage as done.
        """
        begun = [result for result in results if result.stage == "export"]
        lost = [result for result in results if result.stage == "submit"]
        begun += [
            dataclasses.replace(result, stage="export", defacer=defacer)
            for result in lost
            for defacer in self.due(case.id)
        ]
        return self.settled(case, [dataclasses.replace(result, upstream=False) for result in begun])

    def forget_lost(self, case: Case) -> None:
        """Forget exports of a case of which a file that is on record is gone, so that they are written again."""
        for defacer in self.defacers:
            if self.outbox:
                self.outbox.forget_lost(case.id, defacer, self.folder / KEPT)
                continue
            forget_lost(self.parts, case.id, defacer, out=self.folder, kept=self.folder / KEPT)

    def arguments(self, case: Case, defacer: str) -> dict[str, Any]:
        """Of `defacedask.flow.stages.export.export`, but for the case itself."""
        return {
            "defacer": defacer,
            "plans": str(self.folder / PLANS),
            "out": str(self.folder),
            "below": f"defaced/{defacer}",
            "names": self._names(case),
            "record": str(self.parts),
            "run_key": self._key(defacer),
            "trial": self.prepared.trial.get(case.id, {}),
            "recognised": self.recognised.get(defacer, ""),
            "deliver": self.outbox.arguments(case.id, defacer) if self.outbox else None,
            **self.options.arguments(self.prepared.run_key, self.prepared.people),
        }

    def depends(self, case: Case, defacer: str) -> list[Any]:
        """What the export depends on beside the stages before it."""
        run_key, people = self.prepared.run_key, self.prepared.people
        secret = hashlib.sha256(run_key).hexdigest()
        out = [self._names(case), secret, self.options.depends(defacer, run_key, people)]
        if trial := self.prepared.trial.get(case.id):
            out.append({"trial": trial_code(trial, run_key)})
        if defacer in self.recognised:
            out.append({"recognised": True})
        return out

    def settled(self, case: Case, results: Iterable[TaskResult]) -> list[TaskResult]:
        """Take back what was refused of a case.

        Parameters
        ----------
        case : Case
        results : iterable of TaskResult
            Of the stage ``export``.

        Returns
        -------
        list of TaskResult
            As given; where something could not be taken back, the result is failed and says so.
        """
        after: list[TaskResult] = []
        for result in results:
            defacer = result.defacer
            result = self._said(result)
            if result.ok:
                after.append(result)
                continue
            try:
                refuse(
                    case,
                    result.reason,
                    defacer=defacer,
                    out=self.folder,
                    below=f"defaced/{defacer}",
                    names=self._names(case),
                    record=self.parts,
                    run_key=self._key(defacer),
                    trial=self.prepared.trial.get(case.id, {}),
                    **self.options.naming(self.prepared.run_key, self.prepared.people),
                )
                if self.outbox:
                    self.outbox.take_back(case.id, defacer)
                after.append(result)
            except Exception as error:  # one case's trouble, whatever it is
                reason = f"{result.reason} {not_taken_back(error)}"
                after.append(dataclasses.replace(result, status=FAILED, reason=reason, upstream=False))
        return after

    def records(self) -> list[Path]:
        """Parts of the record."""
        return [
            record_path(self.parts, c.id, defacer) for c in self.prepared.cases for defacer in self.defacers
        ]

    def record(self, ids: Mapping[str, str] | None = None) -> None:
        """Join the parts of the record to ``OUT/audit.jsonl``, and keep who got which id.

        Parameters
        ----------
        ids : mapping, optional
            Case id -> the new id of its patient.
        """
        from defacedask.io.dicom.export.audit import collect
        from defacedask.io.dicom.export.words import words_of_people

        words = words_of_people(self.prepared.people) if self.options.deidentify else None
        collect(self.folder, self.records(), key=self.prepared.run_key, words=words)
        if self.options.deidentify and ids:
            rows = [
                {"case": case.id, "patient": case.patient_id, "new_patient_id": ids.get(case.id, "")}
                for case in self.prepared.cases
            ]
            given = patient_ids(rows, self.prepared.trial)
            write_patient_ids(self.folder / "store" / "patient_ids.csv", given)
