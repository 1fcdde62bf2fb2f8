"""Output that goes to an address case by case: what is there of each, and what has to go.

The stages send (`defacedask.flow.stages.delivering`), wherever they run; the program knows what came of it by the
marks at the address, and keeps of each no more than a hash.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from defacedask.errors import ConfigError, RefusedError, StoreError
from defacedask.flow.result import forget
from defacedask.flow.stages.case_export import record_path
from defacedask.flow.stages.delivering import deliver, files_on_record
from defacedask.io.remote.objects import Objects
from defacedask.io.remote.parts import Parts, digest_of
from defacedask.io.remote.publish import Published, Target

__all__ = ["Outbox"]


class Outbox:
    """The parts of a run at the address of its output.

    Parameters
    ----------
    target : Target
    run_key : bytes
        Names of parts tell nothing without it.
    folder : Path
        Output folder on this machine.
    record : Path
        Folder of the parts of the record.

    Raises
    ------
    ConfigError
        If what lies there was made with another key.
    RemoteError
    """

    def __init__(self, target: Target, run_key: bytes, folder: Path, record: Path) -> None:
        self.target, self.folder, self.record = target, folder, record
        self._key = hmac.new(run_key, b"defacedask parts 1", hashlib.sha256).digest()
        self.parts = Parts(Objects(target.address), self._name("run"))
        #: Part -> what tells its files, as the run found it; empty where they are not all there, or may come.
        self.found: dict[str, str] = {}
        for part, mark, whole in self.parts.looked_at():
            if mark.run != self.parts.run:
                raise ConfigError(
                    f"{target.address} holds output of a run with another key.",
                    "Go on with the --work of that run, or choose an address below which nothing lies.",
                )
            self.found[part] = mark.digest if whole else ""
        self.token = target.claim()

    def only(self, *defacers: str) -> None:
        """See that nothing is there but of some defacers, where all write to the same names.

        Raises
        ------
        ConfigError
        """
        ends = {self._name(f"by {defacer}") for defacer in defacers}
        if any(part.rpartition("-")[2] not in ends for part in self.found):
            raise ConfigError(
                f"{self.target.address} holds what another defacer left.",
                "Choose an address below which nothing lies.",
            )

    def arguments(self, case: str, defacer: str) -> dict[str, Any]:
        """What `defacedask.flow.stages.delivering.deliver` needs to know."""
        self.found.setdefault(self._part(case, defacer), "")
        return {
            "address": self.target.address,
            "token": self.token,
            "run": self.parts.run,
            "part": self._part(case, defacer),
        }

    def forget_lost(self, case: str, defacer: str, kept: Path) -> None:
        """Forget the export of a case if not all files that are on its record are there.

        Parameters
        ----------
        case, defacer : str
        kept : Path
            Folder of the results.
        """
        try:
            files = files_on_record(record_path(self.record, case, defacer))
        except (StoreError, KeyError):
            files = {"": ""}
        part = self._part(case, defacer)
        if files and self.found.get(part) != digest_of(files):
            if part in self.found:
                self.parts.doubt(part)
            forget(kept, case, "export", defacer)

    def take_back(self, case: str, defacer: str) -> None:
        """Let nothing be there of a case by a defacer."""
        if (part := self._part(case, defacer)) in self.found:
            self.parts.take_back(part)
            del self.found[part]

    def deliver(self, case: str, defacer: str) -> None:
        """Send what this machine wrote of a case."""
        record = record_path(self.record, case, defacer)
        deliver(record, self.folder, self.arguments(case, defacer))

    def publish(self, leave: Iterable[str], records: Iterable[Path]) -> Published:
        """Let nothing be there but the parts that are on record, and the folder of this machine.

        Parameters
        ----------
        leave : iterable of str
            Parts of the folder that stay.
        records : iterable of Path
            Parts of the record, ``FOLDER/CASE/DEFACER.jsonl``.

        Raises
        ------
        RefusedError
            If what is there is not what is on record.
        RemoteError
        """
        wanted = {}
        for record in records:
            if files := files_on_record(record):
                wanted[self._part(record.parent.name, record.stem)] = digest_of(files)
        sent = same = 0
        for part, mark in self.parts.marks():
            if not mark.complete or wanted.pop(part, "") != mark.digest:
                names = sorted(mark.names)
                raise RefusedError(
                    f"{names[0] if names else 'a case'} lies at {self.target.address} and is not on record, or is "
                    "another one.",
                    "Run with the input of all runs that wrote there, or choose another address.",
                )
            if self.found.get(part) == mark.digest:
                same += len(mark.files)
            else:
                sent += len(mark.files)
        if wanted:
            raise RefusedError(
                f"{len(wanted)} cases are on record and not at {self.target.address}.",
                "Run the same command again.",
            )
        done = self.target.publish(self.folder, leave, self.parts)
        return Published(sent + done.sent, same + done.unchanged, done.removed)

    def _part(self, case: str, defacer: str) -> str:
        return f"{self._name(f'case {case}')}-{self._name(f'by {defacer}')}"

    def _name(self, text: str) -> str:
        return hmac.new(self._key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:24]
