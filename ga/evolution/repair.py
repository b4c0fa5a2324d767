"""Hard limits on known costs: find candidates that keep them, mend those that don't."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from ga.evaluation import UnsatisfiableConstraint
from ga.evolution.variation import crossover, mutant, splice
from ga.history.unmet_limits import contradiction
from ga.problem.known_costs import KnownCosts, broken_limits
from ga.problem.objectives import Constraint
from ga.problem.search_space import Genome, SearchSpace

# Effort of the search for a first feasible candidate, in calls of the cost function, and how many
# feasible ones are kept. Choices; not tuned.
_RANDOM_TRIES = 256
_SEARCH_ROUNDS = 60
_SEARCH_CHILDREN = 24
_ENUMERABLE = 4096
_ANCHORS = 8


class Repair:
    """Repairs candidates that break a hard limit by moving them towards feasible ones.

    The first time one is needed, feasible *anchors* are looked for: among the corners, random
    samples and, if there is none, by a small genetic search that minimizes the violation. The
    result depends on the space and the seed only, not on the history, so a replay finds the same.

    Args:
        space: the search space.
        constraints: all constraints; those on unknown metrics don't count here.
        costs: the known costs.
        corners: candidates to look at first.
        seed: of the search for anchors.
    """

    def __init__(
        self,
        space: SearchSpace,
        constraints: Sequence[Constraint],
        costs: KnownCosts,
        corners: Iterable[Genome],
        seed: object,
    ) -> None:
        self._space = space
        self._constraints = constraints
        self._costs = costs
        self._corners = list(corners)
        self._seed = seed
        self._anchors: list[Genome] | None = None

    def violations(self, genomes: Sequence[Genome]) -> list[float]:
        """How much each genome breaks the limits on known costs."""
        costs = self._costs.of_many([self._space.decode(genome) for genome in genomes])
        return [broken_limits(self._constraints, c) for c in costs]

    def repair(self, genome: Genome, rng: random.Random) -> Genome:
        """A feasible genome that keeps as many layers of this one as a few tries allow.

        Layers are replaced by an anchor's in random order; the shortest prefix of replacements
        that mends the candidate is found by bisection (the last step, all replaced, is feasible).

        Raises:
            UnsatisfiableConstraint: no feasible candidate was found at all.
        """
        anchor = rng.choice(self.anchors())
        order = list(range(len(self._space.groups)))
        rng.shuffle(order)
        few, enough = 0, len(order)
        while enough - few > 1:
            middle = (few + enough) // 2
            if self.violations([splice(self._space, genome, anchor, order[:middle])])[0]:
                few = middle
            else:
                enough = middle
        return splice(self._space, genome, anchor, order[:enough])

    def anchors(self) -> list[Genome]:
        """Some feasible genomes.

        Raises:
            UnsatisfiableConstraint: none was found; the message names the constraints that stand
                in the way and the closest values.
        """
        if self._anchors is None:
            self._anchors = self._find_anchors()
        return self._anchors

    def _find_anchors(self) -> list[Genome]:
        space, rng = self._space, random.Random(f"anchors {self._seed}")
        total = space.cardinality
        everything = total is not None and total <= _ENUMERABLE
        if everything and total is not None:
            pool = [space.nth(i) for i in range(total)]
        else:
            pool = self._corners + [space.sample(rng) for _ in range(_RANDOM_TRIES)]
        scored = sorted(zip(self.violations(pool), pool, strict=True), key=lambda pair: pair[0])
        for _ in range(0 if everything else _SEARCH_ROUNDS):
            if scored[0][0] == 0:
                break
            scored = self._generation(scored[:_SEARCH_CHILDREN], rng)
        found = [genome for broken, genome in scored if broken == 0]
        if not found:
            who = "no candidate" if everything else "no candidate found"
            self._give_up([scored[0][1], *pool], who)
        return rng.sample(found, min(_ANCHORS, len(found)))

    def _generation(
        self, parents: list[tuple[float, Genome]], rng: random.Random
    ) -> list[tuple[float, Genome]]:
        """One generation of a (mu + lambda) search for the smallest violation.

        It breeds with this package's operators, whatever the toolbox holds: with one that moves
        little, limits would look as if nothing kept them.
        """
        space = self._space
        children = []
        for strength in (1.0, 3.0, 0.2 * len(space)) * (_SEARCH_CHILDREN // 3):
            a, b = rng.choice(parents)[1], rng.choice(parents)[1]
            child, _ = crossover(list(a), list(b), space, rng)
            children.append(mutant(tuple(child), space, rng, strength))
        scored = list(zip(self.violations(children), children, strict=True))
        return sorted(parents + scored, key=lambda pair: pair[0])

    def _give_up(self, pool: Sequence[Genome], who: str) -> None:
        """Raise for limits that the first of the pool breaks least, or that contradict each other.

        Raises:
            UnsatisfiableConstraint: always.
        """
        costs = self._costs.of_many([self._space.decode(genome) for genome in pool])
        closest = costs[0]
        known = [c for c in self._constraints if c.metric in closest]
        lines = [
            f"'{c}' (closest: {c.metric}={closest[c.metric]:g})"
            for c in known
            if c.excess(closest[c.metric])
        ]
        together = contradiction(known, costs)
        raise UnsatisfiableConstraint(
            f"{who} can satisfy the constraint {' and '.join(lines)}"
            f"{f', since {together}' if together else ''}; relax it, choose a larger "
            "device or give the search space smaller options"
        )
