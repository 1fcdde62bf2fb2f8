"""What is whole is not fetched again, what is not is, and what somebody else put there is not taken away."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pydicom
import pytest
from support.cohort_service import held

from defacedask.errors import InputError, RemoteError
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.find import UNFINISHED, find_files
from defacedask.io.remote.cohort.fetching import sort_out
from defacedask.io.remote.cohort.landing import Landing, check_files, md5_of
from defacedask.io.remote.cohort.model import RemoteSeries
from defacedask.io.remote.cohort.names import folder_of


@pytest.fixture
def ct(one_patient):
    """Files of the CT, and the series as a service would describe it."""
    files = sorted((one_patient / "CT").glob("*.dcm"))
    header = pydicom.dcmread(files[0], stop_before_pixels=True)
    sizes = [path.stat().st_size for path in files]
    uids = (str(header.SeriesInstanceUID), str(header.StudyInstanceUID), str(header.PatientID))
    return files, RemoteSeries(*uids, "Heads", "CT", instances=len(files), bytes=sum(sizes))


@pytest.fixture
def landing(tmp_path):
    made = Landing(tmp_path / "to", ["terms"])
    made.make()
    made.begin()
    return made


def land(landing, files, series):
    with landing.aside(series) as folder:
        for path in files:
            shutil.copy(path, folder / path.name)
        facts = {path.name: (path.stat().st_size, md5_of(path)) for path in folder.iterdir()}
        return landing.to / landing.land(series, folder, facts)


def test_a_series_that_landed_is_whole(landing, ct):
    files, series = ct
    assert landing.whole(series) == ""
    land(landing, files, series)
    assert landing.whole(series, read=True) == folder_of(series).as_posix()
    assert landing.landed() == [(series, folder_of(series).as_posix())]
    assert landing.terms() == ["terms"]
    assert list(landing.state.glob("*.partial")) == []
    # as the service has it by now, it is not
    assert landing.whole(dataclasses.replace(series, instances=series.instances + 1)) == ""


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("harm", ["gone", "short", "note", "folder", "flipped"])
def test_what_was_harmed_is_fetched_again(landing, ct, harm):
    files, series = ct
    folder = land(landing, files, series)
    note = landing.state / "series" / f"{series.uid}.json"
    one = folder / files[0].name
    if harm == "gone":
        one.unlink()
    elif harm == "short":
        one.write_bytes(one.read_bytes()[:-1])
    elif harm == "note":
        note.write_text(note.read_text()[:-1])
        one.unlink()
    elif harm == "folder":
        shutil.rmtree(folder)
    else:
        flip(one)
        assert landing.whole(series)  # sizes alone do not say so
    _, due = sort_out([series], landing, read=harm == "flipped")
    assert due == [series]
    if harm == "note":
        with pytest.raises(InputError, match="not fetched"):  # whose these are nobody knows
            land(landing, files, series)
        return
    land(landing, files, series)
    assert landing.whole(series, read=True)


def test_what_others_put_there_stays(landing, ct):
    files, series = ct
    folder = land(landing, files, series)
    (folder / "notes.txt").write_text("mine")
    (folder / files[0].name).unlink()
    with pytest.raises(InputError, match=r"holds files that were not fetched \(notes\.txt\)"):
        land(landing, files, series)
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("wrong", ["", "fewer", "bytes", "foreign"])
def test_a_series_of_another_program_is_taken_if_it_is_right(tmp_path, one_patient, ct, wrong):
    files, series = ct
    folder = tmp_path / folder_of(series)
    folder.mkdir(parents=True)
    for path in files[1 if wrong == "fewer" else 0 :]:
        shutil.copy(path, folder)
    if wrong == "bytes":
        series = dataclasses.replace(series, bytes=series.bytes + 1)
    if wrong == "foreign":
        other = next(p for p in one_patient.rglob("*.dcm") if p.parent.name != "CT")
        shutil.copy(other, folder / files[0].name)
    landing = Landing(tmp_path)
    here, due = sort_out([series], landing)
    assert not (tmp_path / UNFINISHED).exists()  # looking leaves nothing
    assert (len(here), len(due)) == ((0, 1) if wrong else (1, 0))
    if not wrong:
        landing.make()
        landing.begin()
        assert Landing(tmp_path).whole(series, read=True)


@pytest.mark.parametrize("folder", ["../../victim", "/tmp/victim", "a/../../victim", "..", ""])
def test_a_note_leads_nowhere_else(landing, ct, tmp_path, folder):
    files, series = ct
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / files[0].name).write_text("precious")
    note = {"series": series.to_dict(), "folder": folder, "files": {files[0].name: [8, ""]}}
    (landing.state / "series" / f"{series.uid}.json").write_text(json.dumps(note))
    assert landing.whole(series) == ""
    land(landing, files, series)
    assert (victim / files[0].name).read_text() == "precious"


def test_halves_are_not_seen_by_a_search(landing, ct):
    files, series = ct
    folder = land(landing, files, series)
    left = landing.state / "1.2.3.partial" / "files"
    left.mkdir(parents=True)
    shutil.copy(files[0], left / "half.dcm")
    assert {Path(path).parent for path in find_files([landing.to]).files} == {folder}
    assert [s.files for case in scan(landing.to).cases for s in case.series if s.modality == "CT"] != []
    landing.begin()
    assert not left.exists()


def test_an_end_with_an_error_leaves_nothing(landing, ct):
    files, series = ct

    def broken_off():
        with landing.aside(series) as folder:
            shutil.copy(files[0], folder)
            raise RemoteError("broke off.")

    with pytest.raises(RemoteError):
        broken_off()
    assert list(landing.state.iterdir()) == [landing.state / "series"]
    assert held(landing.to) == {}


def test_files_of_a_series(ct, tmp_path):
    files, series = ct
    for path in files:
        shutil.copy(path, tmp_path)
    check_files(series, tmp_path)
    with pytest.raises(RemoteError, match="came with"):
        check_files(dataclasses.replace(series, instances=99), tmp_path)
    with pytest.raises(InputError, match="is of"):
        check_files(dataclasses.replace(series, uid="1.2.3"), tmp_path)
    shutil.copy(files[0], tmp_path / "twice.dcm")
    with pytest.raises(InputError, match="are one instance"):
        check_files(series, tmp_path)
    (tmp_path / "twice.dcm").write_bytes(b"DICM")
    with pytest.raises(InputError, match="no DICOM"):
        check_files(series, tmp_path)
