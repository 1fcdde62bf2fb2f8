"""What of a case may be written: by what its defacer says of itself, what attacks found, what each image shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from defacedask.errors import RefusedError
from defacedask.flow.result import TaskResult
from defacedask.flow.stages.case_export import CaseExport
from defacedask.flow.stages.layout import series_key

if TYPE_CHECKING:
    from defacedask.io.store import CaseStore

__all__ = ["JudgedExport", "visible_hint"]


class JudgedExport(CaseExport):
    """A case whose images are judged before anything of it is written."""

    planned_on = ""  # path of the image that the plan was made on
    left = False  # the face was measured to be left, in any image

    def covered(self, allow_reversible: bool) -> None:
        """Settle whether the face is only covered, by what the defacer says of itself.

        Raises
        ------
        RefusedError
            If it is, and nobody asked for that.
        """
        from defacedask.defacers import is_reversible
        from defacedask.flow.release_options import reversible_reason

        self.reversible = is_reversible(self.defacer)
        if self.reversible and not allow_reversible:
            raise RefusedError(*reversible_reason(self.defacer))

    def told(self, recognised: str, allow_visible: bool) -> None:
        """Heed what attacks found behind this defacer.

        Raises
        ------
        RefusedError
            If they recognised persons, and files may not say so.
        """
        from defacedask.flow.release_options import recognised_reason

        if not recognised:
            return
        if not allow_visible:
            raise RefusedError(*recognised_reason(recognised))
        self.visible = True
        self.notes.append(recognised)

    def look(self, store: CaseStore, planned: TaskResult, allow_visible: bool) -> None:
        """See on every defaced image that the face is gone, before anything is written.

        The case is refused if it is left in the image that the plan was made on; any other image is held back alone,
        with what lies on it.

        Raises
        ------
        RefusedError
        """
        from defacedask.flow.stages.witnessing import judge

        for found in judge(store, planned, self.defacer):
            key = series_key(store.volume(found.path))
            name = found.path.rsplit("/", 1)[-1]
            self.witness[name] = found.figures
            for file in next((s.files for s in self.case.images if s.key == key), ()):
                other = self.judged.get(file)  # of another volume in the same file
                if other is None or (
                    found.moved is not None and (other.moved is None or found.moved < other.moved)
                ):
                    self.judged[file] = found
            first = found.path == self.planned_on
            if first:
                self.moved = found.moved
            self.notes += [f"{name}: {note}" for note in found.notes]
            if not found.reason:
                continue
            if allow_visible:
                self.visible = self.left = True
                self.notes.append(f"{name}: {found.reason}")
            elif first:
                raise RefusedError(f"{name}: {found.reason}.", visible_hint(found.hint))
            else:
                self.barred[key] = found.reason


def visible_hint(what: str) -> str:
    """What to do about an image that may not leave, one sentence.

    Parameters
    ----------
    what : str
        What may help, as a clause; "" if nothing is known to.
    """
    nevertheless = "--allow-visible writes it nevertheless, and says so."
    return f"{what[:1].upper()}{what[1:]}; {nevertheless}" if what else nevertheless
