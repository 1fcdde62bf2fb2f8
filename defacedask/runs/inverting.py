"""Learned inversion in a run: what all cases teach comes first, and then a prediction of each from all others.

`defacedask.runs.study_stages` and `defacedask.runs.attack` build these stages on their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from defacedask.attacks.inversion.planted import PLANTED
from defacedask.attacks.inversion.regression import LEAST_PERSONS
from defacedask.attacks.names import INVERSION
from defacedask.flow.stage import EACH_DEFACER, HOUR, Stage, Task
from defacedask.flow.stages.inversion import DEPTHS, INVERTED, control_inversion, gathered
from defacedask.flow.stages.layout import ORIGINAL

if TYPE_CHECKING:
    from defacedask.flow.flow import Flow
    from defacedask.flow.result import Outcome
    from defacedask.flow.run import Progress
    from defacedask.flow.settings import Settings

__all__ = ["FEWEST_PERSONS", "Learner", "Needs", "depth_stage", "inverted_stages", "taught", "too_few"]

#: Persons with both versions of an image: one who is predicted, and the teachers.
FEWEST_PERSONS = LEAST_PERSONS + 1
Needs = tuple[str | tuple[str, str], ...]


class Learner:
    """What the stages of learned inversion need to know of a run.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        #: Defacer -> file and digest of what inversion learns from.
        self.lessons: dict[str, tuple[str, str]] = {}

    @property
    def inverts(self) -> bool:
        """Whether learned inversion is among the attacks."""
        return INVERSION in self.settings.faces["attacks"]


LearnerT = TypeVar("LearnerT", bound=Learner)


def too_few(learner: Learner, defacers: Iterable[str]) -> str:
    """One sentence, where inversion was asked for and could learn nothing; else "".

    Parameters
    ----------
    learner : Learner
        After `taught`.
    defacers : iterable of str
    """
    lacking = [name for name in defacers if name not in learner.lessons]
    if not learner.inverts or not lacking:
        return ""
    return (
        f"Learned inversion was not tried on {', '.join(lacking)}: nobody is learnt from when they are predicted "
        f"themselves, and fewer than {FEWEST_PERSONS} persons have both versions of an image."
    )


def depth_stage(
    function: Callable[..., Outcome], needs: Needs, each: str, when: Callable[[Task[LearnerT]], bool]
) -> Stage[LearnerT]:
    """The stage that measures what is learnt from.

    Parameters
    ----------
    function : callable
        `defacedask.flow.stages.inversion.measure_depths`, or what calls it.
    needs, each, when
        See `Stage`; it never runs without the attack.
    """
    return Stage(
        DEPTHS,
        function,
        lambda task: {"case": task.case.id, "defacer": task.defacer, "settings": task.run.settings.faces},
        lambda task: task.run.settings.faces["modalities"],
        needs=needs,
        each=each,
        when=lambda task: task.run.inverts and when(task),
    )


def inverted_stages(
    function: Callable[..., Outcome], needs: Needs, when: Callable[[Task[LearnerT]], bool] = lambda _: True
) -> tuple[Stage[LearnerT], ...]:
    """The stages that predict every face from what all others taught: left by planted defacers, and by those judged.

    Parameters
    ----------
    function : callable
        `defacedask.flow.stages.inversion.invert_faces`, or what calls it.
    needs : tuple
        Of it, before the depths.
    when : callable
        Task -> whether its depths were measured.
    """

    def planted(task: Task[LearnerT]) -> dict[str, tuple[str, str]]:
        return {name: task.run.lessons[name] for name in PLANTED if name in task.run.lessons}

    return (
        Stage(
            INVERTED,
            control_inversion,
            lambda task: {
                "case": task.case.id,
                "person": task.case.person,
                "lessons": {name: file for name, (file, _) in planted(task).items()},
            },
            lambda task: [digest for _, digest in planted(task).values()],
            needs=((DEPTHS, ORIGINAL),),
            each=ORIGINAL,
            when=lambda task: when(task) and bool(planted(task)),
        ),
        Stage(
            INVERTED,
            function,
            lambda task: {
                "case": task.case.id,
                "person": task.case.person,
                "defacer": task.defacer,
                "settings": task.run.settings.faces,
                "lessons": task.run.lessons[task.defacer][0],
            },
            lambda task: [task.run.settings.faces, task.run.lessons[task.defacer][1]],
            needs=(*needs, (DEPTHS, ORIGINAL), DEPTHS),
            each=EACH_DEFACER,
            when=lambda task: when(task) and task.defacer in task.run.lessons,
            seconds=6 * HOUR,
        ),
    )


def taught(
    flow: Flow[LearnerT],
    learner: LearnerT,
    cases: Sequence[Any],
    defacers: Sequence[str],
    last: tuple[Stage[LearnerT], ...],
    store: Path,
    progress: Progress | None = None,
) -> Flow[LearnerT]:
    """The flow that tells all; where faces are predicted, all cases have taught before.

    Parameters
    ----------
    flow : Flow
        With the stages `DEPTHS` among its own.
    learner : Learner
        Given to the stages; what it learns is noted there.
    cases : sequence
        With ``id`` and ``person``.
    defacers : sequence of str
    last : tuple of Stage
        The stages of the flow and those that predict.
    store : Path
        The run's own data.
    progress : callable, optional
    """
    if not learner.inverts:
        return flow
    # one pass for what is learnt from, and one for what is learnt: of the first all is kept
    for _ in flow.run(learner, cases, defacers, progress):
        pass
    learner.lessons = gathered(store, [(case.id, case.person) for case in cases], defacers)
    for file, _ in learner.lessons.values():
        flow.share(Path(file))
    return dataclasses.replace(flow, stages=last)
