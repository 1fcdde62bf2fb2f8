"""``defacedask deface`` on whole folders: shape, record, exit codes, resuming."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from support import make
from support.export_kit import geometry, half_space, head_ct, stub_plan, tree, write_patient  # noqa: F401

from defacedask.cli.deface import command
from defacedask.errors import ConfigError, DefacedaskError, InputError
from defacedask.flow.result import TaskResult
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.export.audit import read_lines
from defacedask.runs import deface as defacing
from defacedask.runs import deface_stages
from defacedask.verify import verify


@pytest.fixture(autouse=True)
def quick_plan(monkeypatch):
    """Half-spaces instead of heads: looking at one is tested elsewhere."""
    monkeypatch.setattr(deface_stages, "plan_protected", stub_plan)


def run(*arguments: object):
    args = [str(a) for a in arguments]
    return CliRunner().invoke(command, [*args, "--defacer", "half_space", "--cluster", "here"])


@pytest.fixture
def cohort(tmp_path) -> Path:
    """Two patients, one too small for the stub, a secondary capture, and a text file."""
    folder = tmp_path / "cohort"
    write_patient(folder / "one")
    small = make.grid((5, 20, 20), (3, 2, 2), frame=make.uid("other"))
    make.write_series(folder / "two" / "CT", head_ct(small), small, patient="P2")
    capture = make.new("SC", "P1", "capture", instance=0)
    make.set_pixels(capture, head_ct(small)[0])
    make.save(capture, folder / "one" / "photo.dcm")
    (folder / "notes.txt").write_text("no images")
    return folder


def test_cohort(cohort, tmp_path):
    out = tmp_path / "out"
    result = run(cohort, "--out", out)
    assert result.exit_code == 1, result.output
    assert "1 of 2 cases written" in result.output
    assert "no head was found" in result.output
    assert f"left out: {cohort / 'notes.txt'}: it is not a DICOM file" in result.output
    files = set(tree(out))
    source = {p.relative_to(cohort).as_posix() for p in (cohort / "one").rglob("*.dcm")}
    assert files == source - {"one/photo.dcm"} | {"audit.jsonl", "audit.seal.json"}
    lines = read_lines(out / "audit.jsonl")
    refused = {line["file"]: line["reason"] for line in lines if line["status"] == "refused"}
    assert "secondary capture" in refused["one/photo.dcm"]
    assert "not a DICOM file" in refused["notes.txt"]
    assert sum(name.startswith("two/") for name in refused) == 5
    assert len(lines) == 16 + 7
    found = verify(out, source=[cohort])
    assert found.problems == []


def test_all_well_is_exit_code_0_and_nothing_of_the_original_stays(tmp_path):
    write_patient(tmp_path / "in")
    out, work = tmp_path / "out", tmp_path / "out.work"
    result = run(tmp_path / "in", "--out", out)
    assert result.exit_code == 0, result.output
    assert "headers were left as they were" in " ".join(result.output.split())
    assert not list((work / "store").glob("*"))
    key = (work / "run.key").read_text().strip()
    assert (work / "run.key").stat().st_mode & 0o077 == 0
    assert all(key.encode() not in p.read_bytes() for p in out.rglob("*") if p.is_file())


def test_second_run_does_only_what_is_missing(cohort, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(cohort, "--out", out)
    first = tree(out)
    calls: list[str] = []
    real = deface_stages.export

    def counted(*args, **options):
        calls.append(options["case"]["id"])
        return real(*args, **options)

    monkeypatch.setattr(deface_stages, "export", counted)
    run(cohort, "--out", out)
    assert calls == []
    assert tree(out) == first
    (out / "one" / "RS.dcm").unlink()
    run(cohort, "--out", out)
    assert len(calls) == 1
    assert tree(out) == first
    # other options need the store again, which was cleared away
    run(cohort, "--out", out, "--private", "drop")
    assert len(calls) == 2
    run(cohort, "--out", out)
    assert len(calls) == 3
    assert tree(out) == first
    # a new look at an input that changed
    path = sorted((cohort / "one" / "CT").iterdir())[2]
    import pydicom

    dataset = pydicom.dcmread(path)
    dataset.SeriesDescription = "changed"
    dataset.save_as(path)
    run(cohort, "--out", out)
    assert len(calls) == 4
    changed = {name for name, digest in tree(out).items() if first[name] != digest}
    assert changed == {"one/CT/images.0002.dcm", "audit.jsonl", "audit.seal.json"}


def test_same_key_same_uids_in_another_folder(tmp_path):
    grid = geometry()
    make.write_series(tmp_path / "in" / "CT", head_ct(grid), grid)
    key = tmp_path / "site.key"
    for name in ("a", "b"):
        assert run(tmp_path / "in", "--out", tmp_path / name, "--key", key).exit_code == 0
    assert run(tmp_path / "in", "--out", tmp_path / "c").exit_code == 0
    a, b, c = (tree(tmp_path / name) for name in ("a", "b", "c"))
    assert a == b
    assert a["CT/images.0000.dcm"] != c["CT/images.0000.dcm"]


def test_dry_run_writes_nothing(cohort, tmp_path):
    before = set(tmp_path.iterdir())
    result = run(cohort, "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0
    assert "2 cases would be defaced" in result.output
    assert "photo.dcm" in result.output
    assert set(tmp_path.iterdir()) == before


def test_several_inputs_keep_their_names(tmp_path):
    grid = geometry()
    make.write_series(tmp_path / "x" / "a" / "CT", head_ct(grid), grid)
    small = make.grid((9, 20, 20), (3, 2, 2), frame=make.uid("other"), origin=(-20.0, -20.0, 0.0))
    make.write_series(tmp_path / "y" / "b", head_ct(small), small, patient="P2")
    result = run(tmp_path / "x" / "a", tmp_path / "y" / "b", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    names = set(tree(tmp_path / "out"))
    assert "a/CT/images.0000.dcm" in names
    assert "b/images.0000.dcm" in names


@pytest.mark.parametrize("out", ["in/out", "in", "."])
def test_output_among_the_input_is_refused(tmp_path, out):
    write_patient(tmp_path / "in")
    before = tree(tmp_path / "in")
    result = run(tmp_path / "in", "--out", tmp_path / out)
    assert isinstance(result.exception, ConfigError)
    assert tree(tmp_path / "in") == before


def test_bad_options(tmp_path):
    write_patient(tmp_path / "in")
    found = scan(tmp_path / "in")
    with pytest.raises(ConfigError, match="leaves the face in"):
        defacing.deface(found, tmp_path / "out", "none")
    with pytest.raises(ConfigError, match="no defacer"):
        defacing.deface(found, tmp_path / "out", "nothing")
    with pytest.raises(ConfigError, match="work folder"):
        defacing.deface(found, tmp_path / "out", "half_space", work=tmp_path / "out" / "work")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image series"):
        defacing.deface(scan(tmp_path / "empty"), tmp_path / "out", "half_space")
    assert not (tmp_path / "out").exists()


def test_read_only_output(tmp_path):
    if os.geteuid() == 0:
        (tmp_path / "out").write_text("a file where the folder should be")
    else:
        (tmp_path / "out").mkdir(mode=0o555)
    write_patient(tmp_path / "in")
    result = run(tmp_path / "in", "--out", tmp_path / "out")
    assert isinstance(result.exception, DefacedaskError)
    assert "cannot write" in str(result.exception)


def test_protected_structures_by_pattern(tmp_path):
    from defacedask.flow.stages.ingest import ingest
    from defacedask.flow.stages.protecting import kept_structures
    from defacedask.io.dicom.catalogue import scan as look_for
    from defacedask.io.store import CaseStore

    write_patient(tmp_path / "in")
    case = look_for(tmp_path / "in").cases[0]
    facts = ingest(case=case.to_dict(), root=str(tmp_path / "store")).facts
    store = CaseStore(facts["store"])
    kept, missing = kept_structures(store, ["bra*", "DEEP", "Brain"])
    assert missing == []
    assert [p.name for p in kept] == ["Brain", "Deep"]
    mask = store.structures(store.structure_sets[0])[1]
    grid = store.geometry("images/CT")
    assert mask.original_name == "Brain"
    protected = kept[0].protected(3.0)
    assert protected.keep(grid)[mask.box][mask.mask].all()
    assert protected.margin_mm == 3.0
    kept, missing = kept_structures(store, ["PTV*"])
    assert kept == []
    assert "PTV*" in missing[0]


def test_record_is_there_after_an_interruption(cohort, tmp_path, monkeypatch):
    """A run that ends in the middle leaves a folder that is its own record's."""
    from defacedask.errors import OutputError
    from defacedask.flow.flow import Flow

    real = Flow.run

    def stops(*args, **options):
        yield from real(*args, **options)
        raise OutputError("the disk is full.")

    monkeypatch.setattr(Flow, "run", stops)
    result = run(cohort, "--out", tmp_path / "out")
    assert isinstance(result.exception, OutputError)
    found = verify(tmp_path / "out")
    assert found.problems == []
    assert found.written == 16


