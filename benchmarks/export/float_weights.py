"""Which float weights belong into `model_float.onnx`: the rounded ones, or those behind them?

    python -m benchmarks.export.float_weights

Digits, a quarter of all channels pruned, four epochs, three seeds. Accuracy on test of the
evaluated network; then of each float network: as it is, and with its weights rounded again as
tools that quantize by themselves do it, to int8 with a scale per channel, and to int8 with a power
of two per tensor (ESP-DL).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from evaluators import Task, evaluate, load_task, trace
from evaluators.compression.qat import FakeQuantizer
from evaluators.compression.quantization import strip
from evaluators.training import accuracy, predict

DEVICE = "stm32l4r5"
EPOCHS, SEEDS, LARGEST = 4, (0, 1, 2), 127


def per_channel(weight: Tensor) -> Tensor:
    """Rounded to int8, a scale for each output channel."""
    scale = weight.abs().reshape(len(weight), -1).amax(1).clamp(min=1e-12) / LARGEST
    scale = scale.reshape(-1, *[1] * (weight.dim() - 1))
    return (weight / scale).round() * scale


def power_of_two(weight: Tensor) -> Tensor:
    """Rounded to int8, one power of two as the scale."""
    scale = torch.exp2(torch.ceil(torch.log2(weight.abs().max() / LARGEST)))
    return (weight / scale).round() * scale


def scores(model: nn.Module, task: Task) -> str:
    """Accuracies as it is, and rounded in both ways."""
    found = []
    rounding: list[Callable[[Tensor], Tensor]] = [lambda w: w, per_channel, power_of_two]
    for again in rounding:
        other = copy.deepcopy(model)
        for module in other.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight.data = again(module.weight.data)
        found.append(f"{accuracy(*predict(other, task.test)):.4f}")
    return " | ".join(found)


def main() -> None:
    """Print a row for each width and seed."""
    torch.set_num_threads(1)
    task = load_task("evaluators.tasks.digits:build")
    network = trace(task)
    kept: dict[str, Tensor] = {}
    bake = FakeQuantizer.bake

    def keep(quantizer: FakeQuantizer) -> Any:
        kept.update(quantizer.float_weights())
        return bake(quantizer)

    print(
        "| bits | seed | evaluated | rounded | int8 | power of two | behind | int8 | power of two |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for bits in (8, 4, 2):
        params = {f"{layer.name}.w_bits": bits for layer in network.layers if layer.is_weighted}
        pruned = {f"{group.name}.prune": 0.25 for group in network.groups if group.prunable}
        for seed in SEEDS:
            with mock.patch.object(FakeQuantizer, "bake", keep):
                result = evaluate(
                    task, params | pruned, device=DEVICE, network=network, epochs=EPOCHS, seed=seed
                )
            rounded = strip(result.model)
            behind = copy.deepcopy(rounded)
            behind.load_state_dict({**rounded.state_dict(), **kept})
            value = accuracy(*predict(result.model, task.test))
            print(
                f"| {bits} | {seed} | {value:.4f} | {scores(rounded, task)} "
                f"| {scores(behind, task)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
