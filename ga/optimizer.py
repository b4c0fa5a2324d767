"""Ask / tell: an asynchronous, steady-state, constrained multi-objective genetic algorithm."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ga.acquisition.optimize import Assistant
from ga.design.greedy_path import staircase
from ga.design.initial_design import first_candidates
from ga.early_stopping.learning_curves import LearningCurve, LearningCurveModel, Outlook
from ga.early_stopping.outlooks import Outlooks
from ga.evaluation import (
    CENSORED,
    COMPLETE,
    FAILED,
    RUNNING,
    Candidate,
    Evaluation,
    SpaceExhausted,
)
from ga.evolution.candidate_sources import Proposal, Proposals
from ga.evolution.population import Population, population_size_for
from ga.evolution.repair import Feasibility
from ga.evolution.survival import SURVIVALS, Individual
from ga.evolution.useless_alleles import Idle
from ga.history.results import Findings
from ga.problem.duplicates import Identity, Phenotype
from ga.problem.known_costs import CostFunction, KnownCosts, broken_limits
from ga.problem.search_space import Genome, SearchSpace
from ga.problem.sensitivities import Sensitivities
from ga.problem.uniform_settings import corners
from ga.surrogate.learner import Lessons
from ga.surrogate.surrogate import Surrogate

# Share of requests that the plain GA answers although the surrogate could: what the predictor is
# wrong about is found there.
_PLAIN_SHARE = 0.05
# The design before the first fit: more would delay the surrogate, which beats it from here on.
_DESIGN = 12


class Optimizer(Findings):
    """Proposes candidates and learns from their results, in any order and number.

    The population is a function of the results in order of completion, and the randomness of a
    request one of the seed and the candidate's number: a search that is replayed from its log goes
    on exactly as the first one would have.

    Values that save nothing (see `ga.evolution.useless_alleles`) are never asked for, but in the
    user's own points.

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
        sensitivities: loss of quality when one layer alone is compressed, for the first
            candidates and the predictor: `{layer: loss}` or `{gene: {value: loss}}`.
        budget: number of trials that are planned; `should_stop` says when they are done.
        survival: `nsga2`, `nsga3` or `hypervolume` (SMS-EMOA).
        surrogate: predictor of the expensive metrics: `auto` (whichever ranks better), `trees`,
            `gp` or `none`.
        stagnation: let `should_stop` end the search when the hypervolume has not grown over this
            many results.

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
        sensitivities: Mapping[str, Any] | None = None,
        budget: int | None = None,
        survival: str = "nsga2",
        surrogate: str = "auto",
        stagnation: int | None = None,
    ) -> None:
        if not isinstance(space, SearchSpace):
            raise ValueError(f"space={space!r} should be a ga.SearchSpace")
        _check_count("budget", budget)
        _check_count("stagnation", stagnation)
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f"seed={seed!r} should be a whole number from 0 on")
        if survival not in SURVIVALS:
            raise ValueError(f"survival={survival!r} (allowed: {', '.join(SURVIVALS)})")
        super().__init__(space, objectives, constraints, seed, budget, stagnation)
        self.population_size = population_size_for(budget, population_size)
        self._costs = KnownCosts(costs, self.notes)
        self._identity = Identity(space, phenotype, self.notes)
        self._population = Population(self.population_size, SURVIVALS[survival])
        self._next_id = 1
        levels = Sensitivities.parse(sensitivities)
        untaught = Surrogate(
            space, self.objectives, self.constraints, surrogate, levels, seed, self.notes
        )
        self._lessons = Lessons(untaught, self._costs)
        self._idle = Idle(space, self._costs, self.objectives, self.constraints, seed, self.notes)
        self._assistant = Assistant(space, self._lessons, self._costs, self._idle.settled)
        self._outlooks = Outlooks(
            self._archive,
            self._genomes,
            self._pending,
            self._lessons,
            LearningCurveModel(space, self.objectives, levels),
            self.objectives.limits(self.constraints),
        )
        size = self.population_size if surrogate == "none" else min(self.population_size, _DESIGN)
        way = staircase(space, corners(space), levels, self._costs, self.objectives)
        design = first_candidates(space, size, initial, levels.layers, seed, way)
        self._proposals = Proposals(space, design, self._population, seed)
        self._feasibility = Feasibility(space, self.constraints, self._costs, corners(space), seed)

    # ---- ask

    def ask(self) -> Candidate:
        """The next candidate: distinct from all before, within the limits on known costs.

        Raises:
            SpaceExhausted: there is none left.
            UnsatisfiableConstraint: no candidate keeps the limits on known costs.
        """
        rng = random.Random(f"{self.seed}:{self._next_id}")
        for genome, origin, mender in self._streams(rng):
            candidate = self._admit(genome, origin, mender)
            if candidate is not None:
                return candidate
        # Either the limits leave nothing (said by name), or everything was asked before.
        if self._costs and not self._identity.seen:
            self._feasibility.anchors()
        self._exhausted = True
        raise SpaceExhausted(
            f"no new candidate is left after {len(self._identity.seen)} distinct ones in a space "
            f"of {self.space.size_text()}"
        )

    def _streams(self, rng: random.Random) -> Iterator[Proposal]:
        yield from self._proposals.designed(len(self._archive.scored))
        if rng.random() >= _PLAIN_SHARE:
            yield from self._modelled(rng)
        yield from self._proposals.bred(rng)
        yield from self._proposals.sampled(rng)
        yield from self._proposals.walked()

    def _modelled(self, rng: random.Random) -> Iterator[Proposal]:
        if not self._lessons.surrogate.prepare(self._costs.metrics):
            return
        parents = [member.genome for member in self._population.members]
        found = [self._genomes.get(s.evaluation.id) for s in self._archive.front()]
        elders = [genome for genome in found if genome is not None]
        region = self._outlooks.region()
        for genome in self._assistant.propose(rng, parents, elders, region, self._identity.is_new):
            yield genome, "surrogate", None

    def _admit(self, genome: Genome, origin: str, mender: random.Random | None) -> Candidate | None:
        """Register a genome as asked, if it is new and within the limits (maybe mended)."""
        if origin != "initial":
            genome = self._idle.settled(genome)
        params = self.space.decode(genome)
        key = self._identity.key(genome, params)
        if key in self._identity.seen:
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
        self._identity.seen.add(key)
        self._pending[candidate.id] = candidate
        if genome is not None:
            self._genomes[candidate.id] = genome

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

    def censor(
        self,
        number: int,
        metrics: Mapping[str, Any],
        reason: str = "",
        expected: Mapping[str, float] | None = None,
    ) -> None:
        """The candidate's trial was stopped early.

        Args:
            number: the candidate's id.
            metrics: its last intermediate result; never taken for the final one.
            reason: who stopped it and why.
            expected: what its final metrics would probably have been. The surrogate learns from
                them; they reach neither the population nor the front.

        Raises:
            KeyError: an unknown id.
            ValueError: an already told id; expected metrics that lack an objective.
        """
        guess = None
        if expected is not None:
            guess = {**expected, **(self._outstanding(number).costs or {})}
            self._archive.score(Evaluation(number, {}, guess))
        self._finish(self._outstanding(number), dict(metrics), CENSORED, reason, guess)

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
        self._register(candidate, genome, self._identity.key(genome, candidate.params))
        self._finish(candidate, dict(metrics), COMPLETE)
        return candidate.id

    # ---- trials on their way

    def outlooks(
        self, curves: Mapping[int, LearningCurve], numbers: Iterable[int]
    ) -> dict[int, Outlook]:
        """What trials are worth that are on their way, or were stopped there.

        Args:
            curves: what every trial has reported so far, by candidate.
            numbers: the candidates that are asked about.

        Returns:
            One for each that has reported; nothing while too few trials ran to their ends, or the
            surrogate is not relied on.
        """
        if not self._lessons.surrogate.prepare(self._costs.metrics):
            return {}
        return self._outlooks.of(curves, numbers)

    def reopen(self, number: int) -> Candidate:
        """Ask once more for a candidate whose trial was stopped.

        Raises:
            KeyError: an unknown id.
            ValueError: it was not stopped.
        """
        candidate = self._outstanding(number)
        if number in self._pending or self._archive[number].status != CENSORED:
            raise ValueError(f"candidate {number} was not stopped")
        genome = self._genomes.get(number)
        known = None if genome is None else self._lessons.costed.get(genome)
        costs = self._costs.of(candidate.params) if known is None else dict(known)
        self._pending[number] = replace(candidate, costs=costs)
        return self._pending[number]

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
        self,
        candidate: Candidate,
        metrics: dict[str, Any] | None,
        status: str,
        reason: str = "",
        expected: dict[str, float] | None = None,
    ) -> None:
        number = candidate.id
        evaluation = Evaluation(
            number, candidate.params, metrics, status, candidate.origin, reason, expected
        )
        scored = self._archive.add(evaluation)
        self._pending.pop(number, None)
        genome = self._genomes.get(number)
        if scored is not None and genome is not None:
            self._population.add(Individual(number, genome, scored.losses, scored.violation))
        self._lessons.learn(genome, evaluation, candidate.costs)

    @property
    def rank_correlation(self) -> dict[str, float]:
        """Kendall's tau of the surrogate on held-back results, per expensive metric."""
        return dict(self._lessons.surrogate.tau)

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
            self._register(candidate, genome, self._identity.key(genome, params))
        if evaluation.status == RUNNING and evaluation.expected is not None:
            # Stopped once and running again: what was expected of it was learned.
            stopped = replace(evaluation, status=CENSORED)
            self._lessons.learn(self._genomes.get(number), stopped, candidate.costs)
        if evaluation.status != RUNNING:
            self._finish(
                candidate,
                evaluation.metrics,
                evaluation.status,
                evaluation.reason,
                evaluation.expected,
            )


def _check_count(name: str, value: int | None) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"{name}={value!r} should be a number of trials, from 1 on")
