"""A plan, applied to everything in its frame of reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from defacedask.devices import CPU, CUDA, space_of
from defacedask.errors import ContractError
from defacedask.flow.result import Outcome, TaskResult
from defacedask.flow.stages.kept import compare, load_kept
from defacedask.flow.stages.layout import one_thread, volume_path
from defacedask.flow.stages.plans import check_planned, load_plan
from defacedask.io.store import CaseStore, consolidate, write_volume, writing
from defacedask.volume import geometry_of

__all__ = ["apply"]


def apply(
    ingested: TaskResult, planned: TaskResult, *, plans: str, case: str, defacer: str, device: str = CPU
) -> Outcome:
    """Apply a plan to every image and dose of the case; the defaced twins land in the store.

    Chunks go from the store to the device and back to the store, one at a time. What became of them is compared here.

    Parameters
    ----------
    device : str
        See `defacedask.devices`.

    Returns
    -------
    Outcome
        facts: for each path, voxels and millilitres changed, and voxels changed in each structure that stays; device.

    Raises
    ------
    ContractError
        If a voxel of the brain or of a protected structure changed.
    """
    check_planned(planned, defacer)
    plan = load_plan(plans, case, defacer)
    store = CaseStore(ingested.facts["store"])
    kept = load_kept(plans, case)
    where = CPU if space_of(device) is np else CUDA
    changed: dict[str, dict[str, Any]] = {}
    with one_thread(), writing(f"the defaced volumes of {case}"):
        for path in (*store.images, *store.doses):
            volume = store.volume(path)
            defaced = plan.apply(volume, device=where)
            write_volume(store.url, volume_path(defacer, path), defaced)
            again = store.volume(volume_path(defacer, path))
            count, inside = compare(volume, again, geometry_of(volume), kept)
            for name, number in inside.items():
                if number:
                    raise ContractError(
                        f"{defacer} changed {number} voxels of {name} in the {volume.attrs['modality']}, which must "
                        "stay as they are.",
                        "Nothing of this case is used; the fault lies in the defacer.",
                    )
            changed[path] = {
                "voxels": count,
                "ml": count * geometry_of(volume).voxel_volume / 1000,
                "fraction": count / volume.size,
                "kept": inside,
            }
        consolidate(store.url)
    return Outcome(facts={"changed": changed, "device": where})
