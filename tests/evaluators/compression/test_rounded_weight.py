"""Layers that NNI's quantizers don't know: recurrent ones, embeddings, subclasses of torch's."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evaluators import nni_imports
from evaluators.compression.decisions import Bits
from evaluators.compression.qat import FakeQuantizer
from evaluators.compression.quantization import strip
from evaluators.compression.rounded_weight import quantized_weights


class SamePadded(nn.Conv1d):
    """A subclass under a name of its own, as packages of models have them."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(input, (1, 1)))


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30, 6)
        self.mix = SamePadded(6, 8, 3)
        self.memory = nn.LSTM(8, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.last = nn.GRU(10, 4, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.mix(self.words(tokens).transpose(1, 2)).relu().transpose(1, 2)
        return self.last(self.memory(x)[0], torch.zeros(1, len(tokens), 4))[0].mean(1)


NAMES = ("words", "mix", "memory", "last")
TOKENS = torch.randint(0, 30, (8, 7), generator=torch.Generator().manual_seed(0))
TARGETS = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))


def quantized(model: nn.Module, bits: int, steps: int) -> Any:
    """A model through NNI's quantizer, with a step of training for each of `steps`."""
    batches = [(TOKENS, TARGETS)]

    def train(model: nn.Module, optimizer: Any, step: Any, *_: object, **__: object) -> None:
        quantizer.calibrate(batches)
        for _ in range(steps):
            optimizer.zero_grad()
            step(batches[0], model).backward()
            optimizer.step()

    adam = nni_imports.import_nni().trace(torch.optim.Adam)(model.parameters(), lr=1e-2)
    evaluator = nni_imports.nni_utils().TorchEvaluator(
        train, adam, lambda batch, m: (m(batch[0]) - batch[1]).square().mean()
    )
    each = {name: Bits(bits, 32 if name == "words" else 8) for name in NAMES}
    quantizer = FakeQuantizer(model, each, evaluator)
    quantizer.compress(steps)
    with torch.no_grad():
        simulated = model.eval()(TOKENS)
    baked, calibration = quantizer.bake()
    with torch.no_grad():
        assert torch.equal(baked(TOKENS), simulated)
    return baked, calibration


@pytest.mark.parametrize(("bits", "most"), [(8, 0.05), (4, 0.6)])
def test_each_matrix_is_rounded_by_rows(bits: int, most: float) -> None:
    torch.manual_seed(0)
    model = Tagger().eval()
    with torch.no_grad():
        before = model(TOKENS)
    names = {name for name, _ in model.named_parameters()}
    baked, calibration = quantized(model, bits, steps=0)
    assert {name for name, _ in strip(baked).named_parameters()} == names
    with torch.no_grad():
        after = pickle.loads(pickle.dumps(baked))(TOKENS)
    assert 0 < float((after - before).abs().max()) < most * float(before.abs().max())
    for name in NAMES:
        module = strip(baked).get_submodule(name)
        for part in quantized_weights(module):
            for row in module.get_parameter(part):
                assert len(row.unique()) <= 2**bits
    grids = dict(calibration["memory"].matrices)
    assert {f"memory.{name}" for name in grids} == {
        name for name in names if name.startswith("memory.weight")
    }
    weight = strip(baked).memory.weight_hh_l1
    steps = weight / grids["weight_hh_l1"].scale[:, None]
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert calibration["memory"].weight is None
    assert calibration["words"].input is None


@pytest.mark.parametrize("bits", [3, 8])
def test_training_moves_the_weights_through_the_rounding(bits: int) -> None:
    torch.manual_seed(0)
    model = Tagger()
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    baked, _ = quantized(model, bits, steps=12)
    with torch.no_grad():
        trained = (baked(TOKENS) - TARGETS).square().mean()
        torch.manual_seed(0)
        untrained = (quantized(Tagger(), bits, steps=0)[0](TOKENS) - TARGETS).square().mean()
    assert trained < 0.9 * untrained
    moved = dict(strip(baked).named_parameters())
    assert not torch.equal(moved["memory.weight_hh_l0"], start["memory.weight_hh_l0"])
