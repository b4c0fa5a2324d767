"""What one gene, or two together, cost a trained network: `python measure_effects.py vww`.

Post-training compression without fine-tuning, on validation data. Pruned networks get their batch
norms re-estimated, as in `joint-ga sensitivity`. Beside the accuracy stands the mean probability of
the right class: it counts every sample by degrees, so that small effects show with few samples.
Pairs are the genes of one layer, the same kind of gene of neighbouring layers, and random ones.
Appends to `tables/effects.csv`, so the run can be stopped and started again.
"""

from __future__ import annotations

import argparse
import copy
import csv
import itertools
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators import load_task
from evaluators.compression.fake_quantize import affine_grid, round_weights
from evaluators.compression.pruning import prune
from evaluators.compression.qat import input_ranges
from evaluators.compression.quantization import InputQuantization, quantize_input
from evaluators.compression.rounded_weight import quantized_weights
from evaluators.slicing.plain_modules import make_plain
from evaluators.slicing.weight_norms import copied
from evaluators.task import Task
from evaluators.training import call, reestimate_batch_norm
from hardware import Network
from hardware.ir.gene_kinds import A_BITS, PRUNE, W_BITS

PATH = Path(__file__).parent / "tables" / "effects.csv"
COLUMNS = ("network", "gene", "value", "other", "other_value", "accuracy", "right")
CONFIGS = Path(__file__).parents[2] / "experiment_configs"
SINGLE = {"prune": (0.25, 0.5, 0.75), "w_bits": (2, 4), "a_bits": (4,)}
# Where two genes are changed at once: losses that are large enough to be told from chance.
PAIRED = {"prune": 0.5, "w_bits": 2, "a_bits": 4}
_BATCHES = 4  # of training data, for batch norms
Effect = tuple[tuple[str, float], ...]


class Probe:
    """A trained network whose genes are set, and that is then scored.

    Args:
        task: its model is left as it is.
        network: of the model.
        samples: validation samples at most.
    """

    def __init__(self, task: Task, network: Network, samples: int) -> None:
        self.task, self.network, self.samples = task, network, samples
        self.whole = make_plain(copied(task.model)).eval()
        torch.manual_seed(0)
        self.ranges = input_ranges(self.whole, network.carriers(A_BITS), task.train)
        self._pruned: dict[Effect, nn.Module] = {}

    def _cut(self, removed: Effect) -> nn.Module:
        if not removed:
            return self.whole
        if removed not in self._pruned:
            params = dict(removed)
            kept = self.network.kept(params)
            torch.manual_seed(0)
            changed = {
                g.name: kept[g.name]
                for g in self.network.groups
                if kept[g.name] < g.channels and PRUNE.key(g.name) in params
            }
            layers = self.network.apply(params)
            args = self.task.model, self.task.inputs, self.network, changed, layers
            model = prune(*args, task=self.task, pruner="l1")
            reestimate_batch_norm(model, itertools.islice(self.task.train, _BATCHES))
            self._pruned = {removed: model}  # the latest only: pairs come sorted
        return self._pruned[removed]

    def score(self, params: Mapping[str, float]) -> tuple[float, float]:
        """Accuracy, and the mean probability of the right class.

        Args:
            params: genes of pruning, and of the bits of weights and inputs.
        """
        removed = tuple((k, v) for k, v in sorted(params.items()) if k.endswith("." + PRUNE.name))
        model = copy.deepcopy(self._cut(removed)).eval()
        for key, value in params.items():
            layer, _, kind = key.rpartition(".")
            if kind == W_BITS.name:
                module = model.get_submodule(layer)
                for name in quantized_weights(module):
                    rounded = round_weights(module, int(value), name)
                    module.get_parameter(name).data.copy_(rounded)
        for key, value in params.items():
            layer, _, kind = key.rpartition(".")
            if kind == A_BITS.name:
                grid = affine_grid(*self.ranges[layer], int(value))
                quantize_input(model, layer, InputQuantization(*grid, int(value)))
        hits, right, count = 0, 0.0, 0
        with torch.inference_mode():
            for inputs, target in self.task.val:
                chances = torch.softmax(call(model, inputs), dim=1)
                hits += int((chances.argmax(1) == target).sum())
                right += float(chances.gather(1, target[:, None]).sum())
                count += len(target)
                if count >= self.samples:
                    break
        return hits / count, right / count


def wanted(network: Network, seed: int, randomly: int) -> list[Effect]:
    """The float network, single genes, and pairs: of layers, of neighbours, and random ones."""
    genes: dict[str, list[str]] = {
        "prune": [PRUNE.key(g.name) for g in network.groups if g.prunable],
        "w_bits": [W_BITS.key(n) for n in network.gene_layers],
        "a_bits": [A_BITS.key(n) for n in network.gene_layers if n in network.carriers(A_BITS)],
    }
    singles: list[Effect] = [
        ((gene, value),)
        for kind, listed in genes.items()
        for gene in listed
        for value in SINGLE[kind]
    ]
    every = [(gene, float(PAIRED[kind])) for kind, listed in genes.items() for gene in listed]
    by_layer: dict[str, list[tuple[str, float]]] = {}
    for gene in every:
        by_layer.setdefault(gene[0].rpartition(".")[0], []).append(gene)
    pairs = {p for own in by_layer.values() for p in itertools.combinations(sorted(own), 2)}
    for listed in genes.values():
        steps = itertools.pairwise(listed)
        values = dict(every)
        pairs |= {tuple(sorted(((a, values[a]), (b, values[b])))) for a, b in steps}
    rng = random.Random(seed)
    apart = [p for p in itertools.combinations(sorted(every), 2) if p not in pairs]
    pairs |= set(rng.sample(apart, min(randomly, len(apart))))
    # Those that need no pruning first: they are quick.
    order = sorted(pairs, key=lambda pair: (any(PRUNE.name in gene for gene, _ in pair), pair))
    return [(), *singles, *order]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", help="of experiment_configs/NAME.space.network.json")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--random-pairs", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task(f"evaluators.tasks.{args.network}:build")
    network = Network.load(CONFIGS / f"{args.network}.space.network.json")
    if not PATH.exists():
        PATH.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    with PATH.open(encoding="utf-8") as file:
        done = {_key(row) for row in csv.DictReader(file)}
    probe = Probe(task, network, args.samples)
    for effect in wanted(network, 0, args.random_pairs):
        cells = [cell for gene in effect for cell in (gene[0], f"{gene[1]:g}")]
        cells += [""] * (4 - len(cells))
        if (args.network, *cells) in done:
            continue
        accuracy, right = probe.score(dict(effect))
        with PATH.open("a", encoding="utf-8") as file:
            line: list[Any] = [args.network, *cells, f"{accuracy:.5f}", f"{right:.5f}"]
            csv.writer(file, lineterminator="\n").writerow(line)


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in COLUMNS[:5])


if __name__ == "__main__":
    main()
