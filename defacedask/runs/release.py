"""The defaced DICOM that a study leaves: one tree a defacer, and one record of all that was written or refused.

It is written when the faces have been judged. A tree behind which people were recognised is not written, or says that
the face is visible: no file says what the study has just found untrue.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import RefusedError
from defacedask.flow.release_options import ReleaseOptions, recognised_reason
from defacedask.flow.result import FAILED, REFUSED, Piece, forget
from defacedask.flow.stages.export import not_taken_back, record_path, refuse
from defacedask.runs.preparing import KEPT, PLANS
from defacedask.runs.trial import patient_ids, trial_code, write_patient_ids

if TYPE_CHECKING:
    from defacedask.io.dicom.catalogue import Case
    from defacedask.report.run import Run
    from defacedask.runs.preparing import Prepared

__all__ = ["Release"]


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
    """

    prepared: Prepared
    names: dict[str, str]
    recognised: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, prepared: Prepared) -> Release:
        """Names for every file of the study."""
        from defacedask.io.dicom.export import output_names

        return cls(prepared, output_names([f for c in prepared.cases for s in c.series for f in s.files]))

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
        return self.folder / "store" / "record"

    @property
    def defacers(self) -> list[str]:
        """Whose results are exported."""
        return [name for name in self.prepared.settings.defacers if name != "none"]

    def _key(self, defacer: str) -> bytes:
        """Key of one defacer's UID map: two defacers' results of one image are two images."""
        return hmac.new(self.prepared.run_key, f"uids {defacer}".encode(), hashlib.sha256).digest()

    def _names(self, case: Case) -> dict[str, str]:
        return {f: self.names[f] for s in case.series for f in s.files}

    def heed(self, run: Run) -> None:
        """Learn behind which defacers people were recognised, in more cases than chance explains."""
        from defacedask.report.sections.decision import recognised
        from defacedask.report.sections.standing import count_words
        from defacedask.report.sections.threshold import threshold_words

        for defacer in self.defacers:
            hits = recognised(run, defacer)
            if hits is not None:
                self.recognised[defacer] = (
                    f"this study recognised {count_words(hits)} cases behind {defacer} (within "
                    f"{threshold_words(run)}), more than chance explains"
                ).replace("\u00a0", " ")

    def left_out(self, pieces: Iterable[Piece]) -> list[Piece]:
        """Results of what is not to be written: what could not be defaced, and what was recognised.

        Parameters
        ----------
        pieces : iterable of Piece
            Of the stages before.

        Returns
        -------
        list of Piece
            Of the stage ``export``; what an earlier run wrote of these is taken back.
        """
        before = {(p.case, p.defacer): p for p in pieces if p.stage in ("apply", "submit")}
        out: list[Piece] = []
        for case in self.prepared.cases:
            for defacer in self.defacers:
                piece = before.get((case.id, defacer)) or before.get((case.id, ""))
                if piece is None or not piece.ok:
                    status, reason = (
                        (piece.status, piece.reason) if piece else (FAILED, "it was not defaced.")
                    )
                    out += self.settled(
                        case, [Piece("export", case.id, defacer, "", status, reason, upstream=True)]
                    )
                elif why := self._withheld(defacer):
                    # what it was made from may be the same another time, and then it is to be written again
                    forget(self.folder / KEPT, case.id, "export", defacer)
                    out += self.settled(case, [Piece("export", case.id, defacer, "", REFUSED, why)])
        return out

    def _withheld(self, defacer: str) -> str:
        """Why nothing of a defacer is written; "" if something may be."""
        from defacedask.defacers import is_reversible

        options = self.options
        if defacer not in self.recognised or options.allow_visible:
            return ""
        if is_reversible(defacer) and not options.allow_reversible:
            return ""  # the export says so
        return str(RefusedError(*recognised_reason(self.recognised[defacer])))

    def forget_lost(self, case: Case) -> None:
        """Forget exports of a case of which a file that is on record is gone, so that they are written again."""
        from defacedask.io.dicom.export.audit import lost_files

        for defacer in self.defacers:
            if lost_files(record_path(self.parts, case.id, defacer), self.folder):
                forget(self.prepared.folder / KEPT, case.id, "export", defacer)

    def arguments(self, case: Case, defacer: str) -> dict[str, Any]:
        """Of `defacedask.flow.stages.export.export`."""
        return {
            "case": case.to_dict(),
            "defacer": defacer,
            "plans": str(self.folder / PLANS),
            "out": str(self.folder),
            "below": f"defaced/{defacer}",
            "names": self._names(case),
            "record": str(self.parts),
            "run_key": self._key(defacer),
            "trial": self.prepared.trial.get(case.id, {}),
            "recognised": self.recognised.get(defacer, ""),
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

    def settled(self, case: Case, pieces: Iterable[Piece]) -> list[Piece]:
        """Take back what was refused of a case.

        Returns
        -------
        list of Piece
            As given; where something could not be taken back, the piece is failed and says so.
        """
        after: list[Piece] = []
        for piece in pieces:
            if piece.defacer in self.recognised and not piece.upstream:
                piece = dataclasses.replace(piece, facts={**piece.facts, "recognised": True})
            if piece.ok or piece.stage not in ("export", "submit"):
                after.append(piece)
                continue
            try:
                for defacer in [piece.defacer] if piece.stage == "export" else self.defacers:
                    refuse(
                        case,
                        piece.reason,
                        defacer=defacer,
                        out=self.folder,
                        below=f"defaced/{defacer}",
                        names=self._names(case),
                        record=self.parts,
                        run_key=self._key(defacer),
                        trial=self.prepared.trial.get(case.id, {}),
                        **self.options.naming(self.prepared.run_key, self.prepared.people),
                    )
                after.append(piece)
            except Exception as error:  # one case's trouble, whatever it is
                reason = f"{piece.reason} {not_taken_back(error)}"
                after.append(dataclasses.replace(piece, status=FAILED, reason=reason, upstream=False))
        return after

    def record(self, pieces: Iterable[Piece] = ()) -> None:
        """Join the parts of the record to ``OUT/audit.jsonl``, and keep who got which id.

        Parameters
        ----------
        pieces : iterable of Piece
            Of the stage ``export``.
        """
        from defacedask.io.dicom.export.audit import collect
        from defacedask.io.dicom.export.words import words_of_people

        parts = [
            record_path(self.parts, case.id, defacer)
            for case in self.prepared.cases
            for defacer in self.defacers
        ]
        words = words_of_people(self.prepared.people) if self.options.deidentify else None
        collect(self.folder, parts, key=self.prepared.run_key, words=words)
        new = {p.case: p.facts["new_patient_id"] for p in pieces if p.facts.get("new_patient_id")}
        if self.options.deidentify and new:
            rows = [
                {"case": case.id, "patient": case.patient_id, "new_patient_id": new.get(case.id, "")}
                for case in self.prepared.cases
            ]
            given = patient_ids(rows, self.prepared.trial)
            write_patient_ids(self.folder / "store" / "patient_ids.csv", given)
