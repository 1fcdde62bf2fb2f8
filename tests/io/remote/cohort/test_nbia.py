"""From a server that speaks NBIA's protocol: what is whole lands, what is not is found, and nothing half is left."""

from __future__ import annotations

import errno
import re
import shutil
import sys
from pathlib import Path

import pytest
from support.cohort_service import half, held
from support.nbia import TOKEN, Nbia

from defacedask import config
from defacedask.errors import ConfigError, MissingExtraError, OutputError, RemoteError
from defacedask.io.remote.cohort import nbia, zips
from defacedask.io.remote.cohort.fetching import fetch_series, need_room, sort_out
from defacedask.io.remote.cohort.landing import Landing
from defacedask.io.remote.cohort.model import Asked, RemoteSeries


@pytest.fixture
def service(one_patient):
    with Nbia(one_patient) as running:
        yield running


@pytest.fixture
def client(service):
    return nbia.Nbia(nbia.server_of("", service.url))


def fetch(client, service, to: Path, *uids: str, connections: int = 2):
    """Outcomes by Series UID."""
    landing = Landing(to, client.terms)
    series = client.look_up(Asked("nbia", uids=uids or tuple(service.series)))
    _, due = sort_out(series, landing)
    landing.make()
    landing.begin()
    return {one.series.uid: one for one in fetch_series(due, client, landing, connections=connections)}


def test_what_comes_is_what_the_service_has(client, service, one_patient, tmp_path):
    ended = fetch(client, service, tmp_path)
    assert {one.status for one in ended.values()} == {"fetched"}
    assert held(tmp_path) == held(one_patient)
    assert half(tmp_path) == []
    for uid, one in ended.items():
        facts = service.facts[uid]
        assert one.folder == f"Heads/{facts['PatientID']}/{facts['StudyInstanceUID']}/{uid}"
        assert one.series.description == 'said "so", with a comma'
        assert one.series.doi == "10.7937/test"
        assert one.series.instances == len(service.series[uid])
    assert service.busy["most"] <= 2
    # again: nothing is asked for a second time
    assert fetch(client, service, tmp_path) == {}
    assert service.times("getImageWithMD5Hash") == len(service.series)


#: What passes: a server that stumbles, a line that breaks, an archive that is not whole or not what it should be.
PASSING = [500, 502, "cut", "reset", "early", "missing", "flipped", "fewer", "unlisted"]


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_tried_again(client, service, one_patient, tmp_path, fault):
    uid = next(iter(service.series))
    service.faults["getImageWithMD5Hash", uid] = [fault, fault]
    ended = fetch(client, service, tmp_path)
    assert ended[uid].status == "fetched"
    assert service.times("getImageWithMD5Hash", uid) == 3
    assert held(tmp_path) == held(one_patient)
    assert half(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (500, "answered 500"),
        ("cut", "not whole"),
        ("reset", "broke off"),
        ("early", "ends before its list of hashes"),
        ("missing", "is listed and did not come"),
        ("flipped", "its MD5 differs"),
        ("fewer", "came with [0-9]+ of [0-9]+ instances"),
        ("unlisted", "came and is not listed"),
    ],
)
def test_what_does_not_pass_is_a_failure_of_that_series_alone(client, service, tmp_path, fault, why):
    uid = max(service.series, key=lambda one: len(service.series[one]))
    service.faults["getImageWithMD5Hash", uid] = [fault] * 3
    ended = fetch(client, service, tmp_path)
    assert ended[uid].status == "failed"
    assert re.search(why, ended[uid].reason), ended[uid].reason
    assert set(held(tmp_path)) == set(service.series) - {uid}
    assert half(tmp_path) == []


#: What no second try mends: the names and the contents of an archive are wrong.
WRONG = [
    "named ../x.dcm",
    "named /tmp/x.dcm",
    "named a/b.dcm",
    "named ..\\x",
    "named C:x",
    "named 00000001.DCM",
]


