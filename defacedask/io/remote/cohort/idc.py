"""The Imaging Data Commons: its index, which is a package of its own, and its public buckets on S3.

The index (``idc-index-data``) has a row a series: identifiers, licence, number of instances, bytes, and the folder in
a bucket where each instance is an object of its own. Its bytes are exact. The buckets are read without signing in.

Sources: idc-index-data 25 (``idc_index_schema.json``, ``collections_index_schema.json``).
"""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from defacedask import config
from defacedask.errors import (
    AccessError,
    ConfigError,
    DefacedaskError,
    InputError,
    MissingExtraError,
    RemoteError,
)
from defacedask.io.remote.cohort.asked import is_uid
from defacedask.io.remote.cohort.landing import check_files, md5_of
from defacedask.io.remote.cohort.model import Asked, FileFacts, RemoteSeries, Stopped
from defacedask.io.remote.cohort.names import is_plain
from defacedask.io.remote.cohort.usage import IDC_TERMS
from defacedask.io.remote.room import fetching

__all__ = ["Idc"]

_EXTRA = "Install it with: pip install 'defacedask[fetch]'."
#: Fields of a series -> columns of the index.
_COLUMNS = {
    "uid": "SeriesInstanceUID",
    "study_uid": "StudyInstanceUID",
    "patient_id": "PatientID",
    "collection": "collection_id",
    "modality": "Modality",
    "description": "SeriesDescription",
    "instances": "instanceCount",
    "licence": "license_short_name",
    "doi": "source_DOI",
}
_FURTHER = ["series_size_MB", "aws_bucket", "crdc_series_uuid"]


