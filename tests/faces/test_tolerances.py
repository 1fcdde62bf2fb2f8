"""A tolerance belongs to its recogniser: distances of two recognisers do not compare."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from support.cohort_kit import SETTINGS, look, series

from defacedask.errors import ConfigError
from defacedask.faces.controls import controls
from defacedask.faces.detection import detection_table
from defacedask.faces.identification import Sighting
from defacedask.faces.tolerances import choose_tolerances, largest_distance, read_tolerances
from defacedask.flow.result import TaskResult
from defacedask.io.dicom.model import Case
from defacedask.report.run import read_run
from defacedask.report.sections.agreement import agreement_table
from defacedask.report.sections.privacy import strongest
from defacedask.report.sections.threshold import threshold_sentence
from defacedask.tables import face_scores
from defacedask.tables.agreement import kappa
from defacedask.tables.cohort import collect
from defacedask.tables.files import read_tables

#: The same eyes on three scales: on the first strangers lie below 0.3, on the second nobody does.
FACTORS = {"small": 0.1, "large": 10.0, "fixed": 0.1}
DLIB = ("face_recognition", "face_recognition_cnn", "face_recognition_centerface")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (0.4, dict.fromkeys(DLIB, 0.4)),
        ("0.4", dict.fromkeys(DLIB, 0.4)),
        ("eye=0.2", {"eye": 0.2}),
        ("0.4, eye=0.2", {**dict.fromkeys(DLIB, 0.4), "eye": 0.2}),
        ({"eye": 0.2}, {"eye": 0.2}),
        ("onnx_a=b=0.2", {"onnx_a=b": 0.2}),
    ],
)
def test_what_a_user_may_write(given, found):
    assert read_tolerances(given) == found


@pytest.mark.parametrize("given", ["", "eye", "eye=much", 0, -1.0, 2.0, "nan", {"eye": None}])
def test_what_is_no_tolerance_is_refused(given):
    with pytest.raises(ConfigError, match="tolerance"):
        read_tolerances(given)


def eyes(**own):
    return [SimpleNamespace(name=name, tolerance=value) for name, value in own.items()]


def test_a_number_is_dlibs_and_a_configuration_may_name_what_is_not_used():
    both = eyes(face_recognition=0.3, other=math.nan)
    assert choose_tolerances(both, None, 0.3) == {"face_recognition": 0.3}
    assert choose_tolerances(both, 0.4, 0.3) == {"face_recognition": 0.4}
    assert choose_tolerances(both, "other=0.2", "0.35,elsewhere=0.1") == {
        "face_recognition": 0.35,
        "other": 0.2,
    }
    assert choose_tolerances(eyes(service=0.5), None, 0.3) == {"service": 0.5}
    assert choose_tolerances(eyes(other=math.nan), None, 0.3) == {}


@pytest.mark.parametrize("given", [0.4, "elsewhere=0.2", "other=0.2,elsewhere=0.2"])
def test_a_tolerance_of_nobody_is_refused(given):
    with pytest.raises(ConfigError, match="does not use"):
        choose_tolerances(eyes(other=math.nan), given, 0.3)


def test_nothing_lies_within_no_limit():
    assert largest_distance(0.3, 0.2) == 0.3
    assert largest_distance(0.3, math.nan) == 0.3
    assert largest_distance(math.nan, 0.2) == 0.2
    assert math.isnan(largest_distance(math.nan, math.nan))


def test_one_person_and_no_tolerance_is_no_match_and_void():
    shots = [Sighting("a", view, np.array([0.0])) for view in "xy"]
    found = controls(shots)
    assert not found["holds"]
    assert (found["positive_matches"], found["positive_matches_at_tolerance"]) == (0, None)
    assert found["negative_matches"] is None
    assert controls(shots, tolerance=0.3)["positive_matches_at_tolerance"] == 1


@dataclasses.dataclass(frozen=True)
class Scaled:
    """Euclidean distance times a factor."""

    name: str
    tolerance = math.nan
    remote = False

    def distance(self, a, b):
        return FACTORS[self.name] * float(np.linalg.norm(np.asarray(a) - np.asarray(b)))


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Twelve persons seen by three recognisers whose distances differ by a factor alone."""
    folder = tmp_path_factory.mktemp("scales")
    random = np.random.default_rng(5)
    cases, results = [], []
    for k in range(12):
        case = f"c{k:02d}"
        cases.append(Case(case, f"P{k}", "1.2", (series(case),)))
        own = np.random.default_rng(k).normal(size=8)
        for defacer, away in (("original", 0.0), ("none", 0.0), ("quickshear", 1.5)):
            looks = []
            for view in ("front", "turned"):
                seen = (own + away * random.normal(size=8) + 0.1 * random.normal(size=8)).tolist()
                looks += [look(view, seen) | {"recogniser": name} for name in FACTORS]
            facts = {"looks": looks, "recognisers": {name: name for name in FACTORS}, "pictures": []}
            results.append(TaskResult("faces", case, defacer, "k", facts=facts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(face_scores, "open_recogniser", lambda name, **_: Scaled(name))
        face_scores._opened.cache_clear()
        collect(folder, cases, [], results, dataclasses.replace(SETTINGS, tolerance={"fixed": 0.3}))
        face_scores._opened.cache_clear()
    (folder / "config.yaml").write_text("settings:\n  tolerance: {fixed: 0.3}\n")
    return folder


def test_matches_do_not_depend_on_the_scale_of_a_recogniser_without_tolerance(judged):
    tables = read_tables(judged)
    verified = tables["verification"].set_index(["recogniser", "defacer", "attack"]).sort_index()
    known = tables["controls"].set_index("recogniser")
    same = ["judged", "matched", "chance", "rank_1", "auc"]
    for defacer in ("original", "none", "quickshear"):
        small, large = (verified.loc[(name, defacer, "any")] for name in ("small", "large"))
        assert small[same].tolist() == large[same].tolist()
        assert large["limit"] == pytest.approx(100 * small["limit"])
    assert verified.loc["small", "chance"].max() < 0.1
    assert verified.loc[("small", "none", "any"), "matched"] == 12
    for name in ("small", "large"):
        assert known.loc[name, "negative_matches"] <= 0.01 * known.loc[name, "negative_n"]
    # what happens to the same distances where a tolerance of another scale holds
    assert verified.loc[("fixed", "original", "any"), "chance"] > 0.2
    assert known.loc["fixed", "negative_matches"] > 0.2 * known.loc["fixed", "negative_n"]


def test_counts_at_a_tolerance_are_empty_where_there_is_none(judged):
    tables = read_tables(judged)
    found = tables["faces_detected"].set_index(["recogniser", "defacer"])
    assert found.loc["small", ["matches", "tolerance", "upper_bound_95"]].isna().all(axis=None)
    assert found.loc[("small", "none"), "matches_calibrated"] == 12
    assert found.loc[("fixed", "none"), ["matches", "tolerance"]].tolist() == [12, 0.3]
    at_tolerance = tables["verification"].set_index("recogniser")[["matched_tolerance", "chance_tolerance"]]
    assert at_tolerance.loc["small"].isna().all(axis=None)
    assert at_tolerance.loc["fixed"].notna().all(axis=None)


def test_the_report_names_each_threshold(judged):
    run = read_run(judged)
    said = threshold_sentence(run)
    for control in run.controls:
        assert f"{control.limit:.2f}".rstrip("0") + f" (CT by {control.recogniser})" in said
    assert "the recogniser’s tolerance, 0.3 (fixed)" in said
    assert "large and small, whose distances are on a scale of their own, have no tolerance" in said
    matched = {
        key: sum(run.looked.tried(*key, attack).hits for attack in attacks)
        for key, attacks in run.looked.attacks.items()
    }
    small, large = ({k[:2]: n for k, n in matched.items() if k[2] == name} for name in ("small", "large"))
    assert small == large != {}


def test_tables_of_an_earlier_version_hold_the_tolerance_of_dlib_alone(judged, tmp_path):
    (tmp_path / "tables").symlink_to(judged / "tables")
    (tmp_path / "config.yaml").write_text("settings:\n  tolerance: 0.3\n")
    run = read_run(tmp_path)
    assert {c.recogniser: c.limit for c in run.controls}["fixed"] < 0.3
    # strangers were counted within 0.3, which is no threshold any more
    assert {c.recogniser: c.others is None for c in run.controls} == {
        "fixed": True,
        "large": False,
        "small": False,
    }


def test_a_table_of_detection_without_any_threshold_counts_no_match(judged):
    rows = read_tables(judged)["recognition"]
    found = detection_table(rows.loc[rows["recogniser"] == "small"])
    assert found["matches_any_attack"].sum() == 0
    assert found["matches_calibrated"].isna().all()


def test_recognisers_that_see_the_same_agree_whatever_their_scale(judged):
    """Each counts by its own threshold; where one of them matches strangers too, they differ."""
    found = read_tables(judged)["agreement"].set_index(["recogniser_a", "recogniser_b", "defacer"])
    assert len(found) == 9
    assert (found["both"] + found["only_a"] + found["only_b"] + found["neither"]).eq(found["cases"]).all()
    alike = found.loc[("small", "large", "quickshear")]
    assert (alike["agree"], alike["only_a"], alike["only_b"]) == (1, 0, 0)
    assert alike["kappa"] == pytest.approx(1) or alike["both"] in (0, alike["cases"])
    assert found.loc[("small", "large", "none"), ["cases", "both"]].tolist() == [12, 12]
    apart = found.loc[("small", "fixed", "quickshear")]
    assert apart["only_b"] > 0
    assert apart["agree"] == pytest.approx(1 - apart["only_b"] / apart["cases"])
    run = read_run(judged)
    assert [line[2].text for line in agreement_table(run).rows][:2] == ["small, large", "small, fixed"]
    # a match by either counts: the case of the verdict
    either = strongest(run, "quickshear")
    assert either.hits == apart["both"] + apart["only_a"] + apart["only_b"]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((20, 5, 10, 15), 0.4), ((5, 0, 0, 5), 1.0), ((0, 5, 5, 0), -1.0), ((9, 0, 0, 0), math.nan)],
)
def test_kappa_is_cohens(counts, expected):
    assert kappa(*counts) == pytest.approx(expected, nan_ok=True)
