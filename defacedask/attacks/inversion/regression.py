"""Learn from persons of whom both versions are known, and say of one more where the skin ran before.

What was removed (the original's skin along all rays that the defacer may change) is described by principal components
of the teachers; each is predicted by ridge regression from what was kept, in the dual form, so that all costs go with
the number of heads and not of rays. What is kept comes in blocks: skin that the defacer leaves alone, skin that it
changes (a layer, a new face: whatever these know), and bone. Which blocks, and how strong the penalty on each
component, is chosen by the error on persons left out, in closed form; a penalty without end, which is the average
face, is always among the choices.

Sources: ridge regression in dual form, Saunders, Gammerman and Vovk (ICML 1998); its error on what is left out in
closed form, Allen (Technometrics 1974), here for all scans of a person at once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from defacedask.attacks.inversion.local import LocalFit, surroundings

if TYPE_CHECKING:
    from defacedask.attacks.inversion.maps import DepthMaps

__all__ = ["LEAST_PERSONS", "Inverter", "Known", "Prediction"]

#: Fewer teachers teach nothing.
LEAST_PERSONS = 7
#: mm by which a ray's depth must differ to count as changed.
CHANGED = 1.0
#: mm from the teachers' middle beyond which a depth tells of another thing (a hole, an ear, a deeper bone).
FAR = 20.0
#: Penalties, as parts of the mean square of what is kept; the last is the average face.
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, np.inf)
#: What is learnt must leave no more than this of the average face's error, of each component.
MARGIN = 0.85
#: Blocks that are learnt from together.
CHOICES = (
    ("kept",),
    ("bone",),
    ("changed",),
    ("kept", "bone"),
    ("kept", "changed"),
    ("kept", "changed", "bone"),
)
#: Added to the likeness of all heads: the mean is learnt without a penalty.
MEAN = 1e3
#: Components of what was removed, at most.
COMPONENTS = 30


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """Heads of which both versions are known.

    Attributes
    ----------
    persons : (n,) array of str
    original : (n, rays) float32 array
        Skin of the originals.
    skin, bone : (n, rays) float32 arrays
        Of the defaced.
    """

    persons: np.ndarray
    original: np.ndarray
    skin: np.ndarray
    bone: np.ndarray

    @classmethod
    def of(
        cls, persons: Sequence[str], originals: Sequence[DepthMaps], defaced: Sequence[DepthMaps]
    ) -> Known:
        """Put maps together."""

        def rows(maps: Sequence[DepthMaps], name: str) -> np.ndarray:
            return np.array([getattr(one, name).ravel() for one in maps], np.float32)

        return cls(np.array(persons), rows(originals, "skin"), rows(defaced, "skin"), rows(defaced, "bone"))

    def without(self, person: str) -> Known:
        """Without all scans of a person."""
        return self.chosen(np.flatnonzero(self.persons != person))

    def chosen(self, which: np.ndarray) -> Known:
        """Some of the heads."""
        return Known(self.persons[which], self.original[which], self.skin[which], self.bone[which])

    def joined(self, other: Known) -> Known:
        """With the heads of another."""
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self)]
        return Known(*(np.concatenate(pair) for pair in pairs))

    def shuffled(self, seed: int) -> Known:
        """What was kept of each person goes with the removed of another: nothing can be learnt from it."""
        names = np.unique(self.persons)
        order = np.random.default_rng(seed).permutation(len(names))
        # one round: nobody keeps what is their own
        other = dict(zip(names[order], names[np.roll(order, 1)], strict=True))
        first = {name: int(np.flatnonzero(self.persons == name)[0]) for name in names}
        given = np.array([first[other[name]] for name in self.persons])
        return dataclasses.replace(self, skin=self.skin[given], bone=self.bone[given])


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """Where the skin of one head ran.

    Attributes
    ----------
    skin : (rays,) array
        As predicted where it was replaced, as it is elsewhere.
    learnt, average : (rays,) arrays
        Predicted everywhere, and what is predicted of anybody.
    replaced : (rays,) array
        How likely it is that the ray's skin is not the patient's, 0..1.
    """

    skin: np.ndarray
    learnt: np.ndarray
    average: np.ndarray
    replaced: np.ndarray


class Inverter:
    """What was learnt of one defacer.

    Parameters
    ----------
    known : Known
        The teachers.

    Attributes
    ----------
    blocks : tuple of str
        What of the kept is used.
    penalties : (components,) array
        One for each component; infinite where nothing is known of it.
    """

    def __init__(self, known: Known) -> None:
        self.known = known
        moved = _moved(known)
        # what nearly nobody loses is not predicted
        self.removed = moved.mean(axis=0) > max(0.04, 0.5 / len(moved))
        usually = np.median(np.where(moved, 1.0, 0.0), axis=0) > 0
        self._parts: dict[str, _Block] = {}
        for name, values, used in (
            ("kept", known.skin, ~usually),
            ("changed", known.skin, usually),
            ("bone", known.bone, np.ones(len(usually), bool)),
        ):
            block = _Block.of(values, used)
            if block is not None:
                self._parts[name] = block
        groups = [np.flatnonzero(known.persons == name) for name in np.unique(known.persons)]
        self.average = _middle(known.original)[0]
        off = _near(known.original - self.average)
        self._middles = _middle(known.skin)[0], _middle(known.bone)[0]
        self._local = LocalFit(self._features(known.skin, known.bone), off, groups, self.removed)
        # what the surroundings do not tell
        rest = np.where(np.isnan(off), 0.0, off - self._local.left_out)[:, self.removed]
        self._mean = rest.mean(axis=0)
        scores, self._axes = _components(rest - self._mean)
        self.blocks, self.penalties, self._dual, left = self._learn(scores, groups)
        self._said = self._rays(scores - left, self._local.left_out)

    def _features(self, skin: np.ndarray, bone: np.ndarray) -> np.ndarray:
        parts = (np.atleast_2d(one) - middle for one, middle in zip((skin, bone), self._middles, strict=True))
        return surroundings(*(_near(one) for one in parts))

    def _kernel(self, blocks: Sequence[str], new: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """Likeness of heads in some blocks, one on the diagonal on average; of the teachers, or of others to them."""
        total: Any = 0.0
        for name in blocks:
            part = self._parts[name]
            total = total + ((part.values if new is None else new[name]) @ part.values.T) / part.scale
        return np.asarray(total / len(blocks), np.float64)

    def _learn(
        self, scores: np.ndarray, groups: list[np.ndarray]
    ) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray]:
        n, components = scores.shape
        best: Any = None
        for blocks in CHOICES:
            if not set(blocks) <= set(self._parts):
                continue
            kernel = self._kernel(blocks)
            duals, errors, left = [], [], []
            for penalty in PENALTIES:
                if np.isinf(penalty):
                    dual, out = np.zeros_like(scores), scores.copy()
                    for own in groups:  # the average of the others is not quite the average of all
                        out[own] = scores[own] + scores[own].sum(axis=0) / max(n - len(own), 1)
                else:
                    inverse = np.linalg.inv(kernel + penalty * np.eye(n) + MEAN)
                    dual = inverse @ scores
                    out = np.empty_like(scores)
                    for own in groups:
                        out[own] = np.linalg.solve(inverse[np.ix_(own, own)], dual[own])
                duals.append(dual)
                left.append(out)
                errors.append((out**2).mean(axis=0))
            error = np.array(errors)
            error[:-1] /= MARGIN  # chance finds a little in anything
            chosen = error.argmin(axis=0)
            total = float(error.min(axis=0).sum())
            if best is None or total < best[0]:
                pick = (chosen, slice(None), np.arange(components))
                best = (
                    total,
                    blocks,
                    np.array(PENALTIES)[chosen],
                    np.stack(duals)[pick[0], :, pick[2]].T if components else np.zeros((n, 0)),
                    np.stack(left)[pick[0], :, pick[2]].T if components else np.zeros((n, 0)),
                )
        if best is None:
            return (), np.full(components, np.inf), np.zeros_like(scores), scores
        return best[1], best[2], best[3], best[4]

    def _rays(self, scores: np.ndarray, local: np.ndarray) -> np.ndarray:
        """Depths (n, rays) of scores (n, components) and what the surroundings tell (n, rays)."""
        out = self.average + local
        out[:, self.removed] += self._mean + scores @ self._axes
        return np.asarray(out)

    @functools.cached_property
    def _judging(self) -> tuple[np.ndarray, ...]:
        """Share of teachers that keep a ray's skin; spread of their skin; middle and spread of what replaces it.

        All about what is predicted of them while they are left out.
        """
        known, predicted = self.known, self._said
        moved = _moved(known)
        kept = (1.0 + (~moved).sum(axis=0)) / (2.0 + len(moved))
        with np.errstate(invalid="ignore"):
            spread = _spread(np.where(np.isnan(known.original), np.nan, known.original - predicted))
            new = np.where(moved, known.skin - predicted, np.nan)
        middle = np.nan_to_num(_median(new))
        return kept, np.maximum(spread, 1.0), middle, np.maximum(_spread(new - middle), 2.0)

    def predict(self, skin: np.ndarray, bone: np.ndarray) -> Prediction:
        """Say where the skin of one more head ran.

        Parameters
        ----------
        skin, bone : (rays,) arrays
            Of the defaced head.
        """
        given = {"kept": skin, "changed": skin, "bone": bone}
        new = {name: self._parts[name].new(given[name]) for name in self.blocks}
        count = self._dual.shape[1]
        scores = np.zeros((1, count))
        if self.blocks:
            line = self._kernel(self.blocks, new)
            # infinite penalties have no dual: they add nothing
            scores = (line + MEAN) @ self._dual
        learnt = self._rays(scores, self._local.say(self._features(skin, bone)[0])[None])[0]
        kept, spread, middle, wide = self._judging
        with np.errstate(invalid="ignore", over="ignore"):
            off = np.asarray(skin, np.float64) - learnt
            odds = np.log(kept / (1 - kept)) - 0.5 * (off / spread) ** 2 - np.log(spread)
            odds += 0.5 * ((off - middle) / wide) ** 2 + np.log(wide)
            replaced = 1.0 / (1.0 + np.exp(np.clip(odds, -30, 30)))
        replaced = np.where(self.removed, np.where(np.isnan(skin), 1.0, replaced), 0.0)
        whole = np.where(np.isnan(skin), learnt, (1 - replaced) * np.nan_to_num(skin) + replaced * learnt)
        return Prediction(whole, learnt, self.average, replaced)


@dataclasses.dataclass(frozen=True, eq=False)
class _Block:
    """Depths of the teachers about their middle, on the rays that most of them have."""

    used: np.ndarray
    middle: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, depths: np.ndarray, used: np.ndarray) -> _Block | None:
        middle, common = _middle(depths)
        rays = np.flatnonzero(used & common)
        if not len(rays):
            return None
        one = cls(rays, middle[rays], np.zeros(0))
        return dataclasses.replace(one, values=one.new(depths))

    def new(self, depths: np.ndarray) -> np.ndarray:
        """Depths of heads (n, rays), or of one, about the middle; where they tell of another thing: nothing."""
        off = np.atleast_2d(depths)[:, self.used] - self.middle
        with np.errstate(invalid="ignore"):
            return np.where(np.abs(off) <= FAR, off, 0.0).astype(np.float64)

    @functools.cached_property
    def scale(self) -> float:
        """Mean square of a teacher."""
        return max(float((self.values**2).sum(axis=1).mean()), 1e-9)


def _moved(known: Known) -> np.ndarray:
    """Where the skin of the defaced is not the original's, (n, rays) bool."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(known.skin - known.original) >= CHANGED
    return np.asarray((apart | np.isnan(known.skin)) & ~np.isnan(known.original))


