"""Where a run leaves what it made: a folder, or an address, to which cases go one by one, and the rest at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from defacedask.errors import ConfigError, RefusedError
from defacedask.flow.depot import Depot
from defacedask.io.remote import Said, is_remote
from defacedask.io.remote.publish import Target
from defacedask.io.remote.room import free_in
from defacedask.runs.outbox import Outbox
from defacedask.showing import sized

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case, Series

__all__ = ["Output", "local_folder", "output_of", "outside"]

#: Parts of a study's folder that hold originals, keys and encodings of faces.
PRIVATE = ("store",)


@dataclasses.dataclass(frozen=True)
class Output:
    """Output of a run.

    Attributes
    ----------
    folder : Path
        Where the run works and leaves its output.
    work : Path or None
        Of the run's own data, where it is given or the output is an address.
    target : Target, optional
        Where the output is copied to.
    depot : Depot, optional
        Where the run's own data lie, if that is an address; ``work`` then stands for it on this machine.
    """

    folder: Path
    work: Path | None
    target: Target | None = None
    depot: Depot | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the address of the run's own data, if it is one, for this run alone.

        Raises
        ------
        ConfigError
            If another run holds it.
        RemoteError
        """
        if self.depot is None:
            yield
            return
        with self.depot.held():
            yield

    def room(self, cases: Iterable[Case], copies: int = 1) -> str:
        """What this machine must have room for, a sentence to be said before the run; empty if its folder tells.

        Parameters
        ----------
        cases : iterable of Case
        copies : int
            Defaced series of each series.
        """
        if self.depot is None or self.target is not None:
            return ""
        needed = copies * sum(_size_of(series) for case in cases for series in case.series)
        free = free_in(self.folder)
        told = (
            f"The output of all cases, about {sized(needed)}, lies in {self.folder} until the run has ended; "
            f"{sized(free)} are free there."
        )
        return told if needed <= free else f"{told} Start the run where there is more room."

    def outbox(self, key: bytes, record: Path) -> Outbox | None:
        """For the cases of a run, where the output is an address.

        Parameters
        ----------
        key : bytes
            Of the run.
        record : Path
            Folder of the parts of the record.

        Raises
        ------
        RemoteError
        """
        return None if self.target is None else Outbox(self.target, key, self.folder, record)

    def publish(
        self,
        key: bytes = b"",
        say: Said = lambda _: None,
        outbox: Outbox | None = None,
        records: Iterable[Path] = (),
    ) -> None:
        """Copy the output to its address, if it has one, after it passed its verification.

        Parameters
        ----------
        key : bytes
            Of the run.
        say : callable
        outbox : Outbox, optional
            That the cases went to.
        records : iterable of Path
            Parts of the record, of these.

        Raises
        ------
        RefusedError
            If it does not pass.
        RemoteError
            If the address did not take all of it.
        """
        if self.target is None:
            return
        from defacedask.verify import verify

        if (self.folder / "audit.jsonl").exists() and (
            problems := verify(self.folder, key=key, delivered=outbox is not None).problems
        ):
            raise RefusedError(
                f"{self.folder} did not pass its verification ({len(problems)} problems; {problems[0].file}: "
                f"{problems[0].what}), so nothing was copied to {self.target.address}.",
                "See `defacedask verify`.",
            )
        done = outbox.publish(PRIVATE, records) if outbox else self.target.publish(self.folder, PRIVATE)
        say(
            f"{self.target.address}: {done.sent} files sent, {done.unchanged} unchanged, {done.removed} removed; "
            f"originals and keys stay in {self.depot.address if self.depot else self.work}."
        )


