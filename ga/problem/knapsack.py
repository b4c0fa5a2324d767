"""Compressions as a multiple-choice knapsack: losses add up, costs and limits are exact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ga.arrays import Array
from ga.problem.genes import Ordered
from ga.problem.known_costs import KnownCosts, broken_limits
from ga.problem.objectives import Constraint, Objectives
from ga.problem.search_space import Genome, SearchSpace
from ga.problem.sensitivities import Sensitivities
from ga.problem.uniform_settings import corners

# Costs are linearized around networks of about these shares of the uncompressed one's, and solved
# for so many prices. A network that is a fifth larger than a place still counts as one of it.
# Choices; not tuned.
_PLACES = (0.5, 0.25, 0.12)
_PRICES = np.geomspace(1e-3, 300.0, 32)
_SLACK = 1.2
_NONE = 1e-9

#: Known costs of networks that were looked at.
Costed = MutableMapping[Genome, Mapping[str, float]]


def knapsack_of(
    space: SearchSpace,
    sensitivities: Sensitivities,
    costs: KnownCosts,
    objectives: Objectives,
    constraints: Sequence[Constraint],
) -> Knapsack | None:
    """The knapsack of a space, where costs and the sensitivities of genes are known.

    Args:
        space: the search space.
        sensitivities: maybe of genes.
        costs: maybe known.
        objectives: those that are costs to be minimized are saved.
        constraints: limits; those on unknown metrics don't count here.
    """
    uniform = corners(space) if sensitivities.genes else []
    if not uniform or not costs.of(space.decode(uniform[0])):
        return None
    pairs = zip(objectives.names, objectives.signs, strict=True)
    goals = [name for name, sign in pairs if sign > 0 and name in costs.metrics]
    losses = {
        i: sensitivities.losses(locus.gene.name, np.array(locus.gene.values, dtype=float))
        for i, locus in enumerate(space.loci)
        if isinstance(locus.gene, Ordered) and locus.gene.name in sensitivities.genes
    }
    if not goals or not any(table.any() for table in losses.values()):
        return None
    return Knapsack(space, uniform[0], losses, costs, goals, constraints)


class Knapsack:
    """Solves `min sum of losses + price * cost` for many prices and directions of cost.

    Choosing bits by such a knapsack is what HAWQ and the like do (Yao et al., arXiv:2011.10680).
    For one price each gene is chosen alone (Sinha & Zoltners 1979).

    A cost is linear in the alleles only around a network, since a pruned layer makes the next one
    cheaper too. So it is linearized around networks of several sizes, each of which counts for
    solutions of about its own size. A limit on a cost that is no objective (peak RAM is a maximum
    over layers, so no sum) is kept in two ways: by the alleles themselves, those milder than what
    `mildest` has being left out, and by luck: what is solved for without such limits may keep them.
    The second costs less where what saves the one cost saves the other.

    Args:
        space: the search space.
        start: nothing compressed.
        losses: locus -> loss of each of its alleles.
        costs: known costs.
        goals: those of the costs that are to be minimized.
        constraints: limits.

    Attributes:
        loci: those with losses; rows of the tables below.
        prior: loci x alleles, the losses; infinite where a locus has no such allele.
        mildest: the network that loses least by the losses and keeps the limits on costs that are
            no objectives; `start` where that keeps them.
        smallest: every gene at its largest loss.
    """

    def __init__(
        self,
        space: SearchSpace,
        start: Genome,
        losses: Mapping[int, Array],
        costs: KnownCosts,
        goals: Sequence[str],
        constraints: Sequence[Constraint],
    ) -> None:
        self._space, self._start, self._costs = space, start, costs
        self._goals = tuple(goals)
        self.loci = tuple(losses)
        self.prior = np.full((len(losses), max(map(len, losses.values()))), np.inf)
        for row, table in enumerate(losses.values()):
            self.prior[row, : len(table)] = table
        self._sizes = tuple(map(len, losses.values()))
        self._limits = [c for c in constraints if c.metric in costs.metrics]
        self._side = [c for c in self._limits if c.metric not in goals]
        order = self._mild_first()
        self.smallest = self._genome(order[range(len(order)), np.array(self._sizes) - 1].tolist())
        self.mildest = self._mildest(order)
        self._open = self._allowed(order)
        self._unit = self._paid([start])[0]
        self._unit[self._unit == 0] = 1.0
        self._bases = self._linearizations()

    @property
    def goals(self) -> int:
        """How many costs are to be minimized."""
        return len(self._goals)

    def lost(self, genomes: Sequence[Genome]) -> Array:
        """Sum of the losses of each genome."""
        alleles = np.array([[genome[i] for i in self.loci] for genome in genomes], dtype=int)
        return np.asarray(self.prior[np.arange(len(self.loci)), alleles].sum(axis=1))

    def keeps_limits(self, costs: Mapping[str, float]) -> bool:
        """Whether known costs break no limit."""
        return not broken_limits(self._limits, costs)

    def solutions(
        self, losses: Array, weights: Array, costed: Costed | None = None
    ) -> list[Genome]:
        """From nothing compressed to everything, for one direction of cost.

        Args:
            losses: loci x alleles, as `prior`.
            weights: of the costs, one for each of the objectives among them.
            costed: known costs by genome; what is looked up is added.
        """
        found: dict[Genome, None] = {}
        costed = {} if costed is None else costed
        edges = [np.inf, *(float(np.sqrt(a * b)) for (a, _), (b, _) in pairwise(self._bases)), 0.0]
        for (_, paid), (upper, lower) in zip(self._bases, pairwise(edges), strict=True):
            walk = self._walk(losses, weights, paid, self._open)
            if self.mildest != self._start:
                walk += self._keeping(self._walk(losses, weights, paid), costed)
            shares = self._shares(walk, costed) @ weights
            found.update(
                (genome, None)
                for genome, share in zip(walk, shares, strict=True)
                if lower <= share <= upper
            )
        return list(found)

    def drawn(
        self,
        generator: np.random.Generator,
        factors: Iterable[Array],
        spread: float = 0.0,
        costed: Costed | None = None,
    ) -> list[Genome]:
        """Solutions for losses as they may be, each in a random direction of cost.

        Args:
            generator: source of randomness.
            factors: what the losses of each locus are multiplied with, once for each direction.
            spread: standard deviation of a further random factor's logarithm.
            costed: known costs by genome; what is looked up is added.
        """
        found: dict[Genome, None] = {}
        for factor in factors:
            times = factor * np.exp(generator.normal(0.0, spread, len(self.loci)))
            weights = generator.dirichlet(np.ones(len(self._goals)))
            solved = self.solutions(self.prior * times[:, None], weights, costed)
            found.update(dict.fromkeys(solved))
        return list(found)

    # ---- limits

    def _mild_first(self) -> NDArray[np.int_]:
        """Alleles by loss; of equal losses, that nearest to the uncompressed network's."""
        own = np.array([self._start[i] for i in self.loci])[:, None]
        away = np.abs(np.arange(self.prior.shape[1]) - own)
        return np.lexsort((away, self.prior), axis=1)

    def _genome(self, alleles: Sequence[int]) -> Genome:
        if len(alleles) == len(self._start):  # loci are in order
            return tuple(alleles)
        genome = list(self._start)
        for i, allele in zip(self.loci, alleles, strict=True):
            genome[i] = allele
        return tuple(genome)

    def _breaks(self, genome: Sequence[float]) -> bool:
        costs = self._costs.of(self._space.decode(tuple(genome)))
        return broken_limits(self._side, costs) > 0

    def _keeping(self, walk: Sequence[Genome], costed: Costed) -> list[Genome]:
        """Those of a walk that keep the limits on costs that are no objectives."""
        self._paid(walk, costed)
        return [genome for genome in walk if not broken_limits(self._side, costed[genome])]

    def _mildest(self, order: NDArray[np.int_]) -> Genome:
        """All compressed, then each gene as mild as the limits leave it, the dearest first."""
        if not self._breaks(self._start) or self._breaks(self.smallest):
            return self._start
        genome = list(self.smallest)
        dearest = np.argsort(-np.where(np.isfinite(self.prior), self.prior, -1.0).max(axis=1))
        for row in dearest.tolist():
            i = self.loci[row]
            for allele in order[row, : self._sizes[row]].tolist():
                was, genome[i] = genome[i], allele
                if not self._breaks(genome):
                    break
                genome[i] = was
        return tuple(genome)

    def _allowed(self, order: NDArray[np.int_]) -> NDArray[np.bool_]:
        """Alleles that are not milder than those of `mildest`, where limits have changed it."""
        allowed = np.isfinite(self.prior)
        for row, i in enumerate(self.loci):
            if self.mildest[i] != self._start[i]:
                rank = int(np.flatnonzero(order[row] == self.mildest[i])[0])
                allowed[row, order[row, :rank]] = False
        return np.asarray(allowed)

    # ---- costs

    def _paid(self, genomes: Sequence[Genome], costed: Costed | None = None) -> Array:
        costed = {} if costed is None else costed
        fresh = [genome for genome in genomes if genome not in costed]
        found = self._costs.of_many([self._space.decode(genome) for genome in fresh])
        costed.update(zip(fresh, found, strict=True))
        return self._table([costed[genome] for genome in genomes])

    def _table(self, costs: Sequence[Mapping[str, float]]) -> Array:
        table = [[row.get(name, np.nan) for name in self._goals] for row in costs]
        return np.array(table, dtype=float).reshape(len(costs), len(self._goals))

    def _shares(self, genomes: Sequence[Genome], costed: Costed | None = None) -> Array:
        return np.asarray(np.nan_to_num(self._paid(genomes, costed) / self._unit, nan=1.0))

    def _linearizations(self) -> list[tuple[float, Array]]:
        """Places, as mean shares of the start's costs, and the costs of each allele around them."""
        weights = np.full(len(self._goals), 1.0 / len(self._goals))
        found = [(1.0, self._around(self._start))]
        for place in _PLACES:
            walk = self._walk(self.prior, weights, found[-1][1], self._open)
            shares = self._shares(walk) @ weights
            nearest = int(np.argmin(np.abs(shares - place)))
            if not 0 < shares[nearest] < found[-1][0] or shares.min() > _SLACK * place:
                break
            found.append((float(shares[nearest]), self._around(walk[nearest])))
        return found

    def _around(self, base: Genome) -> Array:
        """Shares of the start's costs with each allele in a network: loci x alleles x goals."""
        places = [
            (row, i, allele)
            for row, i in enumerate(self.loci)
            for allele in range(self._sizes[row])
        ]
        table = np.zeros((*self.prior.shape, len(self._goals)))
        around = (
            self._space.decode((*base[:i], allele, *base[i + 1 :])) for _, i, allele in places
        )
        shares = self._table(list(self._costs.of_very_many(around))) / self._unit
        for (row, _, allele), share in zip(places, np.nan_to_num(shares, nan=1.0), strict=True):
            table[row, allele] = share
        return table

    def _walk(
        self,
        losses: Array,
        weights: Array,
        paid: Array,
        allowed: NDArray[np.bool_] | None = None,
    ) -> list[Genome]:
        """Solutions for rising prices, with costs linearized around one network."""
        cost = paid @ weights
        finite = np.isfinite(losses)
        spans = np.ptp(np.where(finite, losses, 0.0), axis=1), np.ptp(cost, axis=1)
        loss, saving = (float(np.median(s[s > 0])) if (s > 0).any() else _NONE for s in spans)
        left = losses if allowed is None else np.where(allowed, losses, np.inf)
        prices = (_PRICES * loss / saving)[:, None, None]
        chosen = dict.fromkeys(map(tuple, np.argmin(left + prices * cost, axis=2).tolist()))
        return [self._genome(alleles) for alleles in chosen]
