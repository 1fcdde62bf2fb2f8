"""Input that workers do not see: the files that the tasks of a case name go with the case, as one object.

That is decided when the first task is to run, by looking whether the workers see the input. An object is named by
what it holds, so that it is put once, and is removed when the case, or the run, is done.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import ConfigError, writing
from defacedask.flow.lent import LIST, member, texts
from defacedask.flow.worker import settled_result
from defacedask.io.remote.objects import Objects

if TYPE_CHECKING:
    from defacedask.flow.away import Away
    from defacedask.flow.executors import DaskExecutor, Executor
    from defacedask.flow.steps import Step

__all__ = ["INPUTS", "Lender"]

#: Below the run's address.
INPUTS = "inputs"


@dataclasses.dataclass
class Lender:
    """Lends input, where workers do not see it.

    Parameters
    ----------
    objects : Objects
        Of the run.
    executor : Executor
    """

    objects: Objects
    executor: Executor
    #: Whether workers do not see the input; None: not known yet.
    blind: bool | None = None
    _now: tuple[str, dict[str, Path]] = ("", {})

    def see(self, case: str, steps: Sequence[Step], away: Away) -> Away:
        """Lend what the steps of a case name, if it must be.

        Parameters
        ----------
        case : str
        steps : sequence of Step
            Their arguments have the run's address for folders of this machine.
        away : Away

        Returns
        -------
        Away
            For these steps.

        Raises
        ------
        OutputError, RemoteError
        ConfigError
            For NIfTI, whose sidecars lie beside it and above.
        """
        files = self._files(steps, away)
        if not files:
            return away
        ours = [name for name, path in files.items() if name != str(path)]
        if self.blind is None and not hasattr(self.executor, "checks"):
            self._look(self.executor, files)
        if self.blind is False and not ours:
            return away
        name = f"{INPUTS}/{case}/{_digest(files)}.tar"
        self._now = (name, files)
        if (self.blind or ours) and not _settled(steps):
            self._lend()
        return dataclasses.replace(away, lent=(name, next(iter(files))))

    def opened(self, executor: DaskExecutor) -> None:
        """A cluster was opened, for the case that was seen last."""
        if self.blind is None and self._now[1]:
            self._look(executor, self._now[1])
            if self.blind:
                self._lend()

    def _look(self, executor: Executor, files: dict[str, Path]) -> None:
        self.blind = bool(executor.blind(next(iter(files.values()))))

    def _files(self, steps: Sequence[Step], away: Away) -> dict[str, Path]:
        """Name everywhere -> file here, of all files that are named and are none of the run's own."""
        shared = {name for name, _ in away.shared}
        found = {}
        for text in dict.fromkeys(text for step in steps for text in texts(step.work[1])):
            path = Path(away.inward(text))
            if text not in shared and len(text) < 4096 and path.is_absolute() and path.is_file():
                found[text] = path
        return found

    def _lend(self) -> None:
        name, files = self._now
        if any(path.name.lower().endswith((".nii", ".nii.gz")) for path in files.values()):
            error = ConfigError(
                "workers do not see the NIfTI input, and its sidecars lie beside it.",
                "Let them read its folder, under the same path: a volume that is mounted read-only will do.",
            )
            error.fatal = True  # type: ignore[attr-defined]  # no fault of the case that was the first
            raise error
        if name in self.objects.names(name.rpartition("/")[0]):
            return
        with writing("the input that workers do not see"), tempfile.TemporaryDirectory() as folder:
            facts = [[text, path.stat().st_size, path.stat().st_mtime_ns] for text, path in files.items()]
            about, tar = Path(folder, LIST), Path(folder, "input.tar")
            about.write_text(json.dumps(facts), encoding="utf-8")
            with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as file:
                file.add(about, LIST)
                for number, path in enumerate(files.values()):
                    file.add(path.resolve(), member(number, str(path)))
            self.objects.send(tar, name)


def _digest(files: dict[str, Path]) -> str:
    facts = [[text, path.stat().st_size, path.stat().st_mtime_ns] for text, path in files.items()]
    return hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _settled(steps: Sequence[Step]) -> bool:
    """Whether an earlier run left all results of a case."""
    found: dict[Any, Any] = {}
    for step in steps:
        kept = settled_result(*step.work, *(found[need] for need in step.needs), **step.options)
        if kept is None:
            return False
        found[step.name] = kept
    return True
