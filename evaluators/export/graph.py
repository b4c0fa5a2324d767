"""The folded network as a graph of the few operators that the integer kernels know.

Shapes are (height, width, channels), as the kernels store them; (C,) is (1, 1, C) and (C, L) is
(1, L, C).
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from evaluators.pytree import children, is_tensor
from evaluators.tracing.program import Value

Shape = tuple[int, int, int]


class UnsupportedNetworkError(ValueError):
    """The network has an operator that the integer kernels do not know."""


@dataclass(frozen=True)
class Window:
    """Geometry of a convolution or pool; each pair is (vertical, horizontal).

    `padding` is what stands before the first row and column; what stands behind the last
    follows from the output's shape.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True, eq=False)
class Node:
    """One operator.

    Attributes:
        name: unique.
        op: input, conv (linear too), add, concat, clamp, round, max_pool, avg_pool, reshape or
            output.
        inputs: names of the producing nodes.
        shape: of the output.
        layer: conv, round: name of its module.
        groups: conv: number of groups.
        window: conv and pools.
        bounds: clamp: lowest and highest real value.
        order: conv: torch's column of each input element, where a flatten changed the order.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: Shape
    layer: str = ""
    groups: int = 1
    window: Window = Window()
    bounds: tuple[float, float] = (-math.inf, math.inf)
    order: npt.NDArray[np.int64] | None = None


def output_names(output: object) -> tuple[str, ...]:
    """Names of the tensors among a network's outputs, in order, fit for identifiers of C.

    They are keys of dicts and places in tuples, as in `cls`, `boxes_0`. The tensor of a network
    that gives no more than that has none: ``("",)``.

    Args:
        output: nested as the network gives it.

    Raises:
        UnsupportedNetworkError: it is nested in something else, such as a dataclass.
    """
    found = [_identifier(path) for path in _paths(output)]
    for i, name in enumerate(found):
        while name in found[:i]:
            name = found[i] = f"{name}_"
    return tuple(found)


def _paths(output: object) -> list[tuple[str, ...]]:
    if is_tensor(output):
        return [()]
    if type(output) not in (dict, OrderedDict, tuple, list):
        raise UnsupportedNetworkError(f"the network returns a {type(output).__name__}")
    return [(key, *rest) for key, child in children(output) or () for rest in _paths(child)]


def _identifier(path: Sequence[str]) -> str:
    if not path:
        return ""
    return re.sub("[^a-z0-9]+", "_", "_".join(path).lower()).strip("_") or "unnamed"


def shape_of(value: Value, where: str) -> Shape:
    """The stored shape of a value.

    Raises:
        UnsupportedNetworkError: it has no axis beside the batch, or more than three.
    """
    sizes = value.shape[1:]
    if not 1 <= len(sizes) <= 3:
        raise UnsupportedNetworkError(f"tensor of shape {sizes} at {where!r}")
    if value.dtype != torch.float32:
        raise UnsupportedNetworkError(f"tensor of {value.dtype} at {where!r}")
    if len(sizes) == 1:
        return (1, 1, sizes[0])
    return (1, sizes[1], sizes[0]) if len(sizes) == 2 else (sizes[1], sizes[2], sizes[0])


def sizes(value: object, dims: int) -> tuple[int, ...]:
    """An argument that is a number for each axis, or one for all."""
    values = [int(v) for v in value] if isinstance(value, (tuple, list)) else [int(str(value))]
    return tuple(values * dims if len(values) == 1 else values)


def pair(values: tuple[int, ...], missing: int) -> tuple[int, int]:
    """(vertical, horizontal); one spatial dimension is the width."""
    return (missing, values[0]) if len(values) == 1 else (values[0], values[1])
