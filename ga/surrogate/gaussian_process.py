"""A Gaussian process over chromosomes whose kernel can add effects up as well as mix them.

What compressing costs is often a sum over layers (size), or a sum of products of neighbours; what
it loses in quality is not. The kernel is therefore a sum of a linear, a quadratic and a Matern 5/2
part, whose weights the data decide, with a relevance for each group of columns (MacKay 1995).

Where sensitivities were measured, a further linear part says that each gene's true effect is its
measured one times a factor of its own: a gene that was found harmless cannot explain a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ga.arrays import Array
from ga.surrogate.kernels import matern, matern_and_slope, squares
from ga.surrogate.training_data import Repeats

# The latest results that are learned, and steps of the search for hyperparameters: they bound the
# time of a fit (its cube, and its line). Choices; not tuned.
POINTS = 256
_ITERATIONS = 30
_JITTER = 1e-8
# Prior of the logarithms (mean, standard deviation), which decides while there are few results:
# weights of the linear and the quadratic part against 1 for the Matern part, noise, relevance.
# Chosen on seeds 100 to 119 of NAS-Bench-201 and the tables of pruning x bits (docs/search.md).
_PRIORS = ((0.0, 2.0), (-2.0, 2.0), (-5.0, 2.0), (0.0, 1.0))
# The same of noise where a forecast shall tell luck from networks: what one result has and its
# neighbours don't is luck first. With the prior above it was taken for the network's (tests/ga/
# test_beliefs.py); on tables without noise that one searches better.
_LUCK = (0.0, 1.0)
# The same of the weight of measured effects. A choice; not tuned.
_EFFECTS = (0.0, 2.0)

EFFECT = -1
"""The group of columns that are measured effects."""


@dataclass(frozen=True)
class Kernel:
    """Hyperparameters of a process, and how well they fit.

    Attributes:
        theta: logarithms: weight of the linear part, of the quadratic one, noise, then the
            relevance of each group, last the weight of the measured effects if there are any.
        loss: negative logarithm of the likelihood with the priors, for standardized values.
    """

    theta: Array
    loss: float


class GaussianProcess:
    """A Gaussian process on standardized columns with values of any scale.

    Args:
        groups: the group of each column; columns of one group share a relevance. Those of the
            group `EFFECT` count in a linear part only, by their own size.
        is_lucky: whether values are expected to scatter.
    """

    def __init__(self, groups: Sequence[int], *, is_lucky: bool = False) -> None:
        self._noise_prior = _LUCK if is_lucky else _PRIORS[2]
        given = np.asarray(groups, dtype=int)
        self._is_effect = given == EFFECT
        self._groups = given[~self._is_effect]
        self._has_effects = bool(self._is_effect.any())

    def fit(
        self,
        rows: Array,
        values: Array,
        kernel: Kernel | None = None,
        repeats: Repeats | None = None,
    ) -> Kernel:
        """Learn from n rows of features and n values, the latest 256 if there are more.

        A mean of k measurements has a k-th of the noise, and what they differ by tells of the
        noise: as if each had a row of its own.

        Args:
            rows: n x columns.
            values: n.
            kernel: hyperparameters found before; None looks for the likeliest ones.
            repeats: of the values; None if each was measured once.

        Returns:
            The hyperparameters.
        """
        rows, values = rows[-POINTS:], values[-POINTS:]
        rows, self._effects = rows[:, ~self._is_effect], rows[:, self._is_effect]
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
        repeats = repeats or Repeats(np.ones(len(y)), np.zeros(len(y)))
        self._parts = 1.0 / repeats.last(len(y)).times
        self._further = float(repeats.last(len(y)).times.sum()) - len(y)
        self._within = float(repeats.last(len(y)).squares.sum()) / self._unit**2
        kernel = kernel or self._likeliest(y)
        self._take(kernel.theta)
        matrix = self._matrix(self._rows, self._effects)
        noise = float(np.exp(self._theta[2]))
        matrix[np.diag_indices_from(matrix)] += noise * self._parts + _JITTER
        self._inverse = np.linalg.inv(matrix)
        self._alpha = self._inverse @ y
        off = float(y @ self._alpha) + self._within / noise
        self._power = max(off / (len(y) + self._further), 1e-12)
        self._y = y
        return kernel

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation for each row."""
        rows, effects = rows[:, ~self._is_effect], rows[:, self._is_effect]
        rows = (rows - self._shift) * self._scale
        cross = self._matrix(rows, effects)
        square = (rows**2).sum(axis=1)
        own = 1.0 + self._linear * square + self._quadratic * square**2
        if self._has_effects:
            own = own + self._measured * (effects**2).sum(axis=1)
        left = own - ((cross @ self._inverse) * cross).sum(axis=1)
        deviation = np.sqrt(self._power * np.maximum(left, 1e-12)) * self._unit
        return self._mean + self._unit * (cross @ self._alpha), deviation

    def left_out(self) -> Array:
        """What the others predict of each value learned (Rasmussen & Williams 2006, eq. 5.12)."""
        y = self._y - self._alpha / np.diag(self._inverse)
        return np.asarray(self._mean + self._unit * y)

    @property
    def noise(self) -> float:
        """Deviation of a measurement from its network, as a share of that of all values."""
        return float(np.sqrt(self._power * np.exp(self._theta[2])))

    def slopes(self, generator: np.random.Generator, count: int) -> Array:
        """How the value grows with each measured effect.

        Args:
            generator: source of randomness.
            count: of draws from the posterior, the first of which is its mean.

        Returns:
            count x effects.
        """
        mean = self._measured * self._effects.T @ self._alpha
        size = self._unit * np.sqrt(self._power)
        normal = generator.normal(size=(count, self._effects.shape[1]))
        drawn = self._unit * mean + size * self._spread(normal)
        drawn[0] = self._unit * mean
        return np.asarray(drawn)

    def _spread(self, normal: Array) -> Array:
        """Standard normal draws, with the slopes' posterior covariance, w - w^2 E' K^-1 E."""
        weight = float(self._measured)
        if normal.shape[1] <= POINTS:
            return np.asarray(normal @ self._covariance_root.T)
        axes, left = self._known_directions
        return np.asarray(np.sqrt(weight) * (normal + (normal @ axes.T * left) @ axes))

    @cached_property
    def _covariance_root(self) -> Array:
        weight = float(self._measured)
        known = self._effects.T @ self._inverse @ self._effects
        sizes, axes = np.linalg.eigh(weight * np.eye(len(known)) - weight**2 * known)
        return np.asarray(axes * np.sqrt(np.maximum(sizes, 0.0)))

    @cached_property
    def _known_directions(self) -> tuple[Array, Array]:
        """Of many genes few directions are known: the root of I - B'B with B of as many rows."""
        root = np.linalg.cholesky(self._inverse).T @ self._effects
        root = root * np.sqrt(float(self._measured))
        _, shares, axes = np.linalg.svd(root, full_matrices=False)
        return axes, np.sqrt(np.maximum(1.0 - shares**2, 0.0)) - 1.0

    def _take(self, theta: Array) -> None:
        """Hyperparameters, and what many forecasts have in common."""
        self._theta = theta
        self._linear, self._quadratic = np.exp(theta[0]), np.exp(theta[1])
        self._measured = np.exp(theta[-1])
        self._weight = np.exp(theta[3 : 4 + self._groups.max()] / 2)[self._groups]
        self._weighted = self._rows * self._weight
        self._lengths = (self._weighted**2).sum(axis=1)
        for of_last_fit in ("_covariance_root", "_known_directions"):
            self.__dict__.pop(of_last_fit, None)

    def _matrix(self, rows: Array, effects: Array) -> Array:
        """The kernel between scaled rows and the rows that were learned."""
        linear = rows @ self._rows.T
        near = matern(squares(rows * self._weight, self._weighted, self._lengths))
        found = near + self._linear * linear + self._quadratic * linear**2
        if self._has_effects:
            found += self._measured * (effects @ self._effects.T)
        return np.asarray(found)

    def _priors(self, groups: int) -> tuple[Array, Array]:
        """Means and deviations of the hyperparameters, in the order of `Kernel.theta`."""
        priors = [*_PRIORS[:2], self._noise_prior, *[_PRIORS[3]] * groups]
        center, width = np.array(priors + [_EFFECTS] * self._has_effects).T
        return center, width

    def _likeliest(self, y: Array) -> Kernel:
        from scipy.optimize import minimize

        rows, groups = self._rows, int(self._groups.max()) + 1
        linear = rows @ rows.T
        quadratic = linear**2
        together = self._effects @ self._effects.T
        apart = np.array(
            [squares(rows[:, self._groups == g], rows[:, self._groups == g]) for g in range(groups)]
        )
        center, width = self._priors(groups)
        diagonal, parts, further, within = (
            np.diag_indices(len(y)), self._parts, self._further, self._within
        )  # fmt: skip
        n = len(y) + further

        def loss(theta: Array) -> tuple[float, Array]:
            scales = np.exp(theta)
            relevance = scales[3 : 3 + groups]
            near, slope = matern_and_slope(np.tensordot(relevance, apart, 1))
            matrix = near + scales[0] * linear + scales[1] * quadratic
            if self._has_effects:
                matrix += scales[-1] * together
            matrix[diagonal] += scales[2] * parts + _JITTER
            try:
                lower = np.linalg.cholesky(matrix)
            except np.linalg.LinAlgError:
                return 1e10, np.zeros_like(theta)
            inverse = np.linalg.inv(matrix)
            alpha = inverse @ y
            fit = max(float(y @ alpha) + within / scales[2], 1e-12)
            off = (theta - center) / width
            value = (
                0.5 * n * np.log(fit / n) + float(np.log(np.diag(lower)).sum()) + 0.5 * off @ off
            )
            value += 0.5 * further * theta[2]
            pull = inverse - np.outer(alpha, alpha) * (n / fit)
            gradient = np.empty_like(theta)
            gradient[0] = 0.5 * scales[0] * np.vdot(pull, linear)
            gradient[1] = 0.5 * scales[1] * np.vdot(pull, quadratic)
            gradient[2] = 0.5 * scales[2] * float((pull[diagonal] * parts).sum())
            gradient[2] += 0.5 * (further - n / fit * within / scales[2])
            if self._has_effects:
                gradient[-1] = 0.5 * scales[-1] * np.vdot(pull, together)
            near_pull = apart.reshape(groups, -1) @ (pull * slope).ravel()
            gradient[3 : 3 + groups] = 0.5 * relevance * near_pull
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
