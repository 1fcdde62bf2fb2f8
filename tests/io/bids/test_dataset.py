"""Data sets through ``deface``: valid before, valid after; who is refused is in no table but that of outcomes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from click.testing import CliRunner
from support.bids_kit import README, data_set, image, write
from support.export_kit import half_space, stub_plan  # noqa: F401
from support.judges import bids_issues

from defacedask.cli.deface import command
from defacedask.flow.stages import witnessing
from defacedask.flow.stages.residual import Residual
from defacedask.io.bids.tables import read_table
from defacedask.runs import deface_stages
from defacedask.verify import verify

BOLD, T1 = "ses-a/func/sub-01_ses-a_task-rest_bold.nii.gz", "ses-a/anat/sub-01_ses-a_T1w.nii.gz"
T2 = "ses-a/anat/sub-01_ses-a_T2w.nii.gz"


@pytest.fixture(autouse=True)
def quick_plan(monkeypatch):
    monkeypatch.setattr(deface_stages, "plan_protected", stub_plan)


def run(*arguments: object):
    args = [str(a) for a in arguments]
    done = CliRunner().invoke(command, [*args, "--defacer", "half_space", "--cluster", "here"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def table(path: Path) -> list[dict[str, str]]:
    return read_table(path.read_text())


def record(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]


def outcomes(out: Path) -> dict[str, str]:
    return {row["participant_id"]: row["status"] for row in table(out / "participants_defacing.tsv")}


def judge_but(refused: str):
    """All faces are gone but in images whose name holds a text, as long as they are not alone."""

    def judge(store, planned, defacer):
        out = []
        for path in store.images:
            bad = refused in str(store.volume(path).attrs["description"]) and (
                len(store.images) > 1 or "always" in refused
            )
            reason = Residual(0.1).sentence if bad else ""
            out.append(witnessing.Judged(path, reason, (), 0.1 if bad else 1.0, {}))
        return out

    return judge


def test_valid_before_and_after(tmp_path):
    root = data_set(tmp_path / "in")
    before = bids_issues(root)
    assert not before["errors"]
    assert run(root, "--out", tmp_path / "out").exit_code == 0
    after = bids_issues(tmp_path / "out")
    assert after == before
    assert verify(tmp_path / "out", source=[root]).problems == []
    # what was carried on was not left out
    lines = [json.loads(line) for line in (tmp_path / "out" / "audit.jsonl").read_text().splitlines()]
    assert {line["status"] for line in lines} == {"written"}


def test_the_validator_sees_what_is_wrong(tmp_path):
    root = data_set(tmp_path / "in")
    run(root, "--out", tmp_path / "out")
    mask = next((tmp_path / "out").rglob("*T1w_defacemask.nii.gz"))
    mask.rename(mask.with_name(mask.name.replace("mod-T1w", "T1w")))
    assert bids_issues(tmp_path / "out")["errors"]


def test_an_image_keeps_its_name_and_its_sidecar_all_that_was_said_above(tmp_path):
    root = data_set(tmp_path / "in")
    run(root, "--out", tmp_path / "out")
    anat = tmp_path / "out" / "sub-01" / "ses-a" / "anat"
    names = {p.name.removeprefix("sub-01_ses-a_") for p in anat.iterdir()}
    ends = ("T1w.nii.gz", "T1w.json", "mod-T1w_defacemask.nii.gz")
    assert names == {*ends, *(e.replace("T1w", "T2w") for e in ends)}
    assert json.loads((anat / "sub-01_ses-a_T2w.json").read_text())["EchoTime"] == 0.09
    assert not (tmp_path / "out" / "T1w.json").exists()


def test_what_is_said_of_the_data_set(tmp_path):
    root = data_set(tmp_path / "in", DatasetDOI="doi:10.1/x", GeneratedBy=[{"Name": "scanner"}])
    run(root, "--out", tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert facts["Name"] == "Made"
    assert facts["DatasetType"] == "raw"
    assert [one["Name"] for one in facts["GeneratedBy"]] == ["scanner", "defacedask"]
    # the DOI is the source's, and not that of what was made of it
    assert "DatasetDOI" not in facts
    assert facts["SourceDatasets"] == [{"DOI": "doi:10.1/x"}]
    assert (tmp_path / "out" / "README").read_text() == README
    assert (tmp_path / "out" / "CHANGES").exists()
    assert table(tmp_path / "out" / "participants.tsv") == table(root / "participants.tsv")
    assert outcomes(tmp_path / "out") == {"sub-01": "defaced", "sub-02": "defaced"}
    row = table(tmp_path / "out" / "participants_defacing.tsv")[0]
    assert (row["images_defaced"], row["plans"], row["session_id"]) == ("2", "1", "ses-a")


def transforms(root: Path) -> None:
    """A rigid map in the scan's folder, one to a template in HDF5, and a field that shows the face's shape."""
    turn = SimpleITK.Euler3DTransform((1.0, 2.0, 3.0), 0.1, 0.2, 0.3, (4.0, 5.0, 6.0))
    anat = root / "sub-01" / "ses-a" / "anat"
    SimpleITK.WriteTransform(turn, str(anat / f"sub-01_ses-a_{WAY}.txt"))
    SimpleITK.WriteTransform(turn, str(anat / "sub-01_ses-a_from-T1w_to-MNI152_mode-image_xfm.h5"))
    SimpleITK.WriteTransform(turn, str(anat / "sub-01_ses-a_from-bold_to-PET_mode-image_xfm.txt"))
    field = SimpleITK.DisplacementFieldTransform(SimpleITK.Image([4, 4, 4], SimpleITK.sitkVectorFloat64, 3))
    SimpleITK.WriteTransform(field, str(anat / "sub-01_ses-a_from-T1w_to-MNI152_desc-warp_mode-image_xfm.h5"))
    (anat / "sub-01_ses-a_from-T1w_to-MNI152_desc-odd_mode-image_xfm.txt").write_text("no transform\n")


WAY = "from-T2w_to-T1w_mode-image_xfm"


@pytest.mark.parametrize("renamed", [False, True])
def test_transforms_go_along_as_twelve_numbers_and_fields_do_not(tmp_path, renamed):
    root, out = data_set(tmp_path / "in"), tmp_path / "out"
    transforms(root)
    ids = tmp_path / "ids.csv"
    ids.write_text("patient_id,subject_id\nsub-01,TR-7\nsub-02,TR-8\n")
    assert run(root, "--out", out, *(("--deidentify", "--map", ids) if renamed else ())).exit_code == 0
    files = sorted(out.rglob("*_xfm.*"))
    names = {file.name.split("_", 2)[2] for file in files}
    assert names == {f"{WAY}.txt", "from-T1w_to-MNI152_mode-image_xfm.txt"}
    assert {file.name.split("_")[0] for file in files} == {"sub-TR7" if renamed else "sub-01"}
    was = SimpleITK.ReadTransform(str(next(root.rglob(f"*{WAY}.txt"))))
    now = SimpleITK.ReadTransform(str(next(out.rglob(f"*{WAY}.txt"))))
    for point in np.random.default_rng(3).uniform(-100, 100, (20, 3)).tolist():
        assert now.TransformPoint(point) == pytest.approx(was.TransformPoint(point), abs=1e-9)
    assert not bids_issues(out)["errors"]
    assert renamed or verify(out, source=[root]).problems == []


def test_a_transform_of_a_scan_that_is_not_there_stays_behind(tmp_path, monkeypatch):
    root, out = data_set(tmp_path / "in"), tmp_path / "out"
    transforms(root)
    monkeypatch.setattr(witnessing, "judge", judge_without("sub-01"))
    assert run(root, "--out", out).exit_code == 1
    assert not list(out.rglob("*_xfm.*"))


def judge_without(*subjects: str):
    """The faces of some subjects are left in all their images."""

    def judge(store, planned, defacer):
        bad = any(
            str(store.volume(store.images[0]).attrs["description"]).startswith(name) for name in subjects
        )
        reason = Residual(0.1).sentence if bad else ""
        return [witnessing.Judged(p, reason, (), 0.1 if bad else 1.0, {}) for p in store.images]

    return judge


def test_who_is_refused_is_in_no_table_but_that_of_outcomes(tmp_path, monkeypatch):
    root = data_set(tmp_path / "in")
    monkeypatch.setattr(witnessing, "judge", judge_without("sub-02"))
    out = tmp_path / "out"
    assert run(root, "--out", out).exit_code == 1
    assert outcomes(out) == {"sub-01": "defaced", "sub-02": "refused"}
    assert "face is still visible" in table(out / "participants_defacing.tsv")[1]["reason"]
    assert [row["participant_id"] for row in table(out / "participants.tsv")] == ["sub-01"]
    assert not (out / "sub-02").exists()
    assert not bids_issues(out)["errors"]
    assert verify(out, source=[root]).problems == []
    # once it can be done, it is
    monkeypatch.setattr(witnessing, "judge", judge_without())
    assert run(root, "--out", out, "--private", "drop").exit_code == 0
    assert outcomes(out) == {"sub-01": "defaced", "sub-02": "defaced"}
    assert len(table(out / "participants.tsv")) == 2
    # and taken back if it cannot any more
    monkeypatch.setattr(witnessing, "judge", judge_without("sub-01"))
    assert run(root, "--out", out).exit_code == 1
    assert [row["participant_id"] for row in table(out / "participants.tsv")] == ["sub-02"]
    assert not (out / "sub-01" / "sub-01_sessions.tsv").exists()
    assert verify(out, source=[root]).problems == []


def test_an_image_that_the_plan_beside_it_does_not_fit_gets_one_of_its_own(tmp_path, monkeypatch):
    root = data_set(tmp_path / "in")
    monkeypatch.setattr(witnessing, "judge", judge_but("T2w"))
    out = tmp_path / "out"
    for _ in range(2):
        done = run(root, "--out", out)
        assert done.exit_code == 0, done.output
        assert "has a plan of its own" in done.output
        assert len(list(out.rglob("*_T2w.nii.gz"))) == 2
        assert outcomes(out) == {"sub-01": "defaced", "sub-02": "defaced"}
        assert verify(out, source=[root]).problems == []
        lines = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
        assert not [line for line in lines if line["status"] == "refused"]
    # and the plan of the image beside it, once that fits
    monkeypatch.setattr(witnessing, "judge", judge_but("nothing"))
    done = run(root, "--out", out, "--private", "drop")
    assert done.exit_code == 0, done.output
    assert "plan of its own" not in done.output
    assert verify(out, source=[root]).problems == []


def test_an_image_that_comes_or_goes_between_runs(tmp_path):
    root = data_set(tmp_path / "in")
    first = list(root.rglob("*_T1w.nii.gz"))
    for at in ("away", "there", "away"):
        for path in first:
            aside = tmp_path / path.name
            if at == "away":
                path.rename(aside)
            else:
                aside.rename(path)
        done = run(root, "--out", tmp_path / "out")
        assert done.exit_code == 0, done.output
        assert len(list((tmp_path / "out").rglob("*_T2w.nii.gz"))) == 2
        assert verify(tmp_path / "out").problems == []
        assert not bids_issues(tmp_path / "out")["errors"]


def test_an_image_whose_face_is_left_either_way_does_not_come_out(tmp_path, monkeypatch):
    root = data_set(tmp_path / "in")

    def judge(store, planned, defacer):
        whole = judge_but("T2w")(store, planned, defacer)
        if len(store.images) == 1 and "T2w" in str(store.volume(store.images[0]).attrs["description"]):
            return [witnessing.Judged(store.images[0], Residual(0.1).sentence, (), 0.1, {})]
        return whole

    monkeypatch.setattr(witnessing, "judge", judge)
    out = tmp_path / "out"
    run(root, "--out", out)
    assert not list(out.rglob("*_T2w.nii.gz"))
    assert len(list(out.rglob("*_T1w.nii.gz"))) == 2
    assert outcomes(out) == {"sub-01": "partly", "sub-02": "partly"}
    assert "face is still visible" in table(out / "participants_defacing.tsv")[0]["reason"]
    scans = table(out / "sub-01" / "ses-a" / "sub-01_ses-a_scans.tsv")
    assert [row["filename"] for row in scans] == ["anat/sub-01_ses-a_T1w.nii.gz"]
    assert verify(out, source=[root]).problems == []


@pytest.mark.parametrize(
    "named", ["sub-01", "sub-01/ses-a/anat", "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"]
)
def test_a_part_of_a_data_set_keeps_its_place_in_it(tmp_path, named):
    root = data_set(tmp_path / "in")
    assert run(root / named, "--out", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_T1w.nii.gz").exists()
    assert [r["participant_id"] for r in table(tmp_path / "out" / "participants.tsv")] == ["sub-01"]
    assert not bids_issues(tmp_path / "out")["errors"]


def test_two_data_sets_in_one_run(tmp_path):
    for name in ("a", "b"):
        data_set(tmp_path / "in" / name, Name=name)
    for path in (tmp_path / "in" / "b").rglob("*.nii.gz"):
        image(path, 50 + len(path.name) + int(path.name[5]) + (path.name[-9] == "2"))
    assert run(tmp_path / "in", "--out", tmp_path / "out").exit_code == 0
    for name in ("a", "b"):
        facts = json.loads((tmp_path / "out" / name / "dataset_description.json").read_text())
        assert facts["Name"] == name
        assert outcomes(tmp_path / "out" / name) == {"sub-01": "defaced", "sub-02": "defaced"}
        assert not bids_issues(tmp_path / "out" / name)["errors"]


def test_masks_that_the_standard_does_not_name_are_ignored(tmp_path):
    root = data_set(tmp_path / "in")
    old = root / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_T2w.nii.gz"
    old.rename(old.with_name("sub-01_ses-a_ce-gd_T2w.nii.gz"))
    (root / "sub-01" / "ses-a" / "sub-01_ses-a_scans.tsv").unlink()
    assert not bids_issues(root)["errors"]
    run(root, "--out", tmp_path / "out")
    ignored = (tmp_path / "out" / ".bidsignore").read_text().splitlines()
    assert "/sub-01/ses-a/anat/sub-01_ses-a_ce-gd_mod-T2w_defacemask.nii.gz" in ignored
    assert not bids_issues(tmp_path / "out")["errors"]


def test_a_derived_data_set_has_masks_of_its_own_name(tmp_path):
    root = tmp_path / "in"
    write(
        root / "dataset_description.json",
        '{"Name": "x", "BIDSVersion": "1.9.0", "DatasetType": "derivative"}',
    )
    image(root / "sub-01" / "anat" / "sub-01_desc-preproc_T1w.nii.gz", 1)
    assert run(root, "--out", tmp_path / "out").exit_code == 0
    names = {p.name for p in (tmp_path / "out" / "sub-01" / "anat").iterdir()}
    assert "sub-01_desc-preprocT1wDefaced_mask.nii.gz" in names
    assert "sub-01_desc-preproc_T1w.nii.gz" in names
    facts = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert facts["DatasetType"] == "derivative"


def test_five_dimensions_are_counted_as_left_out(tmp_path):
    root = data_set(tmp_path / "in")
    path = root / "sub-01" / "ses-a" / "func" / "sub-01_ses-a_task-rest_bold.nii.gz"
    path.parent.mkdir()
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8, 1, 5), np.int16), np.eye(4)), path)
    run(root, "--out", tmp_path / "out")
    assert outcomes(tmp_path / "out") == {"sub-01": "partly", "sub-02": "defaced"}
    assert "dimensions" in table(tmp_path / "out" / "participants_defacing.tsv")[0]["reason"]
    assert not bids_issues(tmp_path / "out")["errors"]


# --- de-identified


def field_maps(source: Path, values: list) -> Iterator[Path]:
    """Field maps of the first subject, each with a sidecar that names images; gives the sidecars."""
    for k, value in enumerate(values):
        fmap = image(source / f"sub-01/ses-a/fmap/sub-01_ses-a_run-{k}_magnitude1.nii.gz", 4 + k)
        sidecar = fmap.with_name(f"sub-01_ses-a_run-{k}_magnitude1.json")
        write(sidecar, json.dumps({"IntendedFor": value, "EchoTime": 0.004}))
        yield sidecar


def named_in(out: Path, sidecar: Path) -> tuple[list[str], bool]:
    """What a written sidecar names, and whether the record says that something was taken out of it."""
    new = json.loads((out / sidecar).read_text())
    assert new["EchoTime"] == 0.004
    (line,) = [one for one in record(out) if str(one["file"]).endswith(sidecar.name)]
    return np.atleast_1d(new.get("IntendedFor", [])).tolist(), any(
        "IntendedFor" in note for note in line["notes"]
    )


def test_a_field_map_names_only_what_is_there(tmp_path):
    """An image of five dimensions is not written; that of the source is still named there."""
    values = [BOLD, [BOLD], [BOLD, f"bids::sub-01/{BOLD}", T1], T1, f"bids::sub-01/{T1}"]
    source, out = data_set(tmp_path / "in"), tmp_path / "out"
    image(source / "sub-01" / BOLD, 3, shape=(12, 12, 8, 1, 3))
    sidecars = [one.relative_to(source) for one in field_maps(source, values)]
    run(source, "--out", out)
    for value, sidecar in zip(values, sidecars, strict=True):
        there = [one for one in ([value] if isinstance(value, str) else value) if "bold" not in one]
        assert named_in(out, sidecar) == (there, "bold" in str(value)), value
    # what is left out is told by its own name
    (left,) = [one for one in record(out) if "_bold" in one["file"]]
    assert left["file"] == f"sub-01/{BOLD}"
    assert verify(out, source=source).ok


def test_a_field_map_names_no_image_that_was_refused(tmp_path, monkeypatch):
    """Whether a face is gone shows only in the run: what is refused is named no more, and again once it has come."""
    values = [[T1, T2], f"bids::sub-01/{T1}", [f"bids::sub-01/{T2}"], T2]
    source, out = data_set(tmp_path / "in"), tmp_path / "out"
    sidecars = [one.relative_to(source) for one in field_maps(source, values)]

    def judge(store, planned, defacer):
        bad = {path: "T1w" in str(store.volume(path).attrs["description"]) for path in store.images}
        return [
            witnessing.Judged(path, Residual(0.1).sentence if bad[path] else "", (), 1.0, {})
            for path in store.images
        ]

    for judged in (judge, judge_without()):
        monkeypatch.setattr(witnessing, "judge", judged)
        run(source, "--out", out, *(() if judged is judge else ("--private", "drop")))
        for value, sidecar in zip(values, sidecars, strict=True):
            names = [value] if isinstance(value, str) else value
            there = [n for n in names if "T1w" not in n] if judged is judge else names
            assert named_in(out, sidecar) == (there, there != names), value
        assert verify(out, source=source).ok


def test_deidentified_tables_keep_only_what_tells_nobody(tmp_path):
    root = data_set(tmp_path / "in", Name="Made")
    out = tmp_path / "out"
    assert run(root, "--out", out, "--deidentify").exit_code == 0
    assert table(out / "participants.tsv") == [
        {"participant_id": "sub-01", "age": "31", "sex": "F"},
        {"participant_id": "sub-02", "age": "89+", "sex": "M"},
    ]
    assert "comment" not in (out / "participants.json").read_text()
    assert "2019" not in "".join(p.read_text() for p in out.rglob("*.tsv"))
    assert (out / "README").read_text() != README
    assert not (out / "CHANGES").exists()
    assert not bids_issues(out)["errors"]
    assert (
        verify(
            out, key=bytes.fromhex((tmp_path / "out.work" / "run.key").read_text()), source=[root]
        ).problems
        == []
    )


def test_a_trials_own_ids_become_labels(tmp_path):
    root = data_set(tmp_path / "in")
    ids = tmp_path / "ids.csv"
    ids.write_text("patient_id,subject_id\nsub-01,TR-7\n02,TR-8\n")
    out = tmp_path / "out"
    assert run(root, "--out", out, "--deidentify", "--map", ids).exit_code == 0
    assert (out / "sub-TR7" / "ses-a" / "anat" / "sub-TR7_ses-a_T1w.nii.gz").exists()
    assert outcomes(out) == {"sub-TR7": "defaced", "sub-TR8": "defaced"}
    assert {r["participant_id"] for r in table(out / "participants.tsv")} == {"sub-TR7", "sub-TR8"}
    scans = table(out / "sub-TR8" / "ses-a" / "sub-TR8_ses-a_scans.tsv")
    assert scans[0] == {"filename": "anat/sub-TR8_ses-a_T1w.nii.gz"}
    for path in out.rglob("*"):
        assert "sub-01" not in path.name
        if path.suffix in (".tsv", ".json", ".jsonl"):
            assert "sub-01" not in path.read_text()
    assert not bids_issues(out)["errors"]
    kept = tmp_path / "out.work" / "patient_ids.csv"
    assert "sub-01,TR-7" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
