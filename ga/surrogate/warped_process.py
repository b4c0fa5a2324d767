"""A Gaussian process of a metric on the scale on which it is likelier: its own, or a logarithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ga.arrays import Array
from ga.surrogate.gaussian_process import EFFECT, POINTS, GaussianProcess, Kernel
from ga.surrogate.training_data import Repeats

# Of the range of values: how far beyond the best one the distance is measured from, and the
# logarithm of the largest distance that is believed. Chosen on seeds 100 to 119 of NAS-Bench-201
# and the tables of pruning x bits (docs/search.md).
_BEYOND = 0.02
_FARTHEST = 0.3
# A sum of effects below which they are no shares; and the least factor that is believed of a gene's
# effect. Choices; not tuned.
_SLIGHT = 0.01
_LEAST_FACTOR = 0.05


@dataclass(frozen=True)
class Shape:
    """How a metric depends on a chromosome: what a process needs to learn anew.

    Attributes:
        stretched: whether it is learned as the logarithm of the distance to the best value.
        kernel: of the process.
    """

    stretched: bool
    kernel: Kernel


class WarpedGaussianProcess:
    """A process of a metric, or of the logarithm of its distance to a little beyond the best value.

    What decides about a front lies near the best values, where differences are small; on the scale
    of all values a predictor takes them for noise beside the failures. Effects of compressing
    several layers also come closer to adding up there, while costs add up as they are. The likelier
    scale is taken.

    Args:
        groups: as for `GaussianProcess`.
        sign: 1.0 if smaller values are better, -1.0 if larger ones are, 0.0 if neither end
            matters more: then the scale is left as it is.
        shape: found before; None looks for it in the values that are fitted.
        is_lucky: as for `GaussianProcess`.
    """

    def __init__(
        self,
        groups: Sequence[int],
        sign: float = 0.0,
        shape: Shape | None = None,
        *,
        is_lucky: bool = False,
    ) -> None:
        self._sign, self.shape = sign, shape
        self._is_effect = np.asarray(groups, dtype=int) == EFFECT
        self._process = GaussianProcess(groups, is_lucky=is_lucky)
        self._base, self._span, self._slope, self._total = 0.0, 1.0, 0.0, 1.0

    def fit(self, rows: Array, values: Array, repeats: Repeats | None = None) -> None:
        """Learn from n rows of features and n values, means where they were measured repeatedly."""
        losses = self._sign * values
        self._span = float(np.ptp(losses)) or 1.0
        self._base = float(losses.min()) - _BEYOND * self._span
        self._learn_total(rows[:, self._is_effect].sum(axis=1), losses)
        if self.shape is None:
            scales = (False, True) if self._sign else (False,)
            found = [
                self._try(stretched, rows[-POINTS:], values[-POINTS:], repeats)
                for stretched in scales
            ]
            self.shape = min(found, key=lambda pair: pair[0])[1]
        scaled = self._scaled(values, self.shape.stretched)
        again = self._rescaled(repeats, values, self.shape.stretched)
        shares = self._shares(rows, self.shape.stretched)
        self._process.fit(shares, scaled, self.shape.kernel, again)

    def _learn_total(self, totals: Array, losses: Array) -> None:
        """How much the better half of the losses grows with the sum of all effects."""
        self._total = float(totals.std()) or 1.0
        better = losses - losses.min() <= 0.5 * self._span
        off = totals[better] - totals[better].mean()
        self._slope = float(off @ losses[better] / max(float(off @ off), 1e-12))

    def _shares(self, rows: Array, stretched: bool) -> Array:
        """Rows with effects as the process takes them.

        On a scale of logarithms a gene changes the loss by its share of all effects.
        """
        if not self._is_effect.any():
            return rows
        effects = rows[:, self._is_effect]
        rows = rows.copy()
        whole = _SLIGHT + effects.sum(axis=1, keepdims=True) if stretched else self._total
        rows[:, self._is_effect] = effects / whole
        return rows

    def factors(self, generator: np.random.Generator, count: int) -> Array | None:
        """What each gene's measured losses are to be multiplied with, as far as results tell.

        Args:
            generator: source of randomness.
            count: of draws from the posterior, the first of which is its mean.

        Returns:
            count x effects; None if there are no effects, or losses don't grow with them.
        """
        if not self._is_effect.any() or self.shape is None or self._slope <= 0:
            return None
        drawn = self._process.slopes(generator, count)
        if self.shape.stretched:
            return np.asarray(np.exp(np.clip(drawn, np.log(_LEAST_FACTOR), -np.log(_LEAST_FACTOR))))
        relative = self._sign * drawn / (self._slope * self._total)
        return np.asarray(np.maximum(_LEAST_FACTOR, 1 + relative))

    def _rescaled(self, repeats: Repeats | None, values: Array, stretched: bool) -> Repeats | None:
        """Squares of deviations on the scale that is learned, to first order."""
        if repeats is None or not stretched:
            return repeats
        away = (self._sign * values - self._base)[-len(repeats.times) :]
        return Repeats(repeats.times, repeats.squares / away**2)

    def _try(
        self, stretched: bool, rows: Array, values: Array, repeats: Repeats | None
    ) -> tuple[float, Shape]:
        """Negative log-likelihood of the values, but for what both scales share, and the shape."""
        scaled = self._scaled(values, stretched)
        repeats = None if repeats is None else repeats.last(len(values))
        again = self._rescaled(repeats, values, stretched)
        kernel = self._process.fit(self._shares(rows, stretched), scaled, None, again)
        # Likelihoods on two scales compare after a change of variables to one of them.
        width = float(scaled.std()) / (1.0 if stretched else self._span)
        times = np.ones(len(values)) if repeats is None else repeats.times
        change = float((times * scaled).sum()) if stretched else 0.0
        loss = kernel.loss + float(times.sum()) * np.log(max(width, 1e-300)) + change
        return float(loss), Shape(stretched, kernel)

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation for each row, on a stretched scale to first order."""
        assert self.shape is not None
        return self._back(*self._process.predict(self._shares(rows, self.shape.stretched)))

    def interval(self, rows: Array, width: float) -> tuple[Array, Array, Array]:
        """Low end, middle and high end for each row, without the noise of a measurement.

        Args:
            rows: n x columns.
            width: in standard deviations to each side, on the scale that is learned.
        """
        assert self.shape is not None
        mean, deviation = self._process.predict(self._shares(rows, self.shape.stretched))
        ends = [self._back(mean + k * width * deviation, mean)[0] for k in (-1, 0, 1)]
        return np.minimum(ends[0], ends[2]), ends[1], np.maximum(ends[0], ends[2])

    @property
    def noise(self) -> float:
        """Deviation of a measurement, as a share of that of all values on the learned scale."""
        return self._process.noise

    @property
    def floor(self) -> float:
        """The loss beyond which the distance is measured; -inf on the scale of the values."""
        return self._base if self.shape is not None and self.shape.stretched else -np.inf

    def left_out(self) -> Array:
        """What the others predict of each value learned."""
        mean = self._process.left_out()
        return self._back(mean, mean)[0]

    def _scaled(self, values: Array, stretched: bool) -> Array:
        if not stretched:
            return values
        return np.asarray(np.log((self._sign * values - self._base) / self._span))

    def _back(self, mean: Array, deviation: Array) -> tuple[Array, Array]:
        assert self.shape is not None
        if not self.shape.stretched:
            return mean, deviation
        away = self._span * np.exp(np.minimum(mean, _FARTHEST))
        return self._sign * (self._base + away), away * deviation
