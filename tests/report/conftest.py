"""Made runs and their pages, written once."""

from __future__ import annotations

import pytest
from support.report_page import Page
from support.synthetic_run import make_run

from defacedask.report import write_report
from defacedask.tables.files import TEN_FEATURES

REFERENCE_PERCENT = (
    f"defacer,structure,{','.join(TEN_FEATURES)}\nquickshear,Brain,1.25,-4321.5,0,0,0,0,0,0,0,0\n"
)
REFERENCE_FACES = "defacer,ct_cases,ct_faces_detected,mri_cases,mri_faces_detected\nquickshear,77,3,,\n"


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    (folder / "percent.csv").write_text(REFERENCE_PERCENT)
    (folder / "faces.csv").write_text(REFERENCE_FACES)
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory, reference):
    """A whole run of eleven cases, its page written."""
    out = tmp_path_factory.mktemp("run")
    make_run(out, structures=("Brain", "Eye_L", "Parotid_R"))
    write_report(out, reference=reference)
    return out


@pytest.fixture(scope="session")
def read_page():
    return lambda out: Page((out / "report" / "index.html").read_text())


@pytest.fixture(scope="session")
def page(run, read_page):
    return read_page(run)
