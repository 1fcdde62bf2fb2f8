"""Header de-identification: names, ids and dates by dicognito, the rest by the table of the profile.

One patient has one secret, drawn from the run's key: the same person gets the same new name and id and the same
shift of dates in every object and every run of that key, and no two patients share a shift. Dates move by whole
days, so that times of day, decay and intervals stay what they were. UIDs are the cohort's map's (`Remap`).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
from typing import Any

from defacedask.dicom.export.profile import OPTIONS, REPLACED, SAFE_PRIVATE, apply_profile
from defacedask.dicom.export.references import TEXTS, walk
from defacedask.errors import InputError, MissingExtraError

__all__ = ["Identity", "named_in", "names_somebody", "words_of"]

#: Days that dates move back, at least and at most.
DAYS = (60, 3650)
#: Elements whose words must not come up anywhere else.
_NAMING = (
    "PatientName",
    "PatientID",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientBirthDate",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PhysiciansOfRecord",
    "PerformingPhysicianName",
    "OperatorsName",
    "IssuerOfPatientID",
)
#: What terminologies and this program wrote: somebody may be called Patient or Head.
_OWN_TEXTS = ("CodeMeaning", "CodeValue", "DeidentificationMethod", "DerivationDescription", "Manufacturer")
#: Words shorter than this say nothing of a person.
SHORTEST = 4


def words_of(dataset: Any) -> set[str]:
    """Words that name the patient or the staff in a header, in lower case.

    Parameters
    ----------
    dataset : pydicom.Dataset
        As it came.
    """
    words: set[str] = set()
    for keyword in _NAMING:
        value = dataset.get(keyword, None)
        many = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
        for one in many:
            text = str(one or "").strip()
            words.add(text.casefold())
            if "Name" in keyword or "Physician" in keyword:
                words.update(part.casefold() for part in re.split(r"[\^=\s,.]+", text))
    return {word for word in words if len(word) >= SHORTEST}


def _pattern(words: set[str]) -> re.Pattern[str] | None:
    if not words:
        return None
    inner = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![^\W_])(?:{inner})(?![^\W_])", re.IGNORECASE)


def names_somebody(text: str, words: set[str]) -> bool:
    """Whether one of the words (lower case) stands in a text."""
    pattern = _pattern(words)
    return pattern is not None and pattern.search(text) is not None


def named_in(dataset: Any, words: set[str]) -> str:
    """Tag of an element in which one of the words (lower case) still stands, or ""."""
    from pydicom.datadict import keyword_for_tag

    pattern = _pattern(words)
    if pattern is None:
        return ""
    for item, tag, vr in walk(dataset):
        if vr not in TEXTS or vr in ("PN", "CS") or tag == 0x7FE00010:
            continue
        raw = item.get_item(tag).value
        text = raw.decode("latin-1") if isinstance(raw, bytes) else str(raw or "")
        # a made-up name may happen to be somebody's
        if len(text) > 1 << 20 or keyword_for_tag(tag) in {*REPLACED, *_NAMING, *_OWN_TEXTS}:
            continue
        if pattern.search(text):
            return str(tag)
    return ""


class Identity:
    """De-identifies the headers of one patient.

    Parameters
    ----------
    key : bytes
        Secret of the run.
    person : str
        What tells the patient from others: PatientID, or the study's UID where there is none.
    private : str
        ``drop`` private elements, or ``keep`` those that are known to carry no identity.

    Raises
    ------
    MissingExtraError
        If dicognito is not installed.
    """

    def __init__(self, key: bytes, person: str, *, private: str = "drop") -> None:
        try:
            from dicognito.anonymizer import Anonymizer
            from dicognito.datetimeanonymizer import DateTimeAnonymizer
            from dicognito.element_anonymizer import ElementAnonymizer
        except ImportError:
            raise MissingExtraError(
                "de-identification of headers needs dicognito, which is not installed.",
                "Install defacedask[deidentify].",
            ) from None
        secret = hmac.new(key, f"defacedask identity 1\0{person}".encode(), hashlib.sha256)
        self.private = private
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

    def patient_id(self, old: str) -> str:
        """New id of a patient, as it will stand in the headers."""
        from pydicom.dataset import Dataset, FileMetaDataset

        dataset = Dataset()
        dataset.file_meta, dataset.PatientID = FileMetaDataset(), old
        self._anonymizer.anonymize(dataset)
        return str(dataset.PatientID)

    def __call__(self, dataset: Any) -> None:
        """De-identify a header in place and record it; its UIDs are to be moved before.

        Raises
        ------
        InputError
            If it cannot be done: an element is too odd to be read, or a word that names the patient stays.
        """
        from pydicom.dataset import FileMetaDataset

        words = words_of(dataset)
        meta = getattr(dataset, "file_meta", None)
        try:
            apply_profile(dataset, private=self.private)
            self._scrub(dataset, words)
            dataset.file_meta = FileMetaDataset()
            self._anonymizer.anonymize(dataset)
        except InputError:
            raise
        except Exception as error:  # values are decoded when asked for, and libraries raise what they like
            text = " ".join(str(error).split())[:120]
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
                f"the patient is still named in {left}.",
                "Use --private drop, or deface without --deidentify.",
            )

    # --- words

    def _scrub(self, dataset: Any, words: set[str]) -> None:
        """Take the patient's words out of free text."""
        pattern = _pattern(words)
        if pattern is None:
            return
        for item, tag, vr in list(walk(dataset)):
            if vr not in ("LO", "SH", "ST", "LT", "UT", "UC") or tag not in item:
                continue
            element = item[tag]
            value = element.value
            if not value or element.keyword in {*_NAMING, *_OWN_TEXTS}:
                continue
            if isinstance(value, str):
                if pattern.search(value):
                    element.value = pattern.sub("X", value)
            elif any(pattern.search(str(v)) for v in value):
                element.value = [pattern.sub("X", str(v)) for v in value]

    def _record(self, dataset: Any) -> None:
        """(0012,0062), (0012,0063), (0012,0064), (0028,0303)."""
        from defacedask.dicom.export.record import add_codes

        dataset.PatientIdentityRemoved = "YES"
        dataset.LongitudinalTemporalInformationModified = "MODIFIED"
        add_codes(dataset, [*OPTIONS, *([SAFE_PRIVATE] if self.private == "keep" else [])])
