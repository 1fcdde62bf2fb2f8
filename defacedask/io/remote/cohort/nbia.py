"""The Cancer Imaging Archive and other installations of NBIA, by their REST API.

Version 4 is asked; an installation that does not know it is asked as version 1 wants it, or 2 with a token. The
archive of a series is a ZIP file with ``00000001.dcm`` and so on, and ``md5hashes.csv`` at its end. Where a file is
missing at the server it ends the archive early and says that all is well; so that list makes an archive whole.

Sources: NBIA-TCIA (github.com/CBIIT/NBIA-TCIA), nbia-api: ``V4_getSeriesMetadata``, ``V4_getImageWithMD5Hash``,
``V1_getSeriesMetaData`` and their neighbours.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from defacedask import config
from defacedask.errors import AccessError, ConfigError, InputError, MissingExtraError, RemoteError, writing
from defacedask.io.remote.cohort.asked import is_uid
from defacedask.io.remote.cohort.landing import check_files
from defacedask.io.remote.cohort.model import Asked, FileFacts, RemoteSeries, Stopped
from defacedask.io.remote.cohort.usage import TCIA_TERMS
from defacedask.io.remote.cohort.zips import unpack
from defacedask.io.remote.credentials import TOKEN, access_to
from defacedask.io.remote.sessions import broken, session_of
from defacedask.patience import patiently

__all__ = ["Nbia", "server_of"]

#: Hosts of The Cancer Imaging Archive -> the one that answers for them today.
HOSTS = {
    "nbia.cancerimagingarchive.net": "nbia.cancerimagingarchive.net",
    "public.cancerimagingarchive.net": "nbia.cancerimagingarchive.net",
    "services.cancerimagingarchive.net": "nbia.cancerimagingarchive.net",
    "nlst.cancerimagingarchive.net": "nlst.cancerimagingarchive.net",
}
#: Series that are asked for at a time.
_AT_ONCE = 1000
#: An archive may unpack to so many times the bytes that the service tells, and to this much anyway.
_SWOLLEN, _ANYWAY = 4, 1 << 30
_CHUNK = 1 << 18
#: Names that the versions of the API give to the same thing, without what is no letter or digit.
_NAMES = {
    "uid": ("seriesinstanceuid", "seriesuid", "seriesid"),
    "study_uid": ("studyinstanceuid", "studyuid"),
    "patient_id": ("patientid", "subjectid"),
    "collection": ("collection", "collectionname"),
    "modality": ("modality",),
    "description": ("seriesdescription", "seriesdesc"),
    "instances": ("imagecount", "numberofimages"),
    "bytes": ("filesize", "filesizebytes", "totalsizeinbytes"),
    "licence": ("licensename",),
    "licence_url": ("licenseuri", "licenseurl"),
    "doi": ("datadescriptionuri", "collectionuri", "descriptionuri"),
}


def server_of(address: str, named: str = "") -> str:
    """Address of the server to ask.

    Parameters
    ----------
    address : str
        As a manifest's first line has it; empty: the usual one.
    named : str
        As the user has typed it; any host.

    Raises
    ------
    ConfigError
        If a manifest names a host that is not known, or a token would cross a network unencrypted.
    """
    given = named or address or f"https://{next(iter(HOSTS))}"
    parts = urlsplit(given if "://" in given else f"https://{given}")
    host = (parts.hostname or "").lower()
    if named:
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(f"{named} is no address of a server.", "Write it as https://HOST.")
        server = f"{parts.scheme}://{parts.netloc}"
        access_to(server)
        return server
    if parts.scheme not in ("http", "https") or host not in HOSTS or parts.port not in (None, 80, 443):
        raise ConfigError(
            f"the manifest asks for data from {given[:200]}, which is no server that is known here.",
            f"If you trust it, say so with --server https://{host or 'HOST'}.",
        )
    return f"https://{HOSTS[host]}"


class Nbia:
    """One installation of NBIA.

    Parameters
    ----------
    server : str
        See `server_of`.

    Raises
    ------
    MissingExtraError
        If requests is not installed.
    ConfigError
        If the environment or the configuration is wrong.
    """

    terms: Sequence[str] = TCIA_TERMS
    connections = 4

    def __init__(self, server: str) -> None:
        self.name = urlsplit(server).netloc.rpartition("@")[2]
        access = access_to(server)
        try:
            self._session = session_of(access)
        except ImportError:
            raise MissingExtraError(
                "to fetch from NBIA needs requests, which is not installed.",
                "Install it with: pip install 'defacedask[fetch]'.",
            ) from None
        self._token = access.token
        # given with each request, so that nothing in ~/.netrc takes its place
        self._session.auth = _Bearer(access.token)
        self._timeout = (min(access.timeout, 30.0), float(config.option("fetch.timeout")))
        self._root = f"{server}/nbia-api/services"
        self._version = "v4"
        if urlsplit(server).hostname not in HOSTS:
            own = f"{self.name} is not known here: it may have terms of its own. Of what comes from TCIA:"
            self.terms = (own, *TCIA_TERMS)

    # --- what there is

    def look_up(self, asked: Asked) -> list[RemoteSeries]:
        """See `defacedask.io.remote.cohort.model.Service`.

        Raises
        ------
        RemoteError
            If the service does not answer, or with something that is no list of series.
        """
        wanted = set(asked.uids)
        found: dict[str, RemoteSeries] = {}
        for first in range(0, len(asked.uids), _AT_ONCE):
            some = asked.uids[first : first + _AT_ONCE]
            for row in patiently(lambda some=some: self._described(some)):  # type: ignore[misc]
                series = _series(row)
                if series.uid in wanted:
                    found[series.uid] = series
        return [found[uid] for uid in asked.uids if uid in found]

    def _described(self, uids: Sequence[str]) -> list[dict[str, Any]]:
        if self._version == "v4":
            with self._asking("POST", "getSeriesMetadata", data={"list": ",".join(uids)}) as answer:
                if answer.status_code not in (404, 405):
                    self._must_be_well(answer)
                    return _rows(self._text(answer))
            self._version = "v2" if self._token else "v1"
        rows: list[dict[str, Any]] = []
        for uid in uids:
            with self._asking("GET", "getSeriesMetaData", params={"SeriesInstanceUID": uid}) as answer:
                self._must_be_well(answer)
                rows += _rows(self._text(answer))
        return rows

    # --- its files

    def get(self, series: RemoteSeries, folder: Path, stopped: Callable[[], bool]) -> FileFacts:
        """See `defacedask.io.remote.cohort.model.Service`.

        Raises
        ------
        AccessError
            If the series is not open to us.
        RemoteError
            If it does not come, or not whole.
        InputError
            If what comes is not what it should be.
        """
        most = max(_SWOLLEN * (series.bytes or 0), _ANYWAY)
        archive = folder.parent / "series.zip"
        query = {"SeriesInstanceUID": series.uid}
        with self._asking("GET", "getImageWithMD5Hash", params=query, stream=True) as answer:
            self._must_be_well(answer, series.uid)
            with writing(f"series {series.uid}"), archive.open("wb") as file:
                size = 0
                for chunk in self._chunks(answer, stopped):
                    size += len(chunk)
                    if size > most:
                        raise InputError(f"series {series.uid} is far larger than {self.name} says.")
                    file.write(chunk)
        files = unpack(archive, folder, series.uid, most, stopped)
        archive.unlink()
        check_files(series, folder)
        return files

    def _chunks(self, answer: Any, stopped: Callable[[], bool]) -> Iterator[bytes]:
        chunks = answer.iter_content(_CHUNK)
        while not stopped():
            with self._talking("sending a series"):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk
        raise Stopped

    # --- asking

    @contextlib.contextmanager
    def _talking(self, what: str) -> Iterator[None]:
        import requests

        try:
            yield
        except requests.exceptions.RequestException as error:
            raise broken(error, self.name, what) from None

    @contextlib.contextmanager
    def _asking(self, method: str, endpoint: str, **options: Any) -> Iterator[Any]:
        address = f"{self._root}/{self._version}/{endpoint}"
        with self._talking(f"answering {endpoint}"):
            # a redirection could lead to anybody
            answer = self._session.request(
                method, address, timeout=self._timeout, allow_redirects=False, **options
            )
        with contextlib.closing(answer):
            yield answer

    def _text(self, answer: Any) -> str:
        answer.encoding = answer.encoding if "charset" in answer.headers.get("Content-Type", "") else "utf-8"
        with self._talking("describing series"):
            return str(answer.text)

    def _must_be_well(self, answer: Any, uid: str = "") -> None:
        """Raise unless the answer is one."""
        status = answer.status_code
        if status in (200, 204):
            return
        what = f"series {uid}" if uid else "its list of series"
        if status in (301, 302, 303, 307, 308):
            host = urlsplit(answer.headers.get("Location", "")).hostname or "elsewhere"
            raise ConfigError(
                f"{self.name} sends us to {host} for {what}.",
                f"If you trust it, say so with --server https://{host}.",
            )
        with self._talking("explaining itself"):
            said = " ".join(str(answer.text)[:2000].split()) if status in (400, 401, 403) else ""
        closed = re.search("not in public domain|not been granted", said)
        if status in (401, 403) or closed:
            old = (
                " The token may have expired: it is good for two hours."
                if self._token and status == 401
                else ""
            )
            raise AccessError(
                f"{what} of {self.name} is not open to everybody ({status}).{old}",
                f"Whoever has been given access sets {TOKEN} to a token of that service, then runs the same again.",
            )
        if status in (400, 404):
            raise InputError(f"{self.name} does not have {what} ({status}).")
        raise RemoteError(f"{self.name} answered {status} for {what}.", "Try again later.")


class _Bearer:
    """Signs requests with a token; without one it leaves them as they are."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def __repr__(self) -> str:
        return "_Bearer(...)"


