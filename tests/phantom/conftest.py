from __future__ import annotations

import pytest

from defacedask.phantom import write_phantom


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Two coarse subjects (the second has a brain tumour), two scans each, in all modalities."""
    out = tmp_path_factory.mktemp("phantom") / "cohort"
    write_phantom(out, 2, seed=1, scans=2, size="coarse")
    return out
