"""The dossier: one page for a repository to file, of what was done, what was tried on it, and what was found."""

from __future__ import annotations

from defacedask.dossier.page import page_of, write_dossier
from defacedask.dossier.signing import check_dossier

__all__ = ["check_dossier", "page_of", "write_dossier"]
