"""DICOMweb (PS3.18): studies found by QIDO-RS, fetched by WADO-RS, stored by STOW-RS."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from defacedask.errors import ConfigError, InputError, MissingExtraError, RemoteError
from defacedask.io.remote.credentials import PASSWORD, TOKEN, USER, access_to
from defacedask.io.remote.sessions import broken, session_of
from defacedask.io.store import writing

__all__ = ["check", "fetch", "is_dicomweb", "store"]

_STUDIES = re.compile(r"^(?P<root>.*?)/studies(?:/(?P<study>[0-9.]+)(?:/series/(?P<series>[0-9.]+))?)?/?$")
#: Whatever transfer syntax the archive holds: nothing is to be decoded on the way.
_AS_STORED = (("application/dicom", "*"),)
#: Bytes of one STOW request, unless one instance is larger.
BATCH = 32 << 20


def is_dicomweb(address: str) -> bool:
    """Whether an address is one of a DICOMweb service, by its scheme or its path."""
    parts = urlsplit(address)
    return parts.scheme.startswith("dicomweb") or (
        parts.scheme in ("http", "https") and bool(_STUDIES.match(parts.path))
    )


def _client(address: str) -> tuple[Any, re.Match[str] | None, dict[str, str]]:
    """Client of the service, what of it the address names, and its query."""
    try:
        from dicomweb_client.api import DICOMwebClient
    except ImportError:
        raise MissingExtraError(
            "DICOMweb needs dicomweb-client, which is not installed.",
            "Install it with: pip install 'defacedask[dicomweb]'.",
        ) from None
    plain = address.removeprefix("dicomweb+")
    if plain.startswith("dicomweb://"):
        plain = "https" + plain.removeprefix("dicomweb")
    access = access_to(plain)
    parts = urlsplit(plain)
    found = _STUDIES.match(parts.path)
    root = found["root"] if found else parts.path.rstrip("/")
    session = session_of(access)
    if access.user:
        session.auth = (access.user, access.password)
    elif access.token:
        session.headers["Authorization"] = f"Bearer {access.token}"
    client = DICOMwebClient(f"{parts.scheme}://{parts.netloc}{root}", session=session, timeout=access.timeout)
    client.set_http_retry_params(retry=False)  # it would try a wrong password again; the session does better
    return client, found, dict(parse_qsl(parts.query))


def check(address: str) -> None:
    """Refuse an address that cannot be used, or a missing library; nothing is sent.

    Raises
    ------
    ConfigError, MissingExtraError
    """
    _client(address)


@contextlib.contextmanager
def _talking(client: Any, what: str) -> Iterator[None]:
    """Turn what a connection can come to into one sentence."""
    import requests

    where = f"{client.host}:{client.port}"
    try:
        yield
    except requests.exceptions.HTTPError as error:
        raise _http_error(error, where, what) from None
    except requests.exceptions.RequestException as error:
        raise broken(error, where, what) from None


def _http_error(error: Any, where: str, what: str) -> RemoteError:
    status = error.response.status_code if error.response is not None else 0
    if status in (401, 407):
        return RemoteError(
            f"{where} does not let us in (401) while {what}.",
            f"Set {USER} and {PASSWORD}, or {TOKEN}, or use ~/.netrc.",
        )
    if status == 403:
        return RemoteError(f"{where} forbids this user {what} (403).", "Ask who runs the archive.")
    if status == 404:
        return RemoteError(f"{where} has nothing at this address (404, {what}).", "Check the address.")
    return RemoteError(f"{where} answered {status} while {what}.", "See the log of the archive.")


# --- in


def fetch(address: str, folder: Path, say: Any) -> Path:
    """Fetch the studies or the series that an address names.

    Parameters
    ----------
    address : str
        ``.../studies/UID``, ``.../studies/UID/series/UID``, or a search such as ``.../studies?PatientID=12``.
    folder : Path
        They land below a folder of their own in it.
    say : callable

    Returns
    -------
    Path

    Raises
    ------
    RemoteError, ConfigError, MissingExtraError
    """
    client, found, query = _client(address)
    if found is None or not (found["study"] or query):
        raise ConfigError(
            "the address names no study.",
            "Use .../studies/UID, .../studies/UID/series/UID or .../studies?PatientID=...",
        )
    place = folder / f"dicomweb-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
    with _talking(client, "looking for the study"):
        if found["study"]:
            wanted = [(found["study"], found["series"] or "")]
        else:
            rows = client.search_for_studies(search_filters=query, get_remaining=True)
            wanted = [(_value(row, "0020000D"), "") for row in rows]
    if not wanted:
        raise RemoteError(f"{client.host} has no study that fits.", "Check the search.")
    for study, series in wanted:
        _fetch_study(
            client, study, series, place / hashlib.sha256(f"{study}{series}".encode()).hexdigest()[:12], say
        )
    return place


def _value(row: dict[str, Any], tag: str) -> str:
    values = row.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _held(client: Any, study: str, series: str) -> set[str]:
    """SOP instance UIDs that the archive holds."""
    rows = client.search_for_instances(
        study_instance_uid=study, series_instance_uid=series or None, get_remaining=True
    )
    return {_value(row, "00080018") for row in rows}


def _fetch_study(client: Any, study: str, series: str, place: Path, say: Any) -> None:
    mark = place / ".complete"
    with _talking(client, "listing the study"):
        held = _held(client, study, series)
    if not held:
        raise RemoteError(f"{client.host} has no study {study}.", "Check the address.")
    try:
        if set(json.loads(mark.read_text())) == held:
            return  # all of it is here
    except (OSError, ValueError):
        pass
    shutil.rmtree(place, ignore_errors=True)
    with writing(f"what {client.host} sends"):
        place.mkdir(parents=True)
    got: set[str] = set()
    folders: dict[str, str] = {}
    with _talking(client, "sending the study"):
        if series:
            parts = client.iter_series(study, series, media_types=_AS_STORED)
        else:
            parts = client.iter_study(study, media_types=_AS_STORED)
        for number, dataset in enumerate(parts, 1):
            own = folders.setdefault(str(dataset.get("SeriesInstanceUID", "")), f"{len(folders) + 1:03d}")
            with writing(f"what {client.host} sends"):
                (place / own).mkdir(exist_ok=True)
                dataset.save_as(place / own / f"{number:06d}.dcm")
            got.add(str(dataset.get("SOPInstanceUID", "")))
    if got != held:
        shutil.rmtree(place, ignore_errors=True)
        raise RemoteError(
            f"{client.host} sent {len(got & held)} of the {len(held)} instances it lists of the study.",
            "Try again; see the log of the archive.",
        )
    with writing(f"what {client.host} sends"):
        mark.write_text(json.dumps(sorted(got)))
    say(f"{len(got)} instances fetched from {client.host}")


# --- out


def store(address: str, files: Sequence[Path], say: Any) -> int:
    """Store files, and see that the archive lists every one of them afterwards.

    Parameters
    ----------
    address : str
        Of the service, such as ``https://host/dicom-web``; ``.../studies`` is understood too.
    files : sequence of Path
        DICOM files.
    say : callable

    Returns
    -------
    int
        Instances stored.

    Raises
    ------
    RemoteError
        If the archive did not take all.
    """
    import pydicom

    client, _, _ = _client(address)
    sent: dict[str, set[str]] = {}
    refused: list[str] = []
    waiting: list[Any] = []
    size = 0

    def flush() -> None:
        nonlocal size
        if waiting:
            with _talking(
                client, f"storing ({sum(map(len, sent.values()))} of {len(files)} instances stored)"
            ):
                answer = client.store_instances(waiting)
            failed = {
                str(item.get("ReferencedSOPInstanceUID", "")): str(item.get("FailureReason", ""))
                for item in answer.get("FailedSOPSequence", None) or ()
            }
            for dataset in waiting:
                uid = str(dataset.SOPInstanceUID)
                if uid in failed:
                    refused.append(f"{Path(dataset.filename).name} (reason {failed[uid]})")
                else:
                    sent.setdefault(str(dataset.StudyInstanceUID), set()).add(uid)
            say(f"{sum(map(len, sent.values()))} of {len(files)} instances stored in {client.host}")
            waiting.clear()
            size = 0

    for path in files:
        try:
            dataset = pydicom.dcmread(path)
        except Exception as error:
            raise InputError(f"{path} cannot be read ({error}).") from None
        waiting.append(dataset)
        size += path.stat().st_size
        if size >= BATCH:
            flush()
    flush()
    missing = 0
    with _talking(client, "listing what was stored"):
        for study, uids in sent.items():
            missing += len(uids - _held(client, study, ""))
    done = sum(map(len, sent.values()))
    if refused or missing:
        raise RemoteError(
            f"{client.host} took {done - missing} of {len(files)} instances"
            + (f"; it refused {', '.join(refused[:3])}" if refused else "")
            + (f"; {missing} that it took it does not list" if missing else "")
            + ".",
            "Store again: what is there already stays as it is.",
        )
    return done
