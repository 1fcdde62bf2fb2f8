"""One series at a service, and how fetching it ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from defacedask.errors import DefacedaskError

__all__ = ["Asked", "FileFacts", "Outcome", "RemoteSeries", "Service", "Stopped"]

#: Name of a file -> its bytes and its MD5.
FileFacts = dict[str, tuple[int, str]]


class Stopped(DefacedaskError):
    """Fetching was stopped from outside."""

    def __init__(self) -> None:
        super().__init__("it was stopped.")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the user asked for.

    Attributes
    ----------
    service : str
        ``nbia`` or ``idc``.
    uids : tuple of str
        Series Instance UIDs; of ``idc:UID`` also of a study.
    collection : str
        Of IDC: a collection, or an analysis result.
    objects : tuple of str
        Of IDC: folders in its buckets (``crdc_series_uuid``), as an ``.s5cmd`` manifest names them.
    server : str
        Address in the manifest's first line; empty without one.
    manifest : Path or None
        The file that was read.
    """

    service: str
    uids: tuple[str, ...] = ()
    collection: str = ""
    objects: tuple[str, ...] = ()
    server: str = ""
    manifest: Path | None = None


@dataclasses.dataclass(frozen=True)
class RemoteSeries:
    """One series, as its service describes it.

    Attributes
    ----------
    uid, study_uid, patient_id, collection, modality, description : str
    instances : int or None
        How many there are; None where the service does not say.
    bytes : int or None
        Of all instances together.
    licence, licence_url, doi, citation : str
        Empty where the service does not say.
    place : str
        Where the service keeps it, if that is not its UID.
    """

    uid: str
    study_uid: str = ""
    patient_id: str = ""
    collection: str = ""
    modality: str = ""
    description: str = ""
    instances: int | None = None
    bytes: int | None = None
    licence: str = ""
    licence_url: str = ""
    doi: str = ""
    citation: str = ""
    place: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> RemoteSeries:
        """Inverse of `to_dict`; what it does not know it leaves."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in facts.items() if name in known})


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How it ended for one series.

    Attributes
    ----------
    series : RemoteSeries
    status : str
        ``fetched``; ``here`` (it was there already, whole); ``failed``; ``unlisted`` (the service does not know it,
        or does not show it to us); ``left`` (not tried, for the service answered nobody).
    reason : str
        One sentence, of what is not here.
    folder : str
        Below the output folder, of what is here.
    passing : bool
        What failed may be the service, and not this series.
    """

    series: RemoteSeries
    status: str
    reason: str = ""
    folder: str = ""
    passing: bool = False

    @property
    def here(self) -> bool:
        """Whether the series lies in the output folder, whole."""
        return self.status in ("fetched", "here")


class Service(Protocol):
    """An archive that is asked for series."""

    #: As a person knows it.
    name: str
    #: What it asks of its users, a sentence each.
    terms: Sequence[str]
    #: Series that are fetched at a time, unless the user says otherwise.
    connections: int

    def look_up(self, asked: Asked) -> list[RemoteSeries]:
        """Every series of what was asked that the service shows us."""

    def get(self, series: RemoteSeries, folder: Path, stopped: Callable[[], bool]) -> FileFacts:
        """Fetch the files of one series into an empty folder, and see that they are what the service has.

        ``folder.parent`` is free for what is needed meanwhile. `defacedask.errors.RemoteError` may pass, and
        everything else does not.
        """
