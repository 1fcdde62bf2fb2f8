"""Names of what is written: no two meet, on any file system."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defacedask.io.dicom.export.names import fitting, output_names

part = st.text("aAbäÄ\u0308", min_size=1, max_size=3)
ends = st.sampled_from([".nii", ".nii.gz", ".NII", ".dcm", "", ".json"])


def written(name: str) -> set[str]:
    """Everything that is written for a file, as a file system that tells neither case nor forms sees it."""
    low = name.lower()
    stem = next((name[: -len(e)] for e in (".nii.gz", ".nii") if low.endswith(e)), None)
    names = {name} if stem is None else {name, f"{stem}.json", f"{stem}_defacemask.nii.gz"}
    return {unicodedata.normalize("NFC", unicodedata.normalize("NFC", n).casefold()) for n in names}


@given(
    st.sets(
        st.tuples(st.sampled_from(["/r", "/s"]), st.lists(part, max_size=2).map(tuple), part, ends),
        max_size=9,
    )
)
def test_no_two_files_meet(files):
    paths = ["/".join([root, *folders, name + end]) for root, folders, name, end in files]
    names = output_names(paths)
    assert names.keys() == set(paths)
    taken: set[str] = set()
    folders: set[str] = set()
    for name in names.values():
        own = written(name)
        assert not own & taken
        taken |= own
        pieces = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).split("/")
        folders |= {"/".join(pieces[:k]) for k in range(1, len(pieces))}
    assert not folders & taken


def test_beside_its_own_gz():
    assert output_names(["/r/x.nii", "/r/x.nii.gz", "/r/y.nii"]) == {
        "/r/x.nii": "x.nii",
        "/r/x.nii.gz": "x-2.nii.gz",
        "/r/y.nii": "y.nii",
    }


def test_what_is_never_written_takes_nobodys_name():
    names = output_names(["/r/x.nii.gz"], (), ["/r/x.json", "/r/x.nii"])
    assert names["/r/x.nii.gz"] == "x.nii.gz"


@pytest.mark.parametrize("end", [".nii", ".nii.gz", ".dcm", ""])
@pytest.mark.parametrize("letter", ["a", "ä", "山", "\udcff"])
def test_a_long_name_fits_with_all_that_is_made_of_it(letter, end):
    room = 255 - len(end)
    name = letter * (room // len(os.fsencode(letter))) + end
    names = output_names([f"/r/{name}"])
    stem = names[f"/r/{name}"]
    longest = max(
        len(os.fsencode(n))
        for n in (stem, stem.removesuffix(end) + ("_defacemask.nii.gz" if "nii" in end else ""))
    )
    assert longest <= 255
    assert fitting("short" + end) == "short" + end
    assert fitting("b" + name) != fitting("c" + name)