def _median(depths: np.ndarray) -> np.ndarray:
    """Of each ray's depths, (rays,); NaN where there is none."""
    order = np.sort(depths, axis=0)  # NaN comes last
    last = np.maximum((~np.isnan(depths)).sum(axis=0) - 1, 0)
    low, high = (np.take_along_axis(order, at[None], axis=0)[0] for at in (last // 2, (last + 1) // 2))
    return np.asarray(0.5 * (low + high))


def _near(off: np.ndarray) -> np.ndarray:
    """What lies far off tells of another thing (a hole, an ear): NaN."""
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(off) <= FAR, off, np.nan)


def _spread(off: np.ndarray) -> np.ndarray:
    """Standard deviation of each ray, from the median of what is off, (rays,); 0 where there is nothing."""
    return np.nan_to_num(1.4826 * _median(np.abs(off)))


def _middle(depths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each ray without what is far from the median, (rays,), and which rays half of the heads have."""
    median = _median(depths)
    with np.errstate(invalid="ignore"):
        near = np.abs(depths - median) <= FAR
    count = near.sum(axis=0)
    mean = np.where(near, depths, 0.0).sum(axis=0, dtype=np.float64) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan), count >= 0.5 * len(depths)


def _components(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n, components) and axes (components, rays) of the leading principal components."""
    square, turn = np.linalg.eigh(values @ values.T)
    order = np.argsort(square)[::-1][:COMPONENTS]
    order = order[square[order] > 1e-6 * max(float(square.max()), 1e-9)]
    scores = turn[:, order] * np.sqrt(square[order])
    return scores, (turn[:, order].T @ values) / np.sqrt(square[order])[:, None]
