"""Header de-identification: names, ids and dates by dicognito, the rest by the table of the profile.

No word of anybody in the cohort stays in any text (`defacedask.io.dicom.export.words` says what a word is): neither
the patient's own names from other files, nor another patient's or the staff's. One patient has one secret, drawn
from the run's key: the same person gets the same new name and id and the same shift of dates in every object and
every run of that key, and no two patients share a shift. Dates move by whole days, so that times of day, decay and
intervals stay what they were. UIDs are the cohort's map's (`Remap`).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any

from defacedask.errors import InputError, MissingExtraError
from defacedask.io.dicom.export.profile import DUMMY, OPTIONS, SAFE_PRIVATE, apply_profile
from defacedask.io.dicom.export.record import add_codes
from defacedask.io.dicom.export.walking import walk
from defacedask.io.dicom.export.words import Forms, Words, forms_of

__all__ = ["Identity", "named_in", "own_forms", "texts_of"]

#: Days that dates move back, at least and at most.
DAYS = (60, 3650)
_IDS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "AdmissionID")
_CODE = ("CodeValue", "CodeMeaning", "LongCodeValue", "URNCodeValue")
#: Terminologies whose words are nobody's; other schemes are anybody's text.
_SCHEMES = frozenset(
    {
        "DCM",
        "SCT",
        "SRT",
        "SNM3",
        "99SDM",
        "LN",
        "UCUM",
        "FMA",
        "NCIt",
        "RADLEX",
        "UMLS",
        "99DEFACEDASK",
        "99TG263",
    }
)
_STRINGS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_BINARY = frozenset({"OB", "OW", "UN"})
#: Runs of text in binary values; shorter ones come about by chance.
_PRINTED = re.compile(rb"[\x20-\x7e\xa0-\xff]{5,}")
_MOST = 1 << 20
#: How often a made-up name or id is drawn again because it is somebody's.
_DRAWS = 200


def own_forms(dataset: Any) -> Forms:
    """Words of everybody whom a header names anywhere: patient, staff, whoever drew or approved."""
    names: list[str] = []
    ids: list[str] = []
    births: list[str] = []
    for item, tag, vr in walk(dataset):
        if vr == "PN" and tag in item:
            names += _values(item[tag].value)
        elif vr in ("LO", "SH") and tag in item and item[tag].keyword in _IDS:
            ids += _values(item[tag].value)
        elif vr == "DA" and tag in item and item[tag].keyword == "PatientBirthDate":
            births += _values(item[tag].value)
    return forms_of(names, ids, births)


def _values(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bytes):
        return [value.decode("latin-1")]
    return [str(one) for one in value] if hasattr(value, "append") else [str(value)]


def texts_of(dataset: Any) -> Iterator[tuple[Any, Any, list[str]]]:
    """(item, tag, texts) of every element that can hold words: strings, and what is printed in binary values.

    Codes of known terminologies are left out.
    """
    from pydicom.datadict import keyword_for_tag

    for item, tag, vr in list(walk(dataset)):
        if tag not in item or int(tag) in (0x7FE00008, 0x7FE00009, 0x7FE00010):
            continue
        if vr in _STRINGS:
            if keyword_for_tag(tag) in _CODE and str(item.get("CodingSchemeDesignator", "")) in _SCHEMES:
                continue
            yield item, tag, _values(item[tag].value)
        elif vr in _BINARY:
            raw = item.get_item(tag).value
            if isinstance(raw, bytes) and len(raw) <= _MOST:
                yield item, tag, [m[0].decode("latin-1") for m in _PRINTED.finditer(raw)]


def named_in(dataset: Any, words: Words) -> str:
    """Tag of an element in which one of the words still stands, or ""."""
    for _, tag, texts in texts_of(dataset):
        if any(words.find(text) for text in texts):
            return str(tag)
    return ""


class Identity:
    """De-identifies the headers of one patient.

    Parameters
    ----------
    key : bytes
        Secret of the run.
    person : str
        What tells the patient from others, in whatever spelling (`defacedask.io.dicom.people.person_key`).
    words : Words, optional
        Of everybody in the cohort; those of a header at hand are added.
    private : str
        ``drop`` private elements, or ``keep`` those that are known to carry no identity.
    trial : mapping, optional
        ``subject``: the trial's own id, which becomes PatientID and PatientName; and what else is to be said of the
        trial, by DICOM keyword.

    Raises
    ------
    MissingExtraError
        If dicognito is not installed.
    """

    def __init__(
        self,
        key: bytes,
        person: str,
        words: Words | None = None,
        *,
        private: str = "drop",
        trial: Mapping[str, str] | None = None,
    ) -> None:
        try:
            from dicognito.anonymizer import Anonymizer
            from dicognito.datetimeanonymizer import DateTimeAnonymizer
            from dicognito.element_anonymizer import ElementAnonymizer
        except ImportError:
            raise MissingExtraError(
                "de-identification of headers needs dicognito, which is not installed.",
                "Install it with: pip install 'defacedask[deidentify]'.",
            ) from None
        secret = hmac.new(key, f"defacedask identity 1\0{person}".encode(), hashlib.sha256)
        self.private = private
        self.words = words or Words(forms_of((), ()))
        self._more = self.words
        first, last = DAYS
        self.days = first + int.from_bytes(secret.digest()[:8], "big") % (last - first)
        shift = DateTimeAnonymizer(-24 * self.days)

        class Keep(ElementAnonymizer):
            """UIDs are the cohort's map's; what was added by the map stays."""

            def __call__(self, dataset: Any, element: Any) -> bool:
                return element.VR == "UI"

        class Dates(ElementAnonymizer):
            """Whole days; what is no date is emptied, and not left."""

            def __call__(self, dataset: Any, element: Any) -> bool:
                if element.VR not in ("DA", "DT"):
                    return False
                try:
                    return bool(shift(dataset, element))
                except (ValueError, OverflowError, TypeError, AttributeError):
                    element.value = ""
                    return True

        self._anonymizer = Anonymizer(seed=secret.hexdigest())
        self._anonymizer.add_element_handler(Dates())
        self._anonymizer.add_element_handler(Keep())

        self.new_id = self._draw("PatientID", secret.hexdigest()[:32], self.words)
        self.new_name = self._draw("PatientName", secret.hexdigest()[:32], self.words)
        self.trial = dict(trial or {})
        if subject := self.trial.pop("subject", ""):
            self.new_id = self.new_name = subject
        if self.trial:
            self.trial["ClinicalTrialSubjectID"] = self.new_id

    def _draw(self, keyword: str, old: str, words: Words) -> str:
        """What dicognito makes of a value; drawn again while it holds somebody's word."""
        from pydicom.dataset import Dataset, FileMetaDataset

        for k in range(_DRAWS):
            dataset = Dataset()
            dataset.file_meta = FileMetaDataset()
            setattr(dataset, keyword, f"{old}#{k}" if k else old)
            self._anonymizer.anonymize(dataset)
            new = str(dataset[keyword].value)
            if not words.find(new):
                return new
        return "" if keyword != "PatientID" else DUMMY

    def __call__(self, dataset: Any) -> None:
        """De-identify a header in place and record it; its UIDs are to be moved before.

        Raises
        ------
        InputError
            If it cannot be done: an element is too odd to be read, or a word that names somebody stays.
        """
        from pydicom.dataset import FileMetaDataset

        meta = getattr(dataset, "file_meta", None)
        try:
            words = self._with(own_forms(dataset))
            apply_profile(dataset, private=self.private)
            scrub(dataset, words)
            dataset.file_meta = FileMetaDataset()
            self._anonymizer.anonymize(dataset)
            self._settle(dataset, words)
        except InputError:
            raise
        except Exception as error:  # values are decoded when asked for, and libraries raise what they like
            text = self.words.clean(" ".join(str(error).split())[:120])
            raise InputError(
                f"its header cannot be de-identified ({type(error).__name__}: {text}).",
                "Repair the file, or deface without --deidentify.",
            ) from None
        finally:
            with contextlib.suppress(AttributeError):
                del dataset.file_meta
            if meta is not None:
                dataset.file_meta = meta
        self._record(dataset)
        left = named_in(dataset, words)
        if left:
            raise InputError(
                f"somebody is still named in {left}.",
                "Use --private drop, or deface without --deidentify.",
            )

    def _with(self, own: Forms) -> Words:
        known = self.words.forms
        if own.names <= known.names and own.ids <= known.ids and own.beside.keys() <= known.beside.keys():
            return self.words
        beside = {
            word: known.beside.get(word, frozenset()) | own.beside.get(word, frozenset())
            for word in {*known.beside, *own.beside}
        }
        forms = Forms(known.names | own.names, known.ids | own.ids, beside)
        if self._more.forms != forms:  # files of one series name the same people
            self._more = Words(forms)
        return self._more

    def _settle(self, dataset: Any, words: Words) -> None:
        """One name and one id for the patient everywhere; nothing made up is somebody's."""
        for item, tag, vr in list(walk(dataset)):
            if tag not in item:
                continue
            element = item[tag]
            if element.keyword == "PatientName":
                element.value = self.new_name
            elif element.keyword == "PatientID":
                element.value = self.new_id
            elif vr == "PN" and any(words.find(one) for one in _values(element.value)):
                element.value = self._draw("PatientName", str(element.value), words)
            elif vr in ("LO", "SH", "ST") and any(words.find(one) for one in _values(element.value)):
                element.value = DUMMY

    def _record(self, dataset: Any) -> None:
        """(0012,0062), (0012,0063), (0012,0064), (0028,0303), and the trial's elements."""
        if self.trial:
            for keyword in ("ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName"):
                setattr(dataset, keyword, "")  # of type 2: there, with or without a value
        for keyword, value in self.trial.items():
            setattr(dataset, keyword, value)

        dataset.PatientIdentityRemoved = "YES"
        dataset.LongitudinalTemporalInformationModified = "MODIFIED"
        add_codes(dataset, [*OPTIONS, *([SAFE_PRIVATE] if self.private == "keep" else [])])


def scrub(dataset: Any, words: Words) -> None:
    """Take everybody's words out of all texts; binary elements that hold one are taken out whole."""
    if not words:
        return
    for item, tag, texts in texts_of(dataset):
        if tag not in item or not any(words.find(text) for text in texts):
            continue
        element = item[tag]
        if element.VR in _BINARY:
            del item[tag]
        elif element.VR != "PN":  # names are made up anew
            new = [words.clean(text) for text in texts]
            element.value = new if len(new) > 1 else new[0]
