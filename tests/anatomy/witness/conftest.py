"""A virtual patient and what the witness sees of it, once for all tests here."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def patient_ct(virtual_patients):
    import defacedask as dd
    from defacedask.io.dicom.image import read_image

    return read_image(dd.scan(virtual_patients).cases[0].primary).load()


@pytest.fixture(scope="session")
def seen(patient_ct):
    from defacedask.anatomy.witness import sighting

    return sighting(patient_ct)
