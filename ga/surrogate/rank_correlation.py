"""How well a predictor ranks results that it has not seen: Kendall's tau."""

from __future__ import annotations

import warnings

import numpy as np

from ga.arrays import Array
from ga.surrogate.extra_trees import ExtraTrees

# Bounds the time of a check. A choice; not tuned.
_QUICK_TREES = 21


def standard_error(count: int) -> float:
    """Of Kendall's tau of `count` unrelated pairs."""
    return float(np.sqrt(2 * (2 * count + 5) / (9 * count * (count - 1))))


def held_back_tau(rows: Array, values: Array, seed: int) -> float:
    """Kendall's tau of what trees predict for results that they have not seen.

    All results are predicted in three folds while they are few; later a third of them once.
    """
    order = np.random.default_rng(seed).permutation(len(values))
    folds = np.array_split(order, 3)
    seen, predicted = [], []
    for fold in folds if len(values) < 100 else folds[:1]:
        rest = np.setdiff1d(order, fold)
        model = ExtraTrees(seed, _QUICK_TREES)
        model.fit(rows[rest], values[rest])
        predicted.append(model.predict(rows[fold])[0])
        seen.append(values[fold])
    return tau_of(np.concatenate(predicted), np.concatenate(seen))


def tau_of(predicted: Array, values: Array) -> float:
    """Kendall's tau of predictions; 1 for constant values, 0 for constant predictions."""
    from scipy.stats import kendalltau

    if np.ptp(values) == 0:
        return 1.0  # a constant metric is predicted perfectly, and never matters
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant predictions: tau is nan, which is 0 here
        return float(np.nan_to_num(kendalltau(predicted, values).statistic))
