"""``defacedask fetch`` as a user meets it, against a server that speaks NBIA's protocol."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import threading
import time

import pytest
from click.testing import CliRunner
from support.cohort_service import half, held
from support.export_kit import write_patient
from support.nbia import Nbia

from defacedask import patience
from defacedask.cli import program
from defacedask.errors import ConfigError, InputError
from defacedask.flow.lock import only_run
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.find import UNFINISHED
from defacedask.io.remote.cohort.model import Outcome, RemoteSeries
from defacedask.io.remote.cohort.usage import asks_more, page, said, table, uses_of


@pytest.fixture(scope="module")
def one_patient(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one-patient")
    write_patient(folder)
    return folder


@pytest.fixture
def service(one_patient, monkeypatch):
    monkeypatch.setattr(patience, "WAITS", (0.0, 0.0))
    monkeypatch.delenv("DEFACEDASK_REMOTE_TOKEN", raising=False)
    with Nbia(one_patient) as running:
        yield running


def run(*arguments: object):
    return CliRunner().invoke(program, ["fetch", *map(str, arguments)], obj={})


def rows(to):
    with (to / "series.csv").open(encoding="utf-8", newline="") as file:
        return {row["uid"]: row for row in csv.DictReader(file)}


def test_a_manifest_becomes_a_folder_that_scan_takes(service, one_patient, tmp_path):
    manifest, to = service.manifest(tmp_path / "manifest-1.tcia"), tmp_path / "to"
    done = run(manifest, "--server", service.url, "--to", to)
    assert done.exit_code == 0, (done.output, done.exception)
    assert held(to) == held(one_patient)
    assert half(to) == []
    # with its manifest it is input, and without
    expected = [(case.patient_id, [s.uid for s in case.series]) for case in scan(one_patient).cases]
    for given in ([to], [to / "manifest-1.tcia"], [manifest, to]):
        found = scan(*given)
        assert [(case.patient_id, [s.uid for s in case.series]) for case in found.cases] == expected
        assert found.cases
    # what was said is kept, a row a series
    kept = (to / "USAGE.md").read_text()
    for text in ("Creative Commons Attribution 4.0", "https://doi.org/10.7937/test", "identify or contact"):
        assert text in done.output
        assert text in kept
    assert {row["status"] for row in rows(to).values()} == {"fetched"}
    assert all("Creative Commons" in row["licence"] for row in rows(to).values())
    assert all((to / row["folder"]).is_dir() for row in rows(to).values())
    # again
    before = len(service.asked)
    again = run(manifest, "--server", service.url, "--to", to)
    assert again.exit_code == 0
    assert "0 series fetched, 5 were here, 0 missing" in again.output
    assert service.asked[before:] == [("v4", "getSeriesMetadata", "")]
    # unless it is read and found to be something else
    victim = next(to.rglob("00000001.dcm"))
    victim.write_bytes(victim.read_bytes()[:-1] + bytes([victim.read_bytes()[-1] ^ 1]))
    assert "1 series fetched" in run(manifest, "--server", service.url, "--to", to, "--check").output
    assert held(to) == held(one_patient)


def test_a_dry_run_fetches_and_writes_nothing(service, tmp_path):
    to = tmp_path / "to"
    done = run(service.manifest(tmp_path / "m.tcia"), "--server", service.url, "--to", to, "--dry-run")
    assert done.exit_code == 0
    assert "5 series of 1 patient, " in done.output
    assert "Licence: Creative Commons" in done.output
    assert not to.exists()
    assert service.times("getImageWithMD5Hash") == 0
    absent = run(
        service.manifest(tmp_path / "m.tcia", "1.2.3", *service.series),
        *("--server", service.url, "--to", to, "--dry-run"),
    )
    assert absent.exit_code == 1
    assert "1 series are not listed there (the first: 1.2.3)" in absent.output


def test_what_is_missing_is_said_and_fetched_by_the_same_command(service, one_patient, tmp_path):
    to, (uid, *others) = tmp_path / "to", service.series
    service.faults["getImageWithMD5Hash", uid] = ["flipped"] * 3
    given = [
        service.manifest(tmp_path / "m.tcia", "1.2.3", *service.series),
        "--server",
        service.url,
        "--to",
        to,
    ]
    done = run(*given)
    assert done.exit_code == 1
    assert f"Not fetched: {uid}: " in done.output
    assert "4 series fetched, 0 were here, 2 missing" in done.output
    assert {row["uid"]: row["status"] for row in rows(to).values()} == {
        **dict.fromkeys(others, "fetched"),
        uid: "failed",
        "1.2.3": "unlisted",
    }
    assert "MD5 differs" in rows(to)[uid]["reason"]
    assert "DEFACEDASK_REMOTE_TOKEN" in rows(to)["1.2.3"]["reason"]
    assert half(to) == []
    listed = tmp_path / "uids.txt"
    listed.write_text("\n".join(service.series))
    before = len(service.asked)
    done = run(listed, *given[1:])
    assert done.exit_code == 0
    assert [one[1:] for one in service.asked[before:]] == [
        ("getSeriesMetadata", ""),
        ("getImageWithMD5Hash", uid),
    ]
    assert held(to) == held(one_patient)


def test_two_manifests_of_one_name_are_both_kept(service, tmp_path):
    to = tmp_path / "to"
    for number, uid in enumerate(list(service.series)[:2]):
        (tmp_path / str(number)).mkdir()
        manifest = service.manifest(tmp_path / str(number) / "series.csv", uid)
        for _ in range(2):
            assert run(manifest, "--server", service.url, "--to", to).exit_code == 0
    kept = [path for path in to.iterdir() if path.is_file() and path.name not in ("USAGE.md", "series.csv")]
    assert sorted(path.read_bytes() for path in kept) == sorted(
        (tmp_path / name / "series.csv").read_bytes() for name in "01"
    )
    assert set(rows(to)) == set(list(service.series)[:2])  # of both runs


def test_parts_of_it(service, tmp_path):
    to, manifest = tmp_path / "to", service.manifest(tmp_path / "m.tcia")
    assert run(manifest, "--server", service.url, "--to", to, "--modality", "ct,RTSTRUCT").exit_code == 0
    assert {row["modality"] for row in rows(to).values()} == {"CT", "RTSTRUCT"}
    none = run(manifest, "--server", service.url, "--to", to, "--modality", "XA")
    assert isinstance(none.exception, InputError)
    for number, uid in enumerate(service.series):
        service.facts[uid]["PatientID"] = f"P{number}"
    assert run(manifest, "--server", service.url, "--to", tmp_path / "two", "--patients", 2).exit_code == 0
    assert {row["patient_id"] for row in rows(tmp_path / "two").values()} == {"P0", "P1"}


@pytest.mark.parametrize("licence", ["Creative Commons Attribution-NonCommercial 3.0 Unported License", ""])
def test_a_licence_that_asks_for_more_is_accepted_first(service, tmp_path, licence):
    for facts in service.facts.values():
        facts["LicenseName"] = licence
    given = [service.manifest(tmp_path / "m.tcia"), "--server", service.url, "--to", tmp_path / "to"]
    done = run(*given)
    assert isinstance(done.exception, ConfigError)
    assert "--accept" in str(done.exception)
    assert licence in done.output
    assert service.times("getImageWithMD5Hash") == 0
    assert not (tmp_path / "to").exists()
    assert run(*given, "--accept").exit_code == 0
    # nothing is left to be fetched, so nothing to be asked
    assert run(*given).exit_code == 0


@pytest.mark.parametrize(
    ("licence", "more"),
    [
        ("CC BY 4.0", False),
        ("CC BY 3.0", False),
        ("CC0 1.0", False),
        ("Creative Commons Attribution 3.0 Unported License", False),
        ("Creative Commons Attribution 4.0 International License", False),
        ("CC BY-NC 4.0", True),
        ("CC BY-ND 4.0", True),
        ("Creative Commons Attribution-NonCommercial 4.0 International License", True),
        ("Creative Commons Attribution 4.0 International License, no commercial use", True),
        ("TCIA Limited Access License", True),
        ("National Library of Medicine Terms and Conditions; May 21, 2019", True),
        ("", True),
    ],
)
def test_licences(licence, more):
    assert asks_more(licence) == more


def test_another_server_is_the_user_s_choice(service, tmp_path):
    done = run(service.manifest(tmp_path / "m.tcia"), "--to", tmp_path / "to")
    assert isinstance(done.exception, ConfigError)
    assert "no server that is known here" in str(done.exception)
    assert service.asked == []
    done = run("idc:x", "--server", service.url, "--to", tmp_path / "to")
    assert isinstance(done.exception, ConfigError)


def test_two_at_once_are_refused(service, tmp_path):
    to = tmp_path / "to"
    left = to / UNFINISHED / "1.2.partial"
    left.mkdir(parents=True)
    with only_run(to / UNFINISHED):
        done = run(service.manifest(tmp_path / "m.tcia"), "--server", service.url, "--to", to)
    assert "another run is at work" in str(done.exception)
    assert left.exists()  # it is the other's
    assert service.times("getImageWithMD5Hash") == 0


#: The program, which says that it was interrupted; whoever started the tests may have it ignore that.
PROGRAM = """
import signal, sys
from defacedask.cli import main

