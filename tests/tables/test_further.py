"""From results to the tables of enrolment, open-set searches, the average face and groups."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from support.cohort_kit import SETTINGS, look, series

from defacedask.flow.result import TaskResult
from defacedask.io.dicom.about import age_of, sequence_of, sex_of
from defacedask.io.dicom.model import Case
from defacedask.tables import cohort as cohort_tables
from defacedask.tables.cohort import collect
from defacedask.tables.further import age_band

LENGTH, MANY = 16, 14


def one_result(
    case, person, defacer, *, modality="CT", kept=1.0, gone=0.0, scan=0, enrolled=0, average=False
):
    """Looks at two views: so much of the person's own place, and so much of one that is the same for all."""
    own = np.random.default_rng(person).normal(size=LENGTH)
    away = np.random.default_rng(999).normal(size=LENGTH)
    rng = np.random.default_rng([person, scan, len(defacer), modality == "MR"])

    def seen(part, shift, view, attack="plain"):
        code = part * own + shift * away + 0.1 * rng.normal(size=LENGTH)
        return {**look(view, code.tolist(), attack), "modality": modality, "path": f"images/{modality}"}

    facts = {
        "looks": [seen(kept, gone, view) for view in ("front", "turned")],
        "enrolled": [seen(1.0, 0.0, f"e{k}", "enrolment") for k in range(enrolled)],
        "recogniser": "face_recognition",
    }
    if average:
        facts["looks"] += [
            seen(0.0, gone, "front", name) for name in ("average_face", "average_face_forced_crop")
        ]
    return TaskResult("faces", case, defacer, "k", facts=facts)


def cohort(count=MANY, modalities=("CT",)):
    cases, results = [], []
    for k in range(count):
        name = f"c{k:02d}"
        facts = {"sex": "F" if k % 2 else "M", "age": 30.0 if k < 10 else 70.0}
        cases.append(Case(name, f"P{k}", "1.2", (dataclasses.replace(series(name), facts=facts),)))
        for modality in modalities:
            about = {"modality": modality}
            results += [
                one_result(name, k, "original", enrolled=8, average=True, **about),
                one_result(name, k, "none", **about),
                one_result(name, k, "quickshear", kept=0.15, gone=2.0, **about),
            ]
        results.append(TaskResult("apply", name, "quickshear", "k"))
    return cases, results


