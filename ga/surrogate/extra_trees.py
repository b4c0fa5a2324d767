"""Extremely randomized trees as a predictor of one metric, with its uncertainty.

scikit-learn is imported on first use: importing `ga` shall stay light.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ga.arrays import Array
from ga.surrogate.training_data import Repeats

# A choice; not tuned.
_TREES = 64
# scikit-learn takes no larger random states; seeds may be of any size.
_STATES = 2**32


class Predictor(Protocol):
    """Fits one metric and predicts it as normally distributed."""

    def fit(self, rows: Array, values: Array, repeats: Repeats | None = None) -> None:
        """Learn from n rows of features and n values, means where they were measured repeatedly."""

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation for each row."""


class ExtraTrees:
    """Extremely randomized trees (Geurts et al. 2006); the spread of the trees is the deviation.

    Args:
        seed: of the random splits.
        trees: their number.
    """

    def __init__(self, seed: int, trees: int = _TREES) -> None:
        self._seed, self._trees = seed, trees
        self._model: list[Any] = []

    def fit(self, rows: Array, values: Array, repeats: Repeats | None = None) -> None:
        """Learn from n rows of features and n values; each counts as often as it was measured."""
        # Single trees: the forest class checks the data again for every tree, which takes longer
        # than growing it on the few hundred rows of a search.
        from sklearn.tree import ExtraTreeRegressor

        # Fewer columns per split lose no accuracy on wide chromosomes and save most of the time;
        # narrow ones need them all. The two numbers are choices; not tuned.
        share = 1.0 if rows.shape[1] <= 60 else 0.25
        single, target = rows.astype(np.float32), np.ascontiguousarray(values, dtype=float)
        weights = None if repeats is None else repeats.times
        self._model = [
            ExtraTreeRegressor(
                max_features=share, random_state=(self._seed * _TREES + i) % _STATES
            ).fit(single, target, weights, check_input=False)
            for i in range(self._trees)
        ]

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation for each row."""
        single = rows.astype(np.float32)
        each = np.array([t.tree_.predict(single).ravel() for t in self._model])
        return each.mean(axis=0), each.std(axis=0)
