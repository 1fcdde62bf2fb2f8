"""Heads that another tool defaced: compared with their originals, and attacked."""

from __future__ import annotations

import hashlib
import shutil
import types

import numpy as np
import pydicom
import pytest
import yaml
from click.testing import CliRunner

import defacedask as dd
from defacedask.errors import ConfigError, InputError
from defacedask.flow.result import TaskResult
from defacedask.flow.stages.matching import match_images
from defacedask.geometry import Geometry
from defacedask.runs.attack import AttackOptions, _looks, attack, prepare_attack
from defacedask.tables.ears import ear_maps_table
from defacedask.volume import geometry_of, real_values

# --- how a defaced image relates to its original


@pytest.fixture(scope="module")
def head():
    """What `match_images` asks of a head: a ball of brain with folds in it."""
    grid = Geometry.from_spacing((40, 44, 42), (2.0, 2.0, 2.0), (-41.0, -43.0, -39.0))
    x, y, z = np.broadcast_arrays(*grid.positions(dtype=np.float64))
    brain = x**2 + y**2 + z**2 < 34.0**2
    folds = np.sin(x / 4) + np.sin(y / 5) + np.sin(z / 6)
    values = np.where(brain, 35 + 8 * folds, -1000).astype(np.float32)
    return types.SimpleNamespace(grid=grid, values=values, brain=brain)


def test_the_same_values_on_the_same_grid(head):
    match = match_images(head, head.values, head.grid)
    assert match.correlation == pytest.approx(1.0)
    assert (match.gain, match.offset) == (1.0, 0.0)


def test_another_grid_and_a_face_that_is_gone(head):
    fine = head.values.repeat(2, axis=0)
    affine = head.grid.affine.copy()
    affine[:3, 0] /= 2
    affine[:3, 3] -= affine[:3, 0] / 2
    grid = Geometry(fine.shape, affine)
    fine[:, :8] = -1000
    match = match_images(head, fine[::-1, :, ::-1], grid.block((79, 0, 41), (-1, 44, -1), (-1, 1, -1)))
    assert match.in_place
    assert (match.gain, match.offset) == (1.0, 0.0)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 1024.0), (0.25, 0.0), (2.0, -300.0)])
def test_values_that_were_scaled_are_noticed(head, gain, offset):
    match = match_images(head, gain * head.values + offset, head.grid)
    assert match.correlation == pytest.approx(1.0)
    assert match.gain == pytest.approx(gain, rel=0.05)
    back = (gain * head.values + offset - match.offset) / match.gain
    assert np.abs(back - head.values)[head.brain].max() < 1.5


def test_a_head_that_lies_elsewhere(head):
    moved = Geometry.from_spacing(
        head.grid.shape, (2.0, 2.0, 2.0), head.grid.origin + np.array([12.0, 9.0, 11.0])
    )
    assert not match_images(head, head.values, moved).in_place
    far = Geometry.from_spacing(head.grid.shape, (2.0, 2.0, 2.0), head.grid.origin + 500.0)
    assert np.isnan(match_images(head, head.values, far).correlation)
    assert not match_images(head, np.full(head.grid.shape, -1000.0), head.grid).in_place


# --- from folders to tables


