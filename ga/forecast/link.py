"""From the cheap score of a trial to the accuracy after the whole training.

Learned from the few networks of a search that were trained to their ends. With `gap` the distance
of a score to a reference (the float model's), on the side that is worse, and `z = asinh(gap / w)`:

    z_final = a + sum_j b_j z_j + c log(size) + noise

The scale `z` is about logarithmic, and linear where a score is near the reference or above it: a
network with twice the gap scatters twice as much, and an interval is wide where it should be. The
coefficients have a conjugate prior (normal, inverse gamma), so that four networks suffice and what
comes out is a Student t distribution; see Gelman et al., Bayesian Data Analysis, chapter 14.

Networks with several trainings are estimated by partial pooling (chapter 5 there): what the link,
learned from the *other* networks, expects of one is the prior of its own trainings' mean. So the
best of many is drawn towards what was to be expected of it, and luck counts less. A network that
failed scatters less on the scale `z` than a good one, so it is hardly drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ga.arrays import Array

MINIMUM = 4
"""So many networks that were trained to their ends make a link."""

# The prior, on the scale z, chosen on 24 networks of digits, where four of them then gave intervals
# that hold what they say. A cheap gap is passed on in part, and the size says a little beside it.
_SLOPE, _SLOPE_SPREAD = 0.75, 0.25
_SIZE_SPREAD = 0.25
_LEVEL_SPREAD = 1.4
_NOISE, _NOISE_WEIGHT = 0.7, 3.0
# The unit w, in median gaps of the finished networks. Chosen on keyword spotting's rows and digits
# networks of an earlier run; tried on new ones (docs/benchmarks/supernet.md).
_UNIT = 0.35
_LEAST_UNIT = 1e-3
# Of what a link leaves open, this share is taken for luck of single trainings, until repeated ones
# say it. A choice.
_LUCK = 0.2
# In standard errors of its own mean (limited translation; Efron and Morris, 1972). A choice.
_TRANSLATION = 1.0
_LEAST_OWN = 0.25
_TAIL = 0.05


@dataclass(frozen=True)
class Score:
    """What a trial says of its network at little cost.

    Attributes:
        values: its cheap scores, the trial's own first; None where it has not reported one.
        size: a positive cost, such as KB of weights; None if it is not known.
    """

    values: tuple[float | None, ...]
    size: float | None = None


@dataclass(frozen=True)
class Trained:
    """A network that was trained to its end.

    Attributes:
        score: of its trial.
        finals: what it came to, one for each training, at least one.
    """

    score: Score
    finals: tuple[float, ...]


@dataclass(frozen=True)
class Expected:
    """What a network probably comes to: the median, and where it lies with 90 % probability."""

    value: float
    low: float
    high: float


class Link:
    """What is expected of networks, given those that were trained to their ends.

    Args:
        trained: these networks, all with equally many scores.
        maximize: whether a larger score is better.
        reference: what a network that lost nothing would score; by default the best of all scores.

    Raises:
        ValueError: no networks, or one without a training.
    """

    def __init__(
        self, trained: Sequence[Trained], *, maximize: bool = True, reference: float | None = None
    ) -> None:
        if not trained or any(not one.finals for one in trained):
            raise ValueError("a link is learned from networks that were trained to their ends")
        self._sign = 1.0 if maximize else -1.0
        self._trained = tuple(trained)
        scores = [v for one in trained for v in (*one.finals, *one.score.values) if v is not None]
        best = max(self._sign * value for value in scores)
        self._reference = best if reference is None else self._sign * reference
        gaps = [abs(self._reference - self._sign * float(np.mean(one.finals))) for one in trained]
        floor = _LEAST_UNIT * max(abs(self._reference), *gaps, 1e-9)
        self._unit = max(_UNIT * float(np.median(gaps)), floor)
        self._targets = [self._bent(np.array(one.finals)) for one in trained]
        self._luck = self._pooled_luck()
        # Each network without itself, for its own estimate, and all together for the others.
        self._model = _Regression(self._table(range(len(trained))), self._means())

    @property
    def is_known(self) -> bool:
        """Whether there are enough networks to say anything of the others."""
        return len(self._trained) >= MINIMUM

    def expect(self, scores: Sequence[Score]) -> list[Expected]:
        """What one training of each network to its end probably comes to.

        Raises:
            ValueError: too few networks were trained, see `is_known`.
        """
        if not self.is_known:
            raise ValueError(f"{len(self._trained)} networks make no link, {MINIMUM} would")
        if not scores:
            return []
        mean, deviation, freedom = self._model.predict(_rows(self._features(scores)))
        tail = _quantile(freedom)
        return [self._told(m, tail * d) for m, d in zip(mean, deviation, strict=True)]

    def of_trained(self, number: int) -> Expected:
        """What the `number`-th of the trained networks comes to on average over trainings.

        The posterior of its own trainings; the prior is what the link of the other networks
        expects, or nothing at all where these are too few.
        """
        own = self._targets[number]
        luck = self._luck * _scatter(float(own.mean()))
        precision = len(own) / luck
        total, freedom = precision * float(own.mean()), _NOISE_WEIGHT + self._repeats()
        others = [i for i in range(len(self._trained)) if i != number]
        if len(others) >= MINIMUM - 1:
            model = _Regression(self._table(others), self._means()[others])
            mean, deviation, _ = model.predict(self._table([number]))
            spread = float(deviation[0]) ** 2
            prior = 1.0 / max(spread - luck, _LEAST_OWN * spread)
            drawn = (total + prior * float(mean[0])) / (precision + prior)
            # A network that the link knows nothing like is not dragged far from what it did.
            most = _TRANSLATION / float(np.sqrt(precision))
            drawn = min(max(drawn, total / precision - most), total / precision + most)
            precision += prior
            total = drawn * precision
        return self._told(total / precision, _quantile(freedom) / float(np.sqrt(precision)))

    # ---- scales

    def _bent(self, values: Array) -> Array:
        return np.asarray(np.arcsinh((self._reference - self._sign * values) / self._unit))

    def _told(self, mean: float, reach: float) -> Expected:
        ends = [
            float(self._sign * (self._reference - self._unit * np.sinh(z)))
            for z in (mean, mean - reach, mean + reach)
        ]
        return Expected(ends[0], min(ends[1:]), max(ends[1:]))

    # ---- what is learned from

    def _features(self, scores: Sequence[Score]) -> list[list[float]]:
        """Scores on the scale z, and the size's logarithm; NaN where a network lacks one."""
        found = []
        for score in scores:
            values = np.array([np.nan if v is None else v for v in score.values], dtype=float)
            size = np.log(score.size) if score.size is not None and score.size > 0 else np.nan
            found.append([*self._bent(values), float(size)])
        return found

    def _table(self, numbers: Sequence[int]) -> Array:
        return _rows(self._features([self._trained[i].score for i in numbers]))

    def _means(self) -> Array:
        return np.array([targets.mean() for targets in self._targets])

    def _repeats(self) -> int:
        return sum(len(targets) - 1 for targets in self._targets)

    def _pooled_luck(self) -> float:
        """The variance, on the scale z, among trainings of a network as good as the reference."""
        within = sum(
            float(((t - t.mean()) ** 2).sum()) / _scatter(float(t.mean())) for t in self._targets
        )
        return (_NOISE_WEIGHT * _LUCK * _NOISE**2 + within) / (_NOISE_WEIGHT + self._repeats())


