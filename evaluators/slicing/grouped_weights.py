"""The weight of a grouped convolution, seen by the channels that lie across its groups."""

from __future__ import annotations

from torch import Tensor


def by_channel(weight: Tensor, groups: int) -> Tensor:
    """A weight with the channels of its second axis first, those of all groups.

    Args:
        weight: ``(a, b / groups, ...)``: a convolution's outputs and inputs, or a transposed
            one's inputs and outputs.
        groups: of the convolution.

    Returns:
        ``(b, a / groups, ...)``.
    """
    rows, columns, *rest = weight.shape
    split = weight.reshape(groups, rows // groups, columns, *rest)
    return split.transpose(1, 2).reshape(groups * columns, rows // groups, *rest)


def from_channels(spread: Tensor, groups: int) -> Tensor:
    """The weight that `by_channel` spread, with as many channels as are left.

    Args:
        spread: ``(b, a / groups, ...)``.
        groups: of the convolution.

    Returns:
        ``(a, b / groups, ...)``.
    """
    return by_channel(spread, groups)
