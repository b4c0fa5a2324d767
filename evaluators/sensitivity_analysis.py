"""How much each gene alone costs in accuracy, by post-training compression: no fine-tuning.

The table says which layers to leave alone, and :func:`ladder` turns it into a first population
that goes from 'compress what doesn't hurt' to 'compress everything'.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators.baseline import baseline_metric, metric_and_data, weights_of
from evaluators.cache import cached, fingerprint
from evaluators.compression.fake_quantize import FLOAT_BITS, affine_grid, round_weights
from evaluators.compression.pruning import prune
from evaluators.compression.qat import input_ranges
from evaluators.compression.quantization import InputQuantization, quantize_input
from evaluators.compression.rounded_weight import quantized_weights
from evaluators.process_state import process_as_found
from evaluators.slicing.plain_modules import make_plain
from evaluators.slicing.weight_norms import copied
from evaluators.task import Task
from evaluators.task_checks import check_data
from evaluators.tracing.trace import trace
from evaluators.training import channels_last, reestimate_batch_norm, score
from hardware import Device, Network, load_device
from hardware.ir.gene_kinds import A_BITS, PRUNE, W_BITS, GeneKind, gene_kinds, kind_of

LOG = logging.getLogger(__name__)

PRUNE_RATIOS = (0.25, 0.5, 0.75)

Row = dict[str, Any]
"""``{"layer", "gene", "value", "metric", "drop"}``; a positive drop is a loss."""


@process_as_found(threads=1)
def sensitivity(
    task: Task,
    *,
    device: Device | str | Path,
    network: Network | None = None,
    ratios: Sequence[float] = PRUNE_RATIOS,
    report: Callable[[Row], None] | None = None,
) -> list[Row]:
    """The metric on ``val`` with one gene changed at a time.

    Pruned networks get their batch-norm statistics re-estimated, quantized ones their input
    ranges from training batches; nothing is trained. The table is cached by the model's weights.

    Args:
        task: its model is left as it is.
        device: says which bit-widths to try: a ``hardware.Device``, an id or a profile's path.
        network: the model's network if it is known already.
        ratios: fractions of a group's channels to remove.
        report: called with each row as it is measured (not for a cached table).

    Returns:
        Rows in the order of the network's groups and layers.
    """
    device = load_device(device)
    network = trace(task) if network is None else network
    w_bits = sorted(b for b in device.weight_bits if 2 <= b < FLOAT_BITS)
    a_bits = sorted(b for b in device.activation_bits if 2 <= b < FLOAT_BITS)
    check_data(task)

    def make() -> list[Row]:
        rows = []
        for row in _measure(task, network, ratios, w_bits, a_bits):
            if report is not None:
                report(row)
            rows.append(row)
        return rows

    # Not the network's metadata: this very table is noted there.
    shapes = (network.layers, network.groups, network.channel_multiple)
    further = [(k.name, tuple(k.tried)) for k in gene_kinds() if k.compress is not None]
    settings = (
        *shapes,
        task.metric_name,
        task.recipe.pruner,
        tuple(ratios),
        w_bits,
        a_bits,
        *further,
        *sorted(network.allowed.items()),
    )
    key = fingerprint(*settings, *metric_and_data(task), *weights_of(task.model))
    return cached(f"{task.name}-sensitivity-{key}.json", make, load=_load, save=_save)


def _load(path: Path) -> list[Row]:
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
    if not all({"layer", "gene", "value", "metric", "drop"} <= set(row) for row in rows):
        raise ValueError("a row lacks a column")
    return rows


def _save(rows: list[Row], path: Path) -> None:
    path.write_text(json.dumps(rows), encoding="utf-8")


def _measure(
    task: Task, network: Network, ratios: Sequence[float], w_bits: list[int], a_bits: list[int]
) -> Iterator[Row]:
    baseline = baseline_metric(task)
    sign = 1.0 if task.metric_mode == "max" else -1.0

    def row(layer: str, kind: GeneKind, value: float, model: nn.Module) -> Row:
        metric = score(task, model, task.val)
        return {
            "layer": layer,
            "gene": kind.key(layer),
            "value": value,
            "metric": round(metric, 6),
            "drop": round(sign * (baseline - metric), 6),
        }

    for group in network.groups:
        done = set()
        for ratio in _tried(network, PRUNE, group.name, ratios) if group.prunable else ():
            params = {PRUNE.key(group.name): ratio}
            kept = network.kept(params)[group.name]
            if kept == group.channels or kept in done:
                continue
            done.add(kept)
            torch.manual_seed(0)
            model = prune(
                task.model,
                task.inputs,
                network,
                {group.name: kept},
                network.apply(params),
                task=task,
            )
            reestimate_batch_norm(model, task.train)
            yield row(group.name, PRUNE, ratio, channels_last(model, task.example_input))

    model = make_plain(copied(task.model)).eval()
    torch.manual_seed(0)
    rounds_inputs = network.carriers(A_BITS)
    ranges = input_ranges(model, rounds_inputs, task.train)
    for name in network.gene_layers:
        for bits in _tried(network, W_BITS, name, w_bits):
            with _rounded(model.get_submodule(name), bits):
                yield row(name, W_BITS, bits, model)
        for bits in _tried(network, A_BITS, name, a_bits) if name in rounds_inputs else ():
            changed = copy.deepcopy(model)
            grid = affine_grid(*ranges[name], bits)
            quantize_input(changed, name, InputQuantization(*grid, bits))
            yield row(name, A_BITS, bits, changed)
    for kind in gene_kinds():
        if kind.compress is None:
            continue
        for name in network.carriers(kind):
            for value in _tried(network, kind, name, kind.tried):
                changed = copy.deepcopy(model)
                kind.compress(changed.get_submodule(name), value)
                yield row(name, kind, value, changed)


@contextmanager
def _rounded(module: nn.Module, bits: int) -> Iterator[None]:
    """A module's weights rounded to so many bits, and as they were afterwards."""
    names = quantized_weights(module)
    weights = {name: module.get_parameter(name).detach().clone() for name in names}
    for name in names:
        module.get_parameter(name).data.copy_(round_weights(module, bits, name))
    try:
        yield
    finally:
        for name, weight in weights.items():
            module.get_parameter(name).data.copy_(weight)