class _Regression:
    """Linear, Bayesian, with the prior above; the last feature is the size's logarithm.

    Args:
        table: n x (scores + 1), NaN where a feature is not known.
        targets: n.
    """

    def __init__(self, table: Array, targets: Array) -> None:
        there = np.isfinite(table)
        count = np.maximum(there.sum(axis=0), 1)
        self._center = np.where(there, table, 0.0).sum(axis=0) / count
        scores = table.shape[1] - 1
        prior = np.array([targets.mean(), *[_SLOPE / scores] * scores, 0.0])
        spread = np.array([_LEVEL_SPREAD, *[_SLOPE_SPREAD] * scores, _SIZE_SPREAD]) / _NOISE
        rows = self._design(table)
        precision = np.diag(spread**-2.0)
        full = precision + rows.T @ rows
        self._covariance = np.linalg.inv(full)
        self._mean = self._covariance @ (precision @ prior + rows.T @ targets)
        self._freedom = _NOISE_WEIGHT + len(targets)
        left = targets @ targets + prior @ precision @ prior - self._mean @ full @ self._mean
        squares = _NOISE_WEIGHT * _NOISE**2 + max(0.0, float(left))
        self._variance = squares / self._freedom

    def _design(self, table: Array) -> Array:
        # What a network has not reported counts as the mean: it says nothing.
        centered = np.where(np.isfinite(table), table - self._center, 0.0)
        return np.hstack([np.ones((len(table), 1)), centered])

    def predict(self, table: Array) -> tuple[Array, Array, float]:
        """Means and scales (n each) of Student's t for new networks, and its degrees of freedom."""
        rows = self._design(table)
        variance = 1.0 + np.einsum("ij,jk,ik->i", rows, self._covariance, rows)
        return rows @ self._mean, np.sqrt(self._variance * variance), self._freedom


def _scatter(z: float) -> float:
    """Variance of luck on the scale z, as a share of that at z = 0.

    In units of the score it grows as the gap, like that of a share of correct answers. Measured:
    networks of KWS and digits scatter by .03 to .05 times the root of their gap.
    """
    gap = np.sinh(abs(z))
    return float((1.0 + gap) / (1.0 + gap * gap))


def _rows(features: list[list[float]]) -> Array:
    return np.array(features, dtype=float)


def _quantile(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1.0 - _TAIL))
