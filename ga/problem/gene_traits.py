"""What a search takes for granted of the genes of one kind: where nothing is compressed, and more.

The kinds of a network's compression are known here by name, so that `ga` runs alone. Whoever has a
kind of its own hands its traits to `ga.SearchSpace`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ga.problem.sensitivities import are_ratios, removed_per_left

Array = NDArray[np.float64]

Place = Literal["low", "middle", "high", "first"]
"""A place in a gene's range: its ends, halfway between, or the first value that is listed."""

CORNERS = (
    "whole",
    "least_bits",
    "least_weight_bits",
    "half_pruned",
    "middle_weight_bits",
    "half_pruned_middle_weight_bits",
)
"""The uniform compressions to begin with, in order; a kind may name further ones."""


@dataclass(frozen=True)
class GeneTraits:
    """How a search sees one kind of gene.

    Attributes:
        neutral: where a gene of the kind changes nothing.
        corners: its place in the uniform compressions; neutral in those that are left out.
        milder: the end that compresses less, by which quality can only gain. A search that knows
            the costs passes over values that a milder one equals in all of them. None: it
            compares none.
        hardship: how hard each value is on the network, on a scale on which equal steps hurt
            about alike, increasing or decreasing as the values do; it returns None for values
            that it doesn't apply to. Without it values stand at equal distances.
    """

    neutral: Place
    corners: Mapping[str, Place] = field(default_factory=dict)
    milder: Literal["low", "high"] | None = None
    hardship: Callable[[Array], Array | None] | None = None


def _removed_channels(ratios: Array) -> Array | None:
    """How many channels are removed for each that is left."""
    return removed_per_left(ratios) if are_ratios(ratios) else None


def _removed_weights(shares: Array) -> Array | None:
    """Octaves: from half left to a quarter is as far as from all to half."""
    return np.asarray(-np.log2(1 - shares)) if are_ratios(shares) else None


def _removed_ranks(shares: Array) -> Array | None:
    """Octaves, as of weights."""
    good = (shares > 0).all() and (shares <= 1).all()
    return np.asarray(-np.log2(shares)) if good else None


def _rounding_step(bits: Array) -> Array | None:
    """The step of the rounding as a share of the range."""
    return np.asarray(2.0 ** (1 - bits)) if (bits >= 1).all() else None


BUILT_IN: Mapping[str, GeneTraits] = {
    "prune": GeneTraits(
        "low",
        {"half_pruned": "middle", "half_pruned_middle_weight_bits": "middle"},
        # Pruning always saves: there is nothing to compare.
        hardship=_removed_channels,
    ),
    "w_bits": GeneTraits(
        "high",
        {
            "least_bits": "low",
            "least_weight_bits": "low",
            "middle_weight_bits": "middle",
            "half_pruned_middle_weight_bits": "middle",
        },
        milder="high",
        hardship=_rounding_step,
    ),
    "a_bits": GeneTraits("high", {"least_bits": "low"}, milder="high", hardship=_rounding_step),
    "sparsity": GeneTraits("low", hardship=_removed_weights),
    "rank": GeneTraits("high", milder="high", hardship=_removed_ranks),
    "w_scheme": GeneTraits("first"),
    "pruner": GeneTraits("first"),
}
"""By kind: the last part of a gene's name."""
