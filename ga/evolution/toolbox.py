"""The genetic algorithm's operators in a DEAP toolbox, each of which can be swapped.

    optimizer = ga.Optimizer(space, goals, toolbox={"mate": "deap.tools:cxTwoPoint"})
    optimizer.toolbox.register("mutate", tools.mutUniformInt, low=0, up=3, indpb=0.1)

An individual is a list with one allele for each locus of the search space: of listed values and
of integers the index, of real numbers the value.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from deap import base

from ga.evaluation import Evaluation
from ga.evolution.individual import Individual, loss_fitness
from ga.evolution.operators import (
    NAMES,
    VARIATIONS,
    Function,
    Operator,
    Replacement,
    read_replacements,
)
from ga.evolution.survival import Selection, nsga2, rate, tournament
from ga.evolution.variation import crossover, mutate
from ga.messages import Messages
from ga.problem.genes import Allele
from ga.problem.search_space import Genome, SearchSpace

# How often, and with how many individuals, a foreign operator is tried when it is registered.
# Choices.
_TRIES = 4
_TRIED = 8


class Toolbox(base.Toolbox):  # type: ignore[misc]  # DEAP is not typed
    """DEAP's toolbox with this search's operators; those in `operators.NAMES` may be swapped.

    - `mate(ind1, ind2) -> (ind1, ind2)` and `mutate(ind) -> (ind,)`, in place as DEAP's own.
    - `select(individuals, k)`: who stays in the population, among feasible individuals.
    - `select_parents(individuals, k)`: who breeds; `rank` and `crowding` are set.
    - `select_forecasts(individuals, k)`: who stays in the surrogate's inner search.
    - `individual(alleles)`: one without a fitness yet.

    The search hands the generator of a request as `rng=` to each call.

    Args:
        space: the search space.
        objectives: their number.
        select: who stays in the population, unless it is swapped.
        operators: swaps, see `operators.read_replacements`.
        messages: where trouble with a swapped operator is said.

    Raises:
        ValueError: an operator that can't be used; it is tried out on genomes of the space.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: int,
        select: Selection,
        operators: Mapping[str, object] | None,
        messages: Messages,
    ) -> None:
        super().__init__()
        self._space, self._messages = space, messages
        fitness = loss_fitness(objectives)
        self._objectives = objectives
        self.register("individual", lambda alleles: Individual(alleles, fitness()))
        self.register("mate", crossover, space=space)
        self.register("mutate", mutate, space=space)
        self.register("select", select)
        self.register("select_parents", tournament)
        self.register("select_forecasts", nsga2)
        for name, swap in read_replacements(operators).items():
            self._swap(name, swap)

    def register(self, alias: str, function: Function, *args: object, **kargs: object) -> None:
        """As DEAP's; a swapped operator of the search is tried out first.

        Raises:
            ValueError: the function isn't callable, or is no operator of its kind.
        """
        if alias not in NAMES:
            super().register(alias, function, *args, **kargs)
            return
        (swap,) = read_replacements({alias: function}).values()
        self._swap(alias, Replacement(swap.function, kargs, swap.text), args)

    def decorate(self, alias: str, *decorators: Function) -> None:
        """As DEAP's; an operator of the search is decorated with its checks inside."""
        if alias not in NAMES:
            super().decorate(alias, *decorators)
            return
        function = getattr(self, alias)
        for decorator in decorators:
            function = decorator(function)
        self.register(alias, function)

    def _swap(self, name: str, swap: Replacement, args: tuple[object, ...] = ()) -> None:
        operator = Operator(
            name, swap.function, args, dict(swap.options), swap.text, self._space, self._messages
        )
        if not operator.own:
            try:
                self._try_out(name, operator)
            except RuntimeError as error:
                raise ValueError(f"{error} (tried on genomes of {self._space!r})") from error
        setattr(self, name, operator)

    def _try_out(self, name: str, operator: Operator) -> None:
        rng = random.Random(f"toolbox {name}")
        operator.strict = True
        for _ in range(_TRIES):
            tried = [self.individual(self._space.sample(rng)) for _ in range(_TRIED)]
            if name in VARIATIONS:
                operator(*tried[: 2 if name == "mate" else 1], rng=rng)
                continue
            for i in tried:
                i.fitness.values = [rng.random() for _ in range(self._objectives)]
            operator(rate(tried), _TRIED - 1, rng=rng)
        operator.strict = False

    def evaluated(self, genome: Genome, evaluation: Evaluation) -> Individual:
        """The individual of a scored evaluation."""
        individual: Individual = self.individual(genome)
        individual.fitness.values = evaluation.losses
        individual.violation, individual.number = evaluation.violation, evaluation.id
        return individual

    def child(
        self, a: Iterable[Allele], b: Iterable[Allele], rng: random.Random, strength: float = 1.0
    ) -> Genome:
        """A child of two parents, which stay as they are: mated, then mutated.

        DEAP's `algorithms.varAnd` with both probabilities at 1 does the same, but keeps both
        children of a pair; here the population takes in one at a time.

        Args:
            a: a parent's alleles.
            b: the other's.
            rng: source of randomness.
            strength: of the mutation, for operators that take it.
        """
        a, b = tuple(a), tuple(b)
        first, _ = self.mate(self.individual(a), self.individual(b), rng=rng)
        (mutated,) = self.mutate(first, rng=rng, strength=strength)
        return self._space.awakened(mutated, (a, b), rng)
