"""A Gaussian process over chromosomes whose kernel can add effects up as well as mix them.

What compressing costs is often a sum over layers (size), or a sum of products of neighbours; what
it loses in quality is not. The kernel is therefore a sum of a linear, a quadratic and a Matern 5/2
part, whose weights the data decide, with a relevance for each group of columns (MacKay 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ga.arrays import Array

# The latest results that are learned, and steps of the search for hyperparameters: they bound the
# time of a fit (its cube, and its line). Choices; not tuned.
_POINTS = 256
_ITERATIONS = 30
_JITTER = 1e-8
# Of the range of values: how far beyond the best one the distance is measured from, and the
# logarithm of the largest distance that is believed. Chosen, as the priors below, on seeds 100 to
# 119 of NAS-Bench-201 and the tables of pruning x bits (docs/search.md).
_BEYOND = 0.02
_FARTHEST = 0.3
# Prior of the logarithms (mean, standard deviation), which decides while there are few results:
# weights of the linear and the quadratic part against 1 for the Matern part, noise, relevance.
_PRIORS = ((0.0, 2.0), (-2.0, 2.0), (-5.0, 2.0), (0.0, 1.0))


@dataclass(frozen=True)
class Kernel:
    """Hyperparameters of a process, and how well they fit.

    Attributes:
        theta: logarithms: weight of the linear part, of the quadratic one, noise, then the
            relevance of each group.
        loss: negative logarithm of the likelihood with the priors, for standardized values.
    """

    theta: Array
    loss: float


class GaussianProcess:
    """A Gaussian process on standardized columns with values of any scale.

    Args:
        groups: the group of each column; columns of one group share a relevance.
    """

    def __init__(self, groups: Sequence[int]) -> None:
        self._groups = np.asarray(groups, dtype=int)

    def fit(self, rows: Array, values: Array, kernel: Kernel | None = None) -> Kernel:
        """Learn from n rows of features and n values, the latest 256 if there are more.

        Args:
            rows: n x columns.
            values: n.
            kernel: hyperparameters found before; None looks for the likeliest ones.

        Returns:
            The hyperparameters.
        """
        rows, values = rows[-_POINTS:], values[-_POINTS:]
        spread = rows.std(axis=0)
        used = spread > 1e-12
        # Each group counts the same, however many columns it has.
        width = np.bincount(self._groups, weights=used)[self._groups]
        present = max(1, len(np.unique(self._groups[used])))
        self._shift = rows.mean(axis=0)
        self._scale = np.where(
            used, 1.0 / (np.where(used, spread, 1.0) * np.sqrt(np.maximum(width, 1) * present)), 0.0
        )
        self._mean, self._unit = float(values.mean()), float(values.std()) or 1.0
        self._rows = (rows - self._shift) * self._scale
        y = (values - self._mean) / self._unit
        kernel = kernel or self._likeliest(y)
        self._theta = kernel.theta
        matrix = self._matrix(self._rows, self._rows)
        matrix[np.diag_indices_from(matrix)] += np.exp(self._theta[2]) + _JITTER
        self._inverse = np.linalg.inv(matrix)
        self._alpha = self._inverse @ y
        self._power = max(float(y @ self._alpha) / len(y), 1e-12)
        self._y = y
        return kernel

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation for each row."""
        rows, theta = (rows - self._shift) * self._scale, self._theta
        cross = self._matrix(rows, self._rows)
        square = (rows**2).sum(axis=1)
        own = 1.0 + np.exp(theta[0]) * square + np.exp(theta[1]) * square**2
        left = own - ((cross @ self._inverse) * cross).sum(axis=1)
        deviation = np.sqrt(self._power * np.maximum(left, 1e-12)) * self._unit
        return self._mean + self._unit * (cross @ self._alpha), deviation

    def left_out(self) -> Array:
        """What the others predict of each value learned (Rasmussen & Williams 2006, eq. 5.12)."""
        y = self._y - self._alpha / np.diag(self._inverse)
        return np.asarray(self._mean + self._unit * y)

    def _matrix(self, a: Array, b: Array) -> Array:
        linear, theta = a @ b.T, self._theta
        weight = np.exp(theta[3:] / 2)[self._groups]
        distance = _squares(a * weight, b * weight)
        near = _matern(distance)[0]
        return np.asarray(near + np.exp(theta[0]) * linear + np.exp(theta[1]) * linear**2)

    def _likeliest(self, y: Array) -> Kernel:
        from scipy.optimize import minimize

        rows, groups = self._rows, int(self._groups.max()) + 1
        linear = rows @ rows.T
        quadratic = linear**2
        apart = np.array(
            [
                _squares(rows[:, self._groups == g], rows[:, self._groups == g])
                for g in range(groups)
            ]
        )
        center, width = np.array([*_PRIORS[:3], *[_PRIORS[3]] * groups]).T
        n, diagonal = len(y), np.diag_indices(len(y))

        def loss(theta: Array) -> tuple[float, Array]:
            scales = np.exp(theta)
            near, slope = _matern(np.tensordot(scales[3:], apart, 1))
            matrix = near + scales[0] * linear + scales[1] * quadratic
            matrix[diagonal] += scales[2] + _JITTER
            try:
                lower = np.linalg.cholesky(matrix)
            except np.linalg.LinAlgError:
                return 1e10, np.zeros_like(theta)
            inverse = np.linalg.inv(matrix)
            alpha = inverse @ y
            fit = max(float(y @ alpha), 1e-12)
            off = (theta - center) / width
            value = (
                0.5 * n * np.log(fit / n) + float(np.log(np.diag(lower)).sum()) + 0.5 * off @ off
            )
            pull = inverse - np.outer(alpha, alpha) * (n / fit)
            gradient = np.empty_like(theta)
            gradient[0] = 0.5 * scales[0] * np.vdot(pull, linear)
            gradient[1] = 0.5 * scales[1] * np.vdot(pull, quadratic)
            gradient[2] = 0.5 * scales[2] * np.trace(pull)
            gradient[3:] = 0.5 * scales[3:] * (apart.reshape(groups, -1) @ (pull * slope).ravel())
            return float(value), gradient + off / width

        found = minimize(
            loss,
            center,
            jac=True,
            method="L-BFGS-B",
            bounds=np.column_stack([center - 4 * width, center + 4 * width]),
            options={"maxiter": _ITERATIONS},
        )
        return Kernel(np.asarray(found.x), float(found.fun))


