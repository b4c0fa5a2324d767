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
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import wide
from measure_effects import PATH

FOLDER = Path(__file__).with_name("results")
RESULTS, REFERENCE = FOLDER / "wide-measured.csv", FOLDER / "wide-measured-reference.csv"
INSTANCES = [
    ("mobilenetv1", "stm32f746", 0),
    ("mobilenetv1", "stm32l4r5", 1),
    ("ds-cnn", "stm32l4r5", 0),
    ("ds-cnn", "rp2040", 1),
]
CLASSES = {"vww": 2, "kws": 12}
QUICK = (*wide.QUICK, "integer program")
LEFT, SPREAD = 1 / 6, 0.8
_LEAST = 0.01  # smaller effects are not told from none, and no pair's excess is divided by them
_MOST = 4.0  # of a gene's u, where nothing of a network is left


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
    parser.add_argument("--samplers", nargs="*", default=QUICK, choices=list(wide.SAMPLERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--reference", type=int, metavar="TRIALS", help="fix the references")
    everyone = ["-".join(map(str, place)) for place in INSTANCES]
    parser.add_argument("--instances", nargs="*", default=everyone, choices=everyone)
    parser.add_argument("--effects", action="store_true", help="only say what was measured")
    args = parser.parse_args()
    if args.effects:
        print(effects())
        return
    if not REFERENCE.exists():
        REFERENCE.write_text("instance,trials,hypervolume\n", encoding="utf-8")
    fixed = set(pd.read_csv(REFERENCE).instance)
    instances = [Measured(*INSTANCES[everyone.index(name)]) for name in args.instances]
    for instance in instances:
        if args.reference and instance.name not in fixed:
            best = reference(instance, args.reference)
            wide.append(REFERENCE, [instance.name, args.reference, f"{best:.5f}"])
    if not args.reference:
        wide.run_all(instances, args.samplers, args.seeds, args.trials, RESULTS)
    runs, references = pd.read_csv(RESULTS), pd.read_csv(REFERENCE)
    volumes = dict(zip(references.instance, references.hypervolume, strict=True))
    # Where no reference is fixed yet, volumes as they are.
    print(wide.report(runs, volumes or dict.fromkeys(runs.instance, 1.0)))


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


if __name__ == "__main__":
    main()
