"""Names that strangers give lead nowhere but where they belong."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from defacedask.io.dicom.find import UNFINISHED
from defacedask.io.remote.cohort.model import RemoteSeries
from defacedask.io.remote.cohort.names import folder_of, is_plain, safe_name

TEXTS = st.text(max_size=300) | st.lists(
    st.sampled_from(["..", ".", "/", "\\", "a", ":", "\0", " ", "C:", "~", UNFINISHED]), max_size=12
).map("".join)


@given(TEXTS)
@example("..")
@example("../../../etc/passwd")
@example("\\\\server\\share")
@example("C:\\x")
@example(UNFINISHED)
@example("é" * 200)
@example("\ud800")
def test_a_safe_name_is_one_folder(text):
    name = safe_name(text)
    assert name
    assert name not in (".", "..")
    assert not name.startswith(".")
    assert len(name.encode()) <= 120
    assert PurePosixPath(name).parts == (name,)
    assert PureWindowsPath(name).parts == (name,)
    assert "\0" not in name
    assert name.isprintable() or not text.isprintable()
    assert safe_name(name) == name
    assert is_plain(name)


@given(TEXTS, TEXTS, TEXTS)
def test_the_folder_of_a_series_lies_below(tmp_path_factory, collection, patient, study):
    root = tmp_path_factory.getbasetemp()
    folder = folder_of(RemoteSeries("1.2.3", study, patient, collection))
    assert len(folder.parts) == 4
    assert Path(root, folder).resolve().parents[3] == root.resolve()
    assert UNFINISHED not in folder.parts


def test_ordinary_names_stay():
    series = RemoteSeries("1.2.3", "1.2", "ZZ RIDER MR8 1", "GBM_DSC_MRI_DRO_Bo=15T")
    assert folder_of(series).as_posix() == "GBM_DSC_MRI_DRO_Bo=15T/ZZ RIDER MR8 1/1.2/1.2.3"
    # long ones that begin alike stay two
    assert safe_name("a" * 200) != safe_name("a" * 201)


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/b", "a\\b", "..", ".x", "x\0", "C:x", "", "x ", "x.", "a\nb"]
)
def test_members_that_are_not_plain(name):
    assert not is_plain(name)


@pytest.mark.parametrize("name", ["00000001.dcm", "1-001.dcm", "md5hashes.csv", "LICENSE"])
def test_members_that_are(name):
    assert is_plain(name)
