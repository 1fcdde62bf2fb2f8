"""The dataflow of one case and of a cohort: which stage follows which.

::

    ingest -> plan -> apply (each defacer) -> faces, radiomics, geometry, dose, pictures -> tables -> export -> report
                   -> faces and radiomics of the original --^

Where learned inversion is among the attacks, depth maps of all cases come first, and then a prediction of each case
from those of all others, before the tables. Files are written last: whether they may say that the face is gone is
known when everybody has been looked for. Every arrow before the tables is a Dask future; what travels along it is a
`TaskResult` (numbers and paths). The order stands in `stages`, `inverting` and `writing`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

from defacedask import config
from defacedask.devices import AUTO, resources_of
from defacedask.flow.result import kept_result
from defacedask.flow.stage import EACH_DEFACER, HOUR, Stage, Task
from defacedask.flow.stages.apply import apply
from defacedask.flow.stages.arms import arm_volumes, take_arm
from defacedask.flow.stages.costs import measure_dose, measure_geometry, measure_original, measure_radiomics
from defacedask.flow.stages.crops import compare_crops
from defacedask.flow.stages.export import export
from defacedask.flow.stages.faces import CONTROL, judge_faces
from defacedask.flow.stages.ingest import ingest, input_state
from defacedask.flow.stages.inversion import invert_faces, measure_depths
from defacedask.flow.stages.layout import KEPT, ORIGINAL, PLANS
from defacedask.flow.stages.pictures import draw_slices
from defacedask.flow.stages.plans import make_plans
from defacedask.flow.stages.residual_skin import measure_skin
from defacedask.flow.stages.utility import measure_utility
from defacedask.runs.crops import crops_stage
from defacedask.runs.inverting import Learner, Needs, depth_stage, inverted_stages
from defacedask.runs.release import Release

if TYPE_CHECKING:
    from defacedask.io.dicom.catalogue import Case
    from defacedask.runs.preparing import Prepared

__all__ = ["StudyRun", "cropping", "inverting", "stages", "writing"]


class StudyRun(Learner):
    """What the stages of a study need to know of the run.

    Parameters
    ----------
    prepared : Prepared
    """

    def __init__(self, prepared: Prepared) -> None:
        super().__init__(prepared.settings)
        self.prepared = prepared
        self.run_key = prepared.run_key
        self.secret = hashlib.sha256(prepared.run_key).hexdigest()
        self.store, self.plans = (str(prepared.folder / part) for part in ("store", PLANS))
        self.pictures = str(prepared.folder / "pictures") if prepared.settings.pictures else ""
        self.release = Release.of(prepared) if prepared.settings.export else None

    def looks_at(self, case: Case) -> list[dict[str, Any]]:
        """Looks at a case's original, as they are kept."""
        result = kept_result(self.prepared.folder / KEPT, case.id, "faces", ORIGINAL)
        return list(result.facts.get("looks", ())) if result else []

    def begin(self, case: Case) -> None:
        """See to what is on record of a case before its stages are submitted."""
        if self.release:
            self.release.forget_lost(case)