def _tried(network: Network, kind: GeneKind, layer: str, values: Sequence[float]) -> Sequence[Any]:
    """What a user left of the values; of prune ratios those that are left themselves."""
    allowed = network.allowed.get(kind.key(layer))
    if allowed is None:
        return values
    if kind is PRUNE:
        return [ratio for ratio in allowed if ratio]
    return [value for value in values if value in allowed]


def ladder(rows: Sequence[Row], *, steps: int = 8) -> list[dict[str, float]]:
    """Chromosomes from 'compress what costs nothing' to 'compress everything'.

    Rung k gives every gene its strongest value whose own drop stays below the k-th limit; the
    limits are spread evenly over the measured drops, the last one lets everything through.

    Args:
        rows: from :func:`sensitivity`.
        steps: rungs at most; equal ones are given once.

    Raises:
        ValueError: ``steps`` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1")
    drops = sorted(max(0.0, float(row["drop"])) for row in rows)
    if not drops:
        return []
    limits = [drops[round(k * (len(drops) - 1) / steps)] for k in range(steps)] + [drops[-1]]
    rungs: list[dict[str, float]] = []
    for limit in limits:
        rung: dict[str, float] = {}
        for row in rows:
            gene, value = row["gene"], row["value"]
            kind = kind_of(gene)
            # More channels removed, or fewer bits, is stronger.
            stronger = (
                value > rung.get(gene, kind.neutral)
                if kind is not None and kind.grows
                else value < rung.get(gene, FLOAT_BITS)
            )
            if row["drop"] <= limit and stronger:
                rung[gene] = value
        if rung not in rungs:
            rungs.append(rung)
    return rungs


def by_gene(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Losses as `ga.Optimizer` takes them: ``{gene: {value as text: loss}}``, fit for JSON."""
    losses: dict[str, dict[str, float]] = {}
    for row in rows:
        # A digit too many would make two runs of the same table differ.
        losses.setdefault(row["gene"], {})[f"{row['value']:g}"] = round(float(row["drop"]), 6)
    return losses
