"""Every place of a dataset that names an instance or a series, moved to the new UIDs in one walk.

Studies and frames of reference keep their UIDs: the derived objects belong to the same study and lie in the same
frame as before (PS3.3 C.7.6.1.1.3, C.7.4.1). Elements that hold no UID are not decoded, so that what was odd
about them stays as it was, byte for byte.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from defacedask.io.dicom.export.identity import Identity
from defacedask.io.dicom.export.uids import UID_TOKEN, UidMap
from defacedask.io.dicom.export.walking import walk

__all__ = ["Remap", "instance_references", "source_tokens"]

#: UIDs of instances and series wherever they appear.
MAPPED = {
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "ReferencedSOPInstanceUID",
    "MediaStorageSOPInstanceUID",
    "ConcatenationUID",
    "SOPInstanceUIDOfConcatenationSource",
    "FailedSOPInstanceUIDList",
    "ReferencedSOPInstanceUIDInFile",
}
#: UIDs of codes and classes, which name no instance.
STAYS = {
    "CodingSchemeUID",
    "ContextUID",
    "ContextGroupExtensionCreatorUID",
    "MappingResourceUID",
    "SOPClassesInStudy",
    "SOPClassesSupported",
    "RelatedGeneralSOPClassUID",
}
STANDARD = "1.2.840.10008."
#: References of these classes name studies, visits and procedure steps, not instances of images.
MANAGEMENT = "1.2.840.10008.3.1.2."
TEXTS = {"LO", "SH", "ST", "LT", "UT", "UC", "UR", "UN", "OB", "OW", "CS", "PN"}


class Remap:
    """Moves a dataset's references to the new UIDs.

    Parameters
    ----------
    uids : UidMap
    known : collection of str
        SOP instance and series UIDs of the source: mapped wherever they stand, private and binary elements too.
    studies : collection of str
        Study UIDs, which are kept.
    identity : Identity, optional
        De-identifies the header too: then every UID moves, those of studies and frames of reference as well, and
        only those of the standard, of classes and of codes stay.
    """

    def __init__(
        self,
        uids: UidMap,
        known: Collection[str],
        studies: Collection[str],
        identity: Identity | None = None,
    ) -> None:
        self.uids, self.known, self.studies = uids, frozenset(known), frozenset(studies)
        self.identity = identity
        if identity is not None:
            self.known, self.studies = self.known | self.studies, frozenset()

    def source(self, uid: str) -> str:
        """UID by which an instance names its source: its own, or a pseudonym if headers are de-identified."""
        return uid if self.identity is None else self.uids(f"source of {uid}")

    def frame(self, uid: str) -> str:
        """Frame of reference as it is written."""
        return self.new("FrameOfReferenceUID", uid, {}) if uid else uid

    def new(self, keyword: str, value: str, item: Any) -> str:
        """UID to write in place of ``value``."""
        uid = str(value).strip(" \0")
        if not uid or uid.startswith(STANDARD):
            return value
        if uid in self.known:
            return self.uids(uid)
        if self.identity is not None:
            stays = keyword.endswith(("ClassUID", "TransferSyntaxUID")) or keyword in STAYS
            return value if stays else self.uids(uid)
        if keyword not in MAPPED or uid in self.studies:
            return value
        kind = str(item.get("ReferencedSOPClassUID", "") or "")
        if keyword == "ReferencedSOPInstanceUID" and kind.startswith(MANAGEMENT):
            return value
        return self.uids(uid)

    def __call__(self, dataset: Any) -> int:
        """Change ``dataset`` in place.

        Returns
        -------
        int
            How many UIDs were replaced.
        """
        from pydicom.datadict import keyword_for_tag
        from pydicom.multival import MultiValue

        count, replaced = 0, set(self.known)
        later: list[tuple[Any, Any]] = []
        for item, tag, vr in walk(dataset):
            if vr != "UI":
                if vr in TEXTS and tag != 0x7FE00010:
                    later.append((item, tag))
                continue
            element = item[tag]
            value = element.value
            if not value:
                continue
            keyword = keyword_for_tag(tag)
            old = list(value) if isinstance(value, (MultiValue, list)) else [value]
            new = [self.new(keyword, str(uid), item) for uid in old]
            changed = [(str(a), b) for a, b in zip(old, new, strict=True) if str(a) != b]
            if changed:
                count += len(changed)
                replaced.update(a.strip(" \0") for a, _ in changed)
                element.value = new if len(new) > 1 else new[0]
        for item, tag in later:
            count += self._in_text(item, tag, replaced)
        if self.identity is not None:
            self.identity(dataset)
        return count

    def _in_text(self, item: Any, tag: Any, replaced: Collection[str]) -> int:
        """Replace source UIDs that stand inside text or private binary values, keeping their length."""
        value = item.get_item(tag).value
        raw = value if isinstance(value, bytes) else value.encode("utf-8") if isinstance(value, str) else b""
        if len(raw) < 9 or b"." not in raw:
            return 0
        found = {token for token in UID_TOKEN.findall(raw) if token.decode("ascii") in replaced}
        if not found:
            return 0
        new = UID_TOKEN.sub(lambda m: self.uids.same_length(m[0]) if m[0] in found else m[0], raw)
        item[tag].value = new if isinstance(item[tag].value, bytes) else new.decode("utf-8", "replace")
        return len(found)


def instance_references(dataset: Any) -> Iterator[str]:
    """SOP instance UIDs that a dataset refers to anywhere."""
    for part, tag, _ in walk(dataset):
        if tag == 0x00081155:
            kind = str(part.get("ReferencedSOPClassUID", "") or "")
            uid = str(part[tag].value or "")
            if uid and not uid.startswith(STANDARD) and not kind.startswith(MANAGEMENT):
                yield uid


def source_tokens(data: bytes, source: Collection[str]) -> set[str]:
    """Source UIDs that stand anywhere in ``data``."""
    return {token.decode("ascii") for token in UID_TOKEN.findall(data) if token.decode("ascii") in source}
