"""Zero-shot proxies against closed forms."""

from __future__ import annotations

import math

import torch
from torch import nn

from benchmarks.supernet.proxies import PROXIES, jacob_cov, synflow


def test_flow_is_the_product_of_magnitudes() -> None:
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.5, -1.0]]))
        model[1].weight.copy_(torch.tensor([[-2.0, 4.0]]))
    # 2 (1 + 2 + 3) + 4 (0.5 + 0.5 + 1) = 20 passes through each of the two layers.
    assert math.isclose(synflow(model, torch.zeros(5, 3)), math.log(40.0))
    assert float(model[0].weight.detach().min()) == -2.0


def test_samples_that_meet_a_network_alike_count_less() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 6)
    linear = nn.Sequential(nn.Linear(6, 4))
    bent = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 4))
    assert jacob_cov(bent, x) > jacob_cov(linear, x)
    assert PROXIES["parameters"](linear, x) == 28.0
