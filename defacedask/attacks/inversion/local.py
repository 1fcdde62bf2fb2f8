"""What a ray's surroundings tell of its old skin: the depth that is left there, and the bone below it.

A linear regression in each ray whose sums are taken over its neighbours, too (geographically weighted regression,
Brunsdon, Fotheringham and Charlton, Geographical Analysis 1996): a few persons are enough, since the slopes change
little from ray to ray. What it says of its own teachers it says while they are left out.
"""

from __future__ import annotations

import numpy as np

from defacedask.attacks.inversion.maps import SHAPE

__all__ = ["LocalFit", "surroundings"]

#: Standard deviations (rays) of the surroundings that are looked at, of skin and of bone.
NEAR = {"skin": (0.7, 4.0), "bone": (1.5, 5.0)}
#: The same of the neighbours that share their slopes.
SHARED = 5.0
#: Penalty, mm squared: as much as one head that lies so far from the others adds.
PENALTY = 40.0
#: What is used instead of the average face must leave no more than this of its error.
MARGIN = 0.95
#: What may be used together; nothing: the average face.
SUBSETS: tuple[tuple[int, ...], ...] = ((), (0, 1), (2, 3), (0, 1, 2, 3))


def surroundings(skin: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """Weighted means of what lies around each ray, (n, features, rays).

    Parameters
    ----------
    skin, bone : (n, rays) arrays
        mm about the teachers' middle; NaN where there is nothing.
    """
    parts = [
        _mean_around(values, sigma)
        for values, sigmas in ((skin, NEAR["skin"]), (bone, NEAR["bone"]))
        for sigma in sigmas
    ]
    return np.stack(parts, axis=1)


def _mean_around(values: np.ndarray, sigma: float) -> np.ndarray:
    there = ~np.isnan(values)
    total, weight = _smooth(np.where(there, values, 0.0), sigma), _smooth(there, sigma)
    # little that is known counts little
    return total / (weight + 0.1)


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    maps = np.asarray(values, np.float32).reshape(-1, *SHAPE)
    out = gaussian_filter(maps, (0.0, sigma, sigma), mode=("nearest", "nearest", "wrap"), truncate=3.0)
    return out.reshape(values.shape)


class LocalFit:
    """Slopes of each ray.

    Parameters
    ----------
    features : (n, features, rays) array
        See `surroundings`.
    off : (n, rays) array
        mm of the true skin about its middle; NaN where it is not known.
    groups : list of arrays
        Indices of the heads of each person.
    used : (rays,) bool array
        Rays that are learnt.

    Attributes
    ----------
    left_out : (n, rays) float32 array
        What is said of each teacher while all their heads are left out; 0 where nothing is learnt.
    subset : tuple of int
        Features that are used: those that are best for persons left out.
    """

    def __init__(
        self, features: np.ndarray, off: np.ndarray, groups: list[np.ndarray], used: np.ndarray
    ) -> None:
        rays = np.flatnonzero(used)
        there = (~np.isnan(off)).astype(np.float32)
        known = np.where(there > 0, off, 0.0).astype(np.float32)
        count = features.shape[1]
        square = np.empty((len(off), count, count, len(rays)), np.float32)
        right = np.empty((len(off), count, len(rays)), np.float32)
        for j in range(count):
            right[:, j] = _smooth(features[:, j] * known, SHARED)[:, rays]
            for k in range(j, count):
                square[:, j, k] = _smooth(features[:, j] * features[:, k] * there, SHARED)[:, rays]
                square[:, k, j] = square[:, j, k]
        self.left_out = np.zeros(off.shape, np.float32)
        self.subset: tuple[int, ...] = ()
        self._slopes = np.zeros((count, off.shape[1]))
        if not len(rays):
            return
        all_square, all_right = (part.sum(axis=0, dtype=np.float64) for part in (square, right))
        here, least = features[:, :, rays], np.inf
        for subset in SUBSETS:
            at = np.array(subset, int)
            said = np.zeros((len(off), len(rays)), np.float32)
            for own in groups if subset else ():
                slopes = _solved(all_square - square[own].sum(axis=0), all_right - right[own].sum(axis=0), at)
                said[own] = np.einsum("jr,njr->nr", slopes, here[own][:, at])
            error = float((((said - known[:, rays]) * there[:, rays]) ** 2).mean())
            if error < (least if self.subset else MARGIN * least):
                least, self.subset = error, subset
                self.left_out[:, rays] = said
                self._slopes[:] = 0.0
                if subset:
                    self._slopes[np.ix_(at, rays)] = _solved(all_square, all_right, at)

    def say(self, features: np.ndarray) -> np.ndarray:
        """Skin about the middle, mm, (rays,) of a head with these features (features, rays)."""
        return np.asarray((self._slopes * features).sum(axis=0))


def _solved(square: np.ndarray, right: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Slopes (features, rays) of normal equations (features, features, rays)."""
    matrix = np.moveaxis(square[np.ix_(at, at)], -1, 0) + PENALTY * np.eye(len(at))
    return np.linalg.solve(matrix, right[at].T[..., None])[..., 0].T