@pytest.fixture(scope="module")
def folders(virtual_patients, tmp_path_factory):
    """Two virtual patients; one copied with new UIDs, one with the face cut off, as NIfTI on another grid."""
    import nibabel

    root = tmp_path_factory.mktemp("pairs")
    shutil.copytree(virtual_patients, root / "original")
    first, second = sorted(dd.scan(root / "original").cases, key=lambda c: c.patient_id)
    for k, path in enumerate(first.primary.files):
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.77{k}"
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "2.25.881", "2.25.882"
        (root / "defaced" / "one").mkdir(parents=True, exist_ok=True)
        dataset.save_as(root / "defaced" / "one" / f"{k:03}.dcm")
    volume = second.image("CT", lazy=False).load()
    values, grid = real_values(volume).values.copy(), geometry_of(volume)
    rows = np.flatnonzero((values > -300).any(axis=(0, 2)))
    values[:, : rows[0] + len(rows) // 4] = -1000
    # every row and column twice, at half the distance
    fine = values.repeat(2, axis=1).repeat(2, axis=2).astype(np.int16)
    affine = grid.affine.copy()
    affine[:3, 1:3] /= 2
    affine[:3, 3] -= affine[:3, 1:3].sum(axis=1) / 2
    lps = affine[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(fine.T, np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps)
    nibabel.save(image, root / "defaced" / f"{second.patient_id}_defaced.nii.gz")
    return root


@pytest.mark.slow
def test_pairs_of_any_make_are_attacked(folders, tmp_path):
    out = tmp_path / "out"
    options = {"attacks": "basic,template_filled", "name": "theirs", "surfaces": "ply", "pictures": False}
    result = attack(folders / "original", folders / "defaced", out, **options)
    cases = result.tables["cases"].set_index("patient").sort_index()
    assert cases["status"].tolist() == ["done", "done"], cases["reason"].tolist()
    first, second = cases["notes"]
    assert "paired by the patient's id" in first
    assert "another grid" not in first
    assert "paired by the patient's name in the file" in second
    assert "lies on another grid" in second
    rows = result.tables["recognition"]
    assert set(rows["defacer"]) == {"original", "theirs"}
    theirs = rows[rows["defacer"] == "theirs"]
    assert set(theirs["attack"]) == {"plain", "forced_crop", "template_filled"}
    # the copy is recognised as itself, and nothing of it changed
    copy, cut = (theirs[theirs["case"] == name] for name in cases["case"])
    assert copy[copy["attack"] == "plain"]["distance_to_own"].min() == 0
    assert cut["distance_to_own"].min() > 0.2
    assert set(result.tables["faces_detected"]["defacer"]) == {"original", "theirs"}
    assert len(result.tables["controls"]) == 1
    # beside each attack the average face on the same heads, which is nobody's recognition
    beside = result.tables["average_face"].query("defacer == 'theirs'").set_index("attack")
    assert beside.loc[["plain", "forced_crop"], "auc_other"].between(0, 1).all()
    assert not rows["attack"].str.startswith("average").any()
    # the copy's ears are its own; what lies on another grid is not laid on them
    ears = result.tables["ears"].set_index("defacer")
    assert ears["images"].to_dict() == {"original": 2, "theirs": 1}
    assert ears.loc["theirs", "auc"] == 1.0
    assert result.report.is_file()
    assert len(list((out / "surfaces").rglob("*.ply"))) == 4
    assert not list((out / "pictures").rglob("*.png"))
    # again: nothing is done twice
    kept = {p: p.stat().st_mtime_ns for p in (out / "store" / "results").rglob("*.json")}
    attack(folders / "original", folders / "defaced", out, **options)
    assert {p: p.stat().st_mtime_ns for p in (out / "store" / "results").rglob("*.json")} == kept


def test_ears_of_a_pair_are_told_once_each():
    """Those of the original under its own name, as in a study, also where nothing belongs to it."""
    both = {"modality": "CT", "original": {"left": "a", "right": "b"}, "defaced": {"left": "c"}}
    alone = {"modality": "CT", "original": {"left": "d"}}
    prepared = types.SimpleNamespace(name="theirs")
    seen = [
        part
        for case, ears in (("pair", both), ("alone", alone))
        for part in _looks(prepared, TaskResult("attack", case, "", "k", facts={"ears": {"images/CT": ears}}))
    ]
    rows = ear_maps_table(seen, {"pair": "P1", "alone": "P2"}).to_pylist()
    found = {(row["person"], row["defacer"], row["side"]): row["map"] for row in rows}
    assert len(rows) == len(found) == 4
    assert found == {
        ("P1", "original", "left"): "a",
        ("P1", "original", "right"): "b",
        ("P1", "theirs", "left"): "c",
        ("P2", "original", "left"): "d",
    }


def test_dry_run_says_what_belongs_together(folders, tmp_path):
    from defacedask.cli.attack import command

    shutil.copytree(folders / "defaced" / "one", tmp_path / "defaced" / "one")
    arguments = [
        str(folders / "original"),
        str(tmp_path / "defaced"),
        "--out",
        str(tmp_path / "o"),
        "--dry-run",
    ]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert "1 pairs; nothing was done" in done.output
    assert "compared when they are attacked" in done.output
    assert "no defaced case belongs to it" in done.output
    assert not (tmp_path / "o").exists()


def test_options_and_versions_are_on_record_before_anything_is_done(folders, tmp_path):
    options = AttackOptions(name="theirs")
    prepared = prepare_attack(folders / "original", folders / "defaced", tmp_path / "out", options)
    found = yaml.safe_load((prepared.folder / "config.yaml").read_text())
    said = found.pop("config_sha256")
    assert said == hashlib.sha256(yaml.safe_dump(found, sort_keys=True).encode()).hexdigest()
    assert list(found["settings"]["defacers"]) == ["theirs"]
    assert found["versions"]["numpy"] == np.__version__
    assert found["options"]
    assert "run_key_sha256" not in found  # an attack draws nothing
    assert sorted(p.name for p in prepared.folder.iterdir()) == [
        "config.yaml",
        "pictures",
        "report",
        "store",
        "tables",
    ]


def test_nothing_that_belongs_together(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no defaced image series"):
        attack(folders / "original", tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match="no original image series"):
        attack(tmp_path / "empty", folders / "original", tmp_path / "out")
    other = tmp_path / "other"
    other.mkdir()
    for k, path in enumerate(sorted((folders / "defaced" / "one").iterdir())[:20]):
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "SOMEBODY"
        dataset.save_as(other / f"{k}.dcm")
    with pytest.raises(InputError, match="none of the 1 defaced cases belongs"):
        attack(folders / "original", other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"attacks": "guess"}, "no attack 'guess'"),
        ({"recogniser": "azure"}, "sends rendered pictures"),
        ({"name": "original"}, "cannot be called 'original'"),
        ({"tolerance": 5.0}, "between 0 and 2"),
    ],
)
def test_bad_options_are_said_before_anything_is_done(tmp_path, options, says):
    with pytest.raises(ConfigError, match=says):
        attack(tmp_path, tmp_path, tmp_path / "out", **options)
    with pytest.raises(InputError, match="'stl'"):
        attack(tmp_path, tmp_path, tmp_path / "out", surfaces="stl")
    assert not (tmp_path / "out").exists()