def output_of(out: str | Path, work: str | Path | None = None, *, own: str = "") -> Output:
    """Where a run of ``--out`` works.

    Parameters
    ----------
    out : path or str
        Folder, or an fsspec address such as ``s3://BUCKET/FOLDER``.
    work : path or str, optional
        Folder of the run, or an address: then workers need no folder that all of them see, and ``LAST.local`` in the
        current folder stands for it on this machine, where ``LAST`` is the last part of the address. Where ``out``
        is an address by default ``FOLDER.work`` in the current one. A run that is to be resumed, or whose workers lie
        elsewhere, needs an address, or a folder that stays and that all of them see.
    own : str
        Part of the run's folder that holds its own data: ``store`` of a study.

    Raises
    ------
    ConfigError, RemoteError
        If the address cannot take a folder.
    """
    if work is not None and is_remote(str(work)):
        return _away(out, str(work), own)
    given = None if work is None else _folder(work)
    if not is_remote(str(out)):
        if own and given is not None:
            raise ConfigError(
                f"a study keeps its data below its output, and {out} is a folder.", "Leave --work out."
            )
        return Output(_folder(out), given)
    place = given or Path(f"{_last(out)}.work").absolute()
    return Output(place / "out", place, Target(str(out)))


def _away(out: str | Path, work: str, own: str) -> Output:
    """Output of a run whose own data lie at an address."""
    place = Path(f"{_last(work)}.local").absolute()
    remote = is_remote(str(out))
    if remote and _within(str(out), work):
        raise ConfigError(
            f"{out} and {work} lie within each other, and the run's own data hold the original images.",
            "Choose two addresses.",
        )
    folder = place / "out" if remote else Path(out).absolute()
    if own and not remote:
        raise ConfigError(
            f"a study keeps its data below its output, and {out} is a folder while {work} is an address.",
            "Let --out be an address, too, or leave --work out.",
        )
    depot = Depot(work, place, place=folder if own else place, own=own, out=folder)
    depot.claim()
    return Output(folder, place, Target(str(out)) if remote else None, depot)


def _size_of(series: Series) -> int:
    """Bytes of a series as it is written, nearly: those of its files, by the first, or of its voxels, if more."""
    voxels = series.voxels * int(series.facts.get("bits_allocated", 16)) // 8
    try:
        files = Path(series.files[0]).stat().st_size * len(series.files)
        if "frames" in series.facts:  # of which other volumes may have some
            files = files * len(series.facts["frames"]) // max(sum(series.frame_counts), 1)
        return max(voxels, files)
    except OSError:
        return voxels


def _within(one: str, other: str) -> bool:
    a, b = (f"{address.rstrip('/')}/" for address in (one, other))
    return a.startswith(b) or b.startswith(a)


def _last(address: str | Path) -> str:
    return re.sub(r"[^\w.-]", "_", str(address).rstrip("/").rsplit("/", 1)[-1]) or "out"


def local_folder(out: str | Path) -> Path:
    """An output folder, absolute: workers may run elsewhere.

    Raises
    ------
    ConfigError
        If it is an address.
    """
    if is_remote(str(out)):
        raise ConfigError(f"{out} is an address, and this needs a folder.", "Name a folder of this machine.")
    return _folder(out)


def outside(folder: Path, inputs: Iterable[str | os.PathLike[str]], what: str = "the output folder") -> None:
    """Refuse a folder that is, or lies in, one of the inputs: what is written there would be input of the next run.

    An input may lie in the folder, as what was fetched does.

    Raises
    ------
    ConfigError
    """
    target = folder.resolve()
    for given in inputs:
        source = Path(given).resolve()
        if source == target or source in target.parents:
            raise ConfigError(
                f"{what} {folder} is, or lies in, the input {given}.", "Choose one beside the input."
            )


def _folder(named: object) -> Path:
    """A folder's name, absolute; an empty one would be the current folder."""
    if not isinstance(named, (str, os.PathLike)) or not os.fspath(named).strip():
        what = "an empty name" if isinstance(named, (str, os.PathLike)) else f"a {type(named).__name__}"
        raise ConfigError(f"an output folder is named by a path, not by {what}.", "Name a folder.")
    return Path(named).absolute()