def stages(device: str = AUTO) -> tuple[Stage[StudyRun], ...]:
    """The stages of a study before its files are written, in their order.

    What runs on the device ``cuda`` asks for a worker that has it.
    """

    def who(task: Task[StudyRun]) -> dict[str, Any]:
        return {"case": task.case.id, "defacer": task.defacer}

    def planned(task: Task[StudyRun]) -> dict[str, Any]:
        return {**who(task), "plans": task.run.plans}

    def judged(task: Task[StudyRun]) -> dict[str, Any]:
        return {**planned(task), "settings": task.run.settings.faces, "pictures": task.run.pictures}

    def drawn(task: Task[StudyRun]) -> dict[str, Any]:
        return {**planned(task), "folder": task.run.pictures}

    def theirs(task: Task[StudyRun]) -> bool:
        return task.defacer in task.run.settings.arms

    def taken(task: Task[StudyRun]) -> dict[str, Any]:
        arm = task.run.settings.arms[task.defacer]
        out = {"case": task.plain, "arm": task.defacer, "plans": task.run.plans}
        if "command" in arm:
            return {**out, **arm}
        partner = task.run.prepared.partners[task.defacer][task.case.id]
        return {**out, "defaced": partner.defaced.to_dict() if partner.defaced else None, "why": partner.why}

    def depends_on(task: Task[StudyRun]) -> Any:
        arm = task.run.settings.arms[task.defacer]
        if "command" in arm:
            return arm["command"]
        return task.run.prepared.partners[task.defacer][task.case.id].state

    faces: dict[str, Any] = {
        "function": judge_faces,
        "arguments": judged,
        "depends": lambda task: task.run.settings.faces,
        "seconds": 6 * HOUR,
    }
    pictures: dict[str, Any] = {
        "function": draw_slices,
        "arguments": drawn,
        "when": lambda task: bool(task.run.pictures),
    }

    def depths(each: str, *needs: str) -> Stage[StudyRun]:
        before: Needs = ("ingest", "plan", ("faces", ORIGINAL), *needs)
        return depth_stage(measure_depths, before, each, lambda task: task.defacer != CONTROL)

    return (
        Stage(
            "ingest",
            ingest,
            lambda task: {"case": task.plain, "root": task.run.store},
            lambda task: input_state(task.case),
        ),
        Stage(
            "plan",
            make_plans,
            lambda task: {
                "plans": task.run.plans,
                "defacers": task.run.settings.defacers,
                "code": task.run.settings.code,
                "run_key": task.run.run_key,
                "case": task.case.id,
                "protect": task.run.settings.protect,
                "margin_mm": task.run.settings.margin_mm,
            },
            lambda task: [task.run.settings.planning, task.run.secret],
            needs=("ingest",),
        ),
        Stage("faces", needs=("ingest", "plan"), each=ORIGINAL, **faces),
        Stage(
            "radiomics",
            measure_original,
            lambda task: {"case": task.case.id, "settings": task.run.settings.radiomics},
            lambda task: task.run.settings.radiomics,
            needs=("ingest", "plan"),
            each=ORIGINAL,
        ),
        Stage("pictures", needs=("ingest", "plan"), each=ORIGINAL, **pictures),
        Stage(
            "apply",
            apply,
            lambda task: {**planned(task), "device": task.run.settings.device},
            needs=("ingest", "plan"),
            each=EACH_DEFACER,
            when=lambda task: not theirs(task),
            resources=resources_of(device),
        ),
        Stage(
            "apply",
            take_arm,
            taken,
            depends_on,
            needs=("ingest", "plan"),
            each=EACH_DEFACER,
            when=theirs,
            seconds=2 * HOUR + config.option("arms.seconds"),
        ),
        Stage("faces", needs=("ingest", "plan", ("faces", ORIGINAL), "apply"), each=EACH_DEFACER, **faces),
        Stage(
            "radiomics",
            measure_radiomics,
            lambda task: {**who(task), "settings": task.run.settings.radiomics},
            lambda task: task.run.settings.radiomics,
            needs=("ingest", "plan", ("radiomics", ORIGINAL), "apply"),
            each=EACH_DEFACER,
        ),
        Stage(
            "geometry",
            measure_geometry,
            planned,
            needs=("ingest", "plan"),
            each=EACH_DEFACER,
            when=lambda task: not theirs(task),
        ),
        Stage(
            "geometry",
            arm_volumes,
            lambda task: {"case": task.case.id, "arm": task.defacer},
            needs=("ingest", "plan", "apply"),
            each=EACH_DEFACER,
            when=theirs,
        ),
        Stage("dose", measure_dose, who, needs=("ingest", "plan", "apply"), each=EACH_DEFACER),
        Stage("utility", measure_utility, who, needs=("ingest", "plan", "apply"), each=EACH_DEFACER),
        Stage("skin", measure_skin, who, needs=("ingest", "plan", "apply"), each=EACH_DEFACER),
        Stage("pictures", needs=("ingest", "plan", "apply"), each=EACH_DEFACER, **pictures),
        depths(ORIGINAL),
        depths(EACH_DEFACER, "apply"),
    )


def inverting(device: str = AUTO) -> tuple[Stage[StudyRun], ...]:
    """The stages before, which are done, and those that predict every face from what all others taught."""
    return (*stages(device), *inverted_stages(invert_faces, ("ingest", "plan", ("faces", ORIGINAL))))


def cropping(device: str, place: str, digest: str) -> tuple[Stage[StudyRun], ...]:
    """What the forced crop as a full matrix builds on, which is done, and the comparison."""
    before = [
        one
        for one in stages(device)
        if one.name in ("ingest", "plan", "apply") or (one.name, one.each) == ("faces", ORIGINAL)
    ]
    needs = ("ingest", "plan", ("faces", ORIGINAL), "apply")
    return (*before, crops_stage(compare_crops, needs, EACH_DEFACER, place, digest))


def writing(device: str = AUTO) -> tuple[Stage[StudyRun], ...]:
    """The stages that write files: those before are done, and tell so."""

    def released(task: Task[StudyRun]) -> Release:
        assert task.run.release is not None
        return task.run.release

    def due(task: Task[StudyRun]) -> bool:
        return task.defacer in released(task).due(task.case.id)

    ours = (ingest, make_plans, apply)  # no arm is ever written
    before = [one for one in stages(device) if one.function in ours]
    return (
        *(dataclasses.replace(one, when=due) if one.each else one for one in before),
        Stage(
            "export",
            export,
            lambda task: {"case": task.plain, **released(task).arguments(task.case, task.defacer)},
            lambda task: released(task).depends(task.case, task.defacer),
            needs=("ingest", "plan", "apply"),
            each=EACH_DEFACER,
            when=due,
        ),
    )
