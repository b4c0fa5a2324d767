"""Zero-shot proxies: what an untrained look at a network says of its accuracy, as an order only."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

_LEAST = 1e-5
"""Added to eigenvalues, as in the first version of arXiv:2006.04647."""


def synflow(model: nn.Module, inputs: Tensor) -> float:
    """Logarithm of the flow through all weights' magnitudes (Tanaka et al., arXiv:2006.05467).

    Args:
        model: in eval mode; left as it is.
        inputs: (N, ...), for their shape.
    """
    model = copy.deepcopy(model).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    model.requires_grad_(True)
    ones = torch.ones_like(inputs[:1], dtype=torch.float64)
    torch.autograd.backward(model(ones).sum())
    trained = [p for p in model.parameters() if p.grad is not None]
    flow = sum(float((p.detach() * p.grad).abs().sum()) for p in trained)
    return float(np.log(max(flow, 1e-300)))


def jacob_cov(model: nn.Module, inputs: Tensor) -> float:
    """How differently the samples of a batch meet the network (Mellor et al., arXiv:2006.04647).

    Args:
        model: in eval mode; left as it is.
        inputs: (N, ...), the samples.
    """
    model = copy.deepcopy(model)
    x = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    correlation = np.nan_to_num(np.corrcoef(gradient.flatten(1).double().numpy()))
    values = np.linalg.eigvalsh(correlation).clip(min=0.0) + _LEAST
    return float(-np.sum(np.log(values) + 1.0 / values))


PROXIES: dict[str, Callable[[nn.Module, Tensor], float]] = {
    "synflow": synflow,
    "jacob_cov": jacob_cov,
    "parameters": lambda model, _: float(sum(p.numel() for p in model.parameters())),
}
"""By the names of their rows."""
