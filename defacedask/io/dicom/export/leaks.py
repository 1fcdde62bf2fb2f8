"""Searching a written folder for the words of its people, by whoever holds the run's key and not the originals.

The seal of the record holds a code for each word: HMAC-SHA256 under a key that is derived from the run's and lies
nowhere in the output. Without that key the codes tell nothing: names are few, so a plain or openly salted hash of
one can be guessed. The search shares no step with the cleaning of headers: it takes a text apart in its own way and
asks for the code of every piece.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from defacedask.io.dicom.export.ordinary import is_ordinary
from defacedask.io.dicom.export.words import GLUED_ID, GLUED_NAME, Forms

__all__ = ["Search", "coded_words", "plain_search", "searcher"]

_BYTES = 8


def _code(key: bytes, kind: str, word: str) -> str:
    return hmac.new(key, f"{kind}\0{word}".encode(), hashlib.sha256).hexdigest()[: 2 * _BYTES]


def _secret(key: bytes) -> bytes:
    return hmac.new(key, b"defacedask words 1", hashlib.sha256).digest()


def coded_words(forms: Forms, key: bytes) -> dict[str, Any]:
    """What the seal says of the words: codes, and lengths of those that are looked for inside other words too."""
    secret = _secret(key)
    whole, inside = _kinds(forms)
    return {
        "codes": sorted(
            {_code(secret, "whole", w) for w in whole} | {_code(secret, "inside", w) for w in inside}
        ),
        "lengths": sorted({len(w) for w in inside}),
        "longest": max(map(len, whole), default=0),
    }


def _kinds(forms: Forms) -> tuple[set[str], set[str]]:
    """(looked for whole, looked for inside other words too)."""
    whole = {*forms.names, *forms.ids, *forms.joined}
    inside = {w for w in forms.names if len(w) >= GLUED_NAME or ord(w[0]) >= 0x2E80}
    return whole, inside | {w for w in forms.ids if len(w) >= GLUED_ID}


class Search:
    """Looks for words in texts.

    Parameters
    ----------
    known : callable
        ``known(kind, word)``: whether this is one of them; kind is ``whole`` or ``inside``.
    lengths : collection of int
        Of the words that are looked for inside others.
    longest : int
    """

    def __init__(self, known: Callable[[str, str], bool], lengths: Collection[int], longest: int) -> None:
        self._known, self._lengths, self._longest = known, tuple(lengths), longest
        self._seen: dict[str, bool] = {}
        self._asked: dict[tuple[str, str], bool] = {}

    def __call__(self, text: str) -> bool:
        """Whether somebody is named in a text."""
        if text not in self._seen:
            self._seen[text] = self._look(text)
        return self._seen[text]

    def any(self, texts: Iterable[str]) -> bool:
        """Whether somebody is named in one of several texts."""
        return any(self(text) for text in texts)

    def _ask(self, kind: str, word: str) -> bool:
        if not word or len(word) > self._longest:
            return False
        if (kind, word) not in self._asked:
            self._asked[kind, word] = self._known(kind, word)
        return self._asked[kind, word]

    def _look(self, text: str) -> bool:
        pieces = _pieces(text)
        for k, piece in enumerate(pieces):
            joined = ""
            for other in pieces[k : k + 8]:
                joined += other
                if self._ask("whole", joined):
                    return True
                if len(joined) > self._longest:
                    break
            if is_ordinary(piece):
                continue
            for length in self._lengths:
                for at in range(len(piece) - length + 1):
                    if self._ask("inside", piece[at : at + length]):
                        return True
        # capitals and digits inside a word set its parts apart
        parted = re.sub(
            r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)", " ", text
        )
        return parted != text and self._look(parted)


def _pieces(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return [piece for piece in re.split(r"[\W_]+", plain) if piece]


def searcher(found: Mapping[str, Any], key: bytes) -> Search:
    """Search with the codes that a seal holds and the run's key."""
    secret, codes = _secret(key), frozenset(found.get("codes", ()))
    return Search(
        lambda kind, word: _code(secret, kind, word) in codes,
        found.get("lengths", ()),
        found.get("longest", 0),
    )


def plain_search(forms: Forms) -> Search:
    """The same with the words at hand, from the originals."""
    whole, inside = _kinds(forms)
    return Search(
        lambda kind, word: word in (whole if kind == "whole" else inside),
        sorted({len(w) for w in inside}),
        max(map(len, whole), default=0),
    )
