"""Alleles that save nothing: a milder one of the same gene costs no more.

Activations of 4 bits cost a Cortex-M cycles and save it no flash: a search that knows the costs
need not spend trials on finding out that they lose accuracy for nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from ga.arrays import Array
from ga.messages import Messages
from ga.problem.genes import Allele, Ordered
from ga.problem.known_costs import KnownCosts
from ga.problem.objectives import Constraint, Objectives
from ga.problem.search_space import Genome, SearchSpace
from ga.problem.uniform_settings import corners

# A cost may depend on the other genes, so alleles are compared in several settings of them.
# Their numbers are choices; not tuned.
_CORNERS = 4
_RANDOM = 4
# Layers that a message names.
_NAMED = 4


class UselessAlleles:
    """Replaces alleles that a milder one equals or beats in every known cost that counts.

    What counts are the known costs among the objectives and the constraints. Two alleles are
    compared in a few settings of all other genes (corners and random ones): in each of them the
    milder one must cost no more.

    Args:
        space: the search space.
        costs: known costs; without any no allele is useless.
        objectives: what is optimized.
        constraints: what has limits.
        seed: of the random settings.
        messages: where the useless values are said.
    """

    def __init__(
        self,
        space: SearchSpace,
        costs: KnownCosts,
        objectives: Objectives,
        constraints: Sequence[Constraint],
        seed: object,
        messages: Messages,
    ) -> None:
        self._space, self._costs, self._seed, self._messages = space, costs, seed, messages
        self._signs = list(zip(objectives.names, objectives.signs, strict=True))
        self._signs += [(c.metric, c.sign) for c in constraints]

    @cached_property
    def milder(self) -> dict[int, dict[Allele, Allele]]:
        """Locus -> {useless allele: the mildest one that costs no more}; found on first use."""
        found = self._compare() if self._costs else {}
        if found:
            self._messages.once(
                "idle",
                "never asked for, since a milder value costs no more in any metric that counts: "
                + self._text(found),
                trouble=False,
            )
        return found

    def canonical(self, genome: Genome) -> Genome:
        """The genome without useless alleles."""
        if not self.milder:
            return genome
        alleles = list(genome)
        for i, instead in self.milder.items():
            alleles[i] = instead.get(alleles[i], alleles[i])
        return tuple(alleles)

    def _text(self, found: Mapping[int, Mapping[Allele, Allele]]) -> str:
        """The useless values by kind, with the layers that have them."""
        names: dict[str, list[str]] = {}
        for i, instead in found.items():
            locus = self._space.loci[i]
            values = ", ".join(str(locus.gene.decode(a)) for a in sorted(instead))
            names.setdefault(f"{locus.kind} {values}", []).append(locus.group)
        return "; ".join(
            f"{what} in {', '.join(groups[:_NAMED])}"
            + (f" and {len(groups) - _NAMED} more" if len(groups) > _NAMED else "")
            for what, groups in names.items()
        )

    def _compare(self) -> dict[int, dict[Allele, Allele]]:
        space, rng = self._space, random.Random(f"idle {self._seed}")
        settings = corners(space)[:_CORNERS]
        if not settings:
            return {}  # not the genes of a compression: larger values need not be milder
        settings += [space.sample(rng) for _ in range(_RANDOM)]
        places = [
            (i, locus.gene.size)
            for i, locus in enumerate(space.loci)
            if isinstance(locus.gene, Ordered) and locus.traits and locus.traits.milder
        ]
        compared = (
            space.decode((*setting[:i], allele, *setting[i + 1 :]))
            for i, size in places
            for allele in range(size)
            for setting in settings
        )
        losses = self._losses(list(self._costs.of_very_many(compared)))
        found: dict[int, dict[Allele, Allele]] = {}
        at = 0
        for i, size in places:
            table = losses[at : at + size * len(settings)].reshape(size, -1)
            at += size * len(settings)
            gene, traits = space.loci[i].gene, space.loci[i].traits
            downwards = traits is not None and traits.milder == "high"
            mild_first = sorted(range(size), key=gene.decode, reverse=downwards)
            instead: dict[Allele, Allele] = {}
            for place, allele in enumerate(mild_first):
                # A cost that is not known is nan, which compares as false.
                no_dearer = (m for m in mild_first[:place] if (table[m] <= table[allele]).all())
                mildest = next(no_dearer, None)
                if mildest is not None:
                    instead[allele] = mildest
            if instead:
                found[i] = instead
        return found

    def _losses(self, costs: Sequence[Mapping[str, float]]) -> Array:
        """The costs that count (n x m), smaller is better; nan where one is missing."""
        known = [(name, sign) for name, sign in self._signs if any(name in c for c in costs)]
        if not known:
            return np.full((len(costs), 1), np.nan)
        return np.array([[sign * c.get(name, np.nan) for name, sign in known] for c in costs])
