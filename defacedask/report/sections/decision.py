"""May this be published, planned on, measured on? One answer each, with its reasons, and never more than was shown.

``no`` rests on something that was found, ``not shown`` on something that is missing, and what is left is allowed as
far as it was tried.
"""

from __future__ import annotations

from dataclasses import dataclass

from defacedask.attacks import ATTACK_SETS
from defacedask.report import numbers
from defacedask.report.page import Cell, Head, Table, text
from defacedask.report.run import CONTROL, Run
from defacedask.report.sections.harm import LEAST_GY, harm, said_dose, some
from defacedask.report.sections.privacy import beyond_chance, strongest
from defacedask.report.sections.standing import (
    by_each,
    count_words,
    covers,
    nearest_beyond_chance,
    privacy_void,
    testifying,
)
from defacedask.report.sections.tried import untried
from defacedask.tables.evidence import ANY, Rate

__all__ = [
    "Decision",
    "decision_table",
    "measured",
    "planned",
    "published",
    "recognised",
    "withheld_lines",
]

#: Largest 95 % upper bound of the match rate with which "not recognised" is worth an answer: 0 of 29 cases.
MOST = 0.10


@dataclass(frozen=True)
class Decision:
    """An answer: its word, its tone (good, warn, bad), and why."""

    word: str
    tone: str
    reasons: tuple[str, ...] = ()

    @property
    def cell(self) -> Cell:
        """In the table."""
        return text(self.word, self.tone, "; ".join(self.reasons))


def published(run: Run, defacer: str) -> Decision:
    """Whether what a defacer leaves may be passed on as images without a face."""
    found, lacking = _found_against(run, defacer), _lacking(run, defacer)
    if found:
        return Decision("no", "bad", tuple(found))
    if lacking:
        return Decision("not shown", "warn", tuple(lacking))
    able = testifying(run, defacer)
    return Decision(
        "as far as tried",
        "good",
        (f"{count_words(able)} matched; true rate below {numbers.bound(able.upper)} (95 %)",),
    )


def recognised(run: Run, defacer: str) -> Rate | None:
    """Cases that were recognised behind a defacer, if more than chance gives; None if not."""
    hits = strongest(run, defacer)
    return hits if hits.hits and beyond_chance(hits, run.chance(defacer)) else None


def withheld_lines(run: Run) -> list[str]:
    """One sentence a defacer whose files do not say that the face is gone, for the study recognised people."""
    lines = []
    for defacer in [d for d in run.defacers if d != CONTROL]:
        own = run.exports[defacer]
        hits = recognised(run, defacer)
        if not own.recognised or hits is None or covers(defacer):
            continue
        lines.append(
            f"{defacer} did not hide everybody: {count_words(hits)} cases were recognised. "
            + (
                "Its files say that the face is visible (RecognizableVisualFeatures YES)."
                if own.recognised_done
                else "Nothing of it was written; --allow-visible writes it, and every file says so."
            )
        )
    return lines


def _found_against(run: Run, defacer: str) -> list[str]:
    reasons = []
    hits = recognised(run, defacer)
    if hits is not None:
        reasons.append(f"recognised in {count_words(hits)} cases")
    if covers(defacer):
        reasons.append("the face is covered, not removed: it can be un-masked")
    own = run.exports[defacer]
    if own.visible:
        reasons.append(
            f"the face was found still visible in {count_words(Rate(own.visible, own.rows))} cases"
        )
    return reasons


