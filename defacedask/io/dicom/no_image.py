"""What is said of a file that is no DICOM file, and whether it should have been one."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

__all__ = ["EMPTY", "LOOKED_AT", "NOTE_OF_MACOS", "is_note_of_macos", "kind", "lost_image", "what_else"]

#: Said of a file without a byte, of one of which the beginning was never written, and of any other.
EMPTY = "it is empty"
ZEROS = "it holds zeros where its header should be: its content was never written"
NO_DICOM = "it is not a DICOM file"
NOTE_OF_MACOS = "it is a note of macOS on the file beside it"

#: Ends of names of images that are not read: pairs of NIfTI and Analyze, FreeSurfer, MINC, ITK, AFNI, other packings.
OTHER_IMAGES = (
    ".nii.bz2", ".nii.xz", ".nii.zst", ".img", ".img.gz", ".hdr", ".hdr.gz", ".mgz", ".mgh", ".mnc", ".nrrd", ".nhdr",
    ".mha", ".mhd", ".brik", ".brik.gz", ".head", ".mif", ".mif.gz",
)  # fmt: skip

#: Beginnings of files that hold other files, and where they stand.
PACKED = (
    (0, b"PK\x03\x04", "zip"), (0, b"PK\x05\x06", "zip"), (0, b"\x1f\x8b", "gzip"), (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\x00", "xz"), (0, b"(\xb5/\xfd", "zstd"), (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"), (257, b"ustar", "tar"), (32769, b"CD001", "an image of a disc"),
)  # fmt: skip

#: Bytes that `what_else` looks at.
LOOKED_AT = 32774


def is_note_of_macos(path: str) -> bool:
    """Whether a file is what macOS writes beside another on foreign disks: ``._name``, with no image in it."""
    if not Path(path).name.startswith("._"):
        return False
    with Path(path).open("rb") as file:
        return file.read(4) == b"\x00\x05\x16\x07"


def what_else(path: str, start: bytes) -> str:
    """Reason, as a clause about "it", why a file that is no DICOM file is left out.

    Parameters
    ----------
    path : str
    start : bytes
        The first `LOOKED_AT` of the file, or all of it.
    """
    if is_note_of_macos(path):
        return NOTE_OF_MACOS
    ends = next((one for one in OTHER_IMAGES if path.lower().endswith(one)), "")
    if ends:
        return (
            f"{NO_DICOM}, and images in files {ends} are not read: convert it to NIfTI in one file "
            "(.nii or .nii.gz)"
        )
    packed = next((name for at, mark, name in PACKED if start[at : at + len(mark)] == mark), "")
    if packed:
        return f"it is packed ({packed}), and nobody looks into it: unpack it first"
    return NO_DICOM if start.strip(b"\x00") else ZEROS


def kind(path: str) -> tuple[str, str]:
    """Folder and ending of a file; a number behind a dot is none."""
    ending = Path(path).suffix.lower()
    return str(Path(path).parent), "" if ending[1:].isdigit() else ending


def lost_image(path: str, reason: str, kinds: Container[tuple[str, str]]) -> bool:
    """Whether a file that is no DICOM file was one, to judge by its name.

    Parameters
    ----------
    path : str
    reason : str
        Of `what_else`, or `EMPTY`.
    kinds : container of (folder, ending)
        Of the DICOM files.
    """
    like = kind(path) in kinds or kind(path)[1] == ".dcm"
    # beside images without an ending lie texts without one
    return like and (reason in (EMPTY, ZEROS) or (reason == NO_DICOM and kind(path)[1] != ""))
