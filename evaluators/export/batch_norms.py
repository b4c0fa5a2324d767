"""Batch-norms that become a part of the layer before them."""

from __future__ import annotations

import torch
from torch import nn

from evaluators.compression.submodules import BATCH_NORMS, replace_submodule
from evaluators.tracing.program import Operation, Program

BATCH_NORM_KINDS = ("batch_norm", "_native_batch_norm_legit_no_training")
"""ATen's names of a batch-norm in evaluation."""


def fold_terms(
    norm: nn.Module, bias: torch.Tensor | None, channels: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a norm multiplies the layer before it by, and the bias that is left, each `[C]`."""
    assert isinstance(norm, BATCH_NORMS)
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    gamma = norm.weight.detach().double() if norm.affine else torch.ones(channels).double()
    beta = norm.bias.detach().double() if norm.affine else torch.zeros(channels).double()
    gain = gamma / (var.double() + norm.eps).sqrt()
    offset = bias if bias is not None else torch.zeros(channels).double()
    return gain, (offset - mean.double()) * gain + beta


def silence(plain: nn.Module, name: str) -> None:
    """Takes a norm out; where its module does more (an activation), the rest of it stays."""
    norm = plain.get_submodule(name)
    assert isinstance(norm, BATCH_NORMS)
    if type(norm).__module__.startswith("torch.nn."):
        replace_submodule(plain, name, nn.Identity())
        return
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    norm.running_mean, norm.running_var = torch.zeros_like(mean), torch.ones_like(var)
    # Then it multiplies by exactly one, and adds nothing.
    norm.eps = 0.0
    if norm.affine:
        norm.weight = nn.Parameter(torch.ones_like(norm.weight), requires_grad=False)
        norm.bias = nn.Parameter(torch.zeros_like(norm.bias), requires_grad=False)


def is_own_norm(program: Program, operation: Operation, norm: nn.Module) -> bool:
    """Whether an operation is what a batch-norm's module says: its numbers, once."""
    if not isinstance(norm, BATCH_NORMS) or norm.running_mean is None:
        return False
    same = [o for o in program.operations if o.module == operation.module]
    names = ("weight", "bias") if norm.affine else ()
    return (
        operation.arguments.get("eps") == norm.eps
        and sum(o.kind in BATCH_NORM_KINDS for o in same) == 1
        and all(
            program.parameter(operation.value(name)) == f"{operation.module}.{name}".lstrip(".")
            for name in (*names, "running_mean", "running_var")
        )
    )