def _lacking(run: Run, defacer: str) -> list[str]:
    reasons = []
    virtual, cases = run.virtual
    if virtual:
        reasons.append("virtual patients only" if virtual == cases else f"{virtual} of {cases} are virtual")
    hits, able = strongest(run, defacer), testifying(run, defacer)
    if not hits.cases:
        reasons.append("no face was looked for")
    elif privacy_void(run):
        reasons.append("the positive control failed")
    elif not able.cases:
        reasons.append("none of its originals is recognised")
    elif hits.hits:
        reasons.append(f"matched in {count_words(hits)} cases, which may be chance")
    elif able.upper > MOST:
        reasons.append(f"too few cases: {count_words(able)} allows up to {numbers.bound(able.upper)}")
    nearest = nearest_beyond_chance(run, defacer)
    if nearest is not None and not hits.hits:
        reasons.append(f"the right person is the nearest of all in {count_words(nearest)}")
    told = [row for row in by_each(run, defacer) if row["auc_low"] > 0.5]
    if nearest is None and told:
        worst = max(told, key=lambda row: row["auc"])
        by = "" if worst["recogniser"] == ANY else f" by {worst['recogniser']}"
        reasons.append(
            f"the own person is nearer than others more often than not (AUC {worst['auc']:.2f}{by})"
        )
    usual = [a for a in untried(run, defacer) if a in ATTACK_SETS["default"] and a not in ("pet_skin",)]
    if hits.cases and usual:
        reasons.append(f"{len(usual)} of the usual attacks not tried")
    own = run.exports[defacer]
    missing = run.cases.rows - own.done
    if not own.rows:
        reasons.append("no file was written and checked for a face")
    elif missing:
        reasons.append(f"{missing} of {run.cases.rows} cases were not written")
    return reasons


def planned(run: Run, defacer: str) -> Decision:
    """Whether a treatment may be planned or reviewed on it."""
    found = harm(run, defacer)
    if not found.volumes and not found.doses:
        return Decision("not measured", "quiet", ("no structure and no dose",))
    reasons = []
    if found.cut_cases:
        cut = Rate(found.cut_cases, found.target_cases)
        reasons.append(
            f"{found.worst_target} is cut in {count_words(cut)} cases, by up to "
            f"{numbers.rate(found.worst_percent / 100)}"
        )
    if found.target_any is not None and abs(found.target_any.gy) >= LEAST_GY:
        worse = found.target_mean if _counts(found.target_mean) else found.target_any
        reasons.append(said_dose(worse))
    if reasons:
        return Decision("no", "bad", tuple(reasons))
    if not found.target_cases:
        reasons.append("there is no target among the structures")
    near = [*found.cut, *(s for s in found.moved if s not in found.cut)]
    if near:
        why = [f"cut, or {LEAST_GY:g} Gy or more of dose: {some(near)}", *reasons]
        return Decision("not near the face", "warn", tuple(why))
    if reasons:
        return Decision("not shown", "warn", tuple(reasons))
    return Decision("as before", "good", ("targets and organs uncut" + _same_dose(found.doses),))


def _counts(change: object) -> bool:
    return change is not None and abs(getattr(change, "gy", 0.0)) >= LEAST_GY


def _same_dose(doses: bool) -> str:
    return f", dose within {LEAST_GY:g} Gy" if doses else "; no dose was measured"


def measured(run: Run, defacer: str) -> Decision:
    """Whether radiomics may be computed on it."""
    features = harm(run, defacer).features
    if not features.known:
        return Decision("not measured", "quiet", ("no structure was measured",))
    if not features.changed:
        return Decision("as before", "good", (f"all {len(features.same)} structures exactly equal",))
    reasons = (f"changed: {some(features.changed)}",)
    if not features.same:
        return Decision("no", "bad", reasons)
    word = f"on {len(features.same)} of {len(features.same) + len(features.changed)} structures"
    return Decision(word, "bad" if features.targets else "warn", reasons)


def decision_table(run: Run) -> Table | None:
    """One line a defacer, one column a use."""
    defacers = [d for d in run.defacers if d != CONTROL]
    if not defacers:
        return None
    lines = [[text(d), published(run, d).cell, planned(run, d).cell, measured(run, d).cell] for d in defacers]
    release = run.release
    headers = (
        "Headers were de-identified, too."
        if release.get("deidentify")
        else "Headers still name the patient (no --deidentify)."
    )
    return Table(
        "decisions",
        "What may be done with the images that each defacer leaves",
        [
            Head("defacer", False),
            Head("published?", False, "passed on as images without a face"),
            Head("planned on?", False, "used for contours and dose"),
            Head("measured on?", False, "used for radiomics"),
        ],
        lines,
        (
            "“Not shown” is not “no”: something is missing for an answer. “As far as tried” needs an upper bound of "
            f"at most {numbers.rate(MOST)} (29 cases without a match). {headers} Every defacer moves the body’s "
            "outline: no dose may be computed anew through it.",
        ),
    )
