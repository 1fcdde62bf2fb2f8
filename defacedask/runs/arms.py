"""Other people's defacers as arms of a study: which there are, and which case of a folder is which original's."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defacedask import config
from defacedask.defacers import defacer_names, valid_name
from defacedask.errors import ConfigError, InputError
from defacedask.flow.stages.arm_commands import split_command
from defacedask.flow.stages.ingest import input_state
from defacedask.flow.stages.layout import ORIGINAL
from defacedask.inputs import nothing_found, scan_of

if TYPE_CHECKING:
    from defacedask.io.dicom.model import Case

__all__ = ["Partner", "partners", "programs_here", "read_arms"]


@dataclasses.dataclass(frozen=True)
class Partner:
    """What an arm's folder has of a case.

    Attributes
    ----------
    defaced : Case or None
    why : str
        What they were paired by, or why there is none; one clause.
    """

    defaced: Case | None
    why: str

    @property
    def state(self) -> list[Any]:
        """What the result depends on, JSON-able."""
        return [self.why, input_state(self.defaced) if self.defaced else ""]


def read_arms(given: Iterable[str] | Mapping[str, str | Path] | None) -> dict[str, dict[str, Any]]:
    """Arms of a study: name -> ``command`` and ``seconds``, or ``folder``.

    Parameters
    ----------
    given : iterable of str, or mapping
        ``NAME=FOLDER`` or ``NAME=COMMAND``; or name -> folder or command.

    Raises
    ------
    ConfigError
        For a name that is taken or none, a folder that is not there, or a command without input and output.
    """
    pairs = list(given.items()) if isinstance(given, Mapping) else [_pair(one) for one in given or ()]
    taken = {*defacer_names(), ORIGINAL, "any"}
    out: dict[str, dict[str, Any]] = {}
    for name, what in pairs:
        if not valid_name(name) or name in taken or name in out:
            raise ConfigError(
                f"an arm cannot be called {name!r}.",
                "Use letters, digits, _, - and ., and no name of a defacer or of another arm.",
            )
        text = str(what).strip()
        if "{" in text:
            out[name] = {
                "command": _placed(split_command(text)),
                "seconds": float(config.option("arms.seconds")),
            }
        elif Path(text).exists() and text:
            out[name] = {"folder": str(Path(text).absolute())}
        else:
            raise ConfigError(
                f"the arm {name} is neither a folder that is there nor a command: {text!r}.",
                "Name the folder, or write {input} and {output} into the command.",
            )
    return out


def programs_here(arms: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a command whose program is not on this machine, where the workers run; elsewhere they may have it.

    Raises
    ------
    ConfigError
    """
    for name, arm in arms.items():
        program = shlex.split(arm["command"])[0] if "command" in arm else ""
        if program and shutil.which(program) is None:
            raise ConfigError(
                f"the program {program} of the arm {name} is not on this machine.",
                "Install it, or check its name.",
            )


def _placed(words: list[str]) -> str:
    """A command whose files are named in full: it runs in another folder than that it was written in."""
    first, *rest = words
    named = [first if "/" not in first else _in_full(first), *map(_in_full, rest)]
    return shlex.join(named)


def _in_full(word: str) -> str:
    return str(Path(word).absolute()) if "{" not in word and Path(word).is_file() else word


def _pair(text: str) -> tuple[str, str]:
    name, mark, what = text.partition("=")
    if not mark:
        raise ConfigError(
            f"the arm {text!r} has no name.", "Write NAME=FOLDER or NAME='command {input} {output}'."
        )
    return name.strip(), what


def partners(arms: Mapping[str, Mapping[str, Any]], cases: Sequence[Case]) -> dict[str, dict[str, Partner]]:
    """Pair the folders of arms with the cases of a study, as `defacedask.runs.attack.attack` does.

    Returns
    -------
    dict
        Arm -> case id -> `Partner`, for arms that are folders.

    Raises
    ------
    InputError
        If a folder holds nothing that belongs to any of the cases.
    """
    from defacedask.attacks.pairing import pair_cases

    out: dict[str, dict[str, Partner]] = {}
    for name, arm in arms.items():
        if "folder" not in arm:
            continue
        found = scan_of(arm["folder"])
        if not found.cases:
            raise nothing_found(found.skipped, f"image series of the arm {name}")
        pairing = pair_cases(cases, found.cases)
        if not pairing.pairs:
            raise InputError(
                f"none of the {len(found.cases)} cases of the arm {name} belongs to any of the {len(cases)} "
                "originals, neither by the patient's id nor by name, grid or voxels.",
                "Give a folder that holds the same patients, or name the files alike.",
            )
        paired = {pair.original.id: Partner(pair.defaced, f"paired by {pair.how}") for pair in pairing.pairs}
        none = "no defaced case belongs to it, by patient, name, grid or voxels"
        out[name] = {
            case.id: paired.get(case.id) or Partner(None, pairing.reasons.get(case.id, none))
            for case in cases
        }
    return out