def _rows(text: str) -> list[dict[str, Any]]:
    """Rows of an answer, JSON or CSV, their names without what is no letter or digit.

    Raises
    ------
    RemoteError
        If it is neither.
    """
    if not text.strip():
        return []
    try:
        if text.lstrip().startswith(("[", "{")):
            found = json.loads(text)
            rows = found if isinstance(found, list) else [found]
            heads = [list(row) for row in rows]
        else:
            table = csv.DictReader(io.StringIO(text), strict=True)
            rows, heads = list(table), [list(table.fieldnames or ())]
        # a page that says something else has a first line, too
        good = all({_letters(name) for name in head} & set(_NAMES["uid"]) for head in heads)
        named = [{_letters(name): value for name, value in row.items()} for row in rows]
    except (ValueError, csv.Error, AttributeError, TypeError):
        good = False
    if not good:
        raise RemoteError(
            "the service answered with something that is no list of series.", "Try again later."
        )
    return named


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _series(row: dict[str, Any]) -> RemoteSeries:
    facts: dict[str, Any] = {}
    for field, names in _NAMES.items():
        value = next((str(row[name]).strip() for name in names if row.get(name) not in (None, "")), "")
        if field in ("instances", "bytes"):
            facts[field] = int(float(value)) if re.fullmatch(r"\d+(\.0*)?", value) else None
        else:
            facts[field] = "" if value.lower() == "null" else value
    if not is_uid(facts["study_uid"]):
        facts["study_uid"] = "no study"
    facts["doi"] = facts["doi"].removeprefix("https://doi.org/").removeprefix("http://doi.org/")
    return RemoteSeries(**facts)