def _squares(a: Array, b: Array) -> Array:
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.maximum(square, 0.0))


def _matern(square: Array) -> tuple[Array, Array]:
    """Matern 5/2 of squared distances, and its derivative by them."""
    r = np.sqrt(5 * square)
    decay = np.exp(-r)
    return (1 + r + r**2 / 3) * decay, -5 / 6 * (1 + r) * decay


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
    """

    def __init__(
        self, groups: Sequence[int], sign: float = 0.0, shape: Shape | None = None
    ) -> None:
        self._groups, self._sign, self.shape = groups, sign, shape
        self._process = GaussianProcess(groups)
        self._base, self._span = 0.0, 1.0

    def fit(self, rows: Array, values: Array) -> None:
        """Learn from n rows of features and n values."""
        losses = self._sign * values
        self._span = float(np.ptp(losses)) or 1.0
        self._base = float(losses.min()) - _BEYOND * self._span
        if self.shape is None:
            scales = (False, True) if self._sign else (False,)
            found = [
                self._try(stretched, rows[-_POINTS:], values[-_POINTS:]) for stretched in scales
            ]
            self.shape = min(found, key=lambda pair: pair[0])[1]
        self._process.fit(rows, self._scaled(values, self.shape.stretched), self.shape.kernel)

    def _try(self, stretched: bool, rows: Array, values: Array) -> tuple[float, Shape]:
        """Negative log-likelihood of the values, but for what both scales share, and the shape."""
        scaled = self._scaled(values, stretched)
        kernel = self._process.fit(rows, scaled)
        # Likelihoods on two scales compare after a change of variables to one of them.
        width = float(scaled.std()) / (1.0 if stretched else self._span)
        change = float(scaled.sum()) if stretched else 0.0
        loss = kernel.loss + len(values) * np.log(max(width, 1e-300)) + change
        return float(loss), Shape(stretched, kernel)

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation for each row, on a stretched scale to first order."""
        return self._back(*self._process.predict(rows))

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
