"""Ask / tell: an asynchronous, steady-state, constrained multi-objective genetic algorithm."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ga.archive import Archive
from ga.costs import CostFunction, KnownCosts, broken_limits
from ga.evaluation import (
    CENSORED,
    COMPLETE,
    FAILED,
    RUNNING,
    Candidate,
    Evaluation,
    SpaceExhausted,
)
from ga.feasibility import Feasibility
from ga.notes import Notes
from ga.objectives import Objectives, parse_constraints
from ga.operators import crossover, mutate
from ga.pareto import hypervolume
from ga.population import Population
from ga.seeding import corners, first_candidates
from ga.space import Genome, SearchSpace
from ga.survival import Individual, nsga2

Phenotype = Callable[[dict[str, Any]], Hashable]

# How hard one `ask` looks for a candidate that is new: offspring, then random ones, then a walk
# through a finite space. The walk goes on in the next request where it stopped.
_OFFSPRING = 40
_RANDOM = 100
_WALK = 5000
# Share of newcomers among the GA's candidates: they keep a small population from closing in.
_IMMIGRANTS = 0.1


class Optimizer:
    """Proposes candidates and learns from their results, in any order and number.

    The population is a function of the results in order of completion, and the randomness of a
    request one of the seed and the candidate's number: a search that is replayed from its log goes
    on exactly as the first one would have.

    Rules for constraints: a candidate whose known costs break a bound is never proposed (it is
    mended, or dropped); bounds on other metrics rank a result behind all feasible ones, by the
    sum of its relative violations; `front` holds feasible evaluations only.

    Args:
        space: what is searched.
        objectives: `{metric: "maximize" | "minimize"}`.
        constraints: `{metric: "<= 256"}`, or a list of bounds for a metric.
        costs: params -> {metric: value} for the metrics known before a trial, equal to what the
            trial will report; a method `batch(list of params)` is used if it has one.
        population_size: number of survivors; None derives it from `budget`.
        seed: of everything random.
        phenotype: params -> hashable; equal means the same network, which is asked once only.
        initial: params to begin with.
        sensitivities: layer -> loss of quality when it alone is compressed, for seeding.
        budget: number of trials that are planned, as far as known.

    Raises:
        ValueError: an argument that makes no sense, with the offending value.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Mapping[str, str],
        constraints: Mapping[str, Any] | Sequence[Any] = (),
        costs: CostFunction | None = None,
        population_size: int | None = 20,
        seed: int = 0,
        *,
        phenotype: Phenotype | None = None,
        initial: Sequence[Mapping[str, Any]] = (),
        sensitivities: Mapping[str, float] | None = None,
        budget: int | None = None,
    ) -> None:
        if not isinstance(space, SearchSpace):
            raise ValueError(f"space={space!r} should be a ga.SearchSpace")
        self.space = space
        self.objectives = Objectives.parse(objectives)
        self.constraints = parse_constraints(constraints)
        self.population_size = _population_size(population_size, budget)
        self.seed = seed
        self.notes = Notes()
        self._costs = KnownCosts(costs, self.notes)
        self._phenotype = phenotype
        self._archive = Archive(self.objectives, self.constraints)
        self._population = Population(self.population_size, nsga2)
        self._pending: dict[int, Candidate] = {}
        self._genomes: dict[int, Genome] = {}
        self._seen: set[Hashable] = set()
        self._next_id = 1
        self._design = first_candidates(
            space, self.population_size, initial, sensitivities or {}, seed
        )
        self._design_at = 0
        self._walk_at = 0
        self._feasibility = Feasibility(space, self.constraints, self._costs, corners(space), seed)

    # ---- ask

    def ask(self) -> Candidate:
        """The next candidate: distinct from all before, within the limits on known costs.

        Raises:
            SpaceExhausted: there is none left.
            UnsatisfiableConstraint: no candidate keeps the limits on known costs.
        """
        rng = random.Random(f"{self.seed}:{self._next_id}")
        for proposals in (self._designed(), self._bred(rng), self._sampled(rng), self._walk()):
            for genome, origin, mender in proposals:
                candidate = self._admit(genome, origin, mender)
                if candidate is not None:
                    return candidate
        # Either the limits leave nothing (said by name), or everything was asked before.
        if self._costs and not self._seen:
            self._feasibility.anchors()
        raise SpaceExhausted(
            f"no new candidate is left after {len(self._seen)} distinct ones in a space of "
            f"{self.space.size_text()}"
        )

    def _designed(self) -> Iterator[tuple[Genome, str, random.Random | None]]:
        while self._design_at < len(self._design):
            genome, origin = self._design[self._design_at]
            # Mended with a generator of its own, so that a replay mends it into the same one.
            own = random.Random(f"design {self.seed} {self._design_at}")
            self._design_at += 1
            yield genome, origin, own if origin == "lhs" else None

    def _bred(self, rng: random.Random) -> Iterator[tuple[Genome, str, random.Random | None]]:
        if len(self._population.members) < 2:
            return
        if rng.random() < _IMMIGRANTS:
            yield self.space.sample(rng), "random", rng
        for attempt in range(_OFFSPRING):
            yield self._child(rng, 1.0 + attempt / 4), "ga", rng

    def _child(self, rng: random.Random, strength: float) -> Genome:
        a, b = self._population.parent(rng), self._population.parent(rng)
        child = crossover(self.space, a.genome, b.genome, rng)
        return mutate(self.space, child, rng, strength=strength)

    def _sampled(self, rng: random.Random) -> Iterator[tuple[Genome, str, random.Random | None]]:
        for _ in range(_RANDOM):
            yield self.space.sample(rng), "random", rng

    def _walk(self) -> Iterator[tuple[Genome, str, random.Random | None]]:
        total = self.space.cardinality
        if total is None:
            return
        order = random.Random(f"walk {self.seed}")
        start, stride = order.randrange(total), order.randrange(1, total + 1)
        while math.gcd(stride, total) != 1:
            stride += 1
        for _ in range(_WALK):
            if self._walk_at >= total:
                return
            genome = self.space.nth((start + self._walk_at * stride) % total)
            self._walk_at += 1
            yield genome, "random", None

    def _admit(self, genome: Genome, origin: str, mender: random.Random | None) -> Candidate | None:
        """Register a genome as asked, if it is new and within the limits (maybe mended)."""
        params = self.space.decode(genome)
        key = self._key(genome, params)
        if key in self._seen:
            return None
        costs = self._costs.of(params)
        if broken_limits(self.constraints, costs):
            if mender is not None:
                return self._admit(self._feasibility.repair(genome, mender), origin, None)
            if origin == "initial":
                self.notes.once(f"initial {key}", f"initial point {params} breaks a limit: skipped")
            return None
        candidate = Candidate(self._next_id, params, costs, origin)
        self._register(candidate, genome, key)
        return candidate

    def _register(self, candidate: Candidate, genome: Genome | None, key: Hashable) -> None:
        self._next_id = max(self._next_id, candidate.id + 1)
        self._seen.add(key)
        self._pending[candidate.id] = candidate
        if genome is not None:
            self._genomes[candidate.id] = genome

    def _key(self, genome: Genome, params: dict[str, Any]) -> Hashable:
        if self._phenotype is None:
            return self.space.key(genome)
        try:
            return self._phenotype(params)
        except Exception as error:  # the user's code: the plain genome serves as well
            self.notes.once(
                f"phenotype {type(error).__name__}",
                f"the phenotype function failed ({error}); candidates are told apart by their "
                "parameters instead",
            )
            return self.space.key(genome)

    # ---- tell

    def tell(self, number: int, metrics: Mapping[str, Any]) -> None:
        """The result of a candidate. A result that comes after a `fail` or `censor` counts.

        Args:
            number: the candidate's id.
            metrics: all metrics of the trial; those without a role are kept as they are.

        Raises:
            KeyError: an unknown id.
            ValueError: an already told id; an objective or a constrained metric that is missing
                or not a finite number (nothing is stored then).
        """
        if not isinstance(metrics, Mapping):
            raise ValueError(
                f"the result of candidate {number} is {metrics!r}, expected a dict of metrics"
            )
        candidate = self._outstanding(number)
        known = candidate.costs or {}
        for name, cost in known.items():
            reported = metrics.get(name, cost)
            if isinstance(reported, (int, float)) and reported != cost:
                self.notes.once(
                    f"differs {name}",
                    f"candidate {number} reported {name}={reported} where the cost function said "
                    f"{cost}: they should be equal; the reported value counts",
                )
        self._finish(candidate, {**known, **metrics}, COMPLETE)

    def fail(self, number: int, reason: str = "") -> None:
        """The candidate gave no result; it is not asked again.

        Raises:
            KeyError: an unknown id.
            ValueError: an already told id.
        """
        self._finish(self._outstanding(number), None, FAILED, reason)

    def censor(self, number: int, metrics: Mapping[str, Any], reason: str = "") -> None:
        """The candidate's trial was stopped early.

        Args:
            number: the candidate's id.
            metrics: its last intermediate result; never taken for the final one.
            reason: who stopped it and why.

        Raises:
            KeyError: an unknown id.
            ValueError: an already told id.
        """
        self._finish(self._outstanding(number), dict(metrics), CENSORED, reason)

    def inject(self, params: Mapping[str, Any], metrics: Mapping[str, Any]) -> int:
        """Take in an evaluation that was not asked for, e.g. of an earlier experiment.

        Returns:
            The id that it got.

        Raises:
            ValueError: params outside the space, or metrics as in `tell`.
        """
        genome = self.space.encode(params)
        candidate = Candidate(self._next_id, dict(params), None, "import")
        evaluation = Evaluation(candidate.id, candidate.params, dict(metrics))
        self._archive.score(evaluation)
        self._register(candidate, genome, self._key(genome, candidate.params))
        self._finish(candidate, dict(metrics), COMPLETE)
        return candidate.id

    def _outstanding(self, number: int) -> Candidate:
        if number in self._pending:
            return self._pending[number]
        if number not in self._archive:
            raise KeyError(f"candidate {number!r} was never asked for")
        earlier = self._archive[number]
        if earlier.status == COMPLETE:
            raise ValueError(f"candidate {number} was already told: {earlier.metrics}")
        return Candidate(number, earlier.params, None, earlier.origin)

    def _finish(
        self, candidate: Candidate, metrics: dict[str, Any] | None, status: str, reason: str = ""
    ) -> None:
        number = candidate.id
        scored = self._archive.add(
            Evaluation(number, candidate.params, metrics, status, candidate.origin, reason)
        )
        self._pending.pop(number, None)
        genome = self._genomes.get(number)
        if scored is not None and genome is not None:
            self._population.add(Individual(number, genome, scored.losses, scored.violation))

    # ---- results

    @property
    def evaluations(self) -> list[Evaluation]:
        """All finished candidates (complete, failed, censored) in order of completion."""
        return self._archive.finished

    @property
    def pending(self) -> list[Candidate]:
        """Candidates that were asked for and are not finished."""
        return list(self._pending.values())

    def front(self) -> list[Evaluation]:
        """Feasible evaluations that no other dominates, best first in the first objective."""
        return [scored.evaluation for scored in self._archive.front()]

    def hypervolume(self, reference: Mapping[str, float]) -> float:
        """The volume between the front and a reference point, in the units of the objectives.

        Args:
            reference: `{metric: value}`, one for each objective; worse than what shall count.

        Raises:
            ValueError: the reference does not name exactly the objectives.
        """
        point = self.objectives.reference(reference)
        return hypervolume([scored.losses for scored in self._archive.front()], point)

    # ---- replay

    @classmethod
    def replay(
        cls,
        space: SearchSpace,
        objectives: Mapping[str, str],
        evaluations: Iterable[Evaluation],
        constraints: Mapping[str, Any] | Sequence[Any] = (),
        **options: Any,
    ) -> Optimizer:
        """An optimizer that has seen a log of evaluations.

        Evaluations that are running are pending again. One whose parameters do not fit the space
        (it was changed meanwhile) stays in the archive but is no parent.

        Args:
            space: as for the constructor, like the other options.
            objectives: as for the constructor.
            evaluations: in order of completion; running ones last, or anywhere.
            constraints: as for the constructor.
            options: further arguments of the constructor.

        Raises:
            ValueError: an id twice, or a complete evaluation without a usable metric.
        """
        optimizer = cls(space, objectives, constraints, **options)
        for evaluation in evaluations:
            optimizer._restore(evaluation)
        return optimizer

    def _restore(self, evaluation: Evaluation) -> None:
        number, params = evaluation.id, evaluation.params
        if number in self._archive or number in self._pending:
            raise ValueError(f"evaluation {number} is in the log twice")
        try:
            genome = self.space.encode(params)
        except ValueError as error:
            self.notes.once(
                "replay misfit",
                f"evaluation {number} does not fit the search space ({error}); it stays in the "
                "archive but is no parent",
            )
            candidate = Candidate(number, params, None, evaluation.origin)
            self._register(candidate, None, ("misfit", number))
        else:
            costs = self._costs.of(params) if evaluation.status == RUNNING else None
            candidate = Candidate(number, params, costs, evaluation.origin)
            self._register(candidate, genome, self._key(genome, params))
        if evaluation.status != RUNNING:
            self._finish(candidate, evaluation.metrics, evaluation.status, evaluation.reason)


def _population_size(size: int | None, budget: int | None) -> int:
    if budget is not None and (not isinstance(budget, int) or budget < 1):
        raise ValueError(f"budget={budget!r} should be a number of trials, from 1 on")
    if size is None:
        # About 5% of the trials did best on the NAS-Bench-201 table; see docs/search.md.
        return 20 if budget is None else min(100, max(8, round(0.05 * budget)))
    if not isinstance(size, int) or isinstance(size, bool) or size < 2:
        raise ValueError(f"population_size={size!r} should be a whole number from 2 on, or None")
    return size
