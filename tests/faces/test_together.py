"""Several attacks as one score: what sees nothing takes nothing from what sees something."""

from __future__ import annotations

import numpy as np
import pytest

from defacedask.faces.paired import area
from defacedask.faces.together import Together
from defacedask.faces.verification import BestScores, join, verification

PERSONS = tuple(f"P{k:03d}" for k in range(30))


def attack(seed, shift, scale=1.0, offset=0.0, faces=1.0, persons=PERSONS):
    """Everybody against everybody: distances of the own person are smaller by ``shift`` deviations."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(persons),) * 2)
    values[np.diag_indices(len(persons))] -= shift
    values = np.exp(0.2 * values) * scale + offset
    values[rng.random(len(persons)) >= faces] = np.nan
    return BestScores(tuple(f"c{p}" for p in persons), persons, persons, values)


def auc(best):
    return area(best.genuine, best.values[best.others])


def together(parts):
    made = Together(tuple(sorted({person for part in parts for person in part.persons})))
    for part in parts:
        made.add(part)
    return made.scores()


#: Attacks that see nothing, in units of their own.
BLIND = [(0.3, 0.0), (3.0, 0.0), (0.01, 0.2), (1.0, -0.9), (1.0, 0.0), (0.5, 0.0)]


def blind(seed, **more):
    return [attack(seed + k, 0.0, scale, offset, **more) for k, (scale, offset) in enumerate(BLIND)]


@pytest.mark.parametrize("shift", [0.8, 1.2, 3.0])
def test_attacks_that_see_nothing_take_no_more_than_noise(shift):
    lost, lost_by_minimum = [], []
    for seed in range(12):
        sees = attack(1000 + seed, shift)
        alone = auc(sees)
        lost.append(alone - auc(together([sees, *blind(10 * seed)])))
        lost_by_minimum.append(alone - auc(join([sees, *blind(10 * seed)])))
    assert np.mean(lost) < 0.01
    assert max(lost) < 0.05
    # the smallest distance, which this replaces, loses nearly all
    assert np.mean(lost_by_minimum) > 0.2


def test_two_that_see_something_see_more_than_one():
    for seed in range(6):
        parts = [attack(seed, 1.0), attack(100 + seed, 1.0, scale=7.0)]
        assert auc(together(parts)) > max(map(auc, parts)) - 0.01
        assert auc(together([*parts, *blind(50 + seed)])) > max(map(auc, parts)) - 0.03


def test_one_alone_keeps_its_auc_and_none_that_sees_tells_nothing():
    for seed in range(4):
        sees = attack(seed, 1.0)
        assert auc(together([sees])) == auc(sees)
    found = [auc(together(blind(20 * seed))) for seed in range(20)]
    assert abs(np.mean(found) - 0.5) < 0.04
    assert min(found) > 0.3


def test_the_own_distance_teaches_nothing_about_itself():
    """One person's distances decide nothing of the weights and ranks that they are judged by."""
    parts = [attack(1, 1.0), *blind(2)]
    before = together(parts).values[7]
    for part in parts:
        part.values[7, 7] = -100.0
    after = together(parts).values[7]
    assert np.array_equal(np.delete(before, 7), np.delete(after, 7))
    assert after[7] < before[7]


def test_what_is_nearer_than_all_strangers_keeps_its_order():
    """Rates at few false matches are told by the nearest of all, which ranks alone would not tell apart."""
    sure = attack(21, 12.0)
    assert auc(sure) == 1
    assert auc(together([sure, attack(22, 12.0, scale=4.0)])) == 1
    # one stranger is nearer than everybody else's strangers, and farther than everybody's own
    near = sure.values.copy()
    near[3, 4] = (np.nanmin(near[sure.others]) + sure.genuine.max()) / 2
    assert auc(together([BestScores(sure.cases, sure.own, sure.persons, near)])) == 1


def test_distances_that_are_all_alike_tell_nothing():
    same = BestScores(tuple(f"c{p}" for p in PERSONS), PERSONS, PERSONS, np.full((30, 30), 0.4))
    assert auc(together([same])) == 0.5
    sees = attack(23, 1.5)
    assert np.allclose(together([sees, same]).values, together([sees]).values)


def test_units_do_not_matter():
    one, other = attack(3, 1.0), attack(4, 0.7)
    metres = [BestScores(p.cases, p.own, p.persons, 5.0 + 100.0 * p.values) for p in (one, other)]
    assert np.allclose(together([one, other]).values, together(metres).values)


def test_an_attack_that_shows_no_face_has_no_say():
    sees = attack(5, 1.5)
    seldom = attack(6, 1.5, faces=0.4)
    joined = together([sees, seldom])
    nobody = np.isnan(seldom.values).all(axis=1)
    assert nobody.any()
    assert np.allclose(joined.values[nobody], together([sees]).values[nobody])
    dark = attack(7, 1.5, faces=0.0)
    assert np.allclose(together([sees, dark]).values, together([sees]).values)
    assert np.isnan(together([dark]).values).all()


def test_cases_and_persons_need_not_be_the_same():
    few = attack(8, 2.0, persons=PERSONS[:12])
    joined = together([attack(9, 1.0), few])
    assert joined.cases == attack(9, 1.0).cases
    assert joined.values.shape == (30, 30)
    absent = BestScores(few.cases, few.own, few.persons, few.values, frozenset(few.cases[:2]))
    assert together([absent]).absent == {"cP000", "cP001"}
    assert together([absent, few]).absent == frozenset()


def test_the_row_of_any_attack_counts_by_the_nearest_and_tells_by_the_joint_score():
    parts = [attack(11, 1.5), *blind(12)]
    nearest, joint = join(parts), together(parts)
    row = verification(nearest, limit=0.4, repeats=50, joint=joint)
    plain = verification(nearest, limit=0.4, repeats=50)
    for name in ("cases", "judged", "matched", "chance", "rank_1", "impostor"):
        assert row[name] == plain[name]
    assert row["auc"] == pytest.approx(auc(joint))
    assert plain["auc"] == pytest.approx(auc(nearest))
    assert row["auc"] > plain["auc"] + 0.15
    assert row["auc_low"] < row["auc"] < row["auc_high"]
