"""What names somebody, in whatever spelling and place; the search by codes finds what the cleaning removes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from defacedask.io.dicom.export.leaks import coded_words, plain_search, searcher
from defacedask.io.dicom.export.ordinary import is_ordinary
from defacedask.io.dicom.export.words import PLACEHOLDERS, Words, forms_of

KEY = bytes(range(32))
FORMS = forms_of(
    [
        "Ketterer^Ilse",
        "Van der Berg^Ann",
        "Müller-Lüdenscheidt^Jürgen",
        "Long^Mark",
        "Yamada^Tarou=山田^太郎",
    ],
    ["MRN-554433", "0000VP-0001"],
    ["19620405"],
)
WORDS = Words(FORMS)

NAMED = {
    "KETTERER HN": "X HN",
    "Mandible Ketterer": "Mandible X",
    "MandibleKETTERER": "MandibleX",
    "kettererHN_2": "XHN_2",
    "GTVpKetterer2": "GTVpX2",
    "see Dr. BERG.": "see Dr. X.",
    "Berg1": "X1",
    "DeepBerg": "DeepX",
    "Van der Berg": "X X X",
    "Mueller": "X",
    "muller ptv": "X ptv",
    unicodedata.normalize("NFD", "Müller"): "X",
    "JUERGEN": "X",
    "Mark Long": "X X",
    "mrn 554433": "X",
    "#00554433": "#00X",
    "vp_0001": "X",
    "born 05.04.1962": "born X",
    "1962-04-05": "X",
    "山田PTV": "XPTV",
    "plan_ANN": "plan_X",
}
CLEAN = [
    "Bergen",
    "Annular",
    "Ilsebill",
    "LONG",
    "Mark 3",
    "Brain",
    "Sternum",
    "PTV_70Gy",
    "12",
    "van",
    "Kette",
    "",
]


@pytest.mark.parametrize("text", NAMED)
def test_named(text):
    assert WORDS.clean(text) == NAMED[text]
    assert not WORDS.find(WORDS.clean(text))
    assert plain_search(FORMS)(text)
    assert searcher(coded_words(FORMS, KEY), KEY)(text)


@pytest.mark.parametrize("text", CLEAN)
def test_not_named(text):
    assert WORDS.clean(text) == text
    assert not plain_search(FORMS)(text)


def test_codes_tell_nothing_without_the_key():
    coded = coded_words(FORMS, KEY)
    assert not any(word in str(coded) for word in FORMS.names | FORMS.ids)
    assert not searcher(coded, KEY[::-1])("Ketterer")
    assert coded["codes"] != coded_words(FORMS, KEY[::-1])["codes"]


@pytest.mark.parametrize("word", sorted(PLACEHOLDERS))
def test_what_stands_for_a_removed_name_names_nobody(word):
    forms = forms_of([f"Ketterer^{word}", word.upper()], [word])
    assert forms.names == {"ketterer"}
    assert not forms.ids


names = st.text("abcdefghijklmnopqrstuvwxyzäöüéñ", min_size=3, max_size=10).filter(
    lambda n: not is_ordinary(n) and n not in PLACEHOLDERS and len(unicodedata.normalize("NFC", n)) >= 3
)
spelled = st.sampled_from([str.upper, str.title, str.lower, lambda n: unicodedata.normalize("NFD", n)])
around = st.sampled_from(["{}", "{} HN", "Plan_{}", "of {}.", "{}^x", "70 {}, 2", "({})", "PTV-{}"])


@given(names, names, spelled, around, st.sampled_from(["{}^{}", "{}, {}", "{} {}", "{}={}", "{}^{}^^"]))
def test_every_part_of_a_name_is_found_in_every_spelling(family, given_name, spell, frame, form):
    forms = forms_of([form.format(family, given_name)], [])
    words = Words(forms)
    assume(forms.names)
    for one in (family, given_name):
        text = frame.format(spell(one))
        assert words.find(unicodedata.normalize("NFC", text)), (text, forms)
        assert not words.find(words.clean(text))
        assert plain_search(forms)(text)


@given(st.text("abcXYZ _-.^1290ß山é\u0308", max_size=30), st.lists(names, min_size=1, max_size=4))
def test_what_is_cleaned_is_clean_for_both(text, several):
    forms = forms_of(several, ["A-1290", "0012901290"])
    cleaned = Words(forms).clean(text)
    assert not Words(forms).find(cleaned)
    assert not plain_search(forms)(cleaned), (text, cleaned)


@given(st.integers(10**5, 10**8), st.integers(0, 3), st.sampled_from(["", "-", " ", "."]))
def test_ids_with_and_without_what_stands_around(number, zeros, separator):
    words = Words(forms_of([], [f"MR{separator}{'0' * zeros}{number}"]))
    for text in (f"MR{number}", f"id {number}", f"mr {'0' * zeros}{number}", f"x{number}y"):
        assert words.find(text), text
    assert not words.find(f"{number + 1}")
