"""The stages of `deface`, and what they need to know of a run.

They are those of a study, for one defacer, in a folder that is cleared of a case when its files are written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask.defacers import code_of
from defacedask.devices import AUTO, CPU, resources_of
from defacedask.errors import StoreError
from defacedask.flow.release_options import ReleaseOptions
from defacedask.flow.result import FAILED, Outcome, TaskResult
from defacedask.flow.stage import EACH_DEFACER, Stage, Task
from defacedask.flow.stages.apply import apply
from defacedask.flow.stages.export import export, not_taken_back, refuse
from defacedask.flow.stages.ingest import case_key, ingest
from defacedask.flow.stages.layout import store_path, volume_path
from defacedask.flow.stages.lost import forget_lost
from defacedask.flow.stages.plans import make_plans
from defacedask.io.store import CaseStore, remove
from defacedask.runs.case_row import case_row
from defacedask.runs.trial import trial_code

if TYPE_CHECKING:
    from defacedask.flow.depot import Depot
    from defacedask.io.dicom.catalogue import Case, Scan
    from defacedask.io.dicom.export.words import Words
    from defacedask.io.dicom.people import People
    from defacedask.runs.outbox import Outbox

__all__ = ["DefaceRun", "plan_protected", "stages"]


def plan_protected(
    ingested: TaskResult,
    *,
    root: str,
    plans: str,
    defacer: str,
    options: Mapping[str, Any],
    protect: Sequence[str],
    margin_mm: float,
    run_key: bytes,
    case: Mapping[str, Any],
    code: Mapping[str, str] | None = None,
) -> Outcome:
    """Look at the head and make one defacer's plan; named structures stay as they are.

    Raises
    ------
    RefusedError
        If there is no head, no plan, or a pattern names no structure of the case: what was to be kept cannot be.
    """
    ingest(case=case, root=root)
    return make_plans(
        ingested,
        plans=plans,
        defacers={defacer: dict(options)},
        run_key=run_key,
        case=case["id"],
        protect=protect,
        margin_mm=margin_mm,
        all_there=True,
        code={} if code is None else {defacer: code},
    )


def apply_plan(
    ingested: TaskResult,
    planned: TaskResult,
    *,
    root: str,
    plans: str,
    case: Mapping[str, Any],
    defacer: str,
    device: str = CPU,
) -> Outcome:
    """`defacedask.flow.stages.apply.apply`; the store of a finished case was cleared away and may be made again."""
    ingest(case=case, root=root)
    return apply(ingested, planned, plans=plans, case=case["id"], defacer=defacer, device=device)


def export_case(
    ingested: TaskResult,
    planned: TaskResult,
    applied: TaskResult,
    *,
    root: str,
    plans: str,
    case: Mapping[str, Any],
    device: str = CPU,
    **options: Any,
) -> Outcome:
    """`defacedask.flow.stages.export.export`; what it needs of a store that was cleared away is made again."""
    store = CaseStore(ingest(case=case, root=root).facts["store"])
    defacer = options["defacer"]
    try:
        store.volume(volume_path(defacer, store.images[0]))
    except StoreError:
        # on whatever worker this is: the values are the same
        where = CPU if device == CPU else AUTO
        apply(ingested, planned, plans=plans, case=case["id"], defacer=defacer, device=where)
    return export(ingested, planned, applied, plans=plans, case=case, **options)


def stages(device: str = AUTO) -> tuple[Stage[DefaceRun], ...]:
    """The stages of `deface`, in their order; what runs on the device ``cuda`` asks for a worker that has it."""
    return (
        Stage("ingest", ingest, lambda task: task.run.what(task), lambda task: _state(task.case)),
        Stage(
            "plan",
            plan_protected,
            lambda task: {**task.run.who(task), **task.run.choice, "run_key": task.run.run_key},
            lambda task: [task.run.choice, task.run.secret],
            needs=("ingest",),
            each=EACH_DEFACER,
        ),
        Stage(
            "apply",
            apply_plan,
            lambda task: {**task.run.who(task), "device": task.run.device},
            needs=("ingest", "plan"),
            each=EACH_DEFACER,
            resources=resources_of(device),
        ),
        Stage(
            "export",
            export_case,
            lambda task: task.run.exported(task),
            lambda task: task.run.export_depends(task.case),
            needs=("ingest", "plan", "apply"),
            each=EACH_DEFACER,
        ),
    )


def _state(case: Case) -> Any:
    """What the ingest depends on."""
    try:
        return [case_key(case), _all_files(case)]
    except OSError:
        return secrets.token_hex(8)  # the ingest says which file is gone


@dataclasses.dataclass
class DefaceRun:
    """What the stages of `deface` need to know of the run."""

    out: Path
    work: Path
    defacer: str
    options: dict[str, Any]
    protect: tuple[str, ...]
    margin_mm: float
    release: ReleaseOptions
    run_key: bytes
    names: dict[str, str]
    people: People = dataclasses.field(default_factory=dict)
    trial: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    #: Case of one image -> the case that it is a part of (`defacedask.runs.apart`).
    part_of: dict[str, str] = dataclasses.field(default_factory=dict)
    device: str = CPU
    depot: Depot | None = None
    outbox: Outbox | None = None

    @functools.cached_property
    def code(self) -> dict[str, str]:
        """Which code the defacer is."""
        return code_of(self.defacer)

    @property
    def record(self) -> Path:
        """Where each case's part of the record lies."""
        return self.work / "record"

    def names_of(self, case: Case) -> dict[str, str]:
        """Source file -> path below the output, of one case."""
        return {f: self.names[f] for f in case.files}

    def begin(self, case: Case) -> None:
        """Before the stages of a case are submitted: forget its export if output that is on record is gone."""
        kept = self.work / "results"
        if self.outbox:
            self.outbox.forget_lost(case.id, self.defacer, kept)
        else:
            forget_lost(self.record, case.id, self.defacer, out=self.out, kept=kept)

    def what(self, task: Task[DefaceRun]) -> dict[str, Any]:
        """Arguments of all stages."""
        return {"case": task.plain, "root": str(self.work / "store")}

    def who(self, task: Task[DefaceRun]) -> dict[str, Any]:
        """Arguments of all stages of the defacer."""
        return {**self.what(task), "defacer": self.defacer, "plans": str(self.work / "plans")}

    @property
    def choice(self) -> dict[str, Any]:
        """What the plans depend on."""
        return {
            "options": self.options,
            "protect": self.protect,
            "margin_mm": self.margin_mm,
            "code": self.code,
        }

    @property
    def secret(self) -> str:
        """What tells one run's key from another's, and not the key."""
        return hashlib.sha256(self.run_key).hexdigest()

    def exported(self, task: Task[DefaceRun]) -> dict[str, Any]:
        """Arguments of the export."""
        case: Case = task.case
        return {
            **self.who(task),
            "device": self.device,
            "out": str(self.out),
            "names": self.names_of(case),
            "record": str(self.record),
            "run_key": self.run_key,
            "trial": self.trial_of(case),
            "deliver": self.outbox.arguments(case.id, self.defacer) if self.outbox else None,
            **self.release.arguments(self.run_key, self.people),
        }

    def trial_of(self, case: Case) -> dict[str, str]:
        """What is said of the trial; the same for an image that is defaced alone as for those beside it."""
        return self.trial.get(self.part_of.get(case.id, case.id), {})

    def export_depends(self, case: Case) -> list[Any]:
        """What the export depends on beside the stages before it."""
        release = self.release.depends(self.defacer, self.run_key, self.people)
        facts = {"out": str(self.out), "names": self.names_of(case), "release": release}
        if trial := self.trial_of(case):
            facts["trial"] = trial_code(trial, self.run_key)
        return [facts, self.secret]

    def finish(self, case: Case, results: Sequence[TaskResult], keep_work: bool) -> dict[str, Any]:
        """Row of a case; what is refused leaves nothing in the output."""
        own = {result.stage: result for result in results}
        last = own.get("export") or own["submit"]
        if not last.ok:
            last = self._refuse(case, last)
        elif not keep_work:
            if self.depot:
                self.depot.clear(case.id)
            with contextlib.suppress(OSError):  # what is left is removed by the next run
                remove(store_path(str(self.work / "store"), case.id))
        planned = own["plan"].facts if "plan" in own else {}
        outcome = planned.get("plans", {}).get(self.defacer, {})
        notes = [note for s in ("ingest", "plan") if s in own for note in own[s].facts.get("notes", [])]
        return case_row(
            case,
            last.status,
            last.reason,
            written=last.facts.get("written", {}) if last.ok else {},
            held_back=last.facts.get("held_back", []) if last.ok else [],
            notes=[
                *notes,
                *filter(None, [outcome.get("remains", {}).get("sentence")]),
                *last.facts.get("notes", []),
            ],
            plan=outcome.get("summary", {}),
            face_moved=last.facts.get("face_moved"),
            visible=bool(last.facts.get("visible")),
            reversible=bool(last.facts.get("reversible")),
            targets=last.facts.get("targets", []) if last.ok else [],
            not_to_be_analysed=last.facts.get("not_to_be_analysed", []),
            new_patient_id=last.facts.get("new_patient_id", ""),
            seconds=sum(result.seconds for result in own.values()),
        )

    def _refuse(self, case: Case, last: TaskResult) -> TaskResult:
        """Take back what an earlier run left of a case; if that fails, the case's own row says so."""
        try:
            refuse(
                case,
                last.reason,
                defacer=self.defacer,
                out=self.out,
                names=self.names_of(case),
                record=self.record,
                run_key=self.run_key,
                trial=self.trial_of(case),
                **self.release.naming(self.run_key, self.people),
            )
            if self.outbox:
                self.outbox.take_back(case.id, self.defacer)
        except Exception as error:  # one case's trouble, whatever it is
            return dataclasses.replace(last, status=FAILED, reason=f"{last.reason} {not_taken_back(error)}")
        return last

    def left_out(self, found: Scan, words: Words | None = None) -> list[dict[str, Any]]:
        """Lines of the record for what the scan skipped, without source paths or UIDs."""
        from defacedask.io.dicom.export import UidMap, clean_name
        from defacedask.io.dicom.export.audit import audit_line, hash_of_source

        uids = UidMap(self.run_key)
        known = {s.series_uid for s in found.skipped if s.series_uid}
        known |= {u for case in found.cases for s in case.series for u in (s.uid, *s.instances)}
        lines = []
        for number, skip in enumerate(found.skipped, 1):
            name = clean_name(self.names.get(skip.path, Path(skip.path).name), uids, known)
            if self.release.deidentify:
                name = f"left-out/{number:04d}"  # names of files may name people
            reason = skip.reason if words is None else words.clean(skip.reason)
            lines.append(
                audit_line(
                    "refused",
                    name,
                    defacer=self.defacer,
                    modality=skip.modality,
                    files=skip.files,
                    input_sha256=hash_of_source(skip.path),
                    reason=clean_name(reason, uids, known),
                )
            )
        return lines


def _all_files(case: Case) -> list[list[Any]]:
    """Sizes and times of plans and other objects, which the ingest does not read."""
    rest = [f for s in (*case.plans, *case.others) for f in s.files]
    return [[Path(f).name, (s := Path(f).stat()).st_size, s.st_mtime_ns] for f in sorted(rest)]
