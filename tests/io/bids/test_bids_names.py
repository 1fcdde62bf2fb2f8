"""Names by BIDS: masks, relabelled subjects, and what is no such name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defacedask.io.bids.names import is_standard_mask, mask_name, parse, relabelled, subject_label

LABEL = st.text("abcXYZ019", min_size=1, max_size=4)
KEYS = ("ses", "task", "acq", "ce", "rec", "run", "echo", "flip", "inv", "mt", "part", "space", "desc")


@st.composite
def names(draw):
    chosen = draw(st.sets(st.sampled_from(KEYS)))
    parts = [f"sub-{draw(LABEL)}", *(f"{key}-{draw(LABEL)}" for key in KEYS if key in chosen)]
    suffix = draw(st.sampled_from(["T1w", "T2w", "FLAIR", "MEGRE", "UNIT1", "pet"]))
    return "_".join([*parts, suffix]) + draw(st.sampled_from([".nii", ".nii.gz"]))


@given(names())
def test_a_name_is_taken_apart_and_put_together(name):
    assert parse(name).text == name


@given(st.lists(names(), unique_by=lambda name: name.removesuffix(".gz"), max_size=6), st.booleans())
def test_no_two_images_share_a_mask_and_no_mask_is_an_image(several, derivative):
    masks = [mask_name(name, derivative=derivative) for name in several]
    assert len(set(masks)) == len(masks)
    assert not set(masks) & set(several)
    for name, mask in zip(several, masks, strict=True):
        assert parse(mask).label("sub") == parse(name).label("sub")
        assert parse(mask).suffix == ("mask" if derivative else "defacemask")


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("sub-01_T1w.nii.gz", "sub-01_mod-T1w_defacemask.nii.gz"),
        ("sub-01_ses-2_acq-a_run-1_T2w.nii", "sub-01_ses-2_acq-a_run-1_mod-T2w_defacemask.nii.gz"),
        ("sub-01_run-1_echo-2_MEGRE.nii.gz", "sub-01_run-1_mod-MEGRE_echo-2_defacemask.nii.gz"),
        ("orig.nii.gz", "orig_defacemask.nii.gz"),
        ("sub-01.nii.gz", "sub-01_defacemask.nii.gz"),
        ("sub-01_T1w-2.nii.gz", "sub-01_T1w-2_defacemask.nii.gz"),
        ("T1w_sub-01.nii", "T1w_sub-01_defacemask.nii.gz"),
    ],
)
def test_masks(name, mask):
    assert mask_name(name) == mask


def test_of_a_derivative_the_mask_has_a_description():
    name = mask_name("sub-01_space-MNI_desc-preproc_T1w.nii.gz", derivative=True)
    assert name == "sub-01_space-MNI_desc-preprocT1wDefaced_mask.nii.gz"


@pytest.mark.parametrize(
    ("inside", "standard"),
    [
        ("sub-01/anat/sub-01_mod-T1w_defacemask.nii.gz", True),
        ("sub-01/ses-1/anat/sub-01_ses-1_acq-x_run-2_mod-FLAIR_defacemask.nii.gz", True),
        ("sub-01/ses-1/anat/sub-01_mod-FLAIR_defacemask.nii.gz", False),
        ("sub-01/pet/sub-01_mod-pet_defacemask.nii.gz", False),
        ("sub-01/anat/sub-01_ce-gd_mod-T1w_defacemask.nii.gz", False),
        ("sub-01/anat/sub-01_mod-MEGRE_echo-1_defacemask.nii.gz", False),
    ],
)
def test_masks_that_a_validator_takes(inside, standard):
    assert is_standard_mask(inside) is standard


def test_a_subject_gets_another_label_wherever_it_stands():
    old = "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
    assert relabelled(old, "T7") == "sub-T7/ses-01/anat/sub-T7_ses-01_T1w.nii.gz"
    assert subject_label("T-07/b") == "T07b"
