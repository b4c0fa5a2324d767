"""What a kind of gene is, and the register of all kinds.

A kind is one file with one `GeneKind` and one `register`. The network, its costs, the search
space, the search itself, tables and the live page, and the trial ask the register what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hardware.ir.layer import Layer, is_number

Params = Mapping[str, object]
"""A chromosome: the parameters of a trial by the names of their genes."""

Scope = Literal["network", "group", "layer", "matrix"]
"""What carries a gene: the network, each channel group, each layer with weights, or each of those
that can be factorized."""

LARGE = 1024
"""Weights from which on a layer is worth a gene that thins it out: a choice; below, there is
little to save."""


@dataclass(frozen=True)
class Place:
    """Where a space may offer a gene, and what is known there.

    Attributes:
        layer: the layer, or the first one of a group; None for the whole network.
        weight_bits: widths of weights that the space offers there, in ascending order.
        activation_bits: likewise of activations.
        max_prune: the largest prune ratio that is wanted.
        prunes: whether the space offers to prune anything.
        channels_left: channels that a prune ratio leaves of the group.
        saves: whether a value makes the network smaller, nothing else compressed.
    """

    layer: Layer | None
    weight_bits: Sequence[int]
    activation_bits: Sequence[int]
    max_prune: float
    prunes: bool
    channels_left: Callable[[float], int]
    saves: Callable[[object], bool]


@dataclass(frozen=True, kw_only=True)
class GeneKind:
    """One kind of gene.

    Attributes:
        name: the last part of a gene's name, `<layer>.<name>`; of a network's the whole name.
        scope: what carries a gene of this kind.
        label: what tables and the page call it.
        short_label: the same, for narrow columns.
        neutral: the value that compresses nothing, which a missing gene has; None if no value
            compresses by itself.
        strongest: of a number, the value that compresses most. Such a gene is ordered. None for
            a kind whose values have no order.
        check: returns a value as it is used; it raises ValueError for one that cannot be. It gets
            the value and the gene's name for the message.
        offer: values that a space offers at a place, none to leave the gene out.
        change: what a checked value makes of a layer. None: nothing, or the network does it with
            the channels and the bits, which go through the graph together.
        rewrite: what checked values, by layer, make of all layers, after every `change`.
        extra: the name by which a space is asked for it; empty if a space always has it.
        unpacks: whether it needs a core that unpacks weights in software.
        percent: whether its values are shares, shown as percentages.
        value_labels: short texts for values that are shown.
        corners: its place (low, middle, high) in the search's uniform compressions by their name,
            see `ga.problem.gene_traits`, which knows the built-in kinds itself.
        hardship: as in `ga.GeneTraits`, likewise.
        tried: values that the sensitivity table measures with `compress`.
        compress: what the trial does to a module of the model for a value, in place, before it is
            fine-tuned. None: nothing, or `evaluators` does it, as for the built-in kinds.
    """

    name: str
    scope: Scope
    label: str
    check: Callable[[object, str], object]
    offer: Callable[[Place], Sequence[object]]
    neutral: float | str | None = None
    short_label: str = ""
    strongest: float | None = None
    change: Callable[[Layer, Any], Layer] | None = None
    rewrite: Callable[[Sequence[Layer], Mapping[str, Any]], Sequence[Layer]] | None = None
    extra: str = ""
    unpacks: bool = False
    percent: bool = False
    value_labels: Mapping[str, str] = field(default_factory=dict)
    corners: Mapping[str, Literal["low", "middle", "high"]] = field(default_factory=dict)
    hardship: Callable[[NDArray[np.float64]], NDArray[np.float64] | None] | None = None
    tried: Sequence[float] = ()
    compress: Callable[[Any, Any], object] | None = None

    def __post_init__(self) -> None:
        if not self.name or "." in self.name or "/" in self.name:
            raise ValueError(
                f"a gene kind's name must be one word without dots or slashes, got {self.name!r}"
            )
        if self.is_ordered and not is_number(self.neutral):
            raise ValueError(
                f"gene kind {self.name!r}: neutral={self.neutral!r} must be a number, since its "
                f"strongest value is one ({self.strongest!r})"
            )

    @property
    def is_ordered(self) -> bool:
        """Whether its values are numbers from mild to strong."""
        return self.strongest is not None

    @property
    def grows(self) -> bool:
        """Whether larger values compress more."""
        return self.strongest is not None and self.strongest > float(self.neutral or 0)

    def key(self, carrier: str) -> str:
        """Name of the gene of a layer or a group; the network's is the same for all."""
        return self.name if self.scope == "network" else f"{carrier}.{self.name}"

    def owns(self, gene: str) -> bool:
        """Whether a gene is of this kind, by its name."""
        return gene == self.name or (
            self.scope != "network" and gene.rpartition(".")[2] == self.name
        )

    def is_neutral(self, value: object) -> bool:
        """Whether a value compresses nothing."""
        return self.neutral is None or value == self.neutral

    def mildest(self, values: Iterable[float]) -> float:
        """The value of an ordered kind that compresses least."""
        return min(values) if self.grows else max(values)


_KINDS: dict[str, GeneKind] = {}


def register(kind: GeneKind) -> GeneKind:
    """Make a kind known, before any network is made whose genes are of it.

    Raises:
        ValueError: its name, or the name that a space asks for it by, is taken.
    """
    for other in _KINDS.values():
        if other.name == kind.name or (kind.extra and other.extra == kind.extra):
            raise ValueError(
                f"gene kind {kind.name!r} (extra={kind.extra!r}) is registered already: "
                f"{other.name!r} (extra={other.extra!r}); give it another name"
            )
    _KINDS[kind.name] = kind
    return kind


def unregister(name: str) -> None:
    """Forget a kind; networks that were made before keep its genes.

    Raises:
        KeyError: there is no such kind.
    """
    del _KINDS[name]


def gene_kinds() -> tuple[GeneKind, ...]:
    """Return all kinds, in the order of their genes in a space and of their rows in tables."""
    return tuple(_KINDS.values())


def kind_of(gene: str) -> GeneKind | None:
    """Return the kind of a gene by its name; None if no kind owns it."""
    kind = _KINDS.get(gene.rpartition(".")[2])
    return kind if kind is not None and kind.owns(gene) else None
