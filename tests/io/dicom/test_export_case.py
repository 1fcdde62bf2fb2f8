"""Fail closed, whole or not at all, resumable: what a case leaves behind when all goes well and when not."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from support import make
from support.export_kit import (
    HalfSpace,
    geometry,
    half_space,  # noqa: F401
    head_ct,
    one_case,
    run_export,
    tree,
    write_patient,
)

from defacedask.errors import DefacedaskError, OutputError, RefusedError
from defacedask.flow.stages.export import record_path, refuse
from defacedask.io.dicom.export import audit, check, image
from defacedask.io.dicom.export.audit import read_lines
from defacedask.whole_files import file_hash


def record(work, case):
    return read_lines(record_path(work / "record", case.id, "half_space"))


@pytest.fixture
def source(tmp_path):
    grid = geometry()
    make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    return tmp_path / "in"


def test_record_has_a_line_an_instance_with_true_hashes(tmp_path):
    write_patient(tmp_path / "in")
    _, out = run_export(tmp_path / "in", tmp_path)
    case = one_case(tmp_path / "in")
    lines = record(tmp_path, case)
    assert {line["file"] for line in lines} == set(tree(out))
    sources = {file_hash(f) for s in case.series for f in s.files}
    assert {line["input_sha256"] for line in lines} == sources
    for line in lines:
        assert line["status"] == "written"
        assert line["output_sha256"] == file_hash(out / line["file"])
        assert line["plan_sha256"] == HalfSpace(-2.0).digest
        assert line["unresolved"] == 0


def test_same_input_same_bytes(source, tmp_path):
    _, one = run_export(source, tmp_path / "a")
    _, two = run_export(source, tmp_path / "b")
    _, other = run_export(source, tmp_path / "c", key=bytes(32))
    assert tree(one) == tree(two)
    assert set(tree(one)) == set(tree(other))
    assert tree(one) != tree(other)


def test_a_plan_that_changes_nothing_exports_nothing(source, tmp_path):
    with pytest.raises(RefusedError, match="changes no voxel"):
        run_export(source, tmp_path, HalfSpace(-1e6))
    assert tree(tmp_path / "out") == {}
    lines = record(tmp_path, one_case(source))
    assert [line["status"] for line in lines] == ["refused"] * 12
    assert all("changes no voxel" in line["reason"] for line in lines)


def corrupt_pixels(monkeypatch):
    put = image.put_pixels

    def wrong(dataset, frames, syntax):
        frames = frames.copy()
        if int(dataset.InstanceNumber) == 7:
            frames[0, -1, -1] += 1
        return put(dataset, frames, syntax)

    monkeypatch.setattr(image, "put_pixels", wrong)
    return "values outside the region changed"


def corrupt_inside(monkeypatch):
    put = image.put_pixels

    def wrong(dataset, frames, syntax):
        frames = frames.copy()
        frames[0, 0, 0] += 1
        return put(dataset, frames, syntax)

    monkeypatch.setattr(image, "put_pixels", wrong)
    return "inside the region are not the plan's"


def corrupt_header(monkeypatch):
    marked = image.mark_cleaned

    def wrong(dataset, *args, **options):
        marked(dataset, *args, **options)
        dataset.PixelSpacing = [1, 1]

    monkeypatch.setattr(image, "mark_cleaned", wrong)
    return r"element \(0028,0030\) is not the original's"


def corrupt_record(monkeypatch):
    monkeypatch.setattr(image, "mark_cleaned", lambda *a, **o: None)
    return "113102"


def corrupt_leak(monkeypatch):
    marked = image.mark_cleaned

    def wrong(dataset, *args, **options):
        marked(dataset, *args, **options)
        dataset.DerivationDescription += " of " + make.uid("P1", "images", "instance", 3)

    monkeypatch.setattr(image, "mark_cleaned", wrong)
    return "UIDs of the source are still in it"


def corrupt_map(monkeypatch):
    monkeypatch.setattr(image.Context, "remap", lambda self, dataset: 0, raising=False)
    return "new UID|map|header"


@pytest.mark.parametrize(
    "corrupt",
    [corrupt_pixels, corrupt_inside, corrupt_header, corrupt_record, corrupt_leak],
    ids=lambda f: f.__name__,
)
def test_a_fault_of_the_writer_is_caught_and_leaves_nothing(source, tmp_path, monkeypatch, corrupt):
    message = corrupt(monkeypatch)
    with pytest.raises(DefacedaskError, match=message):
        run_export(source, tmp_path)
    assert tree(tmp_path / "out") == {}
    assert not list((tmp_path / "out").iterdir())
    assert {line["status"] for line in record(tmp_path, one_case(source))} == {"refused"}


def test_a_plan_that_breaks_its_own_region_is_caught(source, tmp_path, monkeypatch):
    def spills(self, stored, geometry, slope, intercept, modality):
        out = np.array(stored)
        out[:, -1, -1] = 7
        return out

    monkeypatch.setattr(HalfSpace, "deface_block", spills)
    with pytest.raises(DefacedaskError, match="outside its own region"):
        run_export(source, tmp_path)
    assert tree(tmp_path / "out") == {}


def test_a_later_failure_takes_back_what_was_there(source, tmp_path, monkeypatch):
    _, out = run_export(source, tmp_path)
    assert len(tree(out)) == 12
    corrupt_record(monkeypatch)
    with pytest.raises(DefacedaskError):
        run_export(source, tmp_path)
    assert tree(out) == {}


def test_refusing_takes_back_and_says_why(source, tmp_path):
    _, out = run_export(source, tmp_path)
    case = one_case(source)
    names = {f: f"CT/{os.path.basename(f)}" for s in case.series for f in s.files}  # noqa: PTH119
    options = {"defacer": "half_space", "out": out, "names": names, "record": tmp_path / "record"}
    refuse(case, f"no head in {case.primary.files[0]} of {case.primary.uid}.", **options, run_key=bytes(32))
    assert tree(out) == {}
    for line in record(tmp_path, case):
        assert line["status"] == "refused"
        assert str(tmp_path) not in line["reason"]
        assert case.primary.uid not in json.dumps(line)


def test_again_over_an_earlier_run(source, tmp_path):
    _, out = run_export(source, tmp_path)
    first = tree(out)
    run_export(source, tmp_path)
    assert tree(out) == first
    run_export(source, tmp_path, HalfSpace(3.0))
    assert set(tree(out)) == set(first)
    assert tree(out) != first


def test_files_of_somebody_else_are_not_overwritten(source, tmp_path):
    foreign = tmp_path / "out" / "CT" / "images.0003.dcm"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    with pytest.raises(OutputError, match="already in the output folder"):
        run_export(source, tmp_path)
    assert tree(tmp_path / "out") == {"CT/images.0003.dcm": file_hash(foreign)}
    assert foreign.read_text() == "mine"


def test_a_full_disk_half_way_leaves_nothing(source, tmp_path, monkeypatch):
    saved = image.save
    count = [0]

    def full(*args):
        count[0] += 1
        if count[0] > 6:
            raise OSError(28, "No space left on device")
        return saved(*args)

    monkeypatch.setattr(image, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        run_export(source, tmp_path)
    assert tree(tmp_path / "out") == {}


def test_input_that_changed_since_the_scan_is_refused(source, tmp_path):
    case = one_case(source)
    other = sorted((source / "CT").iterdir())
    data = other[4].read_bytes()
    run_export(source, tmp_path / "first", case=case)
    other[4].write_bytes(other[5].read_bytes())
    with pytest.raises(DefacedaskError, match="is not the file that was scanned"):
        run_export(source, tmp_path, case=case)
    other[4].write_bytes(data)
    assert tree(tmp_path / "out") == {}


def test_source_names_with_uids_do_not_come_out(tmp_path):
    grid = geometry()
    uid = make.uid("P1", "images")
    folder = tmp_path / "in" / uid
    for k, path in enumerate(make.write_series(folder, head_ct(grid), grid)):
        path.rename(path.with_name(f"CT.{make.uid('P1', 'images', 'instance', k)}.dcm"))
    _, out = run_export(tmp_path / "in", tmp_path)
    names = "\n".join(tree(out))
    assert names.count("2.25.") == 24
    assert uid not in names
    assert make.uid("P1", "images", "instance", 1) not in names
    assert uid not in "".join(p.read_text() for p in (tmp_path / "record").rglob("*.jsonl"))


def test_lines_are_collected_and_sealed(tmp_path):
    parts = [tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "not there.jsonl"]
    audit.write_lines(parts[0], [{"file": "b", "status": "written"}])
    audit.write_lines(parts[1], [{"file": "a", "status": "refused"}])
    path = audit.collect(tmp_path, parts, [{"file": "c", "status": "refused"}], b"k" * 32)
    assert [line["file"] for line in read_lines(path)] == ["a", "b", "c"]
    seal = json.loads((tmp_path / audit.SEAL).read_text())
    assert seal["lines"] == 3
    assert seal == audit.seal_of(path, b"k" * 32)
    assert seal["hmac_sha256"] != audit.seal_of(path, b"K" * 32)["hmac_sha256"]


def test_checks_are_used(monkeypatch):
    """The names that the tests above replace are those that the writer uses."""
    assert image.put_pixels is not None
    assert {"check_pixels", "check_header", "check_record", "check_leaks"} <= set(check.__all__)