# --- pairs that are not


@pytest.fixture(scope="module")
def swapped(virtual_patients, tmp_path_factory):
    """Two virtual patients under their own ids, and the same images cut, under each other's."""
    root = tmp_path_factory.mktemp("swapped")
    shutil.copytree(virtual_patients, root / "original")
    cases = sorted(dd.scan(root / "original").cases, key=lambda c: c.patient_id)
    for k, (case, other) in enumerate(zip(cases, cases[::-1], strict=True)):
        (root / "defaced" / str(k)).mkdir(parents=True)
        for n, path in enumerate(case.primary.files):
            dataset = pydicom.dcmread(path)
            values = dataset.pixel_array.copy()
            values[: values.shape[0] // 4] = values.min()
            dataset.PixelData, dataset.PatientID = values.tobytes(), other.patient_id
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.9{k}{n:03}"
            dataset.SeriesInstanceUID, dataset.StudyInstanceUID = f"2.25.8{k}", f"2.25.7{k}"
            dataset.FrameOfReferenceUID = f"2.25.6{k}"
            dataset.save_as(root / "defaced" / str(k) / f"{n:03}.dcm")
    return root


@pytest.mark.slow
def test_swapped_pairs_are_refused(swapped, tmp_path):
    result = attack(
        swapped / "original", swapped / "defaced", tmp_path / "out", attacks="plain", pictures=False
    )
    cases = result.tables["cases"]
    assert cases["status"].tolist() == ["refused", "refused"]
    for reason in cases["reason"]:
        assert "does not show the scan that it is paired with" in reason


def test_persons_who_share_one_id_are_paired_by_what_is_theirs(swapped, tmp_path):
    from defacedask.attacks.pairing import pair_cases

    folders = {}
    for side in ("original", "defaced"):
        folders[side] = shutil.copytree(swapped / side, tmp_path / side)
        for path in folders[side].rglob("*.dcm"):
            dataset = pydicom.dcmread(path)
            dataset.PatientID, dataset.PatientName = "4711", "Same^Name"
            dataset.save_as(path)
    originals, defaced = (dd.scan(folder).cases for folder in folders.values())
    pairing = pair_cases(originals, defaced)
    assert {p.how for p in pairing.pairs} == {"the patient's id and the voxels"}
    for pair in pairing.pairs:
        patient = next(part for part in pair.original.primary.files[0].split("/") if part.startswith("VP-"))
        number = pair.defaced.primary.files[0].split("/")[-2]
        assert int(patient[-1]) - 1 == int(number)
    # one of the two defaced is somebody else's: nobody is guessed for it
    shutil.rmtree(folders["original"] / "VP-0001")
    left = pair_cases(dd.scan(folders["original"]).cases, defaced)
    assert len(left.pairs) == 1
    assert len(left.defaced) == 1
