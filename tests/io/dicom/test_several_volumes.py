"""Series of several volumes: read as volumes, cut by one plan, judged each, and written back into one series."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pydicom
import pytest
from pydicom.pixels import pack_bits
from pydicom.sequence import Sequence
from support import make
from support.export_kit import HalfSpace, geometry, half_space, head_ct, judge_of, run_export  # noqa: F401
from support.judges import named_errors

from defacedask.attacks.pairing import pair_series
from defacedask.io.dicom.catalogue import scan
from defacedask.io.dicom.export.audit import AUDIT, SEAL, read_lines, seal_of, write_lines
from defacedask.io.dicom.export.check import OWN
from defacedask.io.dicom.image import read_image
from defacedask.io.dicom.model import image_of
from defacedask.runs.already import pass_on, set_aside
from defacedask.verify import verify
from defacedask.whole_files import file_hash

GRID = geometry()
#: Stored values of three volumes that no two share.
VOLUMES = [head_ct(GRID, np.uint16, 1100 + 40 * k) for k in range(3)]


def write(folder, elements, *, volumes=2, series="MR", change=None, modality="MR"):
    """One single-frame series; ``elements[k]`` are those of volume k. Gives the files of each volume."""
    out = []
    for number in range(volumes):

        def own(dataset, k, number=number):
            dataset.SOPInstanceUID = make.uid(series, number, k)
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.InstanceNumber = 1 + number * len(VOLUMES[0]) + k
            for keyword, value in elements[number].items():
                setattr(dataset, keyword, value)
            return change(dataset, number, k) if change else None

        made = make.write_series(
            folder / f"{number}", VOLUMES[number], GRID, modality, series=series, change=own
        )
        out.append(made)
    return out


ECHOES = [{"EchoTime": "15", "EchoNumbers": 1}, {"EchoTime": "90", "EchoNumbers": 2}]


def private(creator, group, offset, values):
    """Changes a dataset: an element in a private block, by the volume."""

    def change(dataset, number, k):
        dataset.private_block(group, creator, create=True).add_new(offset, "IS", values[number])

    return change


def slice_times(dataset, number, k):
    dataset.AcquisitionTime = f"10{number:02d}{k % 6:02d}.{k:02d}0000"


@pytest.mark.parametrize(
    ("elements", "change", "modality"),
    [
        (ECHOES, None, "MR"),
        ([{"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}], slice_times, "MR"),
        ([{}, {}], slice_times, "MR"),
        ([{"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}], None, "MR"),
        ([{}, {}], private("SIEMENS MR HEADER", 0x0019, 0x0C, [0, 1000]), "MR"),
        ([{}, {}], private("GEMS_PARM_01", 0x0043, 0x2F, [0, 1]), "MR"),
        (
            [{"ImageType": ["ORIGINAL", "PRIMARY", "P"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "M"]}],
            None,
            "MR",
        ),
        ([{"ConvolutionKernel": "H30s"}, {"ConvolutionKernel": "H70h"}], None, "CT"),
        ([{"KVP": "80"}, {"KVP": "140"}], None, "CT"),
        (
            [
                {"FrameReferenceTime": "0", "ActualFrameDuration": "15000"},
                {"FrameReferenceTime": "15000", "ActualFrameDuration": "60000"},
            ],
            None,
            "PT",
        ),
    ],
)
def test_what_tells_volumes_apart(tmp_path, elements, change, modality):
    made = write(tmp_path, elements, change=change, modality=modality)
    files = [str(f) for some in made for f in some]
    random.Random(1).shuffle(files)
    for number, file in enumerate(files):  # the order of names is no help
        shutil.copyfile(file, tmp_path / f"{number:04d}.dcm")
        files[number] = str(tmp_path / f"{number:04d}.dcm")
    for some in made:
        shutil.rmtree(some[0].parent, ignore_errors=True)
    (case,) = scan(tmp_path).cases
    assert not scan(tmp_path).skipped
    assert sorted(f for s in case.images for f in s.files) == sorted(files)
    assert len({s.key for s in case.images}) == 2
    assert [s.volume for s in case.images] == [1, 2]
    found = [read_image(s).values for s in case.images]
    swapped = case.images[0].facts["volume"]["by"].get("ImageType", "").endswith("M")
    for values, stored in zip(found, VOLUMES[:2][::-1] if swapped else VOLUMES[:2], strict=True):
        np.testing.assert_array_equal(values, stored)
    best = 0 if modality != "PT" else 1  # what was counted for longer
    assert case.primary is case.images[best]


def of(folder, modality="MR"):
    found = [pydicom.dcmread(p) for p in sorted(folder.rglob("*.dcm"))]
    return [d for d in found if d.Modality == modality]


def test_all_volumes_are_cut_alike_and_stay_one_series(tmp_path):
    write(tmp_path / "in", ECHOES)
    outcome, out = run_export(tmp_path / "in", tmp_path, HalfSpace(-2.0), masks=["seg", "nifti"])
    assert outcome.facts["written"] == {"MR": 24, "SEG": 2, "defacemask": 2}
    before = {d.InstanceNumber: d for d in of(tmp_path / "in")}
    after = {d.InstanceNumber: d for d in of(out)}
    assert before.keys() == after.keys()
    assert len({d.SeriesInstanceUID for d in after.values()}) == 1
    assert len({d.SOPInstanceUID for d in after.values()}) == 24
    _, y, _ = GRID.positions(dtype=np.float64)
    gone = np.broadcast_to(y < -2.0, GRID.shape)
    for number, old in before.items():
        new, k = after[number], (number - 1) % 12
        np.testing.assert_array_equal(new.pixel_array[~gone[k]], old.pixel_array[~gone[k]])
        assert len(np.unique(new.pixel_array[gone[k]])) < 100
        for element in old:
            if element.tag not in OWN and element.VR not in ("UI", "SQ"):
                assert new[element.tag].value == element.value, element
    again = scan(out)
    assert [s.facts["volume"]["by"]["EchoTime"] for c in again.cases for s in c.images] == ["15", "90"]
    pairs = pair_series(scan(tmp_path / "in").cases[0], again.cases[0])
    assert all(a.facts["volume"]["by"] == b.facts["volume"]["by"] for a, b in pairs)


def test_verify_knows_the_masks_of_all_volumes_and_sees_a_voxel_outside(tmp_path):
    write(tmp_path / "in", ECHOES)
    _, out = run_export(tmp_path / "in", tmp_path, HalfSpace(-2.0), masks=["seg", "nifti"])
    lines = [line for part in (tmp_path / "record").rglob("*.jsonl") for line in read_lines(part)]

    def problems():
        for line in lines:
            line["output_sha256"] = file_hash(out / line["file"])
        write_lines(out / AUDIT, lines)
        (out / SEAL).write_text(json.dumps(seal_of(out / AUDIT)))
        return [p.what for p in verify(out, source=[tmp_path / "in"]).problems]

    assert problems() == []
    path = sorted(out.rglob("defacemask_MR_*.dcm"))[-1]
    mask = pydicom.dcmread(path)
    frames = np.asarray(mask.pixel_array).copy()
    frames[len(frames) // 2] = 0
    mask.PixelData = pack_bits(frames.ravel())
    mask.save_as(path)
    (what,) = problems()
    assert "voxels outside of the masks of its series" in what


def test_a_volume_that_may_not_leave_stays_alone(tmp_path):
    write(tmp_path / "in", ECHOES)
    outcome, out = run_export(tmp_path / "in", tmp_path, HalfSpace(-2.0), judge=judge_of({1}))
    assert outcome.facts["written"] == {"MR": 12}
    assert {h["reason"] for h in outcome.facts["held_back"]} == {"its face is left"}
    assert {float(d.EchoTime) for d in of(out)} == {15.0}


def test_de_identified_volumes_share_a_folder(tmp_path):
    write(tmp_path / "in", ECHOES)
    _, out = run_export(tmp_path / "in", tmp_path, identity_key=bytes(range(32)), private="drop")
    files = sorted(out.rglob("*.dcm"))
    assert len(files) == 24
    assert len({f.parent for f in files}) == 1


def test_contours_belong_to_the_volume_whose_instances_they_name(tmp_path):
    kernels = [{"ConvolutionKernel": "H30s"}, {"ConvolutionKernel": "H70h"}]
    made = write(tmp_path, kernels, modality="CT", series="CT")
    instances = [pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID for f in made[1]]
    series = make.uid("P1", "CT")
    make.write_struct(tmp_path / "RS.dcm", ["Brain"], instances=instances, series_uid=series)
    (case,) = scan(tmp_path).cases
    assert image_of(case.structures[0], case).facts["volume"]["by"] == {"ConvolutionKernel": "H70h"}


def test_what_is_left_out_says_so_and_the_rest_goes_on(tmp_path):
    def change(dataset, number, k):
        return not (number == 2 and k > 9)

    phases = [{"TemporalPositionIdentifier": n} for n in (1, 2, 3)]
    write(tmp_path, phases, volumes=3, change=change)
    found = scan(tmp_path)
    assert len(found.cases[0].images) == 2
    assert [(s.files, s.reason) for s in found.skipped] == [
        (10, "a volume of its series lacks 2 of the 12 slices that the others have")
    ]


# --- multi-frame


def enhanced(folder, order, *, parts=1, concatenated=True, change=None):
    """Two volumes of one multi-frame MR: ``order`` has (volume, slice) of each frame; in several parts."""
    size = len(order) // parts
    files = []
    for part in range(parts):
        some = order[part * size : (part + 1) * size]

        def own(dataset, some=some, part=part):
            make.set_pixels(dataset, np.stack([VOLUMES[v][k] for v, k in some]))
            dataset.SOPInstanceUID = make.uid("enhanced", part)
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.InstanceNumber = part + 1
            if parts > 1 and concatenated:
                dataset.ConcatenationUID = make.uid("whole")
                dataset.InConcatenationNumber, dataset.InConcatenationTotalNumber = part + 1, parts
                dataset.ConcatenationFrameOffsetNumber = part * size
            for frame, (v, k) in zip(dataset.PerFrameFunctionalGroupsSequence, some, strict=True):
                frame.MREchoSequence = Sequence([make.item(EffectiveEchoTime=15.0 + 75.0 * v)])
                frame.FrameContentSequence[0].InStackPositionNumber = k + 1
            if change:
                change(dataset, part)

        path = folder / f"{part}.dcm"
        files.append(make.write_enhanced(path, VOLUMES[0], GRID, order=[k for _, k in some], change=own))
    return files


BY_TURNS = [(v, k) for k in range(12) for v in range(2)]


@pytest.mark.parametrize("parts", [1, 3])
def test_multi_frame_volumes_there_and_back(tmp_path, parts):
    enhanced(tmp_path / "in", BY_TURNS, parts=parts)
    (case,) = scan(tmp_path / "in").cases
    for series, stored in zip(case.images, VOLUMES, strict=False):
        assert len(series.files) == parts
        np.testing.assert_array_equal(read_image(series).values, stored)
        np.testing.assert_array_equal(read_image(series, lazy=True).values, stored)
    outcome, out = run_export(tmp_path / "in", tmp_path, HalfSpace(-2.0), masks=["seg"])
    assert outcome.facts["written"] == {"MR": parts, "SEG": 2}
    old, new = of(tmp_path / "in"), sorted(of(out), key=lambda d: int(d.InstanceNumber))
    _, y, _ = GRID.positions(dtype=np.float64)
    gone = np.broadcast_to(y < -2.0, GRID.shape)
    which = np.array_split(np.array(BY_TURNS), parts)
    for before, after, some in zip(old, new, which, strict=True):
        cut = gone[some[:, 1]]
        np.testing.assert_array_equal(after.pixel_array[~cut], before.pixel_array[~cut])
        assert (after.pixel_array[cut] != before.pixel_array[cut]).mean() > 0.3
        assert before.SOPInstanceUID not in str(after.get("ConcatenationUID", ""))
    assert len({d.get("ConcatenationUID", "") for d in new}) == 1
    again = scan(out)
    assert [s.facts["volume"]["by"]["EffectiveEchoTime"] for s in again.cases[0].images] == ["15", "90"]
    masks = of(out, "SEG")
    assert {
        int(d.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness) for d in masks
    } == {3}


def test_what_shares_a_file_stays_with_what_may_not_leave(tmp_path):
    enhanced(tmp_path / "in", BY_TURNS)
    write(tmp_path / "in" / "CT", [{}], volumes=1, modality="CT", series="CT")
    outcome, out = run_export(tmp_path / "in", tmp_path, HalfSpace(-2.0), judge=judge_of({2}))
    assert outcome.facts["written"] == {"CT": 12}
    (held,) = outcome.facts["held_back"]
    assert held["reason"] in ("its face is left", "a volume in the same file may not leave: its face is left")
    assert not of(out)


@pytest.mark.parametrize(
    ("change", "drop", "words"),
    [
        (None, 1, "of which 2 of 3 are there"),
        (lambda d, part: setattr(d, "InConcatenationNumber", 1), None, "of which 3 of 3 are there"),
        (
            lambda d, part: setattr(d, "ConcatenationFrameOffsetNumber", 4 * part),
            None,
            "do not follow one another",
        ),
        (
            lambda d, part: setattr(d, "FrameOfReferenceUID", make.uid("frame", part)),
            None,
            "differ in FrameOfReferenceUID",
        ),
    ],
)
def test_concatenations_that_are_not_whole(tmp_path, change, drop, words):
    files = enhanced(tmp_path, BY_TURNS, parts=3, change=change)
    if drop is not None:
        files[drop].unlink()
    found = scan(tmp_path)
    assert not found.cases
    assert [words in skip.reason for skip in found.skipped] == [True]


def test_each_multi_frame_file_that_is_no_part_is_taken_by_itself(tmp_path):
    order = [(v, k) for v in range(2) for k in range(12)]
    enhanced(tmp_path, order, parts=2, concatenated=False)
    (case,) = scan(tmp_path).cases
    assert [len(s.files) for s in case.images] == [1, 1]
    for series, stored in zip(case.images, VOLUMES, strict=False):
        np.testing.assert_array_equal(read_image(series).values, stored)


def test_a_frame_of_no_volume_keeps_the_whole_file(tmp_path):
    enhanced(tmp_path, [*BY_TURNS, (2, 0)])
    found = scan(tmp_path)
    assert not found.cases
    assert "1 frame in no whole volume" in found.skipped[0].reason


def test_what_is_written_is_as_good_dicom_as_what_came(tmp_path):
    enhanced(tmp_path / "in", BY_TURNS, parts=3)
    write(tmp_path / "in" / "more", ECHOES)
    _, out = run_export(tmp_path / "in", tmp_path, HalfSpace(-2.0))
    for modality in ("0", "1"):
        (before, *_), (after, *_) = (sorted(f.rglob(f"{modality}.dcm")) for f in (tmp_path / "in", out))
        assert named_errors(after) <= named_errors(before)


def test_what_keeps_the_planned_volume_does_not_keep_other_images(tmp_path):
    enhanced(tmp_path / "in", BY_TURNS)
    write(tmp_path / "in" / "MR", [{"SeriesNumber": 9}], volumes=1, series="MR")
    outcome, out = run_export(tmp_path / "in", tmp_path, HalfSpace(-2.0), judge=judge_of({1}))
    assert outcome.facts["written"] == {"MR": 12}
    assert {d.SOPClassUID for d in of(out)} == {make.SOP["MR"]}
    (held,) = outcome.facts["held_back"]
    assert held["reason"] == "a volume in the same file may not leave: its face is left"


def test_volumes_in_one_file_that_were_defaced_before_are_passed_on_once(tmp_path):
    def marked(dataset, part):
        dataset.RecognizableVisualFeatures = "NO"

    (file,) = enhanced(tmp_path / "in", BY_TURNS, change=marked)
    rest, (passed,) = set_aside(scan(tmp_path / "in"), "copy")
    assert not rest.cases
    assert len(passed.series) == 2
    row = pass_on(passed, tmp_path / "out", {str(file): "a.dcm"}, tmp_path / "part.jsonl")
    assert (row["status"], row["written"]) == ("copied", {"MR": 1})
