"""Names of the study from names as clinics write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defacedask.anatomy.structure_names import (
    STUDY_NAMES,
    standard_name,
    standard_names,
    target_dose,
    target_kind,
)

SAME = {
    "Bone_Mandible": "Bone_Mandible Mandible MANDIBLE mandibula Lower_Jaw Mandible_Bone Unterkiefer",
    "Brain": "Brain BRAIN Whole_Brain WholeBrain Gehirn",
    "Brainstem": "Brainstem BrainStem BRAIN_STEM Brain-Stem brain.stem Hirnstamm",
    "Cavity_Oral": "Cavity_Oral OralCavity Oral_Cavity ORAL_CAV oral-cavity",
    "OpticChiasm": "OpticChiasm Chiasm CHIASMA Optic_Chiasm Chiasma_opticum OpticChiasma",
    "Eye_L": "Eye_L L_Eye LeftEye EyeL Lt_Eye EYE_LT eyeball_left Globe_L Left_Globe Auge_links Eye(L)",
    "Eye_R": "Eye_R R_Eye RightEye EyeR Rt.Eye EYE_RT Eye-R Globe_Rt",
    "OpticNrv_L": "OpticNrv_L OpticNerve_L LeftOpticNerve Optic_Nerve_Lt OPTIC_NERVE_LEFT Lt_Optic_Nerve "
    "OptNerve_L Optic_L_Nerve",
    "OpticNrv_R": "OpticNrv_R OpticNerveRt RightOpticNerve N_opticus_rechts OPTNRV_R",
    "Parotid_L": "Parotid_L LeftParotid L_Parotid PAROTID_LT Lt_Parotid ParotidLt Parotid_Gland_Left Parotis_li "
    "LPAROTID PAROTIDL Left_Parotid_Gland Parotid_(L)",
    "Parotid_R": "Parotid_R RightParotid R_Parotid Rt_Parotid Parotis_rechts Glandula_parotis_dextra",
    "Target": "Target PTV PTV70 PTV_7000 PTV56 ptv_high GTV CTV GTVp GTVn CTV_High ITV PTV1 PTVn1 GTV_Mass_CT "
    "PTV_59.4 PTV^Boost PTV70Gy PTV-3",
}
OTHER = (
    "Brainstem_PRV Brainstem_PRV03 Brain-PTV ~Brain zBrain _Brain Brain+3mm Brain^Left Brains Parotid Parotids "
    "Parotid_L-PTV Parotid_L_PRV Parotid_LR ParotidL_opt Lens_L Lens_R Eyes Eye Eye_L_PRV Orbit_L "
    "OpticNrv OpticNerves "
    "Cochlea_L Chiasm_PRV3 SpinalCord Cord Larynx Esophagus BODY External Cavity OralCavity-PTV Mandible_opt Lips "
    "Hypothalamus Pituitary Submandibular_L SubmandL Glnd_Submand_L ON OC Jaw Cerebrum "
    "Temporal_Lobe_L PTVring "
    "PTV_ring PTV70-PTV56 PTVopt PTV_opt nonPTV Brain-GTV NTV PRV CTV-PTV avoidPTV Tumor_Bed Nodes Borders Scar"
)


@pytest.mark.parametrize("standard", STUDY_NAMES)
def test_synonyms(standard):
    for name in SAME[standard].split():
        assert standard_name(name) == standard, name
        assert standard_name(f" {name.replace('_', ' ')} ") == standard, name
        assert standard_name(name.upper()) == standard, name


@pytest.mark.parametrize("name", OTHER.split())
def test_what_is_something_else_keeps_its_name(name):
    assert standard_name(name) == name
    assert standard_name(name.replace("_", " ")) == name.replace("_", " ") or name[0] in "_~"


@given(st.text(max_size=40))
def test_any_text_has_a_name_and_keeps_it(name):
    once = standard_name(name)
    assert once == once.strip()
    assert standard_name(once) == once or once in STUDY_NAMES
    assert once in STUDY_NAMES or "".join(once.split()) == "".join(
        c for c in name if c.isprintable() and not c.isspace()
    )


@pytest.mark.parametrize(
    ("name", "dose"),
    [
        ("PTV70", 70),
        ("PTV_7000", 70),
        ("PTV 59.4 Gy", 59.4),
        ("PTV59p4", 59.4),
        ("PTV_5940cGy", 59.4),
        ("PTV1_66", 66),
        ("PTV1", math.nan),
        ("PTV_High", math.nan),
    ],
)
def test_dose_in_a_name(name, dose):
    assert target_dose(name) == pytest.approx(dose, nan_ok=True)


def test_kind():
    assert [target_kind(n) for n in ("PTV70", "gtvp", "CTV_n", "ITV", "PTV ring", "Brain")] == [
        "PTV",
        "GTV",
        "CTV",
        "ITV",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("names", "target"),
    [
        (["PTV56", "PTV63", "PTV70", "GTV", "CTV70"], "PTV70"),
        (["PTV_5600", "PTV_7000"], "PTV_7000"),
        (["PTV_Low", "PTV_Mid", "PTV_High"], "PTV_High"),
        (["PTV_Low", "PTV"], "PTV"),
        (["GTV", "CTV_5600", "CTV_7000"], "CTV_7000"),
        (["GTVn", "GTVp"], "GTVn"),
        (["GTV", "PTV 66 ring", "PTV 60"], "PTV 60"),
        (["PTV70", "Target"], "Target"),
        (["PTV1", "PTV2"], "PTV1"),
    ],
)
def test_one_target_the_others_keep_their_names(names, target):
    got = standard_names(names)
    assert got.count("Target") == 1
    assert got[names.index(target)] == "Target"
    for name, new in zip(names, got, strict=True):
        assert new == ("Target" if name == target else name)


def test_who_gets_the_name():
    assert standard_names(["Parotid_L", "LeftParotid"]) == ["Parotid_L", "LeftParotid"]
    assert standard_names(["LeftParotid", "Parotid_L"]) == ["LeftParotid", "Parotid_L"]
    assert standard_names(["Lt Parotid", "L Parotid"]) == ["Parotid_L", "L Parotid"]
    assert standard_names(["Parotid_L", "LeftParotid"], [True, False]) == ["Parotid_L_2", "Parotid_L"]
    assert standard_names(["PTV70", "PTV56"], [True, False]) == ["PTV70", "Target"]


def test_equal_names_are_numbered():
    assert standard_names(["x", "x", "x_2", "x"]) == ["x", "x_3", "x_2", "x_4"]
    assert standard_names(["Brain", "Brain"]) == ["Brain", "Brain_2"]
    assert standard_names(["", ""]) == ["unnamed", "unnamed_2"]


@given(
    st.lists(
        st.one_of(st.sampled_from(["Brain", "brain", "PTV70", "PTV", "x", "x_2", "Target", ""]), st.text())
    )
)
def test_names_of_a_set_are_unique_and_reproducible(names):
    got = standard_names(names)
    assert len(got) == len(names)
    assert len(set(got)) == len(got)
    assert all(got)
    assert standard_names(names) == got
    for standard in STUDY_NAMES:
        assert (standard in got) == any(standard_name(n) == standard for n in names)
