"""Records of more lines than memory should hold: read, sorted and judged one line at a time."""

from __future__ import annotations

import tracemalloc
import weakref

import pytest
from support.export_kit import KEY, run_export, write_patient

from defacedask.errors import InputError
from defacedask.io.dicom import headers
from defacedask.io.dicom.export.audit import AUDIT, audit_line, collect, read_lines, write_lines
from defacedask.verify import verify
from defacedask.verify.lines import Record, Some

#: Names whose order by bytes of UTF-16, or by the code points of surrogates, would be another.
NAMES = ["b", "a\U0001f600", "a\ufffd", "a\udc80", "a", "ab", "A", "", "a/b", "a\x00", "ä"]


def test_lines_can_be_asked_for_again_and_by_number(tmp_path):
    lines = [audit_line("written", f"{k}.dcm", note="\u2028 ends no line") for k in range(5)]
    write_lines(tmp_path / AUDIT, lines)
    record = Record(tmp_path / AUDIT)
    assert list(record) == list(record) == lines
    assert len(record) == 5
    assert [record[k] for k in (3, 0, 4)] == [lines[3], lines[0], lines[4]]
    some = Some(record, bytes([0, 1, 0, 0, 1]))
    assert list(some) == list(some) == [lines[1], lines[4]]


@pytest.mark.parametrize("damage", ["{", "[]", '{"a": "\udcff"}'])
def test_a_damaged_line_is_said_at_once(tmp_path, damage):
    (tmp_path / AUDIT).write_bytes(b'{"file": "a"}\n' + damage.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(InputError, match=r"audit.jsonl cannot be read"):
        Record(tmp_path / AUDIT)


def test_lines_are_sorted_as_their_names_are(tmp_path):
    parts = []
    for k, names in enumerate((NAMES, NAMES[::-1], ["b", "c"])):
        parts.append(tmp_path / f"{k}.jsonl")
        status = ("written", "refused", "copied")[k]
        write_lines(parts[-1], [audit_line(status, name, number=n) for n, name in enumerate(names)])
    (tmp_path / "damaged.jsonl").write_text('{"file": "aa"}\n{')
    more = [audit_line("refused", "b", number=-1), audit_line("refused", "zz")]
    collect(tmp_path, [parts[0], tmp_path / "damaged.jsonl", tmp_path / "none.jsonl", *parts[1:]], more, KEY)
    every = [*more, *(line for part in parts for line in read_lines(part))]
    assert read_lines(tmp_path / AUDIT) == sorted(every, key=lambda line: (line["file"], line["status"]))


def test_neither_writing_nor_reading_holds_all_lines(tmp_path):
    parts = [tmp_path / f"{k:02d}.jsonl" for k in range(40)]
    for k, part in enumerate(parts):
        write_lines(part, [audit_line("written", f"{n:03d}/{k}.dcm", text="x" * 2000) for n in range(50)])
    for work in (lambda: collect(tmp_path, parts, (), KEY), lambda: sum(1 for _ in Record(tmp_path / AUDIT))):
        tracemalloc.start()
        work()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 2e6 < (tmp_path / AUDIT).stat().st_size / 2


def test_one_header_at_a_time(tmp_path, monkeypatch):
    from defacedask import defacers

    write_patient(tmp_path / "in")
    monkeypatch.setitem(defacers.BUILT_IN, "half_space", "support.export_kit:HalfSpaceDefacer")
    _, out = run_export(tmp_path / "in", tmp_path)
    collect(out, sorted((tmp_path / "record").rglob("*.jsonl")), key=KEY)
    opened: list[weakref.ref] = []
    alive = []
    own = headers.open_dataset

    def counted(*args, **options):
        dataset = own(*args, **options)
        opened.append(weakref.ref(dataset))
        alive.append(sum(one() is not None for one in opened))
        return dataset

    monkeypatch.setattr(headers, "open_dataset", counted)
    assert verify(out, key=KEY).ok
    assert len(opened) >= 32  # sixteen files, twice
    assert max(alive) <= 3
