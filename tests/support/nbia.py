"""A local server that answers as NBIA does, with the faults that it and the network have.

Written from the server's own source (nbia-api of NBIA-TCIA): names of columns and files, quoting, status codes. An
archive has neither a length nor chunks, so that one that is cut off looks as whole to HTTP as any other.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import threading
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom

ROOT = "/nbia-api/services/"
TOKEN = "a token of the test"
LICENCE = "Creative Commons Attribution 4.0 International License"
V4 = [
    "PatientID",
    "PatientName",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyDesc",
    "SeriesInstanceUID",
    "Collection",
    "Site",
    "Modality",
    "SeriesDate",
    "SeriesDescription",
    "SeriesNumber",
    "ImageCount",
    "LicenseName",
    "LicenseURI",
    "DataDescriptionURI",
    "FileSize",
    "Authorized",
]
V1 = [
    "Series UID",
    "Collection",
    "3rd Party Analysis",
    "Data Description URI",
    "Subject ID",
    "Study UID",
    "Study Description",
    "Study Date",
    "Series Description",
    "Manufacturer",
    "Modality",
    "SOP Class UID",
    "Number of Images",
    "File Size",
    "File Location",
    "Series Number",
    "License Name",
    "License URL",
]


class Nbia:
    """Start with ``with``.

    Attributes
    ----------
    faults : dict
        (endpoint, Series UID or "") -> what goes wrong with the next calls, one after the other: see `broken`.
    asked : list
        (version, endpoint, Series UID) of each request.
    closed : set
        Series that are open to who has the token alone.
    """

    def __init__(self, folder: Path, *, versions: str = "v4", collection: str = "Heads") -> None:
        self.series: dict[str, list[bytes]] = defaultdict(list)
        self.facts: dict[str, dict[str, Any]] = {}
        for path in sorted(folder.rglob("*.dcm")):
            header = pydicom.dcmread(path, stop_before_pixels=True)
            uid = str(header.SeriesInstanceUID)
            self.series[uid].append(path.read_bytes())
            self.facts[uid] = {
                "PatientID": str(header.PatientID),
                "StudyInstanceUID": str(header.StudyInstanceUID),
                "Modality": str(header.Modality),
                "SeriesDescription": 'said "so", with a comma',
                "Collection": collection,
                "LicenseName": LICENCE,
                "LicenseURI": "https://creativecommons.org/licenses/by/4.0/",
                "DataDescriptionURI": "https://doi.org/10.7937/test",
            }
        self.versions = versions.split()
        self.faults: dict[tuple[str, str], list[Any]] = defaultdict(list)
        self.asked: list[tuple[str, str, str]] = []
        self.headers: list[Any] = []
        self.closed: set[str] = set()
        self.busy = Counter[str]()
        self._lock = threading.Lock()

    def __enter__(self) -> Nbia:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                service.answer(self, parse_qs(urlsplit(self.path).query))

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                service.answer(self, parse_qs(body))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.server.shutdown()
        self.server.server_close()

    def times(self, endpoint: str, uid: str = "") -> int:
        """How often an endpoint was asked, for one series or any."""
        return sum(name == endpoint and uid in ("", one) for _, name, one in self.asked)

    def manifest(self, path: Path, *uids: str) -> Path:
        """As NBIA writes one, with its line about a folder for temporary files."""
        head = f"downloadServerUrl={self.url}/nbia-download/servlet/DownloadServlet\nincludeAnnotation=true\n"
        head += "noOfrRetry=4\ntempLoc=/tmp/\ndatabasketId=manifest-1.tcia\nmanifestVersion=3.0\n"
        path.write_text(head + "ListOfSeriesToDownload=\n" + "\n".join(uids or self.series) + "\n")
        return path

    # --- answers

    def answer(self, to: BaseHTTPRequestHandler, query: dict[str, list[str]]) -> None:
        path = urlsplit(to.path).path
        version, _, endpoint = path.removeprefix(ROOT).partition("/")
        uid = query.get("SeriesInstanceUID", [""])[0]
        with self._lock:
            self.asked.append((version, endpoint, uid))
            self.headers.append(to.headers)
            faults = self.faults[endpoint, uid]
            fault = faults.pop(0) if faults else ""
            self.busy["now"] += 1
            self.busy["most"] = max(self.busy["most"], self.busy["now"])
        try:
            if not path.startswith(ROOT) or version not in self.versions:
                return reply(to, 404, b"Not Found")
            if isinstance(fault, int):
                return reply(
                    to, fault, b"Server was not able to process your request", {"Location": "https://x.test/"}
                )
            signed = to.headers.get("Authorization") == f"Bearer {TOKEN}"
            if to.headers.get("Authorization") and not signed:
                return reply(to, 401, b"Invalid access token")
            if endpoint == "getSeriesMetadata" and to.command == "POST" and version == "v4":
                return reply(to, 200, self.described(query["list"][0].split(","), signed))
            if endpoint == "getSeriesMetaData" and version != "v4":
                return reply(to, *self.described_before(uid))
            if endpoint == "getImageWithMD5Hash":
                if uid not in self.series or (uid in self.closed and not signed):
                    said = f"Image with given SeriesInstanceUID,{uid}, is not in public domain."
                    return reply(to, 400, said.encode())
                if callable(fault):
                    fault(uid)
                to.send_response(200)
                to.send_header("Content-Type", "application/octet-stream")
                archive = self.archive(uid, fault if isinstance(fault, str) else "")
                if fault == "reset":
                    to.send_header("Content-Length", str(len(archive)))
                to.end_headers()
                to.wfile.write(archive[: len(archive) // 2] if fault in ("cut", "reset") else archive)
                return None
            return reply(to, 404, b"Not Found")
        except (BrokenPipeError, ConnectionResetError):
            return None
        finally:
            with self._lock:
                self.busy["now"] -= 1

    def described(self, uids: list[str], signed: bool) -> bytes:
        rows = []
        for uid in uids:
            if uid in self.series and (uid not in self.closed or signed):
                sizes = {"ImageCount": len(self.series[uid]), "FileSize": sum(map(len, self.series[uid]))}
                rows.append({**self.facts[uid], "SeriesInstanceUID": uid, **sizes, "Authorized": 1})
        if not rows:
            return b""
        text = io.StringIO()
        writer = csv.DictWriter(text, V4, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()

    def described_before(self, uid: str) -> tuple[int, bytes]:
        """As versions 1 and 2 describe one series."""
        if uid not in self.series or uid in self.closed:
            return 204, b""
        facts = self.facts[uid]
        row = dict.fromkeys(V1, "")
        row |= {"Series UID": uid, "Collection": facts["Collection"], "Subject ID": facts["PatientID"]}
        row |= {"Study UID": facts["StudyInstanceUID"], "Modality": facts["Modality"]}
        row |= {"License Name": facts["LicenseName"], "Number of Images": len(self.series[uid])}
        row |= {"File Size": f"{sum(map(len, self.series[uid]))}", "Data Description URI": "null"}
        return 200, json.dumps([row]).encode()

    def archive(self, uid: str, fault: str = "") -> bytes:
        """The ZIP file of a series; `fault` is what is wrong with it."""
        files = {f"{n:08d}.dcm": data for n, data in enumerate(self.series[uid], 1)}
        hashes = {name: hashlib.md5(data).hexdigest() for name, data in files.items()}
        last = list(files)[-1]
        if fault == "flipped":
            files[last] = files[last][:-1] + bytes([files[last][-1] ^ 1])
        elif fault == "missing":
            del files[last]
        elif fault == "fewer":
            del files[last], hashes[last]
        elif fault == "unlisted":
            del hashes[last]
        elif fault == "foreign":
            other = next(one for one in self.series if one != uid)
            files[last] = self.series[other][0]
            hashes[last] = hashlib.md5(files[last]).hexdigest()
        elif fault == "twice":
            files["again.dcm"], hashes["again.dcm"] = files[last], hashes[last]
        elif fault == "no dicom":
            files[last], hashes[last] = b"<html>", hashlib.md5(b"<html>").hexdigest()
        elif fault == "no zeros":
            hashes = {name: md5.lstrip("0") for name, md5 in hashes.items()}
        elif fault == "no hashes":
            hashes = dict.fromkeys(hashes, "")
        elif fault.startswith("named "):
            files[fault.removeprefix("named ")] = b"x"
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name), data)
            if fault != "early":
                rows = "".join(f"{name},{md5}\n" for name, md5 in hashes.items())
                archive.writestr("md5hashes.csv", "Filename,MD5Hash\n" + rows)
        return out.getvalue()


def reply(
    to: BaseHTTPRequestHandler, status: int, body: bytes = b"", headers: dict[str, str] | None = None
) -> None:
    to.send_response(status)
    for name, value in (headers or {}).items():
        to.send_header(name, value)
    if status != 204:
        to.send_header("Content-Length", str(len(body)))
    to.end_headers()
    if status != 204:
        to.wfile.write(body)


#: What may be called in the middle of an answer.
Hook = Callable[[str], None]