def interrupted(*_):
    print("interrupted")
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupted)
main(sys.argv[1:])
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_goes_on_where_it_was(service, one_patient, tmp_path, how):
    to, uids = tmp_path / "to", list(service.series)
    manifest = service.manifest(tmp_path / "m.tcia")
    reached, go = threading.Event(), threading.Event()

    def hold(_):
        reached.set()
        go.wait(300)

    service.faults["getImageWithMD5Hash", uids[2]] = [hold]
    given = [manifest, "--server", service.url, "--to", to]
    with (tmp_path / "said").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", PROGRAM, "fetch", *map(str, given), "--connections", "1"],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            assert reached.wait(300)
            # licence and terms were said and written before anything came
            shown = (tmp_path / "said").read_text()
            assert (
                shown.index("Licence: ")
                < shown.index("identify or contact")
                < shown.index("5 series to fetch")
            )
            assert (to / "USAGE.md").exists()
            process.send_signal(how)
            if how == signal.SIGINT:
                until = time.monotonic() + 300
                while "interrupted" not in (tmp_path / "said").read_text() and time.monotonic() < until:
                    time.sleep(0.05)
                go.set()
            assert process.wait(300) == (-9 if how == signal.SIGKILL else 1)
        finally:
            go.set()
            process.kill()
            process.wait()
    there = set(held(to))
    assert there >= set(uids[:2])
    if how == signal.SIGKILL:
        assert len(there) == 2
    else:
        assert half(to) == []
        assert "Traceback" not in (tmp_path / "said").read_text()
    done = run(*given)
    assert done.exit_code == 0, done.output
    assert f"{5 - len(there)} series fetched, {len(there)} were here, 0 missing" in done.output
    asked = {uid: service.times("getImageWithMD5Hash", uid) for uid in uids}
    assert {asked[uid] for uid in there} == {1}
    assert max(asked.values()) <= 2
    assert held(to) == held(one_patient)
    assert half(to) == []


def test_what_a_service_says_commands_no_terminal():
    evil = RemoteSeries("1.2.3", collection="a\x1b[2J", licence="b\r\x07", citation="c\nd", doi="e")
    for text in (
        "\n".join(said(uses_of([evil]), ())),
        page(uses_of([evil]), ()),
        table([Outcome(evil, "here")]),
    ):
        assert not {"\x1b", "\r", "\x07"} & set(text)
        assert "[2J" in text  # it is said, and does nothing
