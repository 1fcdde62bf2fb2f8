"""Names of files by BIDS: taken apart, and made for a mask or under a new subject label."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from defacedask.io.nifti.names import ENDS, stem_of

__all__ = [
    "BidsName",
    "dataset_of",
    "is_derivative",
    "is_standard_mask",
    "mask_name",
    "parse",
    "public_folder",
    "relabelled",
    "subject_label",
]

#: The file that makes a folder a data set.
DESCRIPTION = "dataset_description.json"
_ENTITY = re.compile(r"([a-z]+)-([A-Za-z0-9]+)")
#: Entities that stand behind ``mod`` in a name, in the standard's order.
_BEHIND = (
    *(
        "echo",
        "flip",
        "inv",
        "mt",
        "part",
        "proc",
        "hemi",
        "space",
        "split",
        "recording",
        "chunk",
        "seg",
        "res",
    ),
    *("den", "label", "desc"),
)
#: Masks that the standard names, less those that the validator (1.15) does not know (with ``ce``, parts of a scan).
_MASK = re.compile(
    r"(sub-[A-Za-z0-9]+)/(?:(ses-[A-Za-z0-9]+)/)?anat/\1(?(2)_\2)(_task-[A-Za-z0-9]+)?(_acq-[A-Za-z0-9]+)?"
    r"(_rec-[A-Za-z0-9]+)?(_run-[0-9]+)?_mod-(T1w|T2w|PDw|T2starw|FLAIR|inplaneT1|inplaneT2|PDT2|angio|T1map|T2map|"
    r"T2starmap|R1map|R2map|R2starmap|PDmap|MTRmap|MTsat|UNIT1|T1rho|MWFmap|MTVmap|PDT2map|Chimap)"
    r"_defacemask\.nii\.gz"
)


@dataclasses.dataclass(frozen=True)
class BidsName:
    """Parts of a file's name.

    Attributes
    ----------
    entities : tuple of (str, str)
        Key and label, in their order; ``sub`` is the first.
    suffix : str
        Such as ``T1w``.
    ends : str
        ``.nii`` or ``.nii.gz``, as written.
    """

    entities: tuple[tuple[str, str], ...]
    suffix: str
    ends: str

    def label(self, key: str) -> str:
        """Label of an entity, "" where there is none."""
        return dict(self.entities).get(key, "")

    @property
    def text(self) -> str:
        """The name."""
        return "_".join([*(f"{key}-{label}" for key, label in self.entities), self.suffix]) + self.ends


def parse(name: str) -> BidsName | None:
    """Take the name of an image apart; None if it is not one by BIDS."""
    found = ENDS.search(name)
    if not found:
        return None
    *parts, suffix = name[: found.start()].split("_")
    entities = [_ENTITY.fullmatch(part) for part in parts]
    if not parts or not all(entities) or not re.fullmatch(r"[A-Za-z0-9]+", suffix):
        return None
    pairs = tuple((match[1], match[2]) for match in entities if match)
    keys = [key for key, _ in pairs]
    if keys[0] != "sub" or len(set(keys)) < len(keys):
        return None
    return BidsName(pairs, suffix, found[0])


def dataset_of(path: str | Path) -> Path | None:
    """Folder of the data set that an image belongs to: the nearest above with a ``dataset_description.json``.

    None where there is none, or where the file's name is none by BIDS.
    """
    path = Path(path)
    if parse(path.name) is None:
        return None
    return next((folder for folder in path.parents if (folder / DESCRIPTION).is_file()), None)


def is_derivative(root: Path) -> bool:
    """Whether a data set says that it is derived from another."""
    try:
        facts = json.loads((root / DESCRIPTION).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(facts, dict) and facts.get("DatasetType") == "derivative"


def mask_name(name: str, *, derivative: bool = False) -> str:
    """Name of the mask beside an image.

    Parameters
    ----------
    name : str
        Of the image, without folders.
    derivative : bool
        The image is part of a derived data set, which has no ``defacemask``.

    Returns
    -------
    str
        ``sub-01_mod-T1w_defacemask.nii.gz`` of ``sub-01_T1w.nii.gz``; of a derivative
        ``sub-01_space-X_desc-preprocT1wDefaced_mask.nii.gz``; ``X_defacemask.nii.gz`` of a name that is none by BIDS.
    """
    found = parse(name)
    if found is None:
        return f"{stem_of(name)}_defacemask.nii.gz"
    if derivative:
        rest = tuple(one for one in found.entities if one[0] != "desc")
        desc = f"{found.label('desc')}{found.suffix}Defaced"
        return BidsName((*rest, ("desc", desc)), "mask", ".nii.gz").text
    before = tuple(one for one in found.entities if one[0] not in (*_BEHIND, "mod"))
    behind = tuple(one for one in found.entities if one[0] in _BEHIND)
    return BidsName((*before, ("mod", found.suffix), *behind), "defacemask", ".nii.gz").text


def is_standard_mask(inside: str) -> bool:
    """Whether a validator takes a mask's path below its data set; others belong into ``.bidsignore``."""
    return _MASK.fullmatch(inside) is not None


def subject_label(text: str) -> str:
    """A trial's or made-up id as the label of a subject: letters and digits alone are allowed there."""
    return re.sub(r"[^A-Za-z0-9]", "", text)


def public_folder(folder: str, new: Callable[[str], str]) -> str:
    """Folder of a data set below the output, for de-identified files: its own name may tell something.

    Parameters
    ----------
    folder : str
        "" or a path that ends with ``/``.
    new : callable
        The run's map of UIDs.
    """
    return f"dataset-{new(f'data set {folder}')[-8:]}/" if folder else ""


def relabelled(inside: str, subject: str) -> str:
    """A path below its data set, under another subject's label.

    Parameters
    ----------
    inside : str
        ``sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz``.
    subject : str
        New label, without ``sub-``.
    """
    path = PurePosixPath(inside)
    found = parse(path.name)
    if found is None:
        return inside
    old = f"sub-{found.label('sub')}"
    folders = [f"sub-{subject}" if part == old else part for part in path.parts[:-1]]
    name = BidsName((("sub", subject), *found.entities[1:]), found.suffix, found.ends).text
    return "/".join([*folders, name])
