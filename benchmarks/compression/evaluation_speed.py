"""Seconds that a quantized ResNet-8 takes for 5,000 CIFAR-10-sized images on one thread.

Run: python -m benchmarks.compression.evaluation_speed
"""

from __future__ import annotations

import resource
import time

import torch

from evaluators.compression.fake_quantize import affine_grid, round_weights
from evaluators.compression.qat import input_ranges
from evaluators.compression.quantization import InputQuantization, quantize_input
from evaluators.compression.submodules import WEIGHTED
from evaluators.models.resnet import resnet8
from evaluators.training import channels_last, predict


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = torch.randn(5000, 3, 32, 32), torch.zeros(5000, dtype=torch.int64)
    batches = [(a, b) for a, b in zip(x.split(128), y.split(128), strict=True)]
    model = resnet8().eval()
    channels_last(model, (x[:2],))
    names = [name for name, module in model.named_modules() if isinstance(module, WEIGHTED)]
    ranges = input_ranges(model, names, batches[:1])
    for kind in ("float", "w8a8"):
        if kind == "w8a8":
            for name in names:
                module = model.get_submodule(name)
                module.weight.data.copy_(round_weights(module, 8))
                grid = affine_grid(*ranges[name], 8)
                quantize_input(model, name, InputQuantization(*grid, 8))
        predict(model, batches[:2])
        spent = []
        for _ in range(3):
            start = time.process_time()
            predict(model, batches)
            spent.append(time.process_time() - start)
        print(f"{kind}: {min(spent):.2f} to {max(spent):.2f} CPU s for 5,000 images", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
