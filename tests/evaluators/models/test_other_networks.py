"""Networks that are no image classifiers: their sizes, and what of them can be pruned."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evaluators import trace
from evaluators.models.grid_detector import GridDetector
from evaluators.models.keyword_gru import KeywordGRU
from evaluators.models.keyword_transformer import KeywordTransformer
from evaluators.models.unet import UNet
from evaluators.models.vibration_cnn import VibrationCNN
from hardware import Network, estimate, load_device
from support.tasks import build_task


def traced(model: nn.Module, shape: tuple[int, ...]) -> Network:
    return trace(build_task(model, shape))


@pytest.mark.parametrize(
    ("build", "shape", "out", "parameters", "macs"),
    [
        (GridDetector, (3, 32, 32), (7, 8, 8), 34_627, 2_260_992),
        (UNet, (3, 32, 32), (4, 32, 32), 14_812, 4_382_720),
        (KeywordTransformer, (1, 49, 10), (12,), 27_788, 1_564_864),
        (KeywordGRU, (1, 49, 10), (12,), 9_228, 409_824),
        (VibrationCNN, (1, 1024), (10,), 5_746, 154_944),
    ],
)
def test_sizes(build, shape, out, parameters: int, macs: int) -> None:
    torch.manual_seed(0)
    model = build()
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.eval()(torch.randn(2, *shape)).shape == (2, *out)
    network = traced(model, shape)
    assert estimate(network.layers, load_device("stm32l4r5")).macs == macs
    whole = [group.name for group in network.groups if not group.prunable]
    assert whole == [network.gene_layers[-1]]


def test_heads_of_the_transformer_go_as_a_whole() -> None:
    network = traced(KeywordTransformer(dim=32, heads=4), (1, 49, 10))
    (heads,) = [g for g in network.groups if g.name == "blocks.0.attention.q"]
    assert heads.channels // heads.step == 4
