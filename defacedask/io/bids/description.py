"""``dataset_description.json`` of a defaced data set: the source's, with what was done and where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from defacedask.io.dicom.export.words import Words

__all__ = ["KEPT", "README", "cleaned", "described_dataset"]

#: Fields that stay where headers are de-identified: they speak of the data set, and words of people are taken out.
KEPT = frozenset(
    """
    Name BIDSVersion HEDVersion DatasetType License Authors Acknowledgements HowToAcknowledge Funding EthicsApprovals
    ReferencesAndLinks GeneratedBy SourceDatasets Keywords
    """.split()  # noqa: SIM905
)
#: Of a data set whose description cannot be read.
VERSION = "1.9.0"
#: In place of a README that is missing, or that may name people.
README = """\
{name}

The faces of these head images were {what} by defacedask {version} with {defacer}.

Each image has its own name. The mask beside it (defacemask) is coarse: no voxel outside of it changed, any inside may
have, so that voxels inside are not to be analysed. The sidecar of each image says what was done. The table
participants_defacing.tsv says what became of every participant, and why images are missing.
"""


def described_dataset(
    facts: dict[str, Any], *, defacer: str, version: str, reversible: bool, words: Words | None
) -> dict[str, Any]:
    """Fields of the new description.

    Parameters
    ----------
    facts : dict
        Of the source's; empty if it cannot be read.
    defacer, version : str
    reversible : bool
        Faces are covered, not removed.
    words : Words or None
        Of the people in the cohort, where headers are de-identified.

    Returns
    -------
    dict
        The DOI of the source is no longer that of the data set, but of the one it comes from.
    """
    new = dict(facts)
    if words is not None:
        new = {name: cleaned(value, words) for name, value in new.items() if name in KEPT}
    new.setdefault("Name", "Defaced data set")
    new.setdefault("BIDSVersion", VERSION)
    new.setdefault("DatasetType", "raw")
    source = {}
    if doi := str(facts.get("DatasetDOI", "") or ""):
        new.pop("DatasetDOI", None)
        source["DOI"] = doi
    given = new.get("SourceDatasets")
    if source:
        new["SourceDatasets"] = [*(given if isinstance(given, list) else []), source]
    did = "covered (they can be un-masked)" if reversible else "removed"
    own = {
        "Name": "defacedask",
        "Version": version,
        "Description": f"Faces {did} with {defacer}; see participants_defacing.tsv and the sidecars.",
    }
    before = new.get("GeneratedBy")
    new["GeneratedBy"] = [*(before if isinstance(before, list) else []), own]
    return new


def cleaned(value: Any, words: Words) -> Any:
    """A value of JSON without the words of anybody."""
    if isinstance(value, str):
        return words.clean(value)
    if isinstance(value, list):
        return [cleaned(one, words) for one in value]
    if isinstance(value, dict):
        return {name: cleaned(one, words) for name, one in value.items()}
    return value