@pytest.mark.parametrize("fault", [*WRONG, "foreign", "twice", "no dicom"])
def test_what_is_wrong_is_not_tried_again(client, service, tmp_path, fault):
    to = tmp_path / "a" / "b" / "to"
    uid = max(service.series, key=lambda one: len(service.series[one]))
    service.faults["getImageWithMD5Hash", uid] = [fault]
    ended = fetch(client, service, to, uid)
    assert ended[uid].status == "failed"
    assert service.times("getImageWithMD5Hash", uid) == 1
    assert half(to) == []
    assert held(to) == {}
    assert {path.name for path in tmp_path.rglob("*") if not path.is_relative_to(to)} == {"a", "b"}


def test_hashes_without_their_zeros_and_without_any(client, service, one_patient, tmp_path):
    for fault in ("no zeros", "no hashes"):
        for uid in service.series:
            service.faults["getImageWithMD5Hash", uid] = [fault]
        fetch(client, service, tmp_path / fault)
        assert held(tmp_path / fault) == held(one_patient)


def test_an_archive_that_swells_is_given_up(client, service, tmp_path, monkeypatch):
    uid = next(iter(service.series))
    monkeypatch.setattr(nbia, "_ANYWAY", 1000)
    monkeypatch.setattr(nbia, "_SWOLLEN", 0)
    ended = fetch(client, service, tmp_path, uid)
    assert "far larger" in ended[uid].reason
    assert half(tmp_path) == []
    # an archive that is small, and whose files are not
    archive, folder = tmp_path / "x.zip", tmp_path / "x"
    folder.mkdir()
    archive.write_bytes(service.archive(uid))
    with pytest.raises(ValueError, match="unpacks to far more"):
        zips.unpack(archive, folder, uid, 100)


def test_closed_series(client, service, tmp_path, monkeypatch):
    uid, *others = service.series
    series = client.look_up(Asked("nbia", uids=tuple(service.series)))
    service.closed = {uid}
    # they are not even listed
    assert {one.uid for one in client.look_up(Asked("nbia", uids=tuple(service.series)))} == set(others)
    landing = Landing(tmp_path)
    landing.make()
    (ended,) = fetch_series([s for s in series if s.uid == uid], client, landing, connections=1)
    assert "not open to everybody" in ended.reason
    assert "DEFACEDASK_REMOTE_TOKEN" in ended.reason
    assert service.times("getImageWithMD5Hash", uid) == 1  # asking again does not help
    # with a token
    monkeypatch.setenv("DEFACEDASK_REMOTE_TOKEN", TOKEN)
    client = nbia.Nbia(service.url)
    assert fetch(client, service, tmp_path)[uid].status == "fetched"
    assert TOKEN not in f"{vars(client._session)} {vars(client).get('_version')} {service.asked}"
    # with one that has expired
    monkeypatch.setenv("DEFACEDASK_REMOTE_TOKEN", "old")
    with pytest.raises(PermissionError, match="expired"):
        nbia.Nbia(service.url).look_up(Asked("nbia", uids=(uid,)))


