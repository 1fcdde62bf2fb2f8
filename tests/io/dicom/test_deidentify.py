"""Headers without their people: names, ids, dates and UIDs, and everything still fits together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from support.export_kit import KEY, half_space, one_case, run_export, write_patient  # noqa: F401
from support.resealing import edit

from defacedask.errors import ConfigError, InputError
from defacedask.flow.release_options import ReleaseOptions
from defacedask.io.dicom.export.audit import collect, read_lines
from defacedask.io.dicom.export.identity import Identity, named_in, own_forms
from defacedask.io.dicom.export.profile import apply_profile, told_age
from defacedask.io.dicom.export.words import Words
from defacedask.io.dicom.image import read_image
from defacedask.io.dicom.structures import read_structures
from defacedask.verify import verify
from defacedask.volume import geometry_of

PEOPLE = {
    "PatientName": "Wintermute^Case^0001",
    "PatientID": "MRN-554433",
    "PatientBirthDate": "19620405",
    "PatientAge": "058Y",
    "PatientWeight": "71.5",
    "ReferringPhysicianName": "Flatline^Dixie",
    "OperatorsName": "Molly^M",
    "AccessionNumber": "ACC99887",
    "InstitutionName": "Chiba General",
    "StudyDescription": "Head of Wintermute",
    "SeriesDescription": "thin slices",
    "PatientComments": "lives next to the pharmacy",
    "DeviceSerialNumber": "SN12345",
    "StudyDate": "20200229",
    "StudyTime": "101112",
    "AcquisitionDate": "20200301",
    "AcquisitionTime": "235959.5",
    "ContentDate": "20200301",
}


def name_everybody(folder: Path) -> None:
    """Write people into every header of a patient."""
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for keyword, value in PEOPLE.items():
            setattr(dataset, keyword, value)
        block = dataset.private_block(0x0019, "SECRET 1", create=True)
        block.add_new(0x10, "LO", "Wintermute was here")
        safe = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
        safe.add_new(0x00, "DS", "0.5")
        if "StructureSetROISequence" in dataset:
            dataset.StructureSetROISequence[1].ROIDescription = "drawn by Molly"
            dataset.StructureSetROISequence[2].ROIName = "Deep Wintermute"
        dataset.save_as(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    write_patient(folder / "in")
    name_everybody(folder / "in")
    with pytest.MonkeyPatch.context() as patch:
        from defacedask import defacers

        patch.setitem(defacers.BUILT_IN, "half_space", "support.export_kit:HalfSpaceDefacer")
        _, out = run_export(folder / "in", folder, identity_key=KEY, private="drop")
        case = one_case(folder / "in")
        part = folder / "record" / case.id / "half_space.jsonl"
        collect(out, [part], (), KEY)
        yield {"in": folder / "in", "out": out, "case": case, "lines": read_lines(part)}


def test_nobody_is_named_anywhere(made):
    files = [p for p in made["out"].rglob("*") if p.is_file()]
    assert len(files) == 18
    uids = {made["case"].frame_of_reference} | {s.study_uid for s in made["case"].series}
    for path in files:
        data = path.read_bytes().lower()
        for word in (
            *(
                b"wintermute",
                b"554433",
                b"flatline",
                b"acc99887",
                b"chiba",
                b"19620405",
                b"20200229",
                b"sn12345",
            ),
            *(b"molly", b"thin slices", b"pharmacy", *(u.encode() for u in uids)),
        ):
            assert word not in data, (path, word)
        assert "554433" not in str(path)


def test_what_it_says(made):
    dataset = pydicom.dcmread(next(made["out"].rglob("CT-01/0003.dcm")))
    codes = [i.CodeValue for i in dataset.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113105", "113107", "113108", "113102", "half_space"]
    assert dataset.PatientIdentityRemoved == "YES"
    assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"
    assert "DICOGNITO" in dataset.DeidentificationMethod
    assert any("defacedask" in one for one in dataset.DeidentificationMethod)
    assert (dataset.PatientAge, float(dataset.PatientWeight)) == ("058Y", 71.5)
    assert "PatientComments" not in dataset
    assert dataset.PatientBirthDate == ""
    assert dataset.DeviceSerialNumber == "DEIDENTIFIED"
    assert not any(tag.is_private for tag in dataset.keys())  # noqa: SIM118
    assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID.startswith("2.25.")


def test_dates_move_together_and_times_stay(made):
    from datetime import datetime

    dataset = pydicom.dcmread(next(made["out"].rglob("CT-01/0003.dcm")))
    days = {
        (datetime.strptime(PEOPLE[k], "%Y%m%d") - datetime.strptime(dataset[k].value, "%Y%m%d")).days
        for k in ("StudyDate", "AcquisitionDate", "ContentDate")
    }
    assert len(days) == 1
    assert 60 <= days.pop() < 3650
    assert (dataset.StudyTime, dataset.AcquisitionTime) == ("101112", "235959.5")


def test_everything_still_fits_together(made):
    before, after = made["case"], one_case(made["out"])
    assert [s.modality for s in after.series] == [s.modality for s in before.series]
    assert after.frame_of_reference != before.frame_of_reference
    assert {s.study_uid for s in after.series}.isdisjoint({s.study_uid for s in before.series})
    assert len({s.study_uid for s in after.series}) == 1
    new = read_image(after.primary)
    assert np.array_equal(geometry_of(new).affine, geometry_of(read_image(before.primary)).affine)
    names = [s.original_name for s in read_structures(after.structures[0], geometry_of(new))]
    assert names == ["BODY", "Brain", "Deep X"]
    assert {s.patient_id for s in after.series} == {Path(made["lines"][0]["file"]).parts[0]}
    found = verify(made["out"], key=KEY, source=[made["in"]])
    assert found.problems == []
    assert found.written == 16


def test_verify_finds_a_name_that_was_left(made, tmp_path):
    import shutil

    out = shutil.copytree(made["out"], tmp_path / "out")
    name = next(line["file"] for line in made["lines"] if line["modality"] == "RTSTRUCT")
    edit(out, name, lambda d: setattr(d, "StructureSetLabel", "of Wintermute"))
    assert {(p.file, p.check) for p in verify(out, source=[made["in"]]).problems} == {(name, "leaks")}
    edit(out, name, lambda d: delattr(d, "PatientIdentityRemoved"))
    assert (name, "tags") in {(p.file, p.check) for p in verify(out).problems}


def header(**elements) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def test_same_key_same_person_and_no_two_share_a_shift():
    one, again, other = (Identity(KEY, person) for person in ("A", "A", "B"))
    assert one.new_id == again.new_id != other.new_id
    assert one.new_name == again.new_name != other.new_name
    assert one.days == again.days != other.days
    assert one.new_id != Identity(KEY[::-1], "A").new_id
    first, second = header(**PEOPLE), header(**PEOPLE)
    one(first)
    again(second)
    assert first == second
    again(header(**PEOPLE))


@pytest.mark.parametrize("date", ["2020", "20201332", "yesterday", "00010101", "2020.01.02"])
def test_odd_dates_never_stay(date):
    from pydicom import config

    with config.disable_value_validation():
        dataset = header(PatientID="P", StudyDate=date, AcquisitionDateTime=date)
        Identity(KEY, "P")(dataset)
    assert date not in (dataset.StudyDate, dataset.AcquisitionDateTime)


def test_private_elements_that_are_known_to_be_safe_may_stay():
    dataset = header(PatientID="P1234")
    dataset.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.5")
    dataset.private_block(0x0019, "OTHER", create=True).add_new(0x01, "LO", "x")
    item = Dataset()
    item.private_block(0x0019, "OTHER", create=True).add_new(0x01, "LO", "x")
    dataset.RequestAttributesSequence = Sequence([item])
    dataset.SharedFunctionalGroupsSequence = Sequence([item])
    Identity(KEY, "P", private="keep")(dataset)
    assert dataset[0x70531000].value == 0.5
    assert 0x00191001 not in dataset
    assert "RequestAttributesSequence" not in dataset
    assert 0x00191001 not in dataset.SharedFunctionalGroupsSequence[0]
    assert "113111" in [i.CodeValue for i in dataset.DeidentificationMethodCodeSequence]


def test_words():
    forms = own_forms(header(PatientName="Van der Berg^Ann", PatientID="12"))
    assert forms.names == {"berg", "ann"}
    assert forms.ids == frozenset()
    words = Words(forms)
    assert named_in(header(ImageComments="see Dr. BERG."), words)
    assert not named_in(header(ImageComments="Bergen"), words)


def test_a_header_that_cannot_be_read_is_no_reason_to_let_it_out():
    broken = header(PatientID="P1", InstitutionName="here")
    broken["InstitutionName"]._value = 3.5  # no text, as damaged files have it
    with pytest.raises(InputError, match="cannot be de-identified"):
        Identity(KEY, "P1")(broken)


def test_somebody_may_be_called_patient():
    dataset = header(PatientName="Virtual^Patient", PatientID="VP-0001", SeriesDescription="x")
    dataset.StructureSetLabel = "patient 1"
    Identity(KEY, "VP-0001")(dataset)
    assert dataset.StructureSetLabel == "X 1"
    meanings = [i.CodeMeaning for i in dataset.DeidentificationMethodCodeSequence]
    assert "Retain Patient Characteristics Option" in meanings
    assert not named_in(dataset, Words(own_forms(header(PatientName="Virtual^Patient", PatientID="VP-0001"))))


def test_options():
    assert ReleaseOptions.of() == ReleaseOptions("keep", False, False)
    assert ReleaseOptions.of(deidentify=True).private == "drop"
    assert ReleaseOptions.of("keep", True).private == "keep"
    assert ReleaseOptions.of().arguments(KEY)["identity_key"] == b""
    own = ReleaseOptions.of(deidentify=True).arguments(KEY)["identity_key"]
    assert own
    assert own != KEY
    with pytest.raises(ConfigError):
        ReleaseOptions.of("some")
    json.dumps(ReleaseOptions.of().choice)


@pytest.mark.parametrize(
    ("age", "told"),
    [
        ("058Y", "058Y"),
        ("090Y", "090Y"),
        ("095Y", "090Y"),
        ("101", "090Y"),
        ("999M", "999M"),
        ("003D", "003D"),
        ("", ""),
        (95, 90),
        (58.5, 58.5),
        (97.2, 90.0),
    ],
)
def test_nobody_is_told_to_be_older_than_ninety(age, told):
    assert told_age(age) == told
    assert type(told_age(age)) is type(age)


def test_an_age_within_an_item_is_told_likewise():
    dataset, item = Dataset(), Dataset()
    item.PatientAge = "097Y"
    dataset.PatientAge = "103Y"
    dataset.PatientWeight = "60"
    dataset.ReferencedPatientPhotoSequence = Sequence([])
    dataset.RequestAttributesSequence = Sequence([item])
    apply_profile(dataset, private="drop")
    ages = [element.value for element in dataset.iterall() if element.keyword == "PatientAge"]
    assert set(ages) == {"090Y"}
    assert dataset.PatientWeight == 60
