"""Reinforcement learning: a small policy over the genes, trained by REINFORCE (Williams 1992).

The policy draws each gene on its own, from a softmax over its alleles. Its logits depend linearly
on the weights of the objectives, which each request draws anew: one policy knows a whole front.
What a trial tells is learned from its result alone. What is known before a trial needs none: that
part of the reward is learned from many chromosomes that are drawn, priced and forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ga.arrays import Array
from ga.evaluation import REINFORCE, Evaluation
from ga.evolution.candidate_sources import Proposal
from ga.history.results import Results
from ga.problem.genes import Allele, Gene
from ga.problem.known_costs import KnownCosts, broken_limits
from ga.problem.objectives import Constraint, Objectives
from ga.problem.search_space import Genome, SearchSpace
from ga.strategies.newcomers import Newcomers

# A gene with no end of alleles is cut into so many pieces.
_PIECES = 16
# Learning rate of the logits from a result, and from chromosomes that are only priced; how fast
# the baseline follows; how strongly logits are drawn back to a policy that is open to all. Rates
# from .2 to 3 were tried on the tables of digits and keyword spotting (seeds 100 to 105).
_RATE = 1.0
_PRICED_RATE = 1.0
_FOLLOW = 0.2
_DECAY = 0.01
# Chromosomes that are priced for each result, and drawn for each request.
_PRICED = 32
_TRIES = 60
_NONE = 1e-12

Alleles = NDArray[np.int_]


class Reinforce:
    """Proposes what its policy draws; the policy is a function of the results in their order.

    Args:
        space: the search space.
        objectives: what is optimized.
        constraints: limits; breaking them is punished.
        costs: known costs.
        seed: of everything random.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Objectives,
        constraints: Sequence[Constraint],
        costs: KnownCosts,
        seed: int,
    ) -> None:
        self._space, self._objectives = space, objectives
        self._constraints, self._costs, self._seed = constraints, costs, seed
        self._sizes = [_pieces(locus.gene) for locus in space.loci]
        self._open = np.arange(max(self._sizes)) < np.array(self._sizes)[:, None]
        count = len(objectives.names)
        self._logits = np.zeros((*self._open.shape, 1 + count))
        self._baseline = np.zeros(1 + count)
        self._ideal, self._worst = np.full(count, np.inf), np.full(count, -np.inf)
        self._newcomers = Newcomers()

    def proposals(
        self, number: int, results: Results, is_new: Callable[[Genome], bool]
    ) -> Iterator[Proposal]:
        """Draws of the policy for one request, each try a little more random.

        Args:
            number: of the candidate that is asked for; it says the weights of the objectives.
            results: so far.
            is_new: whether a genome was not asked before.
        """
        for genome, evaluation in self._newcomers.of(results):
            self._learn(genome, evaluation)
        generator = self._generator("ask", number)
        mender = random.Random(f"reinforce {self._seed}:{number}")
        context = self._context(number)
        for attempt in range(_TRIES):
            heat = 1.0 + attempt / 20
            (alleles,) = self._drawn(self._chances(context, heat), 1, generator)
            yield self._genome(alleles, generator), REINFORCE, mender

    # ---- learning

    def _learn(self, genome: Genome, evaluation: Evaluation) -> None:
        number, losses = evaluation.id, np.array(evaluation.losses)
        self._ideal = np.minimum(self._ideal, losses)
        self._worst = np.maximum(self._worst, losses)
        context = self._context(number)
        weights = context[1:] + 1.0 / len(losses)
        known = np.array([name in self._costs.metrics for name in self._objectives.names])
        of_trials = np.where(known, 0.0, weights)
        broken = broken_limits(self._constraints, evaluation.metrics)
        broken -= broken_limits(self._constraints, self._prices(genome))
        reward = -float(of_trials @ self._scaled(losses)) - broken
        surprise = reward - float(self._baseline @ context)
        self._baseline += _FOLLOW * surprise * context / float(context @ context)
        self._logits *= 1.0 - _DECAY
        places = np.array(
            [_piece(x.gene, a) for x, a in zip(self._space.loci, genome, strict=True)]
        )
        self._reinforce(places[None], np.array([surprise]), context, _RATE)
        if known.any() or self._costs.metrics:
            self._learn_prices(number, context, np.where(known, weights, 0.0))

    def _learn_prices(self, number: int, context: Array, weights: Array) -> None:
        """REINFORCE on what costs nothing to know, against the mean of the draws."""
        generator = self._generator("prices", number)
        drawn = self._drawn(self._chances(context), _PRICED, generator)
        genomes = [self._genome(row, generator) for row in drawn]
        found = self._costs.of_many([self._space.decode(genome) for genome in genomes])
        losses = np.array(
            [[sign * costs.get(name, np.nan) for name, sign in self._pairs()] for costs in found]
        )
        scaled = np.where(weights > 0, np.nan_to_num(self._scaled(losses), nan=1.0), 0.0)
        rewards = -scaled @ weights
        rewards -= np.array([broken_limits(self._constraints, costs) for costs in found])
        self._reinforce(drawn, rewards - rewards.mean(), context, _PRICED_RATE)

    def _reinforce(self, drawn: Alleles, surprises: Array, context: Array, rate: float) -> None:
        """Makes alleles likelier by how much better than expected they did.

        Args:
            drawn: n x loci.
            surprises: (n,).
            context: (1 + objectives,).
            rate: of learning.
        """
        chances = self._chances(context)
        taken = drawn[:, :, None] == np.arange(self._open.shape[1])
        slope = np.tensordot(surprises, taken - chances, axes=1) / len(drawn)
        self._logits += rate * slope[:, :, None] * context

    def _pairs(self) -> list[tuple[str, float]]:
        return list(zip(self._objectives.names, self._objectives.signs, strict=True))

    def _prices(self, genome: Genome) -> dict[str, float]:
        return self._costs.of(self._space.decode(genome)) or {}

    def _scaled(self, losses: Array) -> Array:
        """Losses between the best and the worst so far."""
        span = self._worst - self._ideal
        return np.asarray((losses - self._ideal) / np.where(span > _NONE, span, 1.0))

    # ---- the policy

    def _generator(self, what: str, number: int) -> np.random.Generator:
        seed = random.Random(f"reinforce {what} {self._seed}:{number}").getrandbits(64)
        return np.random.default_rng(seed)

    def _context(self, number: int) -> Array:
        """(1 + objectives,): 1, and the weights of a candidate's objectives less their mean."""
        count = len(self._objectives.names)
        weights = self._generator("weights", number).dirichlet(np.ones(count))
        return np.concatenate([[1.0], weights - 1.0 / count])

    def _chances(self, context: Array, heat: float = 1.0) -> Array:
        """Loci x alleles: how likely each is."""
        logits = np.where(self._open, self._logits @ context / heat, -np.inf)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def _drawn(self, chances: Array, count: int, generator: np.random.Generator) -> Alleles:
        """Count x loci."""
        edges = chances.cumsum(axis=1)
        found = (generator.random((count, len(chances), 1)) > edges).sum(axis=2)
        return np.asarray(np.minimum(found, np.array(self._sizes) - 1), dtype=int)

    def _genome(self, alleles: Alleles, generator: np.random.Generator) -> Genome:
        return tuple(
            _allele(locus.gene, int(piece), generator)
            for locus, piece in zip(self._space.loci, alleles, strict=True)
        )


def _is_cut(gene: Gene) -> bool:
    return gene.size is None or gene.size > _PIECES


def _pieces(gene: Gene) -> int:
    return _PIECES if _is_cut(gene) else gene.size or 1


def _piece(gene: Gene, allele: Allele) -> int:
    """Where an allele lies among those that the policy chooses from."""
    if _is_cut(gene):
        return min(int(gene.to_unit(allele) * _PIECES), _PIECES - 1)
    if isinstance(allele, int):
        return allele  # an index, see `ga.problem.genes`
    # A number on a grid: one that was read from a file may be off by its last digit.
    return min(range(gene.size or 1), key=lambda i: abs(gene.nth(i) - allele))


def _allele(gene: Gene, piece: int, generator: np.random.Generator) -> Allele:
    if _is_cut(gene):
        return gene.from_unit((piece + float(generator.random())) / _PIECES)
    return gene.nth(piece)
