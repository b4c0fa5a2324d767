"""What a quantization-aware training step costs against a float one, ours and NNI's own.

Run: python -m benchmarks.compression.step_ratio
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators import nni_imports
from evaluators.compression.decisions import Bits
from evaluators.compression.qat import FakeQuantizer, quantization_config
from evaluators.compression.submodules import WEIGHTED
from evaluators.models.digits_net import DigitsNet
from evaluators.models.ds_cnn import DSCNN
from evaluators.models.resnet import resnet8
from evaluators.training import channels_last


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    return {
        "ds_cnn": (DSCNN(12), torch.randn(100, 1, 49, 10)),
        "resnet8": (resnet8(), torch.randn(64, 3, 32, 32)),
        "digits": (DigitsNet(), torch.randn(64, 1, 8, 8)),
    }


def evaluator(model: nn.Module) -> Any:
    adam = nni_imports.import_nni().trace(torch.optim.Adam)(model.parameters(), lr=1e-4)
    return nni_imports.nni_utils().TorchEvaluator(lambda *_: None, adam, lambda *_: None)


def step_seconds(model: nn.Module, x: Tensor, y: Tensor, repeats: int) -> float:
    """Median CPU seconds of forward, backward and update."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    model.train()
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("net      float ms  ours  NNI's own   (step / float step, median of rounds)")
    for name, (model, x) in networks().items():
        y = torch.randint(0, 10, (len(x),))
        channels_last(model, (x,))
        rows = []
        for _ in range(args.rounds):
            plain, ours, stock = (copy.deepcopy(model) for _ in range(3))
            bits = {n: Bits(8, 8) for n, m in model.named_modules() if isinstance(m, WEIGHTED)}
            FakeQuantizer(ours, bits, evaluator(ours)).calibrate([(x, y)])
            config = quantization_config(stock, bits, learned=False)
            nni_imports.nni_quantization().QATQuantizer(stock, config, evaluator(stock))
            rows.append([step_seconds(m, x, y, args.repeats) for m in (plain, ours, stock)])
        base = statistics.median(r[0] for r in rows)
        ratios = [statistics.median(r[i] / r[0] for r in rows) for i in (1, 2)]
        print(f"{name:8s} {1e3 * base:8.1f}  {ratios[0]:4.2f}  {ratios[1]:4.2f}", flush=True)


if __name__ == "__main__":
    main()
