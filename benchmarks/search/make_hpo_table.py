"""Errors of scikit-learn models on its own data sets: `python benchmarks/search/make_hpo_table.py`.

The space is nested: a choice of four kinds of model, each with hyperparameters of its own on a
grid. Every setting is fitted in three folds; its error is the mean log loss of the folds, or for
`diabetes` the mean squared error as a share of the target's variance. Each result is appended to
`tables/hpo.csv`, so the run can be stopped and started again; the end compresses it.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets, ensemble, linear_model, metrics, neural_network
from sklearn.kernel_approximation import Nystroem
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDER = Path(__file__).parent / "tables"
DATA = ("wine", "diabetes")
_WORST = 10.0  # log loss of a model that diverged

# model -> hyperparameter -> (NNI type, bounds or values, the grid)
GRIDS: dict[str, dict[str, tuple[str, list[Any], list[Any]]]] = {
    "kernel": {
        "gamma": ("loguniform", [1e-4, 10.0], np.geomspace(1e-4, 10, 11).tolist()),
        "strength": ("loguniform", [1e-3, 1e4], np.geomspace(1e-3, 1e4, 8).tolist()),
        "components": ("choice", [25, 50, 100], [25, 50, 100]),
        "scale": ("choice", ["none", "standard"], ["none", "standard"]),
    },
    "forest": {
        "depth": ("randint", [1, 11], list(range(1, 11))),
        "features": ("uniform", [0.1, 1.0], [0.1, 0.4, 0.7, 1.0]),
        "leaf": ("qloguniform", [1, 32, 1], [1, 4, 12, 32]),
        "bootstrap": ("choice", ["yes", "no"], ["yes", "no"]),
    },
    "boosting": {
        "rate": ("loguniform", [0.01, 1.0], np.geomspace(0.01, 1, 9).tolist()),
        "leaves": ("qloguniform", [2, 32, 1], [2, 4, 8, 16, 32]),
        "l2": ("loguniform", [1e-3, 10.0], np.geomspace(1e-3, 10, 3).tolist()),
    },
    "mlp": {
        "rate": ("loguniform", [1e-4, 1.0], np.geomspace(1e-4, 1, 9).tolist()),
        "alpha": ("loguniform", [1e-5, 1.0], np.geomspace(1e-5, 1, 3).tolist()),
        "width": ("qloguniform", [4, 128, 1], [4, 12, 40, 128]),
        "activation": ("choice", ["relu", "tanh"], ["relu", "tanh"]),
        "scale": ("choice", ["none", "standard"], ["none", "standard"]),
    },
}


def model_of(kind: str, s: dict[str, Any], *, classify: bool) -> Any:
    """The scikit-learn model of a setting."""
    scaler = [StandardScaler()] if s.get("scale") == "standard" else []
    if kind == "kernel":
        features = Nystroem(gamma=s["gamma"], n_components=s["components"], random_state=0)
        last = (
            linear_model.LogisticRegression(C=s["strength"], max_iter=200)
            if classify
            else linear_model.Ridge(alpha=1 / s["strength"])
        )
        return make_pipeline(*scaler, features, last)
    if kind == "forest":
        forests = ensemble.RandomForestClassifier, ensemble.RandomForestRegressor
        return forests[not classify](
            n_estimators=20,
            max_depth=s["depth"],
            max_features=s["features"],
            min_samples_leaf=s["leaf"],
            bootstrap=s["bootstrap"] == "yes",
            random_state=0,
        )
    if kind == "boosting":
        boosted = ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor
        return boosted[not classify](
            learning_rate=s["rate"],
            max_leaf_nodes=s["leaves"],
            l2_regularization=s["l2"],
            max_iter=30,
            early_stopping=False,
            random_state=0,
        )
    networks = neural_network.MLPClassifier, neural_network.MLPRegressor
    network = networks[not classify](
        hidden_layer_sizes=(s["width"],),
        learning_rate_init=s["rate"],
        alpha=s["alpha"],
        activation=s["activation"],
        max_iter=30,
        batch_size=32,
        random_state=0,
    )
    return make_pipeline(*scaler, network)


def error(kind: str, setting: dict[str, Any], x: Any, y: Any, *, classify: bool) -> float:
    """Mean over three folds."""
    folds = (StratifiedKFold if classify else KFold)(3, shuffle=True, random_state=0)
    losses = []
    for train, test in folds.split(x, y):
        try:
            model = model_of(kind, setting, classify=classify).fit(x[train], y[train])
        except ValueError:  # an MLP whose weights overflow
            losses.append(_WORST)
            continue
        if classify:
            chances = np.nan_to_num(np.clip(model.predict_proba(x[test]), 1e-4, 1.0), nan=1e-4)
            chances /= chances.sum(axis=1, keepdims=True)
            losses.append(metrics.log_loss(y[test], chances, labels=np.unique(y)))
        else:
            guess = np.nan_to_num(model.predict(x[test]), nan=1e6)
            losses.append(float(np.mean((guess - y[test]) ** 2) / y.var()))
    return float(min(np.mean(losses), _WORST))


def settings() -> list[tuple[str, dict[str, Any]]]:
    """All of the grid."""
    return [
        (kind, dict(zip(grid, values, strict=True)))
        for kind, grid in GRIDS.items()
        for values in itertools.product(*(entry[2] for entry in grid.values()))
    ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    warnings.simplefilter("ignore")
    path = FOLDER / "hpo.csv"
    if not path.exists():
        path.write_text("data,model,setting,error\n", encoding="utf-8")
    done = set(pd.read_csv(path)[["data", "model", "setting"]].itertuples(index=False, name=None))
    for name in DATA:
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        for kind, setting in settings():
            text = json.dumps(setting)
            if (name, kind, text) in done:
                continue
            found = error(kind, setting, x, y, classify=name != "diabetes")
            with path.open("a", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow([name, kind, text, f"{found:.5g}"])
    wanted = {(name, kind, json.dumps(s)) for name in DATA for kind, s in settings()}
    rows = pd.read_csv(path)
    keys = rows[["data", "model", "setting"]].itertuples(index=False, name=None)
    rows[[key in wanted for key in keys]].to_csv(FOLDER / "hpo.csv.gz", index=False)
    path.unlink()


if __name__ == "__main__":
    main()
