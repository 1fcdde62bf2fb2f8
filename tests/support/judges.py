"""Independent programs that read what was written: dciodvfy, dcm2niix, plastimatch, SimpleITK, the BIDS validator."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def need(program: str) -> str:
    """Path of a program, or skip with the reason."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def error_kinds(path: Path) -> Counter[str]:
    """Errors of dciodvfy without the values that differ from file to file."""
    done = subprocess.run([need("dciodvfy"), str(path)], capture_output=True, text=True, errors="replace")
    kinds: Counter[str] = Counter()
    for line in (done.stdout + done.stderr).splitlines():
        if line.startswith("Error"):
            kinds[re.sub(r"<[^>]*>|\[\d+\]|0x[0-9a-f]+|\d+", "#", line)] += 1
    return kinds


def named_errors(path: Path) -> set[str]:
    """Errors of dciodvfy with the names of elements, values left out."""
    done = subprocess.run([need("dciodvfy"), str(path)], capture_output=True, text=True, errors="replace")
    lines = (done.stdout + done.stderr).splitlines()
    return {re.sub(r"= ?<[^>]*>|\[\d+\]|\d{5,}", "#", line) for line in lines if line.startswith("Error")}


def bids_issues(folder: Path) -> dict[str, set[str]]:
    """``errors`` and ``warnings`` of the BIDS validator, by their keys."""
    command = [need("bids-validator"), "--json", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert done.stdout.lstrip().startswith("{"), done.stdout + done.stderr
    found = json.loads(done.stdout)["issues"]
    return {kind: {str(one["key"]) for one in found[kind]} for kind in ("errors", "warnings")}


def dcm2niix(folder: Path, work: Path) -> Any:
    """The one volume that dcm2niix makes of a folder: (array, affine)."""
    import nibabel

    work.mkdir(parents=True, exist_ok=True)
    command = [need("dcm2niix"), "-z", "n", "-m", "y", "-f", "volume", "-o", str(work), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    made = sorted(p for p in work.glob("volume*.nii") if not p.stem.endswith("_Eq"))
    assert made, done.stdout + done.stderr
    image = nibabel.load(made[0])
    return np.asanyarray(image.dataobj), image.affine


def plastimatch(folder: Path, work: Path) -> np.ndarray:
    """The volume that plastimatch reads, (z, y, x)."""
    import SimpleITK as sitk

    work.mkdir(parents=True, exist_ok=True)
    target = work / "volume.mha"
    command = [need("plastimatch"), "convert", "--input", str(folder), "--output-img", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert target.exists(), done.stdout + done.stderr
    return sitk.GetArrayFromImage(sitk.ReadImage(str(target)))


def plastimatch_masks(structures: Path, images: Path, work: Path) -> dict[str, np.ndarray]:
    """Masks that plastimatch makes of a structure set on an image series, (z, y, x).

    Contours within contours are holes, as the standard says and we read them; by default plastimatch fills them.
    """
    import SimpleITK as sitk

    work.mkdir(parents=True, exist_ok=True)
    command = [need("plastimatch"), "convert", "--input", str(structures), "--referenced-ct", str(images)]
    command += ["--xor-contours"]
    command += ["--output-prefix", str(work / "masks"), "--prefix-format", "nrrd"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    made = sorted((work / "masks").glob("*.nrrd"))
    assert made, done.stdout + done.stderr
    return {p.stem: sitk.GetArrayFromImage(sitk.ReadImage(str(p))) > 0 for p in made}


def simple_itk(files: list[str]) -> Any:
    """The volume that SimpleITK reads from files in this order."""
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    return reader.Execute()