def tables_of(folder, cases, results, settings=SETTINGS):
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    return collect(folder, cases, [], results, settings)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Tables of one cohort."""
    return tables_of(tmp_path_factory.mktemp("cohort"), *cohort())


def row_of(table, **wanted):
    for name, value in wanted.items():
        table = table.loc[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_enrolment_sees_what_the_nearest_picture_does_not(found):
    rates = found["verification"]
    plain, named = (
        row_of(rates, defacer="quickshear", modality="CT", attack=a) for a in ("plain", "enrolment")
    )
    assert named["auc"] > plain["auc"] + 0.2
    control = row_of(rates, defacer="original", modality="CT", attack="enrolment")
    assert control["matched"] == control["rank_1"] == control["judged"] == MANY
    rows = found["recognition"].query("attack == 'enrolment' and defacer == 'quickshear'")
    assert len(rows) == MANY  # the best picture of each case
    assert rows["variant"].unique().tolist() == ["plain"]
    # what nobody can be recognised by is no recognition, and no attempt
    average = row_of(rates, defacer="original", modality="CT", attack="average_face")
    assert abs(average["auc"] - 0.5) < 0.25
    assert not found["recognition"]["attack"].str.startswith("average").any()
    everything = row_of(rates, defacer="original", modality="CT", attack="any")
    assert everything["auc"] == 1


def test_the_difference_from_the_average_face_has_its_own_control(found):
    table = found["average_face"]
    whole, less = (row_of(table, defacer=d, attack="plain") for d in ("none", "quickshear"))
    assert whole["difference_low"] > 0  # the undefaced head is more than the average on it
    assert whole["pairs"] == MANY
    assert less["difference"] < whole["difference"]
    assert set(table["attack"]) == {"plain", "enrolment", "any"}
    assert set(table["defacer"]) == {"none", "quickshear"}


def test_open_set_says_what_it_cannot_tell(found):
    row = row_of(found["open_set"], defacer="none", attack="enrolment")
    assert (row["mate_searches"], row["rank_1"]) == (MANY, MANY)
    assert row["rank_1_upper"] == 1
    assert row["fnir_at_0.1"] == 0
    assert math.isnan(row["fnir_at_0.01"])
    assert "1 % FPIR" in row["note"]


def test_groups_have_their_own_rates_and_small_ones_none(found):
    table = found["verification_groups"]
    table = table.query("defacer == 'quickshear' and attack == 'plain'")
    women = row_of(table, group="sex", value="F")
    assert women["persons"] == women["judged"] == MANY // 2
    assert women["auc_low_within"] <= women["auc_within"] <= women["auc_high_within"]
    assert women["rank_1_upper"] > women["rank_1"] / women["judged"]
    old = row_of(table, group="age_band", value="60 to 74")
    assert old["persons"] == 4
    assert math.isnan(old["auc"])
    assert "fewer than 6 persons" in old["note"]


def test_a_head_is_looked_for_among_originals_of_another_modality(tmp_path):
    """The same persons in CT and MR: what the one keeps points to the other."""
    cases, results = cohort(8, ("CT", "MR"))
    rates = tables_of(tmp_path, cases, results)["verification"]
    across = row_of(rates, defacer="none", modality="MR", attack="gallery_CT")
    assert across["auc"] == 1
    assert across["judged"] == 8
    assert row_of(rates, defacer="quickshear", modality="CT", attack="gallery_MR")["auc"] < 1
    assert rates.query("defacer == 'original' and attack == 'gallery_CT'").empty


def test_enrolment_does_not_depend_on_the_size_of_the_parts(found, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort_tables, "AT_ONCE", 5)
    parts = tables_of(tmp_path, *cohort())
    for name in ("verification", "open_set", "average_face", "verification_groups"):
        left, right = (t[name].select_dtypes("number").to_numpy(dtype=float) for t in (found, parts))
        np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-9)


def test_second_scans_are_named_without_the_probes_own(tmp_path):
    cases, results = [], []
    for k in range(7):
        for scan in (1, 2):
            name = f"c{k:02d}-{scan}"
            cases.append(Case(name, f"P{k}", "1.2", (series(name),)))
            results += [
                one_result(name, k, "original", enrolled=8, scan=scan),
                one_result(name, k, "none", scan=scan),
                TaskResult("apply", name, "none", "k"),
            ]
    settings = dataclasses.replace(SETTINGS, gallery="second-scan")
    rates = tables_of(tmp_path, cases, results, settings)["verification"]
    named = row_of(rates, defacer="none", modality="CT", attack="enrolment")
    assert (named["judged"], named["rank_1"]) == (14, 14)


def test_without_renders_nothing_is_enrolled(tmp_path):
    cases, results = cohort(6)
    for result in results:
        result.facts.pop("enrolled", None)
    found = tables_of(tmp_path, cases, results)
    assert "enrolment" not in set(found["verification"]["attack"])
    assert "enrolment" not in set(found["recognition"]["attack"])


@pytest.mark.parametrize(
    ("header", "sex", "age"),
    [
        ({"PatientSex": "f", "PatientAge": "045Y"}, "F", 45.0),
        ({"PatientSex": "M", "PatientAge": "018M"}, "M", 1.5),
        ({"PatientSex": "?", "PatientBirthDate": "19600301", "StudyDate": "20200301"}, "", 60.0),
        ({"PatientBirthDate": "20210101", "StudyDate": "20200301"}, "", None),
        ({"PatientAge": "old", "PatientBirthDate": "1960"}, "", None),
    ],
)
def test_sex_and_age_of_a_header(header, sex, age):
    assert sex_of(header) == sex
    assert age_of(header) == age


def test_sequences_and_bands():
    named = {
        text: sequence_of(text) for text in ("t1_mprage_sag", "Ax T2 FLAIR", "sub-01_T1w", "AX T2*", "head")
    }
    assert list(named.values()) == ["T1", "FLAIR", "T1", "SWI", ""]
    assert [age_band(y) for y in (17.9, 18, 59, 75, 101, math.nan, -1)] == [
        "0 to 17",
        "18 to 39",
        "40 to 59",
        "75 and older",
        "75 and older",
        "",
        "",
    ]
