"""The whole build as one Dask graph: heads, rounds of alignment and summing, the template. No voxel is sent.

::

    prepare (each head) -> align (each head) -> add (in a tree) -> renew -> align ... -> finish

Every task reads and writes files of a work folder, which must be reachable by all workers, holds patients' voxels and
is removed at the end.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np

from defacedask.anatomy.template import load_template
from defacedask.anatomy.template_folder import FACTS
from defacedask.averaging.finish import finish
from defacedask.averaging.members import BUILT_IN, prepare
from defacedask.averaging.steps import add, align, renew, save_average
from defacedask.errors import ConfigError, InputError, OutputError, RefusedError, writing
from defacedask.modality import AIR

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case, Series

__all__ = ["LEAST", "BuildResult", "build_template", "series_of"]

#: Persons below which an average may give one of them back.
LEAST = 5
#: Parts that one task sums.
BRANCHES = 4
#: mm around the built-in average's field of view: other noses are longer.
MARGIN = 12.0


@dataclasses.dataclass(frozen=True)
class BuildResult:
    """What a build came to.

    Attributes
    ----------
    folder : Path
        `defacedask.anatomy.template.load_template` reads it.
    sha256 : str
        Of the template.
    heads : int
        Persons in it.
    refused : list of (str, str)
        Case and reason of each head that is not.
    rounds : list of dict
        heads, shift_mm, difference, drift_mm of each round.
    measured : float
        Fraction of the body that is the cohort's own; the rest is the built-in average, fitted.
    """

    folder: Path
    sha256: str
    heads: int
    refused: list[tuple[str, str]]
    rounds: list[dict[str, Any]]
    measured: float


def series_of(cases: Sequence[Case], modality: str) -> dict[str, tuple[str, Series]]:
    """Patient -> (case, image): of each person one image of the modality, the one with most voxels."""
    found: dict[str, tuple[str, Series]] = {}
    for case in cases:
        for series in case.images:
            person = case.person
            if series.modality == modality and series.voxels > (
                found[person][1].voxels if person in found else 0
            ):
                found[person] = case.id, series
    return found


def build_template(
    cases: Sequence[Case],
    out: str | Path,
    *,
    modality: str = "CT",
    name: str = "",
    iterations: int = 3,
    spacing: float = 2.0,
    force: bool = False,
    compute: Callable[..., Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> BuildResult:
    """Build an average head from a cohort and write it in the form of the built-in one.

    Groupwise: every head is brought onto the current average by an affine, then by diffeomorphic demons; the mean of
    all is moved by the inverse of their mean displacement, and is the next average. It starts from the built-in one
    and stays in its coordinate system. Where fewer than `LEAST` persons are in view, the built-in average stands in.

    Parameters
    ----------
    cases : sequence of Case
        Of a scan; one image a person is used.
    out : path
        Folder; must not hold a template yet.
    modality : str
        CT or MR (of one contrast: T1, T2 or FLAIR, not mixed).
    name : str
        Of the template; by default that of the folder.
    iterations : int
        Rounds with deformation, after one with affines alone.
    spacing : float
        mm of the template, at least 2.
    force : bool
        Build from fewer than `LEAST` persons. Their faces may be recognisable in the result.
    compute : callable
        Runs Dask graphs, such as a client's; default `dask.compute`, which uses the client there is.
    progress : callable
        ``progress(sentence)``.

    Raises
    ------
    InputError
        If there is no image of the modality.
    RefusedError
        If fewer than `LEAST` persons' heads can be used, and it is not forced.
    ConfigError, OutputError
    """
    folder, tell, run = Path(out), progress or (lambda _: None), compute or dask.compute
    if modality not in BUILT_IN:
        raise ConfigError(f"no average is built of {modality}.", f"Choose from: {', '.join(BUILT_IN)}.")
    if iterations < 1 or iterations > 20:
        raise ConfigError(f"{iterations} iterations make no sense.", "Choose 1 to 20.")
    if not 2.0 <= spacing <= 8.0:
        raise ConfigError(f"a spacing of {spacing:g} mm makes no sense.", "Choose 2 to 8 mm.")
    if (folder / FACTS).exists():
        raise OutputError(f"{folder} holds a template already.", "Choose another folder, or delete it first.")
    found = series_of(cases, modality)
    if not found:
        raise InputError(f"there is no {modality} image to average.", "See `defacedask scan INPUT`.")
    _enough(len(found), force, "")
    with writing(f"the template {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".build-*"):  # of a build that was killed: it holds patients' voxels
            shutil.rmtree(left, ignore_errors=True)
        work = tempfile.mkdtemp(prefix=".build-", dir=folder)  # for its owner alone
    try:
        return _build(
            found, folder, work, modality, name or folder.name, iterations, spacing, force, run, tell
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _enough(heads: int, force: bool, why: str) -> None:
    if heads >= LEAST or (force and heads >= 2):
        return
    least = 2 if force else LEAST
    raise RefusedError(
        f"an average of {heads} heads could give one of them back; at least {least} persons are needed{why}.",
        "Add persons." if force else "Add persons, or force it and keep the result as safe as the images.",
    )


def _build(
    found: Mapping[str, tuple[str, Series]],
    folder: Path,
    work: str,
    modality: str,
    name: str,
    iterations: int,
    spacing: float,
    force: bool,
    run: Callable[..., Any],
    tell: Callable[[str], None],
) -> BuildResult:
    tell(f"looking at {len(found)} heads")
    tasks = [
        dask.delayed(prepare)(series.to_dict(), folder=work, number=k, dask_key_name=f"prepare-{k}-{name}")
        for k, (_, series) in enumerate(found.values())
    ]
    members = run(*tasks)
    usable = [member for member in members if member["path"]]
    refused = [
        (case, member["reason"])
        for (case, _), member in zip(found.values(), members, strict=True)
        if not member["path"]
    ]
    why = f"; {len(refused)} could not be used, the first: {refused[0][1]}" if refused else ""
    _enough(len(usable), force, why)
    least = min(LEAST, len(usable))
    start = _start(work, modality, spacing)
    average: Any = start
    rounds: list[Any] = []
    current: list[Any] = list(usable)
    for step in range(iterations + 1):
        options = {"modality": modality, "deform": step > 0, "folder": work}
        current = [
            dask.delayed(align)(member, average, label=f"aligned-{step}-{k}", **options)
            for k, member in enumerate(current)
        ]
        sums = _tree(current, work, f"sum-{step}")
        renewed = dask.delayed(renew)(sums, average, least=least, folder=work, label=f"average-{step + 1}")
        average = renewed["average"]
        rounds.append(renewed)
    facts = {"heads": len(usable), "iterations": iterations, "forced": len(usable) < LEAST, "least": least}
    last = dask.delayed(finish)(average, str(folder), modality=modality, name=name, least=least, facts=facts)
    tell(f"averaging {len(usable)} heads in {iterations + 1} rounds")
    *told, written = run(*rounds, last)
    for row in told:
        row.pop("average")
    return BuildResult(folder, written["sha256"], len(usable), refused, list(told), written["measured"])


def _tree(parts: list[Any], work: str, label: str) -> Any:
    """Sum in a tree of `BRANCHES`, always the same for the same number of heads."""
    level = 0
    while True:
        groups = [parts[k : k + BRANCHES] for k in range(0, len(parts), BRANCHES)]
        parts = [
            dask.delayed(add)(group, folder=work, label=f"{label}-{level}-{k}")
            for k, group in enumerate(groups)
        ]
        level += 1
        if len(parts) == 1:
            return parts[0]


def _start(work: str, modality: str, spacing: float) -> str:
    """The built-in average on the template's grid."""
    from scipy.ndimage import gaussian_filter

    from defacedask.anatomy.grid import resample

    source = load_template(BUILT_IN[modality])
    grid = source.geometry.aligned(spacing, MARGIN)
    values = source.image.values.astype(np.float32)
    if spacing > source.geometry.spacing[0]:
        values = gaussian_filter(values, 0.5 * math.sqrt((spacing / source.geometry.spacing[0]) ** 2 - 1))
    values = resample(values, source.geometry, grid, outside=AIR[modality])
    return save_average(Path(work) / "average-0.npz", values, grid, np.zeros(grid.shape))
