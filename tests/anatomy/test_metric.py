from __future__ import annotations

import numpy as np
import pytest

from defacedask.anatomy.metric import BINS, Metric
from defacedask.anatomy.turns import motion, rotation
from defacedask.geometry import Geometry


def a_head(seed: int) -> tuple[np.ndarray, Geometry, np.ndarray, np.ndarray]:
    """Template levels (with a voxel of air around) and its grid; points of a patient and values that follow it."""
    rng = np.random.default_rng(seed)
    grid = Geometry.from_spacing((20, 22, 24), (4.0, 4.0, 4.0), (-40.0, -40.0, -40.0))
    levels = np.zeros((22, 24, 26), np.uint8)
    levels[1:-1, 1:-1, 1:-1] = rng.integers(0, 256, grid.shape)
    index = rng.uniform(0, 1, (3000, 3)) * (np.array(grid.shape) - 1)
    values = levels[tuple((np.floor(index.T + 1.5)).astype(int))] + rng.normal(0, 20, 3000)
    return levels, grid, grid.to_world(index), values


def by_histogram(levels: np.ndarray, grid: Geometry, points: np.ndarray, values: np.ndarray) -> float:
    """The same number the long way: one point after the other into a table, entropies of its margins."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    table = np.zeros((BINS, BINS))
    for point, value in zip(points, values, strict=True):
        index = grid.to_index(point) + 1.5
        if index[0] < 1.0:
            continue
        voxel = tuple(int(np.clip(i, 0, n - 1)) for i, n in zip(index, levels.shape, strict=True))
        place = int(levels[voxel]) * (BINS - 1) / 255.0
        low = min(int(place), BINS - 2)
        row = int((edges < value).sum())
        table[row, low] += 1 - (place - low)
        table[row, low + 1] += place - low
    table /= len(points)
    entropy = [
        -(p[p > 0] * np.log(p[p > 0] / table.sum())).sum() for p in (table, table.sum(0), table.sum(1))
    ]
    return float(entropy[1] + entropy[2] - entropy[0])


@pytest.mark.parametrize("angles", [(0, 0, 0), (20, -35, 10), (180, 0, 0)])
def test_the_score_is_the_mutual_information_of_the_points(angles):
    levels, grid, points, values = a_head(1)
    metric = Metric(points, values, levels, grid)
    pose = motion(rotation(*angles), np.zeros(3), np.array([3.0, -2.0, 5.0]))
    moved = points @ pose[:3, :3].T + pose[:3, 3]
    assert metric(pose) == pytest.approx(by_histogram(levels, grid, moved, values), abs=1e-12)


def test_the_right_pose_scores_best_and_a_pose_out_of_view_nothing():
    levels, grid, points, values = a_head(2)
    metric = Metric(points, values, levels, grid)
    right = metric(np.eye(4))
    assert right > 0.5
    for angles in ((15, 0, 0), (0, 90, 0), (0, 0, 180)):
        assert metric(motion(rotation(*angles), np.zeros(3), np.zeros(3))) < 0.5 * right
    below = np.eye(4)
    below[2, 3] = -500.0
    assert metric(below) == 0.0


def test_without_a_body_every_pose_scores_nothing():
    levels, grid, _, _ = a_head(3)
    assert Metric(np.zeros((0, 3)), np.zeros(0), levels, grid)(np.eye(4)) == 0.0
