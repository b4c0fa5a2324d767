"""Wide searches on measured effects: `PYTHONPATH=. python benchmarks/search/wide_measured.py`.

As `wide.py`, but what a gene's value loses, and what two genes lose together beyond that, comes
from `tables/effects.csv` (see `measure_effects.py`). Two things are drawn: of each gene's loss a
sixth is left after fine-tuning, times a log-normal factor of 0.8, and a trial has a noise of 0.014.
Genes whose pair was not measured don't interact.

With r the probability of the right class, u = -log((r - guessing) / (r whole - guessing)) adds up
over genes if they don't interact; the pair's excess is scaled to other values of its genes by the
root of the product of their own.

A share is of a front that is fixed beforehand (`--reference`): of a long search without noise that
is told the true losses.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import wide
from measure_effects import PATH
from one_number import holm
from problems import Problem
from rivals import RIVALS
from samplers import SAMPLERS as PLAIN
from scipy.stats import wilcoxon

FOLDER = Path(__file__).with_name("results")
RESULTS, REFERENCE = FOLDER / "wide-measured.csv", FOLDER / "wide-measured-reference.csv"
INSTANCES = [
    ("mobilenetv1", "stm32f746", 0),
    ("mobilenetv1", "stm32l4r5", 1),
    ("ds-cnn", "stm32l4r5", 0),
    ("ds-cnn", "rp2040", 1),
]
CLASSES = {"vww": 2, "kws": 12}
MARKS = (25, 50, 100)
LEFT, SPREAD = 1 / 6, 0.8
_LEAST = 0.01  # smaller effects are not told from none, and no pair's excess is divided by them
_MOST = 4.0  # of a gene's u, where nothing of a network is left
Rows = list[dict[str, float]]


class Measured(wide.Instance):
    """A network with measured losses.

    Args:
        network: one of `wide.NETWORKS` whose effects are in the table.
        device: whose costs.
        seed: of what is drawn.
    """

    def __init__(self, network: str, device: str, seed: int) -> None:
        super().__init__(network, seed, device)
        self.name = f"{network}-{device}-{seed}"

    def _draw(self, rng: np.random.Generator) -> None:
        rows = pd.read_csv(PATH)
        rows = rows[rows.network == self.file]
        whole = rows[rows.gene.isna()].iloc[0]
        self.top, self.chance = float(whole.accuracy), 1 / CLASSES[self.file]
        guess = self.chance

        def u(right: float) -> float:
            share = (right - guess) / (whole.right - guess)
            return min(-math.log(max(share, math.exp(-_MOST))), _MOST)

        single: dict[str, dict[float, float]] = {}
        told: dict[str, dict[float, float]] = {}
        for r in rows[rows.gene.notna() & rows.other.isna()].itertuples():
            single.setdefault(r.gene, {})[float(r.value)] = max(u(r.right), 0.0)
            told.setdefault(r.gene, {})[float(r.value)] = self.top - float(r.accuracy)
        genes: list[Any] = [locus.gene for locus in self.space.loci]
        span = self.top - self.chance
        self.tables: list[Any] = []
        self.sensitivities: dict[str, dict[float, float]] = {}
        for gene in genes:
            values = [float(v) for v in gene.values]
            left = LEFT * np.exp(rng.normal(0, SPREAD))
            self.tables.append(span * left * _filled(values, single.get(gene.name, {})))
            losses = _filled(values, told.get(gene.name, {})).tolist()
            self.sensitivities[gene.name] = dict(zip(values, losses, strict=True))
        places = {gene.name: i for i, gene in enumerate(genes)}
        self._pairs = []
        for r in rows[rows.other.notna()].itertuples():
            # Genes that a device's space lacks, or whose own effect is not there yet.
            if {r.gene, r.other} <= places.keys() & single.keys():
                a, b = single[r.gene][float(r.value)], single[r.other][float(r.other_value)]
                excess = u(r.right) - a - b
                root = math.sqrt(max(a, _LEAST) * max(b, _LEAST))
                weight = float(np.clip(2 * excess / root, -4, 4))  # a trial takes half of it
                self._pairs.append((places[r.gene], places[r.other], weight))

    def problem(self, noise: np.random.Generator) -> Problem:
        """As the rivals take it; costs are known, and nothing is noted of the mildest values."""
        genes = tuple(locus.gene for locus in self.space.loci)
        told = {
            gene.name: {
                value: loss
                for value, loss in self.sensitivities[gene.name].items()
                if value != wide.mildest(gene)
            }
            for gene in genes
        }
        ideal = np.array([-self.top, 0.0, 0.0])
        worst = [wide.ROOM - self.top, *(self.whole[n] for n in ("size_kb", "latency_ms"))]
        return Problem(
            self.name,
            genes,
            wide.OBJECTIVES,
            wide.COSTS,
            lambda params: self.trial(params, noise),
            ideal,
            np.array(worst),
            1.0,
            self.limits,
            told,
            self.costs,
        )


def _filled(values: list[float], measured: Mapping[float, float]) -> Any:
    """Losses of all values: between measured ones on a line, beyond them on the last line."""
    whole = 0.0 if min(values) == 0 else max(values)
    known = sorted({whole: 0.0, **measured}.items())
    x, y = (np.array(part) for part in zip(*known, strict=True))
    losses = np.interp(values, x, y)
    if len(x) > 1 and whole == 0.0:
        slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
        beyond = np.array(values) > x[-1]
        losses[beyond] = y[-1] + max(slope, 0.0) * (np.array(values)[beyond] - x[-1])
    return losses


def rival(run: Callable[..., Rows], instance: Measured, seed: int, trials: int) -> Rows:
    """A sampler of `samplers.py` or `rivals.py` on an instance."""
    problem = instance.problem(np.random.default_rng(1000 + seed))
    return run(problem, seed, trials)


SAMPLERS: dict[str, Callable[[Measured, int, int], Rows]] = {
    **wide.SAMPLERS,
    "optuna tpe multivariate": partial(rival, PLAIN["optuna tpe multivariate"]),
    "optuna nsga2 20": partial(rival, PLAIN["optuna nsga2 20"]),
    "optuna gp": partial(rival, PLAIN["optuna gp"]),
    **{name: partial(rival, run) for name, run in RIVALS.items()},
}
QUICK = (
    *("ours", "knapsack", "plain operators", "chance", "optuna tpe multivariate"),
    *("optuna nsga2 20", "integer program", "sensitivity greedy"),
)


def reference(instance: Measured, trials: int) -> float:
    """The hypervolume of two long searches without noise that are told the true losses."""
    told = instance.sensitivities
    genes = [locus.gene.name for locus in instance.space.loci]
    values = [[float(v) for v in locus.gene.values] for locus in instance.space.loci]  # type: ignore[attr-defined]  # all finite
    instance.sensitivities = {
        name: dict(zip(own, table.tolist(), strict=True))
        for name, own, table in zip(genes, values, instance.tables, strict=True)
    }
    instance.noise = 0.0
    rows = [
        row
        for strategy in ("ga", "knapsack")
        for row in wide.ours(instance, 99, trials, strategy=strategy)
    ]
    instance.sensitivities, instance.noise = told, wide.NOISE
    return instance.hypervolume(rows, kept=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samplers", nargs="*", default=list(QUICK), choices=list(SAMPLERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=max(MARKS))
    parser.add_argument("--reference", type=int, metavar="TRIALS", help="fix the references")
    everyone = ["-".join(map(str, place)) for place in INSTANCES]
    parser.add_argument("--instances", nargs="*", default=everyone, choices=everyone)
    parser.add_argument("--effects", action="store_true", help="only say what was measured")
    args = parser.parse_args()
    if args.effects:
        print(effects())
        return
    header = ["instance", "sampler", "seed", "seconds"]
    header += [f"{what}{mark}" for what in ("found", "kept") for mark in MARKS]
    if not RESULTS.exists():
        RESULTS.write_text(",".join(header) + "\n", encoding="utf-8")
    if not REFERENCE.exists():
        REFERENCE.write_text("instance,trials,hypervolume\n", encoding="utf-8")
    fixed = set(pd.read_csv(REFERENCE).instance)
    runs = pd.read_csv(RESULTS)
    done = set(runs[["instance", "sampler", "seed"]].itertuples(index=False, name=None))
    instances = [Measured(*INSTANCES[everyone.index(name)]) for name in args.instances]
    for instance in instances:
        if args.reference and instance.name not in fixed:
            best = reference(instance, args.reference)
            _append(REFERENCE, [instance.name, args.reference, f"{best:.5f}"])
    for seed in range(0 if args.reference else args.seeds):
        for instance in instances:
            for name in args.samplers:
                if (instance.name, name, seed) in done:
                    continue
                begin = time.process_time()
                rows = SAMPLERS[name](instance, seed, args.trials)
                seconds = time.process_time() - begin
                volumes = [
                    f"{instance.hypervolume(rows[:mark], kept=kept):.5f}"
                    if mark <= args.trials
                    else ""
                    for kept in (False, True)
                    for mark in MARKS
                ]
                _append(RESULTS, [instance.name, name, seed, f"{seconds:.1f}", *volumes])
    print(report(pd.read_csv(RESULTS), pd.read_csv(REFERENCE)))


def effects() -> str:
    """Markdown: how much single genes lose, and what pairs lose beyond their sum."""
    heads = "| network | genes | single values | pairs | median loss alone, w2 | a4 | half pruned |"
    lines = [heads + " pairs that lose less than their sum | more |", "|---" * 9 + "|"]
    rows = pd.read_csv(PATH)
    for network, device, seed in {place[0]: place for place in INSTANCES}.values():
        instance = Measured(network, device, seed)
        own = rows[rows.network == instance.file]
        whole = own[own.gene.isna()].accuracy.iloc[0]
        single = own[own.gene.notna() & own.other.isna()]
        cells = []
        for kind, value in (("w_bits", 2), ("a_bits", 4), ("prune", 0.5)):
            those = single[single.gene.str.endswith(kind) & (single.value == value)]
            cells.append(f"{(whole - those.accuracy).median():.3f}")
        weights = np.array([weight for _, _, weight in instance._pairs])
        cells += [f"{(weights < -0.1).mean():.0%}", f"{(weights > 0.1).mean():.0%}"]
        counts = [len(instance.space.loci), len(single), len(weights)]
        lines.append(f"| {instance.file} | {' | '.join(map(str, [*counts, *cells]))} |")
    return "\n".join(lines)


def _append(path: Path, row: list[Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerow(row)


def report(runs: pd.DataFrame, references: pd.DataFrame) -> str:
    """Markdown: mean shares of the references, and corrected p that ours found more.

    Where no reference is fixed yet, hypervolumes as they are; without five paired runs, no p.
    """
    best = references.set_index("instance").hypervolume.astype(float)
    if best.empty:
        best = pd.Series(1.0, index=runs.instance.unique())
    columns = [f"{what}{mark}" for what in ("found", "kept") for mark in MARKS]
    shares = runs[runs.instance.isin(best.index)].set_index(["instance", "seed", "sampler"])
    shares = shares[columns].div(shares.index.get_level_values("instance").map(best), axis=0)
    by_name = {name: own.droplevel("sampler") for name, own in shares.groupby("sampler")}
    heads = " | ".join(columns)
    lines = [f"| sampler | runs | {heads} | p of found |", "|---" * (len(columns) + 3) + "|"]
    rows = sorted(by_name, key=lambda name: -by_name[name].found50.mean())
    tests: list[dict[str, float]] = []
    for mark in MARKS:
        gaps = {
            n: (by_name["ours"] - by_name[n])[f"found{mark}"].dropna()
            for n in rows
            if n != "ours" and "ours" in by_name
        }
        tests.append(
            holm(
                {
                    n: float(wilcoxon(gap, alternative="greater").pvalue)
                    for n, gap in gaps.items()
                    if len(gap) >= 5 and (gap != 0).any()
                }
            )
        )
    for name in rows:
        own = by_name[name]
        means = " | ".join(f"{v:.3f}" for v in own.mean())
        p = (
            ""
            if name == "ours"
            else ", ".join(f"{t[name]:.2g}" if name in t else "-" for t in tests)
        )
        lines.append(f"| {name} | {len(own)} | {means} | {p} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
