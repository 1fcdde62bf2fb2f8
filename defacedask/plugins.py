"""What other packages bring by entry points: defacers, attacks and recognisers are found and loaded in one way.

One name means one thing: a plug-in cannot pass for what is built in, nor two go by one name. One that cannot be
imported is told in a sentence, with its traceback behind it.
"""

from __future__ import annotations

import dataclasses
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from defacedask.errors import ConfigError

__all__ = ["Plugins", "distribution_of", "is_ours"]


def is_ours(code: Any) -> bool:
    """Whether a function or class comes with the package, and not from a plug-in."""
    return str(getattr(code, "__module__", "")).startswith("defacedask.")


@dataclasses.dataclass(frozen=True)
class Plugins:
    """All plug-ins of one kind.

    Parameters
    ----------
    group : str
        Of the entry points.
    kind : str
        As messages call one of them: ``attack``.
    """

    group: str
    kind: str

    def names(self) -> list[str]:
        """Their names, sorted."""
        return sorted({entry.name for entry in _installed(self.group)})

    def entries(self, name: str) -> list[EntryPoint]:
        """What is installed under a name; a distribution that is found twice counts once."""
        found = [entry for entry in _installed(self.group) if entry.name == name]
        return list({(entry.value, distribution_of(entry)): entry for entry in found}.values())

    def require_one(self, name: str, built_in: bool) -> None:
        """See that a name means one thing.

        Raises
        ------
        ConfigError
            Naming all that go by it.
        """
        given = [_spoken(entry) for entry in self.entries(name)]
        if built_in and given:
            raise ConfigError(
                f"{name!r} is built in, and {', '.join(given)} goes by the same name.",
                "Rename the plug-in or uninstall it.",
            )
        if len(given) > 1:
            raise ConfigError(
                f"{name!r} is the name of {len(given)} {self.kind}s: {', '.join(given)}.",
                "Rename or uninstall all but one.",
            )

    def load(self, name: str) -> tuple[Any, str]:
        """What a plug-in brings, and where it is from, as messages say it; (None, "") if there is none.

        Raises
        ------
        ConfigError
            If it cannot be imported, whatever it raises.
        """
        for entry in self.entries(name):
            where = _spoken(entry)
            try:
                return entry.load(), where
            except (Exception, SystemExit) as error:
                raise ConfigError(
                    f"the {self.kind} {name!r} ({where}) cannot be loaded: {type(error).__name__}: {error}.",
                    "Mend or uninstall it; -v shows where it stopped.",
                ) from error
        return None, ""

    def unusable(self, name: str, where: str, fault: str, hint: str = "Mend or uninstall it.") -> ConfigError:
        """The error for one that was imported, and is not what it should be."""
        return ConfigError(f"the {self.kind} {name!r} ({where}) cannot be used: {fault}.", hint)


def distribution_of(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that an entry point belongs to."""
    return (entry.dist.name, entry.dist.version) if entry.dist else ("?", "?")


def _spoken(entry: EntryPoint) -> str:
    return f"{entry.value} of {' '.join(distribution_of(entry))}"


_known: dict[str, tuple[Any, tuple[EntryPoint, ...]]] = {}


def _installed(group: str) -> tuple[EntryPoint, ...]:
    """Entry points of a group, read anew when a folder of the path has changed: reading all metadata takes 25 ms."""
    state = tuple((folder, _changed(folder)) for folder in sys.path)
    known = _known.get(group)
    if known is None or known[0] != state:
        known = _known[group] = (state, tuple(entry_points(group=group)))
    return known[1]


def _changed(folder: str) -> int:
    try:
        return Path(folder or ".").stat().st_mtime_ns
    except OSError:
        return 0
