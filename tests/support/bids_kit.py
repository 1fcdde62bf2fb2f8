"""A small data set: two subjects, a session each, T1w and T2w on one grid, and what a data set has beside images."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
README = "Made images of nobody, by a test. " * 8 + "\n"


def image(
    path: Path, seed: int, affine: np.ndarray = AFFINE, shape: tuple[int, ...] = (64, 64, 48), code: int = 1
) -> Path:
    """An image of noise on a grid, whose positions are the scanner's (code 1) or another space's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 200, shape).astype(np.int16)
    one = nibabel.Nifti1Image(values, affine)
    one.set_sform(affine, code)
    one.set_qform(affine, code)
    one.header.set_xyzt_units("mm", "sec")
    nibabel.save(one, path)
    return path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def data_set(root: Path, **description: object) -> Path:
    """Write the data set; gives its folder."""
    for k, subject in enumerate(("sub-01", "sub-02")):
        folder = root / subject / "ses-a"
        for n, suffix in enumerate(("T1w", "T2w")):
            image(folder / "anat" / f"{subject}_ses-a_{suffix}.nii.gz", 10 * k + n)
        write(
            folder / f"{subject}_ses-a_scans.tsv",
            "filename\tacq_time\n"
            f"anat/{subject}_ses-a_T1w.nii.gz\t2019-05-05T10:11:12\n"
            f"anat/{subject}_ses-a_T2w.nii.gz\t2019-05-05T10:20:12\n",
        )
        write(
            root / subject / f"{subject}_sessions.tsv", "session_id\tacq_time\nses-a\t2019-05-05T10:11:12\n"
        )
    facts = {"Name": "Made", "BIDSVersion": "1.9.0", "DatasetType": "raw", "Authors": ["A. One", "B. Two"]}
    write(root / "dataset_description.json", json.dumps({**facts, **description}))
    write(root / "T1w.json", json.dumps({"EchoTime": 0.003, "Modality": "MR"}))
    write(root / "T2w.json", json.dumps({"EchoTime": 0.09}))
    write(
        root / "participants.tsv",
        "participant_id\tage\tsex\tcomment\nsub-01\t31\tF\tgood\nsub-02\t92\tM\tbad\n",
    )
    write(root / "participants.json", json.dumps({n: {"Description": n} for n in ("age", "sex", "comment")}))
    write(root / "README", README)
    write(root / "CHANGES", "1.0.0 2024-01-01\n  - first\n")
    return root
