"""Words that name people: what they are, and how they are taken out of a text.

The rule. The words of a person are the parts of at least three letters of every name (patient's, former, mother's,
staff's; any order, separator, case, accents), two characters where names are not written in letters; every id
whole, with and without leading zeros and separators; runs of five digits or more in ids; the date of birth in its
usual orders. They are found as words, as parts of words told by case, digits or underscores (``MandibleBERG``,
``Berg1``), and names of five letters and ids of six characters also inside any word that is not itself an ordinary
one.

A part of a name that is also an ordinary word of imaging (``Head``, ``Long``) or a particle (``van``, ``der``) names
nobody alone. It counts beside another part of the same name.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from defacedask.io.dicom.export.ordinary import is_ordinary
from defacedask.io.dicom.persons import fold, plain_id

__all__ = ["GLUED_ID", "GLUED_NAME", "PLACEHOLDERS", "Forms", "Words", "fold_with_places", "forms_of"]

#: From these lengths on a word is also found inside another one.
GLUED_NAME, GLUED_ID = 5, 6
#: Words that stand where a name was taken out. They name nobody.
PLACEHOLDERS = frozenset(
    "anon anonymous anonymized anonymised deidentified removed unknown none noname dicognito".split()  # noqa: SIM905
)
_TOKEN = re.compile(r"[^\W_]+")
_RUNS = re.compile(r"[0-9]+|[^\W\d_a-z]+(?=[^\W\d_a-z][a-z])|[^\W\d_a-z]?[a-z]+|[^\W\d_]+")
#: Tokens that may stand between them for two to be neighbours.
_LONGEST_ID = 8


@dataclasses.dataclass(frozen=True)
class Forms:
    """Folded words of one cohort.

    Attributes
    ----------
    names : frozenset of str
        Parts of names that name somebody alone.
    ids : frozenset of str
        Ids and dates, letters and digits only.
    beside : dict
        Ordinary part of a name -> the other parts of those names.
    """

    names: frozenset[str]
    ids: frozenset[str]
    beside: Mapping[str, frozenset[str]]

    @property
    def joined(self) -> frozenset[str]:
        """Two neighbouring parts of a name written as one, where one of them is ordinary."""
        return frozenset(
            a + b for one, rest in self.beside.items() for r in rest for a, b in ((one, r), (r, one))
        )


def _spellings(part: str) -> set[str]:
    """A folded part and its German transliterations."""
    out = {fold(part)}
    spelled = unicodedata.normalize("NFC", part).casefold()
    for a, b in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("å", "aa"), ("ø", "oe"), ("æ", "ae")):
        spelled = spelled.replace(a, b)
    out.add(fold(spelled))
    out |= {re.sub(r"([aou])e", r"\1", one) for one in set(out)}
    return out


def _long_enough(part: str) -> bool:
    letters = sum(c.isalpha() for c in part)
    latin = all(ord(c) < 0x2E80 for c in part)
    return letters >= (3 if latin else 2)


def forms_of(names: Iterable[str], ids: Iterable[str], births: Iterable[str] = ()) -> Forms:
    """Words of people, from what headers hold.

    Parameters
    ----------
    names, ids, births : iterables of str
        As they came; several values with backslashes between.
    """
    alone: set[str] = set()
    beside: dict[str, set[str]] = {}
    for name in {one for text in names for one in str(text).split("\\")}:
        parts = [p for p in re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", name)) if _long_enough(p)]
        folded = [s for p in parts for s in _spellings(p) if s not in PLACEHOLDERS]
        for word in folded:
            if is_ordinary(word):
                beside.setdefault(word, set()).update(w for w in folded if w != word)
            else:
                alone.add(word)
    marks: set[str] = set()
    for one in {one for text in ids for one in str(text).split("\\")}:
        plain = fold("".join(_TOKEN.findall(one)))
        short = plain_id(one).replace("-", "")
        for form in (plain, plain.lstrip("0"), short if len(short) >= 5 else ""):
            if (
                len(form) >= (4 if form.isdigit() else 3)
                and form not in PLACEHOLDERS
                and not is_ordinary(form)
            ):
                marks.add(form)
        marks |= {run for run in re.findall(r"[0-9]+", plain) if len(run.lstrip("0")) >= 5}
        marks |= {run.lstrip("0") for run in re.findall(r"[0-9]+", plain) if len(run.lstrip("0")) >= 5}
    for birth in births:
        if re.fullmatch(r"\d{8}", birth):
            year, month, day = birth[:4], birth[4:6], birth[6:]
            marks |= {birth, day + month + year, month + day + year}
    return Forms(frozenset(alone), frozenset(marks), {k: frozenset(v) for k, v in beside.items()})


def fold_with_places(text: str) -> tuple[str, list[int]]:
    """A folded text, and for each of its characters the place in ``text`` it came from."""
    out: list[str] = []
    places: list[int] = []
    for k, character in enumerate(text):
        folded = fold(character)
        out.append(folded)
        places += [k] * len(folded)
    return "".join(out), places


class Words:
    """Finds the words of a cohort in texts and takes them out.

    Parameters
    ----------
    forms : Forms
    """

    def __init__(self, forms: Forms) -> None:
        self.forms = forms
        self._both = forms.names | forms.ids
        inside = [w for w in forms.names if len(w) >= GLUED_NAME or ord(w[0]) >= 0x2E80] + [
            w for w in forms.ids if len(w) >= GLUED_ID
        ]
        self._lengths = sorted({len(w) for w in inside}, reverse=True)
        self._inside = frozenset(inside)
        self._known: dict[str, list[tuple[int, int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._both or self.forms.beside)

    def find(self, text: str) -> list[tuple[int, int]]:
        """Spans of ``text`` that name somebody, in order, not overlapping."""
        if not text or not self:
            return []
        found = self._known.get(text)
        if found is None:
            if len(self._known) > 20_000:
                self._known.clear()
            found = self._known[text] = self._find(text)
        return found

    def clean(self, text: str, by: str = "X") -> str:
        """``text`` with every word that names somebody replaced."""
        text = unicodedata.normalize("NFC", text) if self.find(unicodedata.normalize("NFC", text)) else text
        out, last = [], 0
        for start, end in self.find(text):
            out += [text[last:start], by]
            last = end
        return "".join([*out, text[last:]])

    def _find(self, text: str) -> list[tuple[int, int]]:
        tokens = [(m.start(), m.end(), fold(m[0])) for m in _TOKEN.finditer(text)]
        spans: list[tuple[int, int]] = []
        for k, (start, end, word) in enumerate(tokens):
            if word in self._both:
                spans.append((start, end))
                continue
            if word in self.forms.beside:
                near = {tokens[j][2] for j in (k - 1, k + 1) if 0 <= j < len(tokens)}
                if near & self.forms.beside[word]:
                    spans.append((start, end))
                continue
            joined = word
            for later in tokens[k + 1 : k + _LONGEST_ID]:
                joined += later[2]
                if joined in self.forms.ids:
                    spans.append((start, later[1]))
            if not is_ordinary(word):
                spans += self._within(text[start:end], start)
        return _merged(spans)

    def _within(self, token: str, offset: int) -> list[tuple[int, int]]:
        runs = [(m.start(), m.end(), fold(m[0])) for m in _RUNS.finditer(token)]
        spans = []
        for k, (start, _, _) in enumerate(runs):
            joined = ""
            for later in runs[k : k + _LONGEST_ID]:
                joined += later[2]
                if joined in self._both:
                    spans.append((offset + start, offset + later[1]))
        folded, places = fold_with_places(token)
        for length in self._lengths:
            for at in range(len(folded) - length + 1):
                if folded[at : at + length] in self._inside:
                    spans.append((offset + places[at], offset + places[at + length - 1] + 1))
        return spans


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def words_of_people(people: Mapping[str, Mapping[str, Any]]) -> Words:
    """Words of everybody in a `defacedask.io.dicom.people.People` record."""
    everybody = list(people.values())
    return Words(
        forms_of(
            {n for one in everybody for n in one["names"]},
            {i for one in everybody for i in one["ids"]},
            {b for one in everybody for b in one["births"]},
        )
    )
