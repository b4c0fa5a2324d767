"""Predictors of one metric, with their uncertainty: extremely randomized trees, Gaussian process.

scikit-learn is imported on first use: importing `ga` shall stay light.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TREES = 64
_GP_POINTS = 256
# Of the range of values: how far beyond the best one the distance is measured from, and the
# logarithm of the largest distance that is believed.
_BEYOND = 0.02
_FARTHEST = 1.0
# scikit-learn takes no larger random states; seeds may be of any size.
_STATES = 2**32


class Predictor(Protocol):
    """Fits one metric and predicts it as normally distributed."""

    def fit(self, rows: Array, values: Array) -> None:
        """Learn from n rows of features and n values."""

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation for each row."""


class Trees:
    """Extremely randomized trees (Geurts et al. 2006); the spread of the trees is the deviation.

    Args:
        seed: of the random splits.
        trees: their number.
    """

    def __init__(self, seed: int, trees: int = _TREES) -> None:
        self._seed, self._trees = seed, trees
        self._model: list[Any] = []

    def fit(self, rows: Array, values: Array) -> None:
        """Learn from n rows of features and n values."""
        # Single trees: the forest class checks the data again for every tree, which takes longer
        # than growing it on the few hundred rows of a search.
        from sklearn.tree import ExtraTreeRegressor

        # Fewer columns per split lose no accuracy on wide chromosomes and save most of the time;
        # narrow ones need them all.
        share = 1.0 if rows.shape[1] <= 60 else 0.25
        single, target = rows.astype(np.float32), np.ascontiguousarray(values, dtype=float)
        self._model = [
            ExtraTreeRegressor(
                max_features=share, random_state=(self._seed * _TREES + i) % _STATES
            ).fit(single, target, check_input=False)
            for i in range(self._trees)
        ]

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation for each row."""
        single = rows.astype(np.float32)
        each = np.array([t.tree_.predict(single).ravel() for t in self._model])
        return each.mean(axis=0), each.std(axis=0)


class Gaussian:
    """A Gaussian process with a Matern 5/2 kernel and noise, on standardized columns.

    Its cost is cubic: beyond 256 rows, the most recent ones are used.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._model: Any = None
        self._shift: Array = np.zeros(0)
        self._scale: Array = np.ones(0)

    def fit(self, rows: Array, values: Array) -> None:
        """Learn from n rows of features and n values."""
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import Matern, WhiteKernel

        rows, values = rows[-_GP_POINTS:], values[-_GP_POINTS:]
        self._shift, spread = rows.mean(axis=0), rows.std(axis=0)
        self._scale = np.where(spread > 1e-12, spread, 1.0) * np.sqrt(rows.shape[1])
        kernel = Matern(1.0, (1e-2, 1e2), nu=2.5) + WhiteKernel(1e-2, (1e-6, 1e1))
        self._model = GaussianProcessRegressor(
            kernel, normalize_y=True, optimizer=_grid, random_state=self._seed % _STATES, alpha=1e-8
        )
        self._model.fit((rows - self._shift) / self._scale, values)

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation for each row."""
        mean, deviation = self._model.predict((rows - self._shift) / self._scale, return_std=True)
        return np.asarray(mean), np.asarray(deviation)


class Stretched:
    """A predictor of the logarithm of the distance to a little beyond the best value seen.

    What decides about a front lies near the best values, where differences are small; on the scale
    of all values a predictor takes them for noise beside the failures. Effects of compressing
    several layers also come closer to adding up there.

    Args:
        predictor: learns the logarithms.
        sign: 1.0 if smaller values are better, -1.0 if larger ones are.
    """

    def __init__(self, predictor: Predictor, sign: float) -> None:
        self._predictor, self._sign = predictor, sign
        self._base, self._span = 0.0, 1.0

    def fit(self, rows: Array, values: Array) -> None:
        """Learn from n rows of features and n values."""
        losses = self._sign * values
        self._span = float(np.ptp(losses)) or 1.0
        self._base = float(losses.min()) - _BEYOND * self._span
        self._predictor.fit(rows, np.log((losses - self._base) / self._span))

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation for each row, to first order."""
        mean, deviation = self._predictor.predict(rows)
        away = self._span * np.exp(np.minimum(mean, _FARTHEST))
        return self._sign * (self._base + away), away * deviation


def _grid(objective: Callable[..., float], initial: Array, bounds: Array) -> tuple[Array, float]:
    """The likeliest length scale and noise of a small grid.

    A tenth of the evaluations of a gradient method and none of its gradients; between neighbours
    of the grid the predictions hardly differ.
    """
    grid = [
        (np.log([length, noise]))
        for length in (0.3, 0.6, 1.2, 2.5, 5.0, 10.0)
        for noise in (1e-4, 1e-2, 1e-1)
    ]
    losses = [float(objective(theta, eval_gradient=False)) for theta in grid]
    best = int(np.argmin(losses))
    return grid[best], losses[best]


def make(kind: str, seed: int, sign: float = 0.0, *, quick: bool = False) -> Predictor:
    """A predictor by name.

    Args:
        kind: `trees` or `gp`.
        seed: of its random choices.
        sign: 1.0 or -1.0 if smaller or larger values are better, 0.0 if neither end matters more.
        quick: fewer trees, enough to rank by.
    """
    trees = _TREES // 3 if quick else _TREES
    plain = Trees(seed, trees) if kind == "trees" else Gaussian(seed)
    return Stretched(Gaussian(seed), sign) if sign and kind == "gp" else plain
