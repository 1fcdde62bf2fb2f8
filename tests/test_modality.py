"""What the records of modalities say, against pydicom's dictionary and what else knows it."""

from __future__ import annotations

import pydicom.uid
import pytest

from defacedask.anatomy.template import load_template
from defacedask.errors import InputError
from defacedask.faces.surface import skin_level
from defacedask.io.dicom.series import CLASSIC, ENHANCED
from defacedask.modality import AIR, FACES, IMAGES, MODALITIES, air_of, modality_of
from defacedask.volume import real_values


@pytest.mark.parametrize("name", IMAGES)
def test_classes_are_those_of_the_dictionary(name):
    about = modality_of(name)
    for uid in (*about.classes, *about.enhanced):
        said = pydicom.uid.UID(uid).name.replace("Positron Emission Tomography", "PT").replace("PET", "PT")
        assert name in said.split()
        assert ("Enhanced" in said) == (uid in about.enhanced)
    assert {uid for uid, owner in (CLASSIC | ENHANCED).items() if owner == name} == {
        *about.classes,
        *about.enhanced,
    }


def test_no_class_belongs_to_two():
    every = [uid for one in MODALITIES.values() for uid in (*one.classes, *one.enhanced)]
    assert len(every) == len(set(every)) == len(CLASSIC) + len(ENHANCED)


def test_averages_are_there_and_show_the_modality():
    for name in FACES:
        assert load_template(modality_of(name).average).modality == name
    assert {load_template(one.average).modality for one in MODALITIES.values()} <= set(FACES)


@pytest.mark.parametrize("name", FACES)
def test_the_skin_lies_between_air_and_the_levels_tried_about_it(name):
    values = load_template(modality_of(name).average).image
    level = skin_level(name, real_values(values).values)
    assert level > air_of(name)
    low, high = modality_of(name).attack_levels(level)
    assert air_of(name) < low < level < high


def test_the_air_of_a_dose_is_known_and_of_the_unknown_nothing():
    assert AIR == {"CT": -1000.0, "MR": 0.0, "PT": 0.0, "RTDOSE": 0.0}
    for ask in (air_of, modality_of, lambda name: skin_level(name, [0.0, 1.0])):
        with pytest.raises(InputError, match="XA"):
            ask("XA")
