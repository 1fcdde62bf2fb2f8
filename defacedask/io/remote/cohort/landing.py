"""Where series land: each whole or not at all, with a note of what it consists of.

A series is fetched into a hidden folder of the output folder, which no search for images enters. When all of it is
there and right, a note of its files is written and its folder renamed. A series is whole if it has a note and its
files are those of the note.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom

from defacedask.errors import InputError, RemoteError, writing
from defacedask.io.dicom.find import UNFINISHED
from defacedask.io.remote.cohort.model import FileFacts, RemoteSeries
from defacedask.io.remote.cohort.names import folder_of, is_plain
from defacedask.whole_files import write_whole

__all__ = ["Landing", "check_files", "md5_of"]


def md5_of(path: Path) -> str:
    """MD5 of a file: what these services tell of theirs."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def check_files(series: RemoteSeries, folder: Path) -> None:
    """See that a folder holds a series: as many instances as the service tells, each once, all of that series.

    Raises
    ------
    RemoteError
        If some are missing.
    InputError
        If a file is no DICOM, of another series, or there twice.
    """
    instances: dict[str, str] = {}
    files = sorted(path for path in folder.iterdir())
    for path in files:
        try:
            header = pydicom.dcmread(
                path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "SOPInstanceUID"]
            )
            uid, instance = str(header.SeriesInstanceUID), str(header.SOPInstanceUID)
        except Exception:  # whatever a damaged file makes of its reader
            raise InputError(f"{path.name} of series {series.uid} is no DICOM file.") from None
        if uid != series.uid:
            raise InputError(f"{path.name} came as one of series {series.uid}, and is of {uid[:64]}.")
        if instance in instances:
            raise InputError(
                f"{path.name} and {instances[instance]} of series {series.uid} are one instance."
            )
        instances[instance] = path.name
    if series.instances is not None and len(files) != series.instances:
        raise RemoteError(
            f"series {series.uid} came with {len(files)} of {series.instances} instances.", "Try again later."
        )
    if not files:
        raise RemoteError(f"series {series.uid} came without any instance.", "Try again later.")


class Landing:
    """An output folder.

    Parameters
    ----------
    to : Path
    terms : sequence of str
        Of the service, noted with each series.
    """

    def __init__(self, to: Path, terms: Sequence[str] = ()) -> None:
        self.to = to
        self.state = to / UNFINISHED
        self._notes = self.state / "series"
        self._terms = list(terms)
        self._found: list[tuple[RemoteSeries, FileFacts]] = []

    def make(self) -> None:
        """Make the folder.

        Raises
        ------
        OutputError
            If nothing can be written there.
        """
        with writing(f"the folder {self.to}"):
            self._notes.mkdir(parents=True, exist_ok=True)

    def begin(self) -> None:
        """Take away what an earlier run left half, and note what another program had put there.

        For who holds the folder alone.
        """
        with writing(f"the folder {self.to}"):
            for left in self.state.glob("*.partial"):
                shutil.rmtree(left)
        for series, files in self._found:
            self._write_note(series, files)

    def note(self, uid: str) -> dict[str, Any]:
        """What is known of a series that landed; nothing, where there is no note or it is damaged."""
        try:
            found = json.loads((self._notes / f"{uid}.json").read_text(encoding="utf-8"))
            inside = all(map(is_plain, found["folder"].split("/"))) and all(map(is_plain, found["files"]))
            return found if inside and isinstance(found["series"], dict) else {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def landed(self) -> list[tuple[RemoteSeries, str]]:
        """Every series that has a note and a folder, and that folder."""
        notes = (self.note(path.stem) for path in sorted(self._notes.glob("*.json")))
        there = [note for note in notes if note and (self.to / note["folder"]).is_dir()]
        return [(RemoteSeries.from_dict(note["series"]), note["folder"]) for note in there]

    def terms(self) -> list[str]:
        """Terms of all services that series came from, each line once."""
        notes = (self.note(path.stem) for path in sorted(self._notes.glob("*.json")))
        return list(
            dict.fromkeys([*self._terms, *(line for note in notes for line in note.get("terms", ()))])
        )

    def whole(self, series: RemoteSeries, *, read: bool = False) -> str:
        """Folder of a series, below the output folder, if it is there and whole; otherwise empty.

        Parameters
        ----------
        series : RemoteSeries
            As the service describes it now.
        read : bool
            Also read the files and compare their MD5, instead of their number and sizes alone.
        """
        note = self.note(series.uid)
        if not note:
            return self._adopted(series)
        if series.instances is not None and len(note["files"]) != series.instances:
            return ""  # the service has changed it since
        folder = self.to / note["folder"]
        try:
            for name, (size, md5) in note["files"].items():
                if (folder / name).stat().st_size != size or (read and md5_of(folder / name) != md5):
                    return ""
        except OSError:
            return ""
        return str(note["folder"])

    def _adopted(self, series: RemoteSeries) -> str:
        """Take a series that another program put where it belongs, if number, bytes and headers are right."""
        folder = self.to / folder_of(series)
        if series.instances is None or series.bytes is None or not folder.is_dir():
            return ""
        try:
            check_files(series, folder)
            files = {path.name: (path.stat().st_size, md5_of(path)) for path in folder.iterdir()}
        except (InputError, OSError):
            return ""
        if sum(size for size, _ in files.values()) != series.bytes:
            return ""
        self._found.append((series, files))
        return folder_of(series).as_posix()

    @contextlib.contextmanager
    def aside(self, series: RemoteSeries) -> Iterator[Path]:
        """An empty folder to fetch a series into; whatever is left in it at the end is taken away."""
        place = self.state / f"{series.uid}.partial"
        try:
            with writing(f"the folder {place}"):
                if place.exists():
                    shutil.rmtree(place)
                (place / "files").mkdir(parents=True)
            yield place / "files"
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def land(self, series: RemoteSeries, fetched: Path, files: FileFacts) -> str:
        """Put a fetched series in its place; its folder, below the output folder.

        Raises
        ------
        InputError
            If files lie there that were not fetched.
        OutputError
        """
        target = self.to / folder_of(series)
        with writing(f"series {series.uid}"):
            self._make_way(target, series)
            target.parent.mkdir(parents=True, exist_ok=True)
            # a note without its files is no series; files without their note would be nobody's
            self._write_note(series, files)
            fetched.rename(target)
        return folder_of(series).as_posix()

    def _make_way(self, target: Path, series: RemoteSeries) -> None:
        note = self.note(series.uid)
        old = self.to / note["folder"] if note else target
        for place in {old, target}:
            if not place.exists():
                continue
            ours = set(note["files"]) if note and place == old else set()
            others = sorted(path.name for path in place.iterdir() if path.name not in ours)
            if others:
                raise InputError(
                    f"{place} holds files that were not fetched ({others[0]}).",
                    "Move them away, then run again.",
                )
            shutil.rmtree(place)

    def _write_note(self, series: RemoteSeries, files: FileFacts) -> None:
        note = {"series": series.to_dict(), "folder": folder_of(series).as_posix(), "files": files}
        note["terms"] = self._terms
        with writing(f"the note of series {series.uid}"):
            write_whole(self._notes / f"{series.uid}.json", json.dumps(note))
