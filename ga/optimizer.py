"""Ask / tell: an asynchronous, steady-state, constrained multi-objective genetic algorithm."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from ga.acquisition.optimize import AcquisitionOptimizer
from ga.acquisition.spacing import spaced
from ga.arguments import check_arguments, check_metrics
from ga.design.initial_design import first_candidates
from ga.early_stopping.learning_curves import LearningCurveModel
from ga.early_stopping.outlooks import Outlooks
from ga.evaluation import (
    CENSORED,
    COMPLETE,
    FAILED,
    IMPORTED,
    RUNNING,
    SURROGATE,
    Candidate,
    Evaluation,
    Measurement,
    SpaceExhausted,
)
from ga.evolution.admission import Admission
from ga.evolution.candidate_sources import CandidateSources, Proposal
from ga.evolution.population import Population, population_size_for
from ga.evolution.survival import SURVIVALS
from ga.evolution.toolbox import Toolbox
from ga.history.results import Results
from ga.messages import Messages
from ga.moved import no_attribute
from ga.problem.duplicates import Phenotype
from ga.problem.known_costs import CostFunction, KnownCosts
from ga.problem.objectives import Constraint, Metrics, Objectives, parse_constraints
from ga.problem.search_space import Genome, SearchSpace
from ga.problem.sensitivities import Sensitivities
from ga.problem.sensitivity_check import check_sensitivities
from ga.reporting import Reporting
from ga.strategies.registry import Search, plan_of
from ga.surrogate.learner import Learner
from ga.surrogate.surrogate import Surrogate


class Optimizer(Reporting):
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
        sensitivities: loss of quality of a layer compressed alone: `{layer: loss}`, or `{gene:
            {value: loss}}`: with known costs, solutions of a knapsack are candidates too.
        budget: number of trials that are planned; `should_stop` says when they are done.
        survival: `nsga2`, `nsga3` or `hypervolume` (SMS-EMOA).
        surrogate: predictor of the expensive metrics: `auto` (whichever ranks better), `trees`,
            `gp` or `none`.
        stagnation: let `should_stop` end the search when the hypervolume has not grown over this
            many results.
        strategy: `ga`; see `ga.strategies.registry` for those that take its place.
        toolbox: operators in DEAP's form that take the place of this search's: `{mate, mutate,
            select, select_parents or select_forecasts: function}`. A function is a callable, its
            `"module:function"`, or a dict with that as `function` and its further arguments.

    Attributes:
        toolbox: the operators, in a `deap.base.Toolbox`; see `ga.evolution.toolbox`.
        results: what was asked for and found.
        messages: what the search met on its way.

    Raises:
        ValueError: an argument that makes no sense, with the offending value.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Mapping[str, str],
        constraints: Mapping[str, object] | Sequence[Constraint] = (),
        costs: CostFunction | None = None,
        population_size: int | None = 20,
        seed: int = 0,
        *,
        phenotype: Phenotype | None = None,
        initial: Sequence[Mapping[str, object]] = (),
        sensitivities: Mapping[str, object] | None = None,
        budget: int | None = None,
        survival: str = "nsga2",
        surrogate: str = "auto",
        stagnation: int | None = None,
        strategy: str = "ga",
        toolbox: Mapping[str, object] | None = None,
    ) -> None:
        check_arguments(space, seed, survival, SURVIVALS, budget=budget, stagnation=stagnation)
        self.space, self.seed = space, seed
        self.objectives = Objectives.parse(objectives)
        self.constraints = parse_constraints(constraints)
        self.messages = Messages()
        self.results = Results(self.objectives, self.constraints, self.messages, budget, stagnation)
        self.toolbox = Toolbox(
            space, len(self.objectives.names), SURVIVALS[survival], toolbox, self.messages
        )
        self.population_size = population_size_for(budget, population_size)
        self._costs, self._next_id = KnownCosts(costs, self.messages), 1
        self._admission = Admission(
            space, self.objectives, self.constraints, self._costs, phenotype, seed, self.messages
        )
        self._population = Population(self.population_size, self.toolbox, seed)
        known = Sensitivities.parse(sensitivities)
        check_sensitivities(space, known, self.messages)
        untrained = Surrogate(
            space, self.objectives, self.constraints, surrogate, known, seed, self.messages
        )
        self._learner = Learner(untrained, self._costs)
        canonical = self._admission.canonical
        plan = plan_of(strategy, Search(
            space, known, self._costs, self.objectives, self.constraints, canonical,
            self.population_size, surrogate, initial, seed,
        ))  # fmt: skip
        self._acquisition = AcquisitionOptimizer(
            space, self.toolbox, self._learner, self._costs, canonical, plan.knapsack
        )
        curves = LearningCurveModel(space, self.objectives, known)
        found, limits = self.results, self.objectives.limits(self.constraints)
        self._outlooks = Outlooks(
            found.archive, found.genomes, found.pending, self._learner, curves, limits
        )
        design = first_candidates(space, plan.design, initial, seed)
        self._sources = CandidateSources(
            space, design, plan.proposals, self._population, self.toolbox, seed, alone=plan.alone
        )

    if not TYPE_CHECKING:  # for a type checker there are no further attributes

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute(type(self), name)

    # ---- ask

    def ask(self) -> Candidate:
        """The next candidate: distinct from all before, within the limits on known costs.

        Raises:
            SpaceExhausted: there is none left.
            UnsatisfiableConstraint: no candidate keeps the limits on known costs.
        """
        rng = random.Random(f"{self.seed}:{self._next_id}")
        is_new, modelled = self._admission.duplicates.is_new, self._modelled(rng)
        args = (rng, self._next_id, self.results, is_new, modelled)
        for genome, origin, mender in self._sources.streams(*args):
            admitted = self._admission.admit(genome, origin, mender)
            if admitted is not None:
                candidate = Candidate(self._next_id, admitted.params, admitted.costs, origin)
                self._register(candidate, admitted.genome, admitted.key)
                return candidate
        self._admission.check_satisfiable()  # raises where the limits leave nothing
        self.results.exhausted = True
        raise SpaceExhausted(
            f"no new candidate is left after {len(self._admission.duplicates.seen)} distinct ones "
            f"in a space of {self.space.size_text()}"
        )

    def _modelled(self, rng: random.Random) -> Iterator[Proposal]:
        if not self._learner.surrogate.prepare(self._costs.metrics):
            return
        parents = [member.genome for member in self._population.members]
        front, region = self.results.front_genomes(), self._outlooks.region()
        asked = self.results.genomes.values()
        is_new = spaced(self.space, asked, self._admission.duplicates.is_new)
        for genome in self._acquisition.propose(rng, parents, front, region, is_new):
            yield genome, SURROGATE, None

    def _register(self, candidate: Candidate, genome: Genome | None, key: Hashable) -> None:
        self._next_id = max(self._next_id, candidate.id + 1)
        self._admission.duplicates.seen.add(key)
        self.results.start(candidate, genome, key)

    # ---- tell

    def tell(self, number: int, metrics: Mapping[str, object]) -> None:
        """The result of a candidate. A result that comes after a `fail` or `censor` counts.

        Args:
            number: the candidate's id.
            metrics: all metrics of the trial; those without a role are kept as they are.

        Raises:
            KeyError: an unknown id.
            ValueError: an already told id (see `remeasure`); an objective or a constrained metric
                that is missing or not a finite number (nothing is stored then).
        """
        check_metrics(number, metrics)
        candidate = self.results.outstanding(number)
        known = candidate.costs or {}
        self._costs.compare(number, known, metrics)
        self._finish(candidate, {**known, **metrics}, status=COMPLETE)

    def remeasure(self, number: int, metrics: Mapping[str, object]) -> Evaluation:
        """A further result of a candidate that has one, e.g. of a training with another seed.

        The means of all measurements count from now on, for the front, the population and the
        surrogate, which also learns from their differences how much a result scatters. Results of
        the same params under several ids (see `inject`) count so, too.

        Args:
            number: the candidate's id.
            metrics: as for `tell`; a known cost may be left out.

        Returns:
            The candidate as it counts now, with its `readings`.

        Raises:
            KeyError: an unknown id.
            ValueError: a candidate without a complete result, or metrics as in `tell` (nothing is
                stored then).
        """
        check_metrics(number, metrics)
        before = self.results.complete(number)
        genome = self.results.genomes.get(number)
        known = {} if genome is None else self._learner.costed.get(genome, {})
        self._costs.compare(number, known, metrics)
        latest = {**known, **metrics}
        now = self.results.archive.remeasure(number, latest)
        self._taught(replace(before, metrics=latest, readings=()), now, None)
        return now

    def fail(self, number: int, reason: str = "") -> None:
        """The candidate gave no result; it is not asked again.

        Raises:
            KeyError: an unknown id.
            ValueError: an already told id.
        """
        self._finish(self.results.outstanding(number), None, status=FAILED, reason=reason)

    def censor(
        self,
        number: int,
        metrics: Mapping[str, object],
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
        candidate, guess = self.results.outstanding(number), None
        if expected is not None:
            guess = {**expected, **(candidate.costs or {})}
            self.results.archive.score(Evaluation(number, {}, guess))
        self._finish(candidate, dict(metrics), status=CENSORED, reason=reason, expected=guess)

    def inject(self, params: Mapping[str, object], metrics: Mapping[str, object]) -> int:
        """Take in an evaluation that was not asked for, e.g. of an earlier experiment.

        Returns:
            The id that it got.

        Raises:
            ValueError: params outside the space, or metrics as in `tell`.
        """
        genome = self.space.encode(params)
        candidate = Candidate(self._next_id, dict(params), None, IMPORTED)
        evaluation = Evaluation(candidate.id, candidate.params, dict(metrics))
        self.results.archive.score(evaluation)
        self._register(candidate, genome, self._admission.duplicates.key(genome, candidate.params))
        self._finish(candidate, dict(metrics), status=COMPLETE)
        return candidate.id

    # ---- trials on their way

    def reopen(self, number: int) -> Candidate:
        """Ask once more for a candidate whose trial was stopped.

        Raises:
            KeyError: an unknown id.
            ValueError: it was not stopped.
        """
        candidate = self.results.outstanding(number)
        if number in self.results.pending or self.results.archive[number].status != CENSORED:
            raise ValueError(f"candidate {number} was not stopped")
        genome = self.results.genomes.get(number)
        known = None if genome is None else self._learner.costed.get(genome)
        costs = self._costs.of(candidate.params) if known is None else dict(known)
        candidate = replace(candidate, costs=costs)
        self.results.start(candidate, genome)
        return candidate

    def _finish(self, candidate: Candidate, metrics: Metrics | None, **outcome: Any) -> None:
        number, params, origin = candidate.id, candidate.params, candidate.origin
        evaluation = Evaluation(number, params, metrics, origin=origin, **outcome)
        self._learn(evaluation, candidate.costs)

    def _learn(self, evaluation: Evaluation, costs: Mapping[str, float] | None) -> None:
        first, *further = evaluation.readings or (None,)
        if first is not None:
            evaluation = replace(evaluation, metrics=first, readings=())
        self._taught(evaluation, self.results.finish(evaluation), costs)
        for metrics in further:
            self.remeasure(evaluation.id, metrics or {})

    def _taught(
        self, reading: Evaluation, now: Evaluation, costs: Mapping[str, float] | None
    ) -> None:
        """One measurement for the surrogate, what counts now for the population."""
        genome = self.results.genomes.get(reading.id)
        if now.status == COMPLETE and genome is not None:
            self._population.add(self.toolbox.evaluated(genome, now))
        self._learner.learn(genome, reading, costs)

    # ---- replay

    @classmethod
    def replay(
        cls,
        space: SearchSpace,
        objectives: Mapping[str, str],
        evaluations: Iterable[Evaluation | Measurement],
        constraints: Mapping[str, object] | Sequence[Constraint] = (),
        **options: Any,
    ) -> Optimizer:
        """An optimizer that has seen a log of evaluations.

        Evaluations that are running are pending again. One whose parameters do not fit the space
        (it was changed meanwhile) stays in the archive but is no parent.

        Args:
            space: as for the constructor, like the other options.
            objectives: as for the constructor.
            evaluations: in order of completion; running ones last, or anywhere. A further result
                of a candidate is a `Measurement`, behind its first one.
            constraints: as for the constructor.
            options: further arguments of the constructor.

        Raises:
            ValueError: an id twice, or a complete evaluation without a usable metric.
        """
        optimizer = cls(space, objectives, constraints, **options)
        for evaluation in evaluations:
            if isinstance(evaluation, Measurement):
                optimizer.remeasure(evaluation.id, evaluation.metrics)
            else:
                optimizer._restore(evaluation)
        return optimizer

    def _restore(self, evaluation: Evaluation) -> None:
        number, params = evaluation.id, evaluation.params
        if number in self.results:
            raise ValueError(f"evaluation {number} is in the log twice")
        genome: Genome | None = None
        key: Hashable = ("misfit", number)
        try:
            genome = self.space.encode(params)
            key = self._admission.duplicates.key(genome, params)
        except ValueError as error:
            self.messages.once(
                "replay misfit",
                f"evaluation {number} does not fit the search space ({error}); it stays in the "
                "archive but is no parent",
            )
        running = evaluation.status == RUNNING
        costs = self._costs.of(params) if running and genome is not None else None
        self._register(Candidate(number, params, costs, evaluation.origin), genome, key)
        if not running:
            self._learn(evaluation, None)
        elif evaluation.expected is not None:
            # Stopped once and running again: what was expected of it was learned.
            self._learner.learn(genome, replace(evaluation, status=CENSORED), costs)