class Idc:
    """The Imaging Data Commons, as the index that is installed knows it.

    Raises
    ------
    MissingExtraError
        If the index or the S3 client is not installed.
    ConfigError
        If the option ``fetch.idc-index`` names a folder without an index.
    """

    terms: Sequence[str] = IDC_TERMS
    connections = 16

    def __init__(self) -> None:
        self._index, release = _index_folder()
        self.name = f"Imaging Data Commons{f' v{release}' if release else ''}"
        try:
            from s3fs import S3FileSystem
        except ImportError:
            raise MissingExtraError("to fetch from IDC needs s3fs, which is not installed.", _EXTRA) from None
        timeout = float(config.option("fetch.timeout"))
        # an address of the environment is that of the user's own store, and not of IDC's
        self._fs = S3FileSystem(
            anon=True,
            endpoint_url=config.option("fetch.idc-endpoint"),
            client_kwargs={"region_name": "us-east-1"},
            config_kwargs={"connect_timeout": min(timeout, 30.0), "read_timeout": timeout},
            skip_instance_cache=True,
        )

    # --- what there is

    def look_up(self, asked: Asked) -> list[RemoteSeries]:
        """See `defacedask.io.remote.cohort.model.Service`.

        Raises
        ------
        InputError
            If there is no collection of that name.
        ConfigError
            If the index cannot be read.
        """
        import pyarrow.compute as pc

        if asked.collection:
            name = re.sub(r"[\s-]+", "_", asked.collection.strip()).lower()
            rows = self._rows((pc.field("collection_id") == name) | (pc.field("analysis_result_id") == name))
            if not rows:
                raise InputError(
                    f"{self.name} has no collection {asked.collection!r}.{self._near(name)}",
                    "A newer index may have it: upgrade idc-index-data.",
                )
        elif asked.objects:
            rows = self._rows(pc.field("crdc_series_uuid").isin(list(asked.objects)), prior=True)
        else:
            uids = list(asked.uids)
            chosen = pc.field("SeriesInstanceUID").isin(uids)
            if asked.manifest is None:
                chosen = chosen | pc.field("StudyInstanceUID").isin(uids)
            rows = self._rows(chosen)
        sources = self._sources()
        found = {one.uid: one for one in (_series(row, sources) for row in rows)}
        return sorted(
            found.values(), key=lambda one: (one.collection, one.patient_id, one.study_uid, one.uid)
        )

    def _table(self, name: str, columns: list[str], chosen: Any = None) -> list[dict[str, Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._index / f"{name}.parquet"
        try:
            rows: list[dict[str, Any]] = pq.read_table(path, columns=columns, filters=chosen).to_pylist()
        except (OSError, KeyError, pa.ArrowException) as error:
            raise ConfigError(
                f"the index of IDC cannot be read ({path.name}: {' '.join(str(error).split())[:120]}).",
                "Install idc-index-data again.",
            ) from None
        return rows

    def _rows(self, chosen: Any, *, prior: bool = False) -> list[dict[str, Any]]:
        """Rows of the index; of earlier releases, too, where a manifest may be as old."""
        columns = [*_COLUMNS.values(), *_FURTHER]
        rows = self._table("idc_index", columns, chosen)
        if prior and (self._index / "prior_versions_index.parquet").exists():
            known = {row["SeriesInstanceUID"] for row in rows}
            columns = [c for c in columns if c in self._columns("prior_versions_index")]
            earlier = self._table("prior_versions_index", columns, chosen)
            rows += [row for row in earlier if row["SeriesInstanceUID"] not in known]
        return rows

    def _columns(self, name: str) -> set[str]:
        import pyarrow.parquet as pq

        return set(pq.read_schema(self._index / f"{name}.parquet").names)

    def _sources(self) -> dict[str, tuple[str, str]]:
        """DOI -> citation and address of the licence."""
        found: dict[str, tuple[str, str]] = {}
        for row in self._table("collections_index", ["sources"]):
            for one in row["sources"] or ():
                licence = one.get("license") or {}
                found[_doi(one.get("source_doi"))] = (
                    _text(one.get("citation")),
                    _text(licence.get("license_url")),
                )
        return found

    def _near(self, name: str) -> str:
        import difflib

        names = {row["collection_id"] for row in self._table("collections_index", ["collection_id"])}
        near = difflib.get_close_matches(name, sorted(names), 3)
        return f" Near to it: {', '.join(near)}." if near else ""

    # --- its files

    def get(self, series: RemoteSeries, folder: Path, stopped: Callable[[], bool]) -> FileFacts:
        """See `defacedask.io.remote.cohort.model.Service`.

        Raises
        ------
        RemoteError
            If the series does not come, or not whole.
        AccessError
            If the bucket does not let everybody read it.
        InputError
            If what comes is not what it should be.
        """
        with self._talking(series.uid):
            self._fs.invalidate_cache(series.place)
            objects = self._fs.find(series.place, detail=True)
        if not objects:
            raise _gone(series.uid)
        files: FileFacts = {}
        for key, facts in sorted(objects.items()):
            name = str(key)[len(series.place) :].lstrip("/")
            if not is_plain(name):
                raise InputError(
                    f"series {series.uid} has an object called {name[:80]!r}, which may lead anywhere."
                )
            if stopped():
                raise Stopped
            target = folder / name
            with self._talking(series.uid), fetching(target, facts.get("size")):
                self._fs.get_file(str(key), str(target))
            files[name] = _checked(target, facts, series.uid)
        check_files(series, folder)
        came = sum(length for length, _ in files.values())
        if series.bytes is not None and came != series.bytes:
            raise RemoteError(
                f"series {series.uid} came with {came} of {series.bytes} bytes.", "Try again later."
            )
        return files

    @contextlib.contextmanager
    def _talking(self, uid: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise _gone(uid) from None
        except PermissionError:
            raise AccessError(f"the bucket of IDC does not let us read series {uid}.") from None
        except DefacedaskError:
            raise
        except Exception as error:  # botocore and aiohttp have their own
            raise self._broken(uid, error) from None

    def _broken(self, uid: str, error: Exception) -> RemoteError:
        text = " ".join(str(error).split())[:160]
        return RemoteError(
            f"series {uid} of IDC does not come ({type(error).__name__}: {text}).",
            "Check the network, try again later.",
        )


def _gone(uid: str) -> InputError:
    return InputError(
        f"the bucket of IDC does not have series {uid}.", "A newer index may know: upgrade idc-index-data."
    )


def _index_folder() -> tuple[Path, str]:
    """Folder of the index, and the release of IDC that it describes."""
    own = config.option("fetch.idc-index")
    if own:
        if not (Path(own) / "idc_index.parquet").is_file():
            raise ConfigError(f"{own} holds no index of IDC.", "Check the option fetch.idc-index.")
        return Path(own), ""
    try:
        import idc_index_data
    except ImportError:
        raise MissingExtraError(
            "to fetch from IDC needs idc-index-data, which is not installed.", _EXTRA
        ) from None
    release = str(idc_index_data.__version__).partition(".")[0]
    return Path(str(idc_index_data.IDC_INDEX_PARQUET_FILEPATH)).parent, release


def _series(row: dict[str, Any], sources: dict[str, tuple[str, str]]) -> RemoteSeries:
    facts = {field: row.get(column) for field, column in _COLUMNS.items()}
    doi = _doi(facts["doi"])
    citation, licence_url = sources.get(doi, ("", ""))
    bucket, place = row.get("aws_bucket") or "", row.get("crdc_series_uuid") or ""
    if (
        not re.fullmatch(r"[a-z0-9.-]+", bucket)
        or not re.fullmatch(r"[0-9a-f-]{36}", place)
        or not is_uid(str(facts["uid"]))
    ):
        raise ConfigError("the index of IDC is damaged.", "Install idc-index-data again.")
    instances, megabytes = facts.pop("instances"), row.get("series_size_MB")
    return RemoteSeries(
        **{field: "" if value is None else str(value) for field, value in facts.items() if field != "doi"},
        doi=doi,
        citation=citation,
        licence_url=licence_url,
        instances=None if instances is None else int(instances),
        # millions of bytes, with all their digits
        bytes=None if megabytes is None else round(float(megabytes) * 1e6),
        place=f"{bucket}/{place}",
    )


def _checked(path: Path, facts: dict[str, Any], uid: str) -> tuple[int, str]:
    """Bytes and MD5 of a fetched object, if they are those that the bucket tells."""
    length, md5 = path.stat().st_size, md5_of(path)
    if length != facts.get("size"):
        raise RemoteError(
            f"{path.name} of series {uid} came with {length} of {facts.get('size')} bytes.", "Try again."
        )
    # the tag of an object that was uploaded in parts is no MD5; it has a dash
    tag = str(facts.get("ETag", "")).strip('"').lower()
    if re.fullmatch("[0-9a-f]{32}", tag) and tag != md5:
        raise RemoteError(
            f"{path.name} of series {uid} is not what the bucket has (its MD5 differs).", "Try again."
        )
    return length, md5


def _doi(text: Any) -> str:
    return str(text or "").strip().lower().removeprefix("https://doi.org/")


def _text(given: Any) -> str:
    """Plain text of a citation, which has marks of HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", str(given or ""))).split())
