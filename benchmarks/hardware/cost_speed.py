"""How long the costs of a chromosome take, for every shipped network.

`python benchmarks/hardware/cost_speed.py`

Random chromosomes of each search space, all distinct. "first" are those that a new cost function
meets first, "then" is its speed after a few thousand; "estimate" applies the chromosome and adds
everything up anew, as a trial does, and must give the same numbers to the last digit.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hardware import CostFunction, Device, Network, cost_function, estimate, load_device

CONFIGS = Path(__file__).parents[2] / "experiment_configs"
FIRST, THEN = 50, 2000


def chromosome(network: Network, rng: random.Random) -> dict[str, Any]:
    params: dict[str, Any] = {
        f"{g.name}.prune": rng.choice((0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75))
        for g in network.groups
        if g.prunable
    }
    for name in network.gene_layers:
        params[f"{name}.w_bits"] = rng.choice((2, 4, 8))
        params[f"{name}.a_bits"] = rng.choice((4, 8))
    return params


Members = Sequence[dict[str, Any]]


def milliseconds(run: Callable[[Members], object], members: Members) -> float:
    """Processor time of one chromosome."""
    start = time.process_time()
    run(members)
    return 1e3 * (time.process_time() - start) / len(members)


def _one_by_one(costs: CostFunction, members: Members) -> list[dict[str, float]]:
    return [costs(params) for params in members]


def _anew(network: Network, device: Device, members: Members) -> list[dict[str, float]]:
    return [estimate(network.apply(params), device).as_dict() for params in members]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="stm32f746")
    device = load_device(parser.parse_args().device)
    print(f"ms of processor time per chromosome on {device.id}")
    print("| network | layers | genes | estimate | first | then | batch | batch is faster |")
    print("|---|---|---|---|---|---|---|---|")
    same = True
    for path in sorted(CONFIGS.glob("*.network.json")):
        network, rng = Network.load(path), random.Random(0)
        costs = cost_function(network, device)
        members = [chromosome(network, rng) for _ in range(FIRST + THEN)]
        early, late = members[:FIRST], members[FIRST:]
        one_by_one = partial(_one_by_one, costs)
        first = milliseconds(one_by_one, early)
        costs.batch(late)
        single = milliseconds(one_by_one, late)
        batch = milliseconds(costs.batch, late)
        anew = milliseconds(partial(_anew, network, device), early)
        same &= _anew(network, device, early) == costs.batch(early) == one_by_one(early)
        print(
            f"| {path.name.split('.')[0]} | {len(network.layers)} | {len(members[0])} | "
            f"{anew:.2f} | {first:.2f} | {single:.2f} | {batch:.2f} | {single / batch:.1f} x |"
        )
    print("equal to the last digit" if same else "NOT EQUAL")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
