"""The networks of a search space: its largest and its smallest one, and random ones between."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hardware import Network
from hardware.ir.gene_kinds import A_BITS, PRUNE, PRUNER, W_BITS

Params = dict[str, float]

_TOLERANCE = 1e-9
"""What the same ratio may differ by in a space and in a trial."""

_ALIKE = 0.5
"""Share of the genes of a random network that follow one common level. A choice: a search looks at
networks that are small throughout, which independent draws hardly ever are."""


@dataclass(frozen=True)
class Choices:
    """Prune ratios and bits by gene.

    Attributes:
        options: by gene, from mild to strong: ratios rise, bits fall.
        others: genes that the supernet does not train for; a trial applies them to what it
            inherits.
    """

    options: Mapping[str, tuple[float, ...]]
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, space: Mapping[str, Sequence[object]]) -> Choices:
        """Reads the values of a search space's genes.

        Raises:
            ValueError: the space chooses a pruner, has values that are no numbers, or no gene of
                widths or bits.
        """
        options: dict[str, tuple[float, ...]] = {}
        others = []
        for gene, values in space.items():
            if PRUNER.owns(gene):
                raise ValueError(
                    f"the search space has the gene {gene!r}, and with a supernet its order says "
                    "which channels go: write a space without it"
                )
            if not (PRUNE.owns(gene) or W_BITS.owns(gene) or A_BITS.owns(gene)):
                others.append(gene)
                continue
            numbers = [v for v in values if isinstance(v, (int, float))]
            if not numbers or len(numbers) < len(values):
                raise ValueError(f"gene {gene!r} has the values {list(values)}: give numbers")
            options[gene] = tuple(sorted(numbers, reverse=not PRUNE.owns(gene)))
        if not options:
            raise ValueError("the search space has no gene of widths or bits to train for")
        return cls(options, tuple(others))

    def largest(self) -> Params:
        """The mildest value of each gene."""
        return {gene: values[0] for gene, values in self.options.items()}

    def smallest(self) -> Params:
        """The strongest value of each gene."""
        return {gene: values[-1] for gene, values in self.options.items()}

    def widths(self, rng: random.Random) -> Params:
        """Random prune ratios."""
        return self._drawn([g for g in self.options if PRUNE.owns(g)], rng)

    def bits(self, rng: random.Random) -> Params:
        """Random bits; those of weights and of activations each have their level."""
        found: Params = {}
        for kind in (W_BITS, A_BITS):
            found |= self._drawn([g for g in self.options if kind.owns(g)], rng)
        return found

    def _drawn(self, genes: Sequence[str], rng: random.Random) -> Params:
        level = rng.random()
        found = {}
        for gene in genes:
            values = self.options[gene]
            share = level if rng.random() < _ALIKE else rng.random()
            found[gene] = values[min(int(share * len(values)), len(values) - 1)]
        return found

    def check(self, network: Network, params: Mapping[str, object], where: str) -> None:
        """Refuses a chromosome that the supernet was not trained for.

        Widths between the smallest and the largest are fine; each bit-width has its scales.

        Args:
            network: the whole model's.
            params: genes of a trial.
            where: the supernet's file, for messages.

        Raises:
            ValueError: a gene, with its value and what there is.
        """
        if any(PRUNER.owns(gene) for gene in params):
            raise ValueError(
                f"{where}: with a supernet its order says which channels go, and the chromosome "
                "names a pruner: leave that gene out"
            )
        for gene, value in params.items():
            known = self.options.get(gene)
            if not isinstance(value, (int, float)):
                continue
            if PRUNE.owns(gene):
                limit = max(known) if known else 0.0
                if value > limit + _TOLERANCE:
                    raise _foreign(where, gene, value, f"ratios up to {limit:g}")
            elif W_BITS.owns(gene) or A_BITS.owns(gene):
                _check_bits(where, gene, value, known or (8,))
        bits = network.bits(params)
        for name in network.gene_layers:
            for kind, width in zip((W_BITS, A_BITS), bits[name], strict=True):
                known = self.options.get(kind.key(name))
                if known and kind.key(name) not in params:
                    _check_bits(where, kind.key(name), width, known)


def _check_bits(where: str, gene: str, width: float, known: Sequence[float]) -> None:
    if width not in known:
        raise _foreign(where, gene, width, ", ".join(f"{v:g}" for v in known))


def _foreign(where: str, gene: str, value: object, known: str) -> ValueError:
    return ValueError(
        f"{where} is of another search space: {gene}={value} was not trained ({known} was); "
        "train a supernet for this space with `joint-ga supernet`"
    )
