"""Operators that torch's ONNX exporter has no form for, by others for which it has."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class OwnForms(TorchFunctionMode):
    """Lets a model that is run in the block, to be traced, call other operators instead."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Runs a call of torch's, or what stands for it."""
        return _FORMS.get(func, func)(*args, **(kwargs or {}))


def _rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    smallest = torch.finfo(input.dtype).eps if eps is None else eps
    scaled = input / (input * input).mean(axes, keepdim=True).add(smallest).sqrt()
    return scaled if weight is None else scaled * weight


def _channel_shuffle(input: Tensor, groups: int) -> Tensor:
    split = input.reshape(-1, groups, input.shape[1] // groups, *input.shape[2:])
    return split.transpose(1, 2).flatten(1, 2)


def _adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    (width,) = [output_size] if isinstance(output_size, int) else output_size
    if int(input.shape[-1]) % width == 0:
        return functional.adaptive_avg_pool1d(input, width)
    return input @ _tiles(int(input.shape[-1]), width).T


def _adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """Means over tiles that may overlap: a matrix for each axis."""
    sizes = [int(n) for n in input.shape[-2:]]
    given = [output_size] * 2 if isinstance(output_size, int) else list(output_size)
    height, width = (
        n if wanted is None else wanted for n, wanted in zip(sizes, given, strict=True)
    )
    if sizes[0] % height == sizes[1] % width == 0:
        return functional.adaptive_avg_pool2d(input, (height, width))
    return _tiles(sizes[0], height) @ input @ _tiles(sizes[1], width).T


def _interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Areas are means over tiles; torch's own function would call them out of our sight."""
    if mode == "area" and size is not None and input.dim() in (3, 4):
        pool = _adaptive_avg_pool1d if input.dim() == 3 else _adaptive_avg_pool2d
        return pool(input, size)
    return functional.interpolate(
        input,
        size,
        scale_factor,
        mode,
        align_corners,
        recompute_scale_factor,
        antialias,
    )


def _tiles(size: int, outputs: int) -> Tensor:
    """(outputs, size): weights of the mean of each tile, as torch cuts them."""
    found = torch.zeros(outputs, size)
    for i in range(outputs):
        start, end = i * size // outputs, -(-(i + 1) * size // outputs)
        found[i, start:end] = 1 / (end - start)
    # Traced as numbers, not as what made them.
    return torch.tensor(found.tolist())


def _unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    # Torch's own form is wrong for a dimension that is counted from the end.
    return Tensor.unfold(input, dimension % input.dim(), size, step)


def _diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    parts = [x for x in (prepend, input, append) if x is not None]
    found = torch.cat(parts, dim) if len(parts) > 1 else input
    for _ in range(n):
        size = int(found.shape[dim])
        later, earlier = found.narrow(dim, 1, size - 1), found.narrow(dim, 0, size - 1)
        found = later ^ earlier if found.dtype == torch.bool else later - earlier
    return found


def _cumsum(input: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    # ONNX adds no truth values.
    numbers = input.to(torch.int64) if input.dtype == torch.bool else input
    return torch.cumsum(numbers, dim, dtype=dtype)


def _expm1(input: Tensor) -> Tensor:
    return input.exp() - 1.0


def _exp2(input: Tensor) -> Tensor:
    return (input * math.log(2.0)).exp()


_FORMS: dict[Callable[..., object], Callable[..., object]] = {
    torch.rms_norm: _rms_norm,
    functional.rms_norm: _rms_norm,
    torch.channel_shuffle: _channel_shuffle,
    torch.native_channel_shuffle: _channel_shuffle,
    functional.channel_shuffle: _channel_shuffle,
    functional.adaptive_avg_pool1d: _adaptive_avg_pool1d,
    functional.adaptive_avg_pool2d: _adaptive_avg_pool2d,
    functional.interpolate: _interpolate,
    Tensor.unfold: _unfold,
    torch.diff: _diff,
    Tensor.diff: _diff,
    torch.cumsum: _cumsum,
    Tensor.cumsum: _cumsum,
    torch.expm1: _expm1,
    torch.special.expm1: _expm1,
    Tensor.expm1: _expm1,
    torch.exp2: _exp2,
    torch.special.exp2: _exp2,
    Tensor.exp2: _exp2,
}
