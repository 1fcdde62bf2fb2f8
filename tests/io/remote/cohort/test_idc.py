"""From the Imaging Data Commons: its index, and buckets on an object store that answers on this machine."""

from __future__ import annotations

import os
import sys
import uuid
from collections import defaultdict
from pathlib import Path

import dask.config
import pandas as pd
import pydicom
import pytest
import s3fs
from support.cohort_service import half, held
from support.object_store import running

from defacedask.errors import ConfigError, InputError, MissingExtraError
from defacedask.io.remote.cohort.asked import read_asked
from defacedask.io.remote.cohort.fetching import fetch_series, sort_out, unlisted
from defacedask.io.remote.cohort.idc import Idc
from defacedask.io.remote.cohort.landing import Landing

BUCKET = "idc-open-data"
DOI = "10.7937/tcia.test"


@pytest.fixture
def index(one_patient, tmp_path, monkeypatch) -> Path:
    """A small index with the columns of the real one, and two collections."""
    series = defaultdict(list)
    for path in sorted(one_patient.rglob("*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        series[str(header.SeriesInstanceUID)].append((path, header))
    rows = []
    for uid, files in series.items():
        header = files[0][1]
        rows.append(
            {
                "collection_id": "upenn_heads",
                "analysis_result_id": "our_masks" if header.Modality == "SEG" else None,
                "PatientID": str(header.PatientID),
                "SeriesInstanceUID": uid,
                "StudyInstanceUID": str(header.StudyInstanceUID),
                "source_DOI": DOI,
                "Modality": str(header.Modality),
                "SeriesDescription": None,
                "instanceCount": len(files),
                "license_short_name": "CC BY-NC 4.0",
                "aws_bucket": BUCKET,
                "crdc_series_uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, uid)),
                "series_size_MB": sum(path.stat().st_size for path, _ in files) / 1e6,
            }
        )
    folder = tmp_path / "index"
    folder.mkdir()
    pd.DataFrame(rows).to_parquet(folder / "idc_index.parquet")
    prior = pd.DataFrame(rows[:1]).drop(columns=["instanceCount", "license_short_name", "source_DOI"])
    prior["SeriesInstanceUID"], prior["crdc_series_uuid"] = "1.2.99", str(uuid.UUID(int=99))
    prior.to_parquet(folder / "prior_versions_index.parquet")
    source = {
        "source_doi": DOI.upper(),
        "citation": "Doe, J. &amp; Roe,\nR. <i>Heads</i> (2024).",
        "license": {"license_url": "https://creativecommons.org/licenses/by-nc/4.0/"},
    }
    collections = pd.DataFrame([{"collection_id": "upenn_heads", "sources": [source]}])
    collections.to_parquet(folder / "collections_index.parquet")
    return folder


@pytest.fixture(scope="module")
def buckets():
    """An object store, and its address."""
    with pytest.MonkeyPatch.context() as patch, running(patch) as s3:
        s3.mkdir(BUCKET)
        endpoint = os.environ["AWS_ENDPOINT_URL"]
        # somebody's own store, which is not IDC's, and their keys, which are not for it
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        yield s3, endpoint


@pytest.fixture
def store(buckets, index, one_patient):
    """The buckets, filled; the client is told the store's address by its option alone."""
    s3, endpoint = buckets
    s3.rm(s3.find(BUCKET)) if s3.find(BUCKET) else None
    rows = pd.read_parquet(index / "idc_index.parquet")
    place = dict(zip(rows.SeriesInstanceUID, rows.crdc_series_uuid, strict=True))
    for path in one_patient.rglob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        name = uuid.uuid5(uuid.NAMESPACE_OID, str(header.SOPInstanceUID))
        s3.pipe_file(
            f"{BUCKET}/{place[str(header.SeriesInstanceUID)]}/{name}.dcm",
            path.read_bytes(),
            ACL="public-read",
        )
    options = {"defacedask.fetch.idc-index": str(index), "defacedask.fetch.idc-endpoint": endpoint}
    with dask.config.set(options):
        yield s3


def fetch(asked: str, to: Path):
    service = Idc()
    series = service.look_up(read_asked(asked))
    landing = Landing(to, service.terms)
    _, due = sort_out(series, landing)
    landing.make()
    landing.begin()
    return {one.series.uid: one for one in fetch_series(due, service, landing, connections=4)}


def test_a_collection(store, one_patient, tmp_path):
    ended = fetch("idc:UPENN-Heads", tmp_path / "to")
    assert {one.status for one in ended.values()} == {"fetched"}, ended
    assert held(tmp_path / "to") == held(one_patient)
    assert half(tmp_path / "to") == []
    one = next(iter(ended.values()))
    assert one.folder.startswith("upenn_heads/")
    assert one.series.citation == "Doe, J. & Roe, R. Heads (2024)."
    assert one.series.licence_url.endswith("by-nc/4.0/")
    assert fetch("idc:upenn_heads", tmp_path / "to") == {}


def test_parts_of_it(store, index, one_patient, tmp_path):
    rows = pd.read_parquet(index / "idc_index.parquet")
    service, everything = Idc(), set(rows.SeriesInstanceUID)
    (masks,) = service.look_up(read_asked("idc:our_masks"))
    assert masks.modality == "SEG"
    assert {one.uid for one in service.look_up(read_asked(f"idc:{rows.StudyInstanceUID[0]}"))} == everything
    assert [one.uid for one in service.look_up(read_asked(f"idc:{masks.uid}"))] == [masks.uid]
    listed = tmp_path / "uids.txt"
    listed.write_text(f"{masks.uid}\n1.2.3\n")
    asked = read_asked(f"idc:{listed}")
    found = service.look_up(asked)
    assert [one.uid for one in found] == [masks.uid]
    assert [one.series.uid for one in unlisted(asked, found)] == ["1.2.3"]
    manifest = tmp_path / "m.s5cmd"
    names = [masks.place.split("/")[1], str(uuid.UUID(int=99)), str(uuid.UUID(int=1))]
    manifest.write_text("".join(f"cp s3://{BUCKET}/{name}/* .\n" for name in names))
    asked = read_asked(str(manifest))
    found = service.look_up(asked)
    # also what an earlier release had; of that the index knows no licence
    assert {one.uid: one.licence for one in found} == {masks.uid: "CC BY-NC 4.0", "1.2.99": ""}
    assert [one.series.place for one in unlisted(asked, found)] == [names[2]]
    with pytest.raises(InputError, match=r"no collection 'upenn_haeds'\. Near to it: upenn_heads"):
        service.look_up(read_asked("idc:upenn_haeds"))


@pytest.mark.parametrize("harm", ["gone", "fewer", "more", "foreign", "closed", "flipped", "none"])
def test_a_bucket_that_has_something_else(store, one_patient, index, tmp_path, harm, monkeypatch):
    rows = pd.read_parquet(index / "idc_index.parquet")
    row = rows.loc[rows.instanceCount.idxmax()]
    other = rows[rows.SeriesInstanceUID != row.SeriesInstanceUID].iloc[0]
    names = store.find(f"{BUCKET}/{row.crdc_series_uuid}")
    if harm == "gone":
        store.rm(f"{BUCKET}/{row.crdc_series_uuid}", recursive=True)
    elif harm == "fewer":
        store.rm_file(names[0])
    elif harm == "more":
        store.pipe_file(f"{BUCKET}/{row.crdc_series_uuid}/further/x.dcm", b"x")
    elif harm == "foreign":
        data = store.cat_file(store.find(f"{BUCKET}/{other.crdc_series_uuid}")[0])
        store.pipe_file(names[0], data, ACL="public-read")
    elif harm == "closed":
        store.pipe_file(names[0], store.cat_file(names[0]), ACL="private")
    elif harm == "flipped":
        # on the way: what comes is not what the bucket tells
        def get_file(self, name, path, *rest, real=s3fs.S3FileSystem.get_file, **options):
            real(self, name, path, *rest, **options)
            data = bytearray(Path(path).read_bytes())
            data[-1] ^= 1
            Path(path).write_bytes(bytes(data))

        monkeypatch.setattr(s3fs.S3FileSystem, "get_file", get_file)
    ended = fetch(f"idc:{row.SeriesInstanceUID}", tmp_path / "to")
    reason = ended[row.SeriesInstanceUID].reason
    said = {
        "gone": "does not have series",
        "fewer": "came with",
        "more": "may lead anywhere",
        "foreign": "and is of",
        "closed": "does not let us read",
        "flipped": "its MD5 differs",
        "none": "",
    }
    assert said[harm] in reason
    assert bool(reason) == (harm != "none")
    assert half(tmp_path / "to") == []


def test_an_index_that_is_none(tmp_path, monkeypatch):
    with dask.config.set({"defacedask.fetch.idc-index": str(tmp_path)}):
        with pytest.raises(ConfigError, match="no index"):
            Idc()
        (tmp_path / "idc_index.parquet").write_bytes(b"PAR1")
        with pytest.raises(ConfigError, match="cannot be read"):
            Idc().look_up(read_asked("idc:x"))
    monkeypatch.setitem(sys.modules, "idc_index_data", None)
    with pytest.raises(MissingExtraError, match=r"defacedask\[fetch\]"):
        Idc()


def test_the_index_that_is_installed():
    """It has the columns that are read, and says the licence of a collection of heads."""
    pytest.importorskip("idc_index_data")
    service = Idc()
    found = service.look_up(read_asked("idc:UPENN-GBM"))
    assert len(found) > 1000
    assert {one.licence for one in found} == {"CC BY 4.0"}
    assert all(one.citation and one.licence_url and one.bytes and one.instances for one in found)
    assert service.name.startswith("Imaging Data Commons v")
