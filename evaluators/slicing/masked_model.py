"""The reference that a thinner model is compared with: the whole model without a trace of units.

Everything that reads a removed unit reads it with weight zero, and what the unit computes stays
unread, whatever the activations make of it. So the whole model's outputs are those of the thinner
one, but for operations that mix units without weights. Of these a norm over the units is defined by
the units that are there: modules that own a parameter of a group take their means and deviations
over the others. All else that mixes units (a mean over channels, a softmax) is left alone, and
shows as a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from evaluators.slicing.channel_units import UnitGroup
from evaluators.slicing.grouped_weights import by_channel, from_channels
from evaluators.slicing.module_sizes import refresh_flat_weights
from evaluators.slicing.remove_units import Place, Places, put
from evaluators.slicing.weight_norms import copied, fuse_weight_norms

_REDUCTIONS = frozenset(
    ("mean", "var", "std", "sum", "norm", "var_mean", "std_mean", "vector_norm")
)


def masked_outputs(
    model: nn.Module,
    inputs: tuple[object, ...],
    keywords: Mapping[str, object],
    groups: Sequence[UnitGroup],
    removed: Mapping[str, Collection[int]],
) -> object:
    """What the whole model answers when nothing hears the removed units.

    Args:
        model: whole; left as it is.
        inputs: by position.
        keywords: inputs by name.
        groups: of the model.
        removed: units by group.
    """
    masked = copied(model, shared=True).eval()
    fuse_weight_norms(masked)
    places = Places(masked)
    gone = _entries(places, groups, removed)
    with torch.no_grad():
        # Rows of a matrix may be columns elsewhere, where one matrix is used twice.
        silent = [g for g in gone if not g[1] or places.known(g[0]).tensor.dim() > 1]
        for name in {g[0] for g in silent}:
            place = places.known(name)
            put(place, _zeroed(place, [(axis, lost) for n, _, axis, lost in silent if n == name]))
        for module in masked.modules():
            if isinstance(module, nn.RNNBase):
                refresh_flat_weights(module)
        with _NormsWithout(masked, places, gone):
            return masked(*inputs, **keywords)


_Gone = list[tuple[str, bool, int, set[int]]]


def _entries(
    places: Places, groups: Sequence[UnitGroup], removed: Mapping[str, Collection[int]]
) -> _Gone:
    found: _Gone = []
    for group in groups:
        units = removed.get(group.name, ())
        if not units:
            continue
        for cut in group.cuts:
            place = places.find(cut.parameter)
            if place is not None:
                entries = {i for unit in units for i in cut.indices[unit]}
                axis = -1 if place.is_grouped(cut) else cut.axis
                found.append((place.name, cut.produces, axis, entries))
    return found


def _zeroed(place: Place, lost: Sequence[tuple[int, set[int]]]) -> Tensor:
    """A tensor without entries; axis -1 counts the channels of all groups of a convolution."""
    values, groups = place.tensor.detach().clone(), place.channel_groups
    for axis, entries in lost:
        gone = torch.tensor(sorted(entries), device=values.device)
        if axis == -1:
            spread = by_channel(values, groups).index_fill(0, gone, 0)
            values = from_channels(spread, groups)
        else:
            values.index_fill_(axis, gone, 0)
    return values


class _NormsWithout(TorchFunctionMode):
    """Norms over units that are not all there."""

    def __init__(self, model: nn.Module, places: Places, gone: _Gone) -> None:
        super().__init__()
        self.alive: dict[int, Tensor] = {}
        self.stack: list[Tensor | None] = []
        for name, produces, axis, entries in gone:
            if not produces or axis < 0:
                continue
            place = places.known(name)
            size = place.tensor.shape[axis]
            for module, _ in place.owners:
                # A norm has one number for each unit and no other, and no modules inside.
                if all(p.numel() == size for p in module.parameters()):
                    alive = self.alive.setdefault(id(module), torch.ones(size, dtype=torch.bool))
                    alive[sorted(entries)] = False
        for module in model.modules():
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(self._leave)

    def _enter(self, module: nn.Module, _: object) -> None:
        self.stack.append(self.alive.get(id(module)))

    def _leave(self, *_: object) -> None:
        self.stack.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        alive = self.stack[-1] if self.stack else None
        if alive is None:
            return func(*args, **kwargs)
        if func is functional.layer_norm:
            return _layer_norm(alive, *args, **kwargs)
        if func is functional.rms_norm:
            return _rms_norm(alive, *args, **kwargs)
        if func is functional.group_norm:
            return _group_norm(alive, *args, **kwargs)
        if getattr(func, "__name__", "") in _REDUCTIONS:
            dims = kwargs.get("dim", args[1] if len(args) > 1 else None)
            args = (_only(args[0], alive, dims), *args[1:])
        return func(*args, **kwargs)


def _only(x: Tensor, alive: Tensor, dims: object) -> Tensor:
    """A tensor without dead units, where a reduction goes over them."""
    dims = dims if isinstance(dims, (tuple, list)) else (dims,)
    for dim in dims:
        if isinstance(dim, int) and x.shape[dim] == len(alive):
            x = x.index_select(dim, torch.nonzero(alive).flatten().to(x.device))
    return x


def _layer_norm(
    alive: Tensor,
    input: Tensor,
    normalized_shape: object,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    if input.shape[-1] != len(alive):
        return functional.layer_norm(input, normalized_shape, weight, bias, eps)  # type: ignore[arg-type]  # as the caller gave it
    left = torch.nonzero(alive).flatten().to(input.device)
    found = functional.layer_norm(
        input[..., left],
        (len(left),),
        None if weight is None else weight[left],
        None if bias is None else bias[left],
        eps,
    )
    return torch.zeros_like(input).index_copy(-1, left, found)


def _rms_norm(
    alive: Tensor,
    input: Tensor,
    normalized_shape: object,
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    left = torch.nonzero(alive).flatten().to(input.device)
    found = functional.rms_norm(
        input[..., left], (len(left),), None if weight is None else weight[left], eps
    )
    return torch.zeros_like(input).index_copy(-1, left, found)


def _group_norm(
    alive: Tensor,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    size = len(alive) // num_groups
    counts = [int(alive[g * size : (g + 1) * size].sum()) for g in range(num_groups)]
    counts = [n for n in counts if n]
    left = torch.nonzero(alive).flatten().to(input.device)
    if len(set(counts)) != 1:
        return functional.group_norm(input, num_groups, weight, bias, eps)
    found = functional.group_norm(
        input[:, left],
        len(counts),
        None if weight is None else weight[left],
        None if bias is None else bias[left],
        eps,
    )
    return torch.zeros_like(input).index_copy(1, left, found)
