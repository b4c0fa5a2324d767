"""The whole network with the removed channels' weights zeroed: what a pruned one must compute.

It knows nothing of how channels run through a network. What was removed is read from the pruned
network's own tensors: all weights of a network of the sweep differ (`zoo.settle`), so each number
that is left leads back to its place in the whole tensor. There, the weights that a kept output
channel no longer reads are set to zero. A layer or group norm works on the channels that are left.
Cut through another tensor than the one that made the channel, or at another index, and the two
networks differ.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves

READERS = (
    nn.modules.conv._ConvNd,
    nn.Linear,
    nn.RNNBase,
    nn.MultiheadAttention,
    nn.Bilinear,
)
"""Modules whose matrices read channels; other tensors scale, shift or hold them."""


class NotFoundError(ValueError):
    """A number of the pruned network is not in the whole one, so the two can't be compared."""


def masked(whole: nn.Module, pruned: nn.Module) -> nn.Module:
    """A copy of the whole network without the weights that the pruned one doesn't read.

    Raises:
        NotFoundError: a weight of the pruned network is not the whole one's.
    """
    copied = plain_weights(copy.deepcopy(whole))
    left = dict(pruned.named_parameters(remove_duplicate=False))
    _mask_norms(copied, pruned)
    for name, parameter, axis in _matrices(copied):
        other = left.get(name)
        if other is None:
            raise NotFoundError(f"the pruned network has no parameter '{name}'")
        if other.shape != parameter.shape:
            parameter.data.mul_(_read(parameter.data, other.data, axis, name))
    return copied


def plain_weights(model: nn.Module) -> nn.Module:
    """The model with plain tensors in place of weights that are computed at each call."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            # torch's own removal takes the weight from the class, which copies of a model share.
            names = list(module.parametrizations)  # type: ignore[union-attr,arg-type]  # a ModuleDict
            values = {name: getattr(module, name).detach().clone() for name in names}
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value))
        elif hasattr(module, "weight_g"):
            nn.utils.remove_weight_norm(module)
    return model


class _NormOfKept(nn.Module):
    """A norm over the channels that are left, in place of them in the whole tensor."""

    def __init__(self, norm: nn.Module, kept: Tensor, channels: int, first: bool) -> None:
        super().__init__()
        self.norm, self.kept, self.channels, self.first = norm, kept, channels, first

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normed kept channels, and zeros."""
        axis = 1 if self.first or x.shape[-1] != self.channels else x.dim() - 1
        out = torch.zeros_like(x)
        out.index_copy_(axis, self.kept, self.norm(x.index_select(axis, self.kept)))
        return out


def _mask_norms(whole: nn.Module, pruned: nn.Module) -> None:
    """Lets norms over channels see those alone that are left; batch norms work on each alone."""
    left = dict(pruned.named_modules(remove_duplicate=False))
    for name, module in list(whole.named_modules()):
        weight = getattr(module, "weight", None)
        kind = type(module).__name__
        if not isinstance(weight, Tensor) or "Norm" not in kind or weight.dim() != 1:
            continue
        if isinstance(module, nn.modules.batchnorm._NormBase) or name not in left:
            continue
        other = left[name].weight
        if isinstance(other, Tensor) and other.numel() < weight.numel():
            kept = _places(weight.data, other.data, name)
            first = isinstance(module, nn.GroupNorm) or "2d" in kind
            first |= getattr(module, "data_format", "") == "channels_first"
            parent, _, own = name.rpartition(".")
            norm = _NormOfKept(copy.deepcopy(left[name]), kept, weight.numel(), first)
            setattr(whole.get_submodule(parent), own, norm)


def _matrices(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, int]]:
    """Name, tensor and the axis of its output channels."""
    for prefix, module in model.named_modules():
        # The linear layers of transformers' GPT-2 have their weights transposed.
        rows_first = type(module).__name__ == "Conv1D" and hasattr(module, "nf")
        if not isinstance(module, READERS) and not rows_first:
            continue
        axis = 1 if getattr(module, "transposed", False) or rows_first else 0
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() > 1:
                yield f"{prefix}.{name}" if prefix else name, parameter, axis


def _read(whole: Tensor, pruned: Tensor, axis: int, name: str) -> Tensor:
    """1 for weights that are left and for those of removed outputs, else 0."""
    kept = torch.zeros(whole.numel(), dtype=torch.bool)
    kept[_places(whole, pruned, name)] = True
    kept = kept.reshape(whole.shape).transpose(0, axis)
    outputs = kept.flatten(1).any(1)
    kept[~outputs] = True
    return kept.transpose(0, axis).to(whole.dtype)


def _places(whole: Tensor, pruned: Tensor, name: str) -> Tensor:
    """Where each number of the pruned tensor stands in the whole one, both flattened."""
    values, order = whole.flatten().sort()
    wanted = pruned.flatten().contiguous()
    at = torch.searchsorted(values, wanted).clamp(max=values.numel() - 1)
    if not torch.equal(values[at], wanted):
        raise NotFoundError(f"'{name}' of the pruned network holds numbers of another tensor")
    return order[at]


def flat(outputs: object) -> Tensor:
    """All floating-point outputs as one vector."""
    found = [x.flatten() for x in tree_leaves(_plain(outputs)) if isinstance(x, Tensor)]
    found = [x.double() for x in found if x.is_floating_point()]
    if not found:
        raise ValueError(f"the network puts out no tensor but {type(outputs).__name__}")
    return torch.cat(found)


def _plain(outputs: object) -> object:
    """The same without classes of their own, such as those of transformers."""
    if isinstance(outputs, dict):
        return [_plain(outputs[key]) for key in outputs]
    if isinstance(outputs, (tuple, list)):
        return [_plain(x) for x in outputs]
    return outputs


def gap(a: Tensor, b: Tensor) -> float:
    """Largest difference as a share of the largest number; infinite for different lengths."""
    if a.shape != b.shape:
        return float("inf")
    return float((a - b).abs().max() / (a.abs().max() + 1e-30))


def comparison(whole: nn.Module, pruned: nn.Module, inputs: Tensor) -> tuple[float, float]:
    """How far the pruned network is from the masked one, and the masked one from the whole.

    The second figure says whether the first means something. Computed in double precision where
    the networks take it.

    Raises:
        NotFoundError: as `masked`.
    """
    reference = masked(whole, pruned)
    networks = [copy.deepcopy(m).eval() for m in (whole, reference, pruned)]
    with torch.no_grad():
        try:
            x = inputs.double() if inputs.is_floating_point() else inputs
            a, b, c = [flat(m.double()(x)) for m in networks]
        except (RuntimeError, TypeError):
            a, b, c = [flat(m.float()(inputs)) for m in networks]
    return gap(b, c), gap(a, b)
