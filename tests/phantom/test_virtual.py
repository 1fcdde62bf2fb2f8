"""A virtual patient is known by its header, and by nothing else."""

from __future__ import annotations

import dataclasses
import shutil

import pydicom

from defacedask.io.dicom.catalogue import scan
from defacedask.phantom.virtual import is_virtual


def test_what_phantom_writes_is_virtual(virtual_patients):
    assert [is_virtual(case) for case in scan(virtual_patients).cases] == [True, True]


def test_the_same_images_under_another_maker_are_a_persons(virtual_patients, tmp_path):
    """Names and ids do not count: a person may be called VP-0001."""
    shutil.copytree(virtual_patients / "VP-0001", tmp_path / "in")
    for path in (tmp_path / "in").rglob("CT/*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.Manufacturer = "SCANNERS INC"
        dataset.save_as(path)
    (case,) = scan(tmp_path / "in").cases
    assert case.patient_id == "VP-0001"
    assert not is_virtual(case)


def test_one_image_of_somebody_else_makes_a_person(virtual_patients):
    case = scan(virtual_patients).cases[0]
    (image,) = case.images
    other = dataclasses.replace(image, uid="1.2.3", facts={**image.facts, "scanner": "X"})
    nameless = dataclasses.replace(image, facts={"format": "NIfTI"})
    assert not is_virtual(dataclasses.replace(case, images=(image, other)))
    assert not is_virtual(dataclasses.replace(case, images=(nameless,)))
    assert not is_virtual(dataclasses.replace(case, images=()))
