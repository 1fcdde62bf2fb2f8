"""What is asked for: manifests, lists and names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defacedask.errors import ConfigError, InputError
from defacedask.io.dicom.find import find_files
from defacedask.io.remote.cohort.asked import read_asked
from defacedask.io.remote.cohort.nbia import server_of

HEAD = "downloadServerUrl=https://nbia.cancerimagingarchive.net/nbia-download/servlet/DownloadServlet"
UUID = "085e85b3-3780-47f6-8538-585bcca95336"
UIDS = st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,9}){1,4}", fullmatch=True)
#: Lines that manifests of several years begin with; how many there are differs.
OPTIONS = st.lists(
    st.sampled_from(["includeAnnotation=true", "noOfrRetry=4", "tempLoc=/tmp/", "", "manifestVersion=3.0"]),
    unique=True,
)


@given(
    uids=st.lists(UIDS, min_size=1), options=OPTIONS, end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans()
)
def test_a_manifest_of_any_year(tmp_path_factory, uids, options, end, bom):
    path = tmp_path_factory.getbasetemp() / "manifests" / "manifest-1.tcia"
    path.parent.mkdir(exist_ok=True)
    text = end.join([HEAD, *options, "ListOfSeriesToDownload=", *uids, ""])
    path.write_text(text, encoding="utf-8-sig" if bom else "utf-8", newline="")
    asked = read_asked(str(path))
    assert asked.uids == tuple(dict.fromkeys(uids))
    assert server_of(asked.server) == "https://nbia.cancerimagingarchive.net"
    # and `scan` reads the same from it
    assert set(find_files([str(path)]).wanted) == set(uids)


def test_a_list_of_uids(tmp_path):
    path = tmp_path / "uids.txt"
    path.write_text("# chosen by hand\n1.2.3\n\n 1.2.4 \n1.2.3\n")
    asked = read_asked(str(path))
    assert (asked.service, asked.uids, asked.server) == ("nbia", ("1.2.3", "1.2.4"), "")
    asked = read_asked(f"idc:{path}")
    assert (asked.service, asked.uids, asked.manifest) == ("idc", ("1.2.3", "1.2.4"), path)


@pytest.mark.parametrize(
    "line", ["../../etc/passwd", "1.2.3/4", "1", "1.2." + "3" * 62, "1.2.3;4", "1.2.3 1.2.4", "s3://x/y"]
)
def test_a_line_that_is_no_uid_is_named(tmp_path, line):
    path = tmp_path / "uids.txt"
    path.write_text(f"1.2.3\n{line}\n")
    with pytest.raises(InputError, match=r"line 2 of uids\.txt is no Series Instance UID"):
        read_asked(str(path))


def test_what_is_no_manifest(tmp_path):
    for content in (
        b"",
        b"# nothing\n",
        b"\x89PNG\r\n\x1a\n\xff",
        HEAD.encode() + b"\nListOfSeriesToDownload=\n",
    ):
        (tmp_path / "m.tcia").write_bytes(content)
        with pytest.raises(InputError):
            read_asked(str(tmp_path / "m.tcia"))
    for name in (str(tmp_path / "none.tcia"), "idc:", "idc:a/b", "idc:../x", str(tmp_path)):
        with pytest.raises(InputError):
            read_asked(name)


def test_names_of_idc(tmp_path):
    assert read_asked("idc:UPENN-GBM").collection == "UPENN-GBM"
    assert read_asked("idc:1.2.3.4").uids == ("1.2.3.4",)
    path = tmp_path / "m.s5cmd"
    path.write_text(
        f"# from the portal\ncp s3://idc-open-data/{UUID}/* .\ncp s3://idc-open-data/{UUID}/* .\n"
    )
    asked = read_asked(str(path))
    assert (asked.service, asked.objects, asked.uids) == ("idc", (UUID,), ())
    path.write_text("cp s3://somebody/else/* .\n")
    with pytest.raises(InputError, match="line 1"):
        read_asked(str(path))


@pytest.mark.parametrize(
    ("given", "server"),
    [
        ("", "https://nbia.cancerimagingarchive.net"),
        ("https://public.cancerimagingarchive.net/nbia-download/x", "https://nbia.cancerimagingarchive.net"),
        ("http://services.cancerimagingarchive.net/x", "https://nbia.cancerimagingarchive.net"),
        ("https://NLST.cancerimagingarchive.net", "https://nlst.cancerimagingarchive.net"),
    ],
)
def test_servers_that_are_known(given, server):
    assert server_of(given) == server


@pytest.mark.parametrize(
    "given",
    [
        "https://evil.test/nbia-download",
        "https://nbia.cancerimagingarchive.net.evil.test/",
        "https://nbia.cancerimagingarchive.net@evil.test/",
        "https://evil.test/nbia.cancerimagingarchive.net",
        "https://nbia.cancerimagingarchive.net:8443/",
        "file:///etc/passwd",
        "ftp://nbia.cancerimagingarchive.net/",
        "http://127.0.0.1:80/",
    ],
)
def test_a_manifest_does_not_choose_any_other_server(given):
    with pytest.raises(ConfigError, match="--server"):
        server_of(given)


def test_the_user_does(monkeypatch):
    assert server_of("https://evil.test", "https://nbia.our.hospital/x?y") == "https://nbia.our.hospital"
    assert server_of("", "nbia.our.hospital:8443") == "https://nbia.our.hospital:8443"
    for wrong in ("ftp://x.test", "file:///x", "https://user:secret@x.test"):
        with pytest.raises(ConfigError):
            server_of("", wrong)
    # a token does not cross a network in the clear
    monkeypatch.setenv("DEFACEDASK_REMOTE_TOKEN", "t")
    with pytest.raises(ConfigError, match="unencrypted"):
        server_of("", "http://nbia.our.hospital")
    assert server_of("", "http://127.0.0.1:8080") == "http://127.0.0.1:8080"
