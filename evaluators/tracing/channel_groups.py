"""Layers whose channels are tied, and what lies along a tensor's channel axis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import fx


@dataclass(frozen=True)
class Segment:
    """A run of channels.

    Attributes:
        source: the layer that produces them, ``None`` for a fixed run (network input, constant).
        size: number of the producing layer's channels.
        repeat: entries per channel: H*W after a (C, H, W) tensor was flattened.
    """

    source: str | None
    size: int
    repeat: int = 1


@dataclass(frozen=True)
class Channels:
    """The channel axis of one tensor: its index (batch included) and what lies along it."""

    axis: int
    segments: tuple[Segment, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The producing layers, without the fixed runs."""
        return tuple(s.source for s in self.segments if s.source is not None)


@dataclass
class Ties:
    """Union-find over layer names, with the step and the reasons to stay whole of each set."""

    parent: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, size: int) -> None:
        """Makes a layer known, with its number of output channels."""
        self.parent.setdefault(name, name)
        self.sizes.setdefault(name, size)

    def root(self, name: str) -> str:
        """The name that stands for a layer's whole set."""
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def tie(self, a: str, b: str) -> None:
        """Joins two sets."""
        self.parent[self.root(b)] = self.root(a)

    def pin(self, names: Iterable[str], reason: str) -> None:
        """Says that layers must stay whole; the first reason is kept."""
        for name in names:
            self.pins.setdefault(name, reason)

    def step(self, name: str, step: int) -> None:
        """Says that a layer's channels go in blocks of ``step``."""
        self.steps[name] = math.lcm(self.steps.get(name, 1), step)


def shape_of(node: fx.Node) -> tuple[int, ...] | None:
    """The traced shape of a node's tensor, batch included; ``None`` if it is not one tensor."""
    shape = getattr(node.meta.get("tensor_meta"), "shape", None)
    return None if shape is None else tuple(int(n) for n in shape)


def operation(node: fx.Node) -> str:
    """A node's operation as a plain name: ``add`` for ``torch.add`` and ``x.add_``."""
    if node.op == "call_method":
        return str(node.target).rstrip("_") or str(node.target)
    name = getattr(node.target, "__name__", str(node.target))
    return str(name).strip("_")


def only_adds_axes(node: fx.Node) -> bool:
    """Whether an indexing keeps every element, as ``x[:, :, None, None]`` does."""
    index = node.args[1]
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part == slice(None, None, None) for part in parts)