def test_a_password_of_another_program_is_not_sent(client, service, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    client.look_up(Asked("nbia", uids=tuple(service.series)))
    assert [headers.get("Authorization") for headers in service.headers] == [None]


@pytest.mark.parametrize(("versions", "token"), [("v1", ""), ("v2", TOKEN)])
def test_an_older_service(one_patient, tmp_path, monkeypatch, versions, token):
    if token:
        monkeypatch.setenv("DEFACEDASK_REMOTE_TOKEN", token)
    with Nbia(one_patient, versions=versions) as service:
        client = nbia.Nbia(service.url)
        ended = fetch(client, service, tmp_path, *service.series, "1.2.3")
        assert {one.status for one in ended.values()} == {"fetched"}
        assert all(one.series.doi == "" and one.series.licence for one in ended.values())
        assert held(tmp_path) == held(one_patient)
        assert {version for version, *_ in service.asked} == {"v4", versions}


def test_the_list_of_series(client, service):
    uids = tuple(service.series)
    service.faults["getSeriesMetadata", ""] = [500, 503]
    assert [one.uid for one in client.look_up(Asked("nbia", uids=uids))] == list(uids)
    service.faults["getSeriesMetadata", ""] = [500] * 3
    with pytest.raises(RemoteError, match="answered 500"):
        client.look_up(Asked("nbia", uids=uids))
    assert client.look_up(Asked("nbia", uids=("1.2.3",))) == []


@pytest.mark.parametrize("status", [301, 302, 307])
def test_nobody_is_led_elsewhere(client, service, tmp_path, status):
    uid = next(iter(service.series))
    service.faults["getImageWithMD5Hash", uid] = [status]
    assert "sends us to x.test" in fetch(client, service, tmp_path, uid)[uid].reason
    service.faults["getSeriesMetadata", ""] = [status]
    with pytest.raises(ConfigError, match="--server"):
        client.look_up(Asked("nbia", uids=(uid,)))


@pytest.mark.parametrize("text", ["<html>", "a,b\n1,2\n", '{"error": 1}', "[1]", '"', "[{]"])
def test_an_answer_that_is_no_list(text):
    with pytest.raises(RemoteError, match="no list of series"):
        nbia._rows(text)


def test_a_service_that_is_down_is_not_asked_for_ever(client, service, tmp_path):
    uids = tuple(service.series)
    many = [RemoteSeries(f"1.2.{n}", instances=1) for n in range(50)]
    service.server.shutdown()
    service.server.server_close()
    landing = Landing(tmp_path)
    landing.make()
    ended = list(fetch_series(many, client, landing, connections=2))
    assert {one.status for one in ended} == {"failed", "left"}
    assert len(ended) == 50
    assert 10 <= sum(one.status == "failed" for one in ended) <= 16
    with pytest.raises(RemoteError, match="cannot be reached"):
        client.look_up(Asked("nbia", uids=uids))
    service.__enter__()  # for the fixture's end


@pytest.mark.parametrize("where", ["wb", "xb", "rename"])
def test_a_full_disk_is_one_sentence(client, service, tmp_path, monkeypatch, where):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def opened(path, mode="r", *rest, real=Path.open, **options):
        file = real(path, mode, *rest, **options)
        return _Full(file) if mode == where else file

    if where == "rename":
        monkeypatch.setattr(Path, "rename", full)
    else:
        monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(OutputError, match="No space left") as caught:
        fetch(client, service, tmp_path)
    assert caught.value.fatal
    assert half(tmp_path) == []


class _Full:
    """A file on a full disk."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_nobody_thought_of_is_of_that_series_alone(client, service, tmp_path, monkeypatch):
    first = next(iter(service.series))

    def unpack(archive, folder, uid, *rest, real=zips.unpack):
        return 1 / 0 if uid == first else real(archive, folder, uid, *rest)

    monkeypatch.setattr(nbia, "unpack", unpack)
    ended = fetch(client, service, tmp_path)
    assert "ZeroDivisionError" in ended[first].reason
    assert set(held(tmp_path)) == set(service.series) - {first}


def test_a_disk_that_is_too_small_is_said_before(tmp_path, monkeypatch):
    series = [RemoteSeries(f"1.2.{n}", bytes=40) for n in range(3)]
    free = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free._replace(free=200))
    need_room(series, tmp_path / "not" / "there", 2)  # three, and two archives
    with pytest.raises(OutputError, match="has 200 bytes free"):
        need_room(series, tmp_path, 3)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(MissingExtraError, match=r"defacedask\[fetch\]"):
        nbia.Nbia("https://nbia.cancerimagingarchive.net")


def test_terms_are_those_of_the_server(client, service):
    assert any("not known here" in line for line in client.terms)
    assert any("identify" in line for line in client.terms)
    assert nbia.Nbia("https://nbia.cancerimagingarchive.net").terms == nbia.TCIA_TERMS
    assert config.option("fetch.idc-endpoint").startswith("https://")
