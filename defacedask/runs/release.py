"""The defaced DICOM that a study leaves: one tree a defacer, and one record of all that was written or refused."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.flow.release_options import ReleaseOptions
from defacedask.flow.result import FAILED, Piece
from defacedask.flow.stages.export import not_taken_back, record_path, refuse
from defacedask.flow.stages.lost import forget_lost
from defacedask.runs.preparing import KEPT, PLANS

if TYPE_CHECKING:
    from defacedask.io.dicom.catalogue import Case
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
    """

    prepared: Prepared
    names: dict[str, str]

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

    def forget_lost(self, case: Case) -> None:
        """Forget exports of a case of which a file that is on record is gone, so that they are written again."""
        for defacer in self.defacers:
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
            **self.options.arguments(self.prepared.run_key, self.prepared.people),
        }

    def depends(self, case: Case, defacer: str) -> list[Any]:
        """What the export depends on beside the stages before it."""
        run_key, people = self.prepared.run_key, self.prepared.people
        secret = hashlib.sha256(run_key).hexdigest()
        return [self._names(case), secret, self.options.depends(defacer, run_key, people)]

    def settled(self, case: Case, pieces: Iterable[Piece]) -> list[Piece]:
        """Take back what was refused of a case.

        Returns
        -------
        list of Piece
            As given; where something could not be taken back, the piece is failed and says so.
        """
        after: list[Piece] = []
        for piece in pieces:
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
                        **self.options.naming(self.prepared.run_key, self.prepared.people),
                    )
                after.append(piece)
            except Exception as error:  # one case's trouble, whatever it is
                reason = f"{piece.reason} {not_taken_back(error)}"
                after.append(dataclasses.replace(piece, status=FAILED, reason=reason, upstream=False))
        return after

    def record(self) -> None:
        """Join the parts of the record to ``OUT/audit.jsonl``."""
        from defacedask.io.dicom.export.audit import collect
        from defacedask.io.dicom.export.words import words_of_people

        parts = [
            record_path(self.parts, case.id, defacer)
            for case in self.prepared.cases
            for defacer in self.defacers
        ]
        words = words_of_people(self.prepared.people) if self.options.deidentify else None
        collect(self.folder, parts, key=self.prepared.run_key, words=words)