def test_results_tell_no_key(tmp_path):
    write_patient(tmp_path / "in")
    run(tmp_path / "in", "--out", tmp_path / "out")
    key = (tmp_path / "out.work" / "run.key").read_text().strip()
    for path in (tmp_path / "out.work" / "results").rglob("*.json"):
        assert key not in path.read_text()
        assert TaskResult(**json.loads(path.read_text())).ok


def test_another_defacer_in_the_same_folder_is_refused_and_changes_nothing(tmp_path):
    write_patient(tmp_path / "in")
    out = tmp_path / "out"
    assert run(tmp_path / "in", "--out", out).exit_code == 0
    first = tree(out)
    with pytest.raises(ConfigError, match="holds what half_space wrote"):
        defacing.deface(tmp_path / "in", out, "quickshear")
    assert tree(out) == first
    assert verify(out).ok
    # where nothing of it is left another may write
    for path in out.rglob("*.dcm"):
        path.unlink()
    assert not isinstance(defacing.deface(tmp_path / "in", out, "quickshear"), ConfigError)


def test_originals_that_are_none_are_told(tmp_path):
    write_patient(tmp_path / "in")
    assert run(tmp_path / "in", "--out", tmp_path / "out").exit_code == 0
    make.write_series(tmp_path / "other", head_ct(geometry()) + 1, geometry(), patient="P9")
    assert "No image that was given" not in " ".join(verify(tmp_path / "out", source=tmp_path / "in").unseen)
    assert "No image that was given" in " ".join(verify(tmp_path / "out", source=tmp_path / "other").unseen)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no original"):
        verify(tmp_path / "out", source=tmp_path / "empty")


@pytest.mark.parametrize("work", ["in", "in/work", "in/CT/work"])
def test_no_work_folder_in_the_input(tmp_path, work):
    write_patient(tmp_path / "in")
    before = tree(tmp_path / "in")
    with pytest.raises(ConfigError, match=r"the work folder .* lies in, the input"):
        defacing.deface(tmp_path / "in", tmp_path / "out", "half_space", work=tmp_path / work)
    assert tree(tmp_path / "in") == before
