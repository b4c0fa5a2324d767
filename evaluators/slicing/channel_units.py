"""Channels that go together: which entries of which parameters each unit of a group is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """Where the units of a group lie along one axis of one parameter or buffer.

    Attributes:
        parameter: qualified name in the model, of the first owner where modules share it.
        axis: of that tensor.
        indices: for each unit, the entries that go with it; each unit has as many.
        produces: whether the entries make the unit (rows of a weight, a bias, a norm's scale), or
            read it (columns of the next layer's weight).
    """

    parameter: str
    axis: int
    indices: tuple[tuple[int, ...], ...]
    produces: bool


@dataclass(frozen=True)
class UnitGroup:
    """Units that can be removed one by one, all alike: channels, attention heads, hidden units.

    Attributes:
        name: of the first layer whose outputs they are.
        layers: weighted layers whose outputs they are, in order of execution.
        units: how many there are.
        cuts: every parameter and buffer that they go through.
        step: units are kept in multiples of it (grouped convolutions).
        reason: why they stay whole; "" where they may be removed.
    """

    name: str
    layers: tuple[str, ...]
    units: int
    cuts: tuple[Cut, ...]
    step: int = 1
    reason: str = ""
