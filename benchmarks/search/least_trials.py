"""What stopping could save at best: `PYTHONPATH=. python benchmarks/search/least_trials.py kws`.

A network that is trained once scores a little better or worse than it would on average, so even who
knew the average of every network had to train many to find a front as good as a search's. Here a
forecast stands in that no search can have: of each network from the scores of all the others in the
table (tenfold), its genes, costs and its score before training, which costs nothing. Trials are
then chosen by expected gain of hypervolume, and it is counted after how many of them the ends of
`multi_fidelity.py`'s whole runs are reached; 101 stands for more than the 100 of such a run.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from multi_fidelity import TRIALS, TableTrials, search
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.model_selection import KFold, cross_val_predict
from tables import load

import ga
from ga.acquisition.ehvi import BoxDecomposition

_PARTS = 10


def forecasts(features: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each end, learned from the other nine tenths of the rows."""
    models = (
        HistGradientBoostingRegressor(max_iter=600, learning_rate=0.05, min_samples_leaf=5),
        ExtraTreesRegressor(300, min_samples_leaf=2, random_state=0),
    )
    parts = KFold(_PARTS, shuffle=True, random_state=0)
    mean = np.mean([cross_val_predict(m, features, ends, cv=parts) for m in models], axis=0)
    # Networks that are forecast alike scatter alike.
    tenth = pd.qcut(mean, _PARTS, labels=False, duplicates="drop")
    deviation = pd.Series(ends - mean).groupby(tenth).transform("std").to_numpy()
    return np.asarray(mean), deviation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--seeds", type=int, default=8)
    args = parser.parse_args()
    trials = TableTrials(args.table)
    goal, rows = trials.problem, load(trials.table.name)
    genes = [gene.name for gene in goal.genes]
    values = {gene.name: set(gene.values) for gene in goal.genes if isinstance(gene, ga.Ordered)}
    rows = rows[np.all([rows[name].isin(kept) for name, kept in values.items()], axis=0)]
    ends = rows[f"val_{trials.table.rungs[-1]}"].to_numpy()
    features = rows[[*genes, *goal.cheap, f"val_{trials.table.rungs[0]}"]].to_numpy(float)
    mean, deviation = forecasts(features, ends)
    better = ends > np.median(ends)
    print(f"deviation of the better half: {np.std((ends - mean)[better]):.4f}")
    metrics = [
        {"accuracy": end, **costs}
        for end, costs in zip(ends.tolist(), rows[list(goal.cheap)].to_dict("records"), strict=True)
    ]
    found = np.array([goal.losses(row) for row in metrics])
    guessed, doubt = found.copy(), np.zeros_like(found)
    scale = goal.reference[0] - goal.ideal[0]
    guessed[:, 0], doubt[:, 0] = (-mean - goal.ideal[0]) / scale, deviation / scale
    left, front, chosen = np.ones(len(rows), bool), np.ones((1, found.shape[1])), []
    for _ in range(TRIALS):
        boxes = BoxDecomposition(front, np.ones(found.shape[1]))
        gains = boxes.ehvi(guessed[left], doubt[left], np.full(found.shape[1], -np.inf))
        best = int(np.flatnonzero(left)[gains.argmax()])
        left[best] = False
        chosen.append(metrics[best])
        front = np.vstack([front, found[best]])
        front = front[ga.nondominated(front)]
    shares = np.array(goal.quality(chosen))
    needed = []
    for seed in range(args.seeds):
        end = search(trials, seed, None, None)[-1].share
        there = np.flatnonzero(shares >= end)
        needed.append(int(there[0]) + 1 if len(there) else TRIALS + 1)
        print(f"seed {seed}: {end:.4f} after {needed[-1]} of {TRIALS} trials", flush=True)
    print(f"median {np.median(needed):.0f}")


if __name__ == "__main__":
    main()
