"""Searches on 56 to 131 genes, the size of a MobileNet: ours, a knapsack, plain operators, chance.

The networks and their costs are real (`experiment_configs/*.space.network.json`). Accuracy is
synthetic: each gene's value loses something, drawn log-normally and scaled so that uniform settings
lose what is usual for them; genes of one layer, of neighbours and of random pairs add to that or
take from it; the sum saturates. What the samplers are told as sensitivities is six times the true
loss of each gene, times a log-normal error of 0.8. A trial's accuracy has a noise of 0.014.

A share is of the best known front: of all runs of an instance in the results file. "found" takes
the true accuracy of all networks that were tried; "kept" that of the front that noisy results give;
"believed" that of `Optimizer.believed_front`, which only this project's searches have.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from one_number import holm
from problems import Problem
from rivals import RIVALS
from samplers import SAMPLERS as PLAIN
from scipy.stats import wilcoxon

import ga
import hardware
from nni_plugin import search_space

CONFIGS = Path(__file__).parents[2] / "experiment_configs"
RESULTS = Path(__file__).with_name("results") / "wide.csv"
NETWORKS = {
    "mobilenetv1": ("vww", "stm32f746"),
    "mobilenetv2": ("mobilenetv2", "stm32h7a3"),
    "mobilenetv3": ("mobilenetv3", "stm32h7a3"),
    "resnet20": ("resnet20", "stm32f746"),
    "ds-cnn": ("kws", "stm32l4r5"),
}
INSTANCES = [(n, s) for n in ("mobilenetv1", "mobilenetv2", "resnet20") for s in range(3)]
INSTANCES.append(("mobilenetv3", 0))
MARKS = (25, 50, 100, 200)
NOISE, ROOM, TOP, CHANCE = 0.014, 0.10, 0.86, 0.5
OBJECTIVES = {"accuracy": "maximize", "size_kb": "minimize", "latency_ms": "minimize"}
COSTS = ("size_kb", "latency_ms", "ram_kb")
# What all weights at 4 or 2 bits, all activations at 4 bits, and half of all channels lose.
UNIFORM = {"w_bits": {8: 0.0, 4: 0.014, 2: 0.30}, "a_bits": {8: 0.0, 4: 0.073}}
HALF_PRUNED = 0.062
Rows = list[dict[str, float]]


@dataclass(frozen=True)
class Costs:
    """Known costs of a network, as the tuner has them."""

    function: Any

    def __call__(self, params: Mapping[str, Any]) -> dict[str, float]:
        """Of one candidate."""
        return {name: self.function(params)[name] for name in COSTS}

    def batch(self, many: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
        """Of many."""
        return [{name: row[name] for name in COSTS} for row in self.function.batch(many)]


class Instance:
    """A network with drawn losses.

    Args:
        network: one of `NETWORKS`.
        seed: of what is drawn.
        device: whose costs; the network's usual one if None.

    Attributes:
        top: accuracy of the network that nothing is taken from.
        chance: accuracy of guessing.
        noise: standard deviation of a trial's accuracy.
    """

    top, chance, noise = TOP, CHANCE, NOISE

    def __init__(self, network: str, seed: int, device: str | None = None) -> None:
        name, usual = NETWORKS[network]
        self.file, device = name, device or usual
        self.name = f"{network}-{seed}"
        described = hardware.Network.load(CONFIGS / f"{name}.space.network.json")
        genes = json.loads((CONFIGS / f"{name}.space.json").read_text(encoding="utf-8"))
        self.space = search_space.parse(genes)
        self.costs = Costs(hardware.cost_function(described, hardware.load_device(device)))
        self._draw(np.random.default_rng(seed))
        whole = {locus.gene.name: mildest(locus.gene) for locus in self.space.loci}
        self.whole = self.costs(whole)
        self.limits = {
            "accuracy": f">= {self.top - ROOM}",
            "ram_kb": f"<= {0.75 * self.whole['ram_kb']}",
        }

    def _draw(self, rng: np.random.Generator) -> None:
        genes: list[Any] = [locus.gene for locus in self.space.loci]
        layers: dict[str, list[int]] = defaultdict(list)
        kinds: dict[str, list[int]] = defaultdict(list)
        for i, gene in enumerate(genes):
            layer, _, kind = gene.name.rpartition(".")
            layers[layer].append(i)
            kinds[kind].append(i)
        self.tables: list[Any] = [None] * len(genes)
        for kind, loci in kinds.items():
            weights = np.exp(rng.normal(0, 1.0 if kind == "prune" else 1.2, len(loci)))
            weights[0] *= 4  # the first layer
            for i, share in zip(loci, weights / weights.sum(), strict=True):
                values = np.array(genes[i].values, dtype=float)
                if kind == "prune":
                    self.tables[i] = share * HALF_PRUNED * values / (1 - values)
                else:
                    self.tables[i] = share * np.array([UNIFORM[kind][int(v)] for v in values])
        pairs = [(a, b, 1.0) for loci in layers.values() for a in loci for b in loci if a < b]
        for one, other in zip(layers.values(), list(layers.values())[1:], strict=False):
            pairs += [(a, b, rng.normal(0, 0.7)) for a in one for b in other if rng.random() < 0.5]
        for _ in range(2 * len(genes)):
            a, b = rng.choice(len(genes), 2, replace=False).tolist()
            pairs.append((a, b, rng.normal(0, 0.5)))
        self._pairs = pairs
        self.sensitivities: dict[str, dict[float, float]] = {}
        for gene, table in zip(genes, self.tables, strict=True):
            error = 6 * np.exp(rng.normal(0, 0.8))
            self.sensitivities[gene.name] = {
                float(v): float(loss * error * np.exp(rng.normal(0, 0.1)))
                for v, loss in zip(gene.values, table, strict=True)
            }

    def trial(self, params: Mapping[str, Any], noise: np.random.Generator) -> dict[str, float]:
        """All metrics, and the `true` accuracy."""
        alleles = self.space.encode(params)
        lost = np.array([table[a] for table, a in zip(self.tables, alleles, strict=True)])
        total = float(lost.sum())
        total += sum(0.5 * c * float(np.sqrt(lost[a] * lost[b])) for a, b, c in self._pairs)
        span = self.top - self.chance
        true = self.chance + span * float(np.exp(-max(total, 0.0) / span))
        return {**self.costs(params), "true": true, "accuracy": true + noise.normal(0, self.noise)}

    def problem(self, noise: np.random.Generator) -> Problem:
        """As the rivals take it; costs are known, and nothing is noted of the mildest values."""
        genes = tuple(locus.gene for locus in self.space.loci)
        told = {
            gene.name: {
                value: loss
                for value, loss in self.sensitivities[gene.name].items()
                if value != mildest(gene)
            }
            for gene in genes
        }
        ideal = np.array([-self.top, 0.0, 0.0])
        worst = [ROOM - self.top, *(self.whole[n] for n in ("size_kb", "latency_ms"))]
        return Problem(
            self.name,
            genes,
            OBJECTIVES,
            COSTS,
            lambda params: self.trial(params, noise),
            ideal,
            np.array(worst),
            1.0,
            self.limits,
            told,
            self.costs,
        )

    def volumes(self, rows: Rows) -> dict[str, str]:
        """What was found, kept and believed after each of the `MARKS` that there are rows for."""
        found = {}
        for mark in (mark for mark in MARKS if mark <= len(rows)):
            own = rows[:mark]
            found[f"found{mark}"] = f"{self.hypervolume(own, kept=False):.5f}"
            found[f"kept{mark}"] = f"{self.hypervolume(own, kept=True):.5f}"
            if all(f"believed{mark}" in row for row in own):
                own = [row for row in own if row[f"believed{mark}"]]
                found[f"believed{mark}"] = f"{self.hypervolume(own, kept=False):.5f}"
        return found

    def hypervolume(self, rows: Sequence[Mapping[str, float]], *, kept: bool) -> float:
        """Of the true values of all rows, or of those on the front that was reported.

        Between the limit of accuracy and the uncompressed network's costs.
        """
        within = [r for r in rows if r["ram_kb"] <= 0.75 * self.whole["ram_kb"]]
        if kept:
            within = [r for r in within if r["accuracy"] >= self.top - ROOM]
            losses = [[-r["accuracy"], r["size_kb"], r["latency_ms"]] for r in within]
            front = ga.nondominated(np.array(losses).reshape(-1, 3))
            within = [r for r, is_on in zip(within, front, strict=True) if is_on]
        losses = [
            [
                (self.top - r["true"]) / ROOM,
                *(r[n] / self.whole[n] for n in ("size_kb", "latency_ms")),
            ]
            for r in within
            if r["true"] >= self.top - ROOM
        ]
        points = np.array(losses).reshape(-1, 3)
        return ga.hypervolume(points[ga.nondominated(points)], np.ones(3)) if len(points) else 0.0


def mildest(gene: Any) -> Any:
    """The value that takes nothing from the network."""
    return min(gene.values) if gene.name.endswith(".prune") else max(gene.values)


def ours(instance: Instance, seed: int, trials: int, **options: Any) -> Rows:
    """This project's optimizer, told costs, limits and sensitivities unless options say else.

    Rows say whether they were on the believed front after each of the `MARKS`.
    """
    options = {"sensitivities": instance.sensitivities, "budget": trials, **options}
    optimizer = ga.Optimizer(
        instance.space, OBJECTIVES, instance.limits, instance.costs, seed=seed, **options
    )
    noise, rows = np.random.default_rng(1000 + seed), dict[int, dict[str, float]]()
    for count in range(1, trials + 1):
        candidate = optimizer.ask()
        row = instance.trial(candidate.params, noise)
        optimizer.tell(candidate.id, {name: row[name] for name in ("accuracy", *COSTS)})
        rows[candidate.id] = row
        if count in MARKS:
            front = {belief.evaluation.id for belief in optimizer.believed_front()}
            for number, earlier in rows.items():
                earlier[f"believed{count}"] = float(number in front)
    return list(rows.values())


def chance(instance: Instance, seed: int, trials: int) -> Rows:
    """Random samples at random levels of compression, within the limit of RAM."""
    rng, noise = random.Random(seed), np.random.default_rng(1000 + seed)
    rows: Rows = []
    while len(rows) < trials:
        params = instance.space.decode(instance.space.sample(rng))
        if instance.costs(params)["ram_kb"] <= 0.75 * instance.whole["ram_kb"]:
            rows.append(instance.trial(params, noise))
    return rows


def rival(run: Callable[..., Rows], instance: Instance, seed: int, trials: int) -> Rows:
    """A sampler of `samplers.py` or `rivals.py` on an instance."""
    problem = instance.problem(np.random.default_rng(1000 + seed))
    return run(problem, seed, trials)


Sampler = Callable[[Any, int, int], Rows]
SAMPLERS: dict[str, Sampler] = {
    "ours": ours,
    "knapsack": partial(ours, strategy="knapsack"),
    "ours, told costs only": partial(ours, sensitivities=None),
    "plain operators": partial(ours, surrogate="none", sensitivities=None),
    "chance": chance,
    "optuna tpe multivariate": partial(rival, PLAIN["optuna tpe multivariate"]),
    "optuna nsga2 20": partial(rival, PLAIN["optuna nsga2 20"]),
    "optuna gp": partial(rival, PLAIN["optuna gp"]),
    **{name: partial(rival, run) for name, run in RIVALS.items()},
}
QUICK = (
    *("ours", "knapsack", "plain operators", "chance", "optuna tpe multivariate"),
    *("optuna nsga2 20", "sensitivity greedy"),
)
COLUMNS = [f"{what}{mark}" for what in ("found", "kept", "believed") for mark in MARKS]
HEADER = ["instance", "sampler", "seed", "seconds", *COLUMNS]


def run_all(
    made: Sequence[Any], samplers: Sequence[str], seeds: int, trials: int, path: Path
) -> None:
    """Every run that the results lack, a row for each as it comes; seeds are the outer loop.

    Args:
        made: instances.
        samplers: of `SAMPLERS`.
        seeds: from 0 on.
        trials: of a run.
        path: of the results.
    """
    if not path.exists():
        path.write_text(",".join(HEADER) + "\n", encoding="utf-8")
    runs = pd.read_csv(path)
    done = set(runs[["instance", "sampler", "seed"]].itertuples(index=False, name=None))
    for seed in range(seeds):
        for instance in made:
            for name in samplers:
                if (instance.name, name, seed) in done:
                    continue
                begin = time.process_time()
                rows = SAMPLERS[name](instance, seed, trials)
                seconds = f"{time.process_time() - begin:.1f}"
                volumes = instance.volumes(rows)
                append(
                    path,
                    [instance.name, name, seed, seconds, *(volumes.get(c, "") for c in COLUMNS)],
                )


def append(path: Path, row: Sequence[Any]) -> None:
    """A line more."""
    with path.open("a", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerow(row)


def report(
    runs: pd.DataFrame,
    best: Mapping[str, float],
    marks: Sequence[int] = MARKS[:-1],
    what: Sequence[str] = ("found", "kept"),
) -> str:
    """Markdown: mean shares, and p that ours has more, paired and Holm-corrected for each mark.

    Args:
        runs: the results; those that lack one of the columns are left out.
        best: instance -> the volume that is one; runs of others are left out.
        marks: after how many trials.
        what: of what was found, kept and believed.
    """
    columns = [f"{one}{mark}" for one in what for mark in marks]
    shares = runs[runs.instance.isin(best)].dropna(subset=columns)
    shares = shares.set_index(["instance", "seed", "sampler"])[columns]
    shares = shares.div(shares.index.get_level_values("instance").map(dict(best)), axis=0)
    by_name = {str(name): own.droplevel("sampler") for name, own in shares.groupby("sampler")}
    heads = [*columns, *(f"p of {one}" for one in what)]
    lines = [f"| sampler | runs | {' | '.join(heads)} |", "|---" * (len(heads) + 2) + "|"]
    tests = [[_tests(by_name, f"{one}{mark}") for mark in marks] for one in what]
    for name in sorted(
        by_name, key=lambda name: -by_name[name].iloc[:, : len(marks)].mean().mean()
    ):
        own = by_name[name]
        cells = [f"{value:.3f}" for value in own.mean()]
        for of_marks in tests:
            p = [f"{t[name]:.2g}" if name in t else "-" for t in of_marks]
            cells.append("" if name == "ours" else ", ".join(p))
        lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _tests(by_name: Mapping[str, pd.DataFrame], column: str) -> dict[str, float]:
    """Corrected p of a one-sided Wilcoxon test, where at least five runs are paired."""
    gaps = {
        name: (by_name["ours"] - own)[column].dropna()
        for name, own in by_name.items()
        if name != "ours" and "ours" in by_name
    }
    return holm(
        {
            name: float(wilcoxon(gap, alternative="greater").pvalue)
            for name, gap in gaps.items()
            if len(gap) >= 5 and (gap != 0).any()
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samplers", nargs="*", default=list(QUICK), choices=list(SAMPLERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=100)
    everyone = [f"{network}-{number}" for network, number in INSTANCES]
    parser.add_argument("--instances", nargs="*", default=everyone, choices=everyone)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    made = [Instance(*INSTANCES[everyone.index(name)]) for name in args.instances]
    run_all(made, args.samplers, args.seeds, args.trials, args.output)
    runs = pd.read_csv(args.output)
    best = runs.set_index("instance")[COLUMNS].max(axis=1).groupby("instance").max()
    volumes = {str(name): float(volume) for name, volume in best.items()}
    print(report(runs, volumes))
    print("\nRuns whose fronts by belief were kept:\n")
    own = runs[runs.sampler.isin(["ours", "knapsack"])]
    print(report(own, volumes, what=("found", "kept", "believed")))
    print(f"\nLong runs:\n\n{report(own, volumes, MARKS, ('found', 'believed'))}")


if __name__ == "__main__":
    main()
