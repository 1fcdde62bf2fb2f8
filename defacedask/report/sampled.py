"""What the page says where a figure is of a sample of the cases."""

from __future__ import annotations

from defacedask.tables.sampled import SEED, most_cases

__all__ = ["sample_notes"]


def sample_notes(sampled: bool) -> tuple[str, ...]:
    """The sentence, where it is so."""
    if not sampled:
        return ()
    return (
        f"Medians, quartiles and percentiles are of a sample of {most_cases()} cases (seed {SEED}); counts, means "
        "and extremes are of all cases.",
    )
