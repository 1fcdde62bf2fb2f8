"""The record of a run: one JSON line a written or refused instance, and a seal over all of them.

Every case leaves its own part beside the results of the run; `collect` makes ``audit.jsonl`` of the parts that are
there, whole or not at all, and holds the lines of one part at a time. It names outputs by their path below the folder
and inputs by their hash alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.errors import StoreError
from defacedask.io.dicom.export.leaks import coded_words
from defacedask.io.store import writing
from defacedask.whole_files import file_hash, replacing, write_whole

if TYPE_CHECKING:
    from defacedask.io.dicom.export.words import Words

__all__ = [
    "AUDIT",
    "SEAL",
    "audit_line",
    "collect",
    "each_line",
    "hash_of_source",
    "lost_files",
    "read_lines",
    "seal_of",
    "write_lines",
]

AUDIT, SEAL = "audit.jsonl", "audit.seal.json"


def audit_line(status: str, file: str, **known: Any) -> dict[str, Any]:
    """One line of the record; what every line has is there, empty where it is not known.

    Parameters
    ----------
    status : str
        written | refused | copied.
    file : str
        Path in the output folder; of what was not written, the path that it would have.
    **known
        case, defacer, modality, input_sha256, output_sha256, plan_sha256, reason; and what else is known of it.
    """
    names = ("case", "defacer", "modality", "input_sha256", "output_sha256", "plan_sha256", "reason")
    return {"status": status, "file": file, **dict.fromkeys(names, ""), **known}


def hash_of_source(path: str | Path) -> str:
    """SHA-256 of an input file; empty where it cannot be read."""
    try:
        return file_hash(path)
    except OSError:
        return ""


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write lines, whole or not at all."""
    text = "".join(_json(line) + "\n" for line in lines)
    with writing(f"the record {path.name}"):
        write_whole(path, text)


def _json(line: dict[str, Any]) -> str:
    text = json.dumps(line, sort_keys=True, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a file name that is no text
        return json.dumps(line, sort_keys=True)
    return text


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a part or of the whole record; none if it is not there.

    Raises
    ------
    StoreError
        If it is damaged or cannot be read.
    """
    return [line for _, line in each_line(path)]


def each_line(path: Path, start: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Lines of a part or of the whole record, one at a time, and where each begins; none if it is not there.

    Parameters
    ----------
    path : Path
    start : int
        Byte to begin at.

    Raises
    ------
    StoreError
        If it is damaged or cannot be read.
    """
    if not path.exists():
        return
    try:
        # a line ends with a line feed alone: names may hold other characters that end lines
        with path.open("rb") as file:
            file.seek(start)
            for raw in file:
                if raw.strip():
                    line = json.loads(raw.decode("utf-8"))
                    if not isinstance(line, dict):
                        raise ValueError("a line is no object")
                    yield start, line
                start += len(raw)
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"the record {path.name} is damaged ({error}).", "It is written anew.") from None


def lost_files(part: Path, out: Path) -> bool:
    """Whether a file that a case's part of the record names as written is gone, or the part is damaged."""
    try:
        written = [str(line["file"]) for line in read_lines(part) if line.get("status") == "written"]
        return not all((out / name).is_file() for name in written)
    except (StoreError, KeyError, OSError):
        return True


def seal_of(path: Path, key: bytes = b"") -> dict[str, Any]:
    """Hash of the record, and with the run's key a code that only its holder could make."""
    own = hmac.new(key, b"defacedask audit 1", hashlib.sha256).digest()
    plain, coded, lines = hashlib.sha256(), hmac.new(own, b"", hashlib.sha256), 0
    with path.open("rb") as file:
        while data := file.read(2**18):
            plain.update(data)
            coded.update(data)
            lines += data.count(b"\n")
    seal: dict[str, Any] = {"file": path.name, "lines": lines, "sha256": plain.hexdigest()}
    return {**seal, "hmac_sha256": coded.hexdigest()} if key else seal


def collect(
    out: Path,
    parts: Iterable[Path],
    more: Sequence[dict[str, Any]] = (),
    key: bytes = b"",
    words: Words | None = None,
) -> Path:
    """Make ``OUT/audit.jsonl`` and its seal of the cases' parts.

    Parameters
    ----------
    out : Path
        Output folder.
    parts : iterable of Path
        One a case and defacer; those that are not there are left out.
    more : sequence of dict
        Lines of what belongs to no case.
    key : bytes
        Of the run, for the seal.
    words : Words, optional
        Of the people whose headers were de-identified: the seal gets codes of them under the key.

    Returns
    -------
    Path
        Of the record.
    """
    path = out / AUDIT
    with writing(f"the record {path.name}"), replacing(path) as aside, aside.open("wb") as file:
        for line in _sorted(more, parts):
            file.write(line + b"\n")
    with writing("the seal of the record"):
        seal = seal_of(path, key)
        if words is not None and key:
            seal["words"] = coded_words(words.forms, key)
        write_whole(out / SEAL, json.dumps(seal, indent=1) + "\n")
    return path


def _sorted(more: Sequence[dict[str, Any]], parts: Iterable[Path]) -> Iterator[bytes]:
    """All lines by file and status; where each lies is sorted on disk, as a large run has millions.

    Raises
    ------
    OSError
        If a part cannot be read again, or the disk is full.
    """
    parts = list(parts)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.closing(sqlite3.connect(Path(folder, "lines"))) as table,
        ):
            table.execute("PRAGMA journal_mode = OFF")
            table.execute("PRAGMA synchronous = OFF")
            table.execute("CREATE TABLE lines (file BLOB, status BLOB, part INTEGER, start INTEGER)")
            place = "INSERT INTO lines VALUES (?, ?, ?, ?)"
            table.executemany(place, ((*_names(line), -1, n) for n, line in enumerate(more)))
            for part, path in enumerate(parts):
                # whoever reads the folder then finds files that are on no record
                with contextlib.suppress(StoreError):
                    table.executemany(place, [(*_names(one), part, start) for start, one in each_line(path)])
            table.execute("CREATE INDEX place ON lines (file, status, part, start)")
            found = table.execute("SELECT part, start FROM lines ORDER BY file, status, part, start")
            for part, start in found:
                line = more[start] if part < 0 else next(each_line(parts[part], start))[1]
                yield _json(line).encode()
    except sqlite3.Error as error:
        raise OSError(str(error)) from None


def _names(line: dict[str, Any]) -> tuple[bytes, bytes]:
    """What lines are sorted by; UTF-8 has the order of the characters, also of those that are no text."""
    file, status = (str(line.get(key, "")).encode("utf-8", "surrogatepass") for key in ("file", "status"))
    return file, status
