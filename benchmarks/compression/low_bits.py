"""Ways to store weights in fewer bytes, compared on one task: accuracy against bytes.

    python -m benchmarks.compression.low_bits evaluators.tasks.kws:build --data ../shared/data \
        --out low_bits.jsonl

Nothing but the named choice changes: learned or min-max scales at 2 and 3 bits, powers of two or
uniform steps at 4, zeros, factors, and the pruner that halves every group. A run that `--out` holds
already is not run again. Bytes are those of the packed weights with biases and requantization, as
`joint-ga export` writes them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from evaluators import evaluate, load_task, trace
from evaluators.compression import fake_quantize, qat
from evaluators.training import score
from hardware import Network, flash, load_device
from hardware.ir.gene_kinds.pruner import PRUNERS
from hardware.ir.gene_kinds.registry import LARGE

BOARD, ANY_BITS = "stm32l4r5", "ne16"


@dataclass(frozen=True)
class Variant:
    """One way to store weights.

    Attributes:
        name: for the table.
        params: the chromosome.
        device: one that can run it.
        learned: the widest bits with a learned scale.
        start: of a learned scale: ours, or LSQ's own formula.
    """

    name: str
    params: dict[str, Any]
    device: str = BOARD
    learned: int = fake_quantize.LEARNED_BITS
    start: Callable[[Tensor, int, int], Tensor] = fake_quantize.weight_scale


def lsq_start(weight: Tensor, bits: int, axis: int) -> Tensor:
    """(C,): `2 mean|w| / sqrt(largest integer)`, arXiv:1902.08153."""
    rows = weight.detach().transpose(0, axis).flatten(1)
    scale: Tensor = 2.0 * rows.abs().mean(dim=1) / (2 ** (bits - 1) - 1) ** 0.5
    return scale.clamp_(min=fake_quantize.EPSILON)


def variants(network: Network) -> Iterator[Variant]:
    """The rows of the table."""
    first, *_, last = network.gene_layers
    ends = {f"{first}.w_bits": 8, f"{last}.w_bits": 8}

    def all_layers(**genes: Any) -> dict[str, Any]:
        return {f"{n}.{kind}": v for n in network.gene_layers for kind, v in genes.items()}

    def large(kind: str, value: float) -> dict[str, Any]:
        names = network.rank_layers if kind == "rank" else network.gene_layers
        return {f"{n}.{kind}": value for n in names if network.layer(n).weights >= LARGE}

    yield Variant("w8", {})
    for bits in (2, 3):
        genes = all_layers(w_bits=bits)
        yield Variant(f"w{bits}, learned scale", genes, ANY_BITS)
        yield Variant(f"w{bits}, learned, LSQ's start", genes, ANY_BITS, start=lsq_start)
        yield Variant(f"w{bits}, min-max", genes, ANY_BITS, learned=0)
        yield Variant(f"w{bits}, learned scale, first and last w8", genes | ends, ANY_BITS)
    yield Variant("w4, min-max", all_layers(w_bits=4), learned=3)
    yield Variant("w4, learned scale", all_layers(w_bits=4))
    yield Variant("w4, power of two", all_layers(w_bits=4, w_scheme="power_of_two"))
    for bits, sparsities in ((8, (0.5, 0.75, 0.875)), (4, (0.5, 0.75))):
        for sparsity in sparsities:
            genes = all_layers(w_bits=bits) | large("sparsity", sparsity)
            yield Variant(f"w{bits}, {sparsity:.1%} zeros", genes)
    for share in (0.375, 0.25):
        yield Variant(f"w8, rank {share:.1%}", large("rank", share))
    halved = {f"{g.name}.prune": 0.5 for g in network.groups if g.prunable}
    for pruner in PRUNERS:
        yield Variant(f"w8, half of the channels by {pruner}", halved | {"pruner": pruner})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task")
    parser.add_argument("--data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--only", default="", help="variants whose name holds this text")
    parser.add_argument("--out", type=Path, help="JSON lines, read first and appended to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task(options.task, data=options.data)
    network = trace(task)
    board = load_device(BOARD)
    rows = _read(options.out)
    whole = {name: score(task, task.model, getattr(task, name)) for name in ("val", "test")}
    print(f"{task.name}: float {task.metric_name} {whole}", flush=True)
    for variant in variants(network):
        if options.only not in variant.name:
            continue
        fake_quantize.LEARNED_BITS = variant.learned
        found = []
        for seed in options.seeds:
            key = f"{task.name}/{variant.name}/{options.epochs}/{seed}"
            if key not in rows:
                start = time.process_time()
                with patch.object(qat, "weight_scale", variant.start):
                    result = evaluate(
                        task,
                        variant.params,
                        device=variant.device,
                        network=network,
                        epochs=options.epochs,
                        seed=seed,
                    )
                rows[key] = {
                    "key": key,
                    "bytes": flash(result.layers, board).total,
                    "val": result.metrics[task.metric_name],
                    "test": score(task, result.model, task.test),
                    "cpu_s": round(time.process_time() - start, 1),
                }
                if options.out:
                    with options.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(rows[key]) + "\n")
            found.append(rows[key])
        cells = [f"{found[0]['bytes']:6d} bytes"]
        for split in ("val", "test"):
            points = [100 * (row[split] - whole[split]) for row in found]
            spread = f" ± {np.std(points, ddof=1):.2f}" if len(points) > 1 else ""
            cells.append(f"{split} {np.mean(points):+6.2f}{spread}")
        print(f"{variant.name:40s} | " + " | ".join(cells), flush=True)


def _read(path: Path | None) -> dict[str, dict[str, Any]]:
    if path is None or not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["key"]: row for row in rows}


if __name__ == "__main__":
    main()
