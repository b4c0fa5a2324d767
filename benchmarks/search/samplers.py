"""Ours and the rivals behind one function: `run(name, problem, seed, trials) -> metrics`."""

from __future__ import annotations

import importlib
import random
import warnings
from collections.abc import Callable
from typing import Any

from problems import Problem

import ga

Metrics = list[dict[str, float]]


def ours(problem: Problem, seed: int, trials: int, **options: Any) -> Metrics:
    """This project's optimizer, told the cheap metrics and, where measured, sensitivities."""
    costs = options.pop("costs", problem.costs)
    options.setdefault("sensitivities", problem.sensitivities)
    optimizer = ga.Optimizer(
        problem.space(), problem.objectives, problem.constraints, costs, seed=seed, **options
    )
    results: Metrics = []
    while len(results) < trials:
        try:
            candidate = optimizer.ask()
        except ga.SpaceExhausted:
            break
        results.append(problem.evaluate(candidate.params))
        optimizer.tell(candidate.id, results[-1])
    return results


def chance(problem: Problem, seed: int, trials: int) -> Metrics:
    """Uniform random sampling, gene by gene."""
    space, rng = problem.space(), random.Random(seed)
    return [
        problem.evaluate(space.decode([locus.gene.sample(rng) for locus in space.loci]))
        for _ in range(trials)
    ]


def optuna_sampler(problem: Problem, seed: int, trials: int, make: Callable[[int], Any]) -> Metrics:
    """An Optuna sampler on a multi-objective study; constraints as it takes them."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    results: Metrics = []

    def suggest(trial: Any) -> dict[str, Any]:
        params = {}
        for gene in problem.genes:
            if isinstance(gene, (ga.Categorical, ga.Ordered)) and not gene.numeric:
                params[gene.name] = trial.suggest_categorical(gene.name, gene.values)
            elif isinstance(gene, ga.Ordered):
                place = trial.suggest_int(gene.name, 0, gene.size - 1)
                params[gene.name] = gene.values[place]
            elif isinstance(gene, ga.Integer):
                params[gene.name] = trial.suggest_int(gene.name, gene.low, gene.high)
            else:
                low, high = gene.bounds  # type: ignore[attr-defined]  # real genes are left
                params[gene.name] = trial.suggest_float(gene.name, low, high)
        return params

    bounds = ga.parse_constraints(problem.constraints)

    def objective(trial: Any) -> list[float]:
        metrics = problem.evaluate(suggest(trial))
        results.append(metrics)
        if bounds:
            trial.set_user_attr("excess", [b.excess(metrics[b.metric]) for b in bounds])
        return problem.losses(metrics).tolist()

    study = optuna.create_study(directions=["minimize"] * len(problem.ideal), sampler=make(seed))
    study.optimize(objective, n_trials=trials)
    return results


def _excess(trial: Any) -> list[float]:
    return list(trial.user_attrs["excess"])


def optuna_of(kind: str, constrained: bool = False, **options: Any) -> Callable[..., Metrics]:
    """A function that runs one of Optuna's samplers."""

    def run(problem: Problem, seed: int, trials: int) -> Metrics:
        import optuna

        extra = {"constraints_func": _excess} if problem.constraints else {}
        sampler = getattr(optuna.samplers, kind)
        return optuna_sampler(problem, seed, trials, lambda s: sampler(seed=s, **extra, **options))

    return run


def _pymoo_variables(problem: Problem) -> dict[str, Any]:
    """The problem's genes as pymoo's variables; an ordered gene is the index of its value."""
    from pymoo.core.variable import Choice, Integer, Real

    variables: dict[str, Any] = {}
    for gene in problem.genes:
        if isinstance(gene, ga.Ordered):
            variables[gene.name] = Integer(bounds=(0, gene.size - 1))
        elif isinstance(gene, ga.Integer):
            variables[gene.name] = Integer(bounds=(gene.low, gene.high))
        elif isinstance(gene, ga.Categorical):
            variables[gene.name] = Choice(options=list(gene.values))
        else:
            variables[gene.name] = Real(bounds=gene.bounds)  # type: ignore[attr-defined]  # real genes are left
    return variables


def pymoo_of(kind: str) -> Callable[..., Metrics]:
    """A function that runs one of pymoo's algorithms on mixed variables, population 20."""

    def run(problem: Problem, seed: int, trials: int) -> Metrics:
        from pymoo.algorithms.moo.nsga2 import NSGA2, RankAndCrowdingSurvival
        from pymoo.algorithms.moo.sms import SMSEMOA, LeastHypervolumeContributionSurvival
        from pymoo.core.mixed import (
            MixedVariableDuplicateElimination,
            MixedVariableMating,
            MixedVariableSampling,
        )
        from pymoo.core.problem import ElementwiseProblem
        from pymoo.optimize import minimize

        results: Metrics = []
        bounds = ga.parse_constraints(problem.constraints)
        variables = _pymoo_variables(problem)

        class Wrapped(ElementwiseProblem):  # type: ignore[misc]  # pymoo has no types
            def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
                params = {
                    gene.name: gene.values[int(x[gene.name])]
                    if isinstance(gene, ga.Ordered)
                    else x[gene.name]
                    for gene in problem.genes
                }
                metrics = problem.evaluate(params)
                results.append(metrics)
                out["F"] = problem.losses(metrics)
                if bounds:
                    out["G"] = [b.excess(metrics[b.metric]) for b in bounds]

        algorithm, survival = {
            "nsga2": (NSGA2, RankAndCrowdingSurvival),
            "sms": (SMSEMOA, LeastHypervolumeContributionSurvival),
        }[kind]
        minimize(
            Wrapped(vars=variables, n_obj=len(problem.ideal), n_ieq_constr=len(bounds)),
            algorithm(
                pop_size=20,
                sampling=MixedVariableSampling(),
                mating=MixedVariableMating(
                    eliminate_duplicates=MixedVariableDuplicateElimination()
                ),
                eliminate_duplicates=MixedVariableDuplicateElimination(),
                survival=survival(),
            ),
            ("n_eval", trials),
            seed=seed,
        )
        return results[:trials]

    return run


def nni_of(kind: str) -> Callable[..., Metrics]:
    """One of NNI's own tuners on the mean of the scaled losses (NNI tuners take one number).

    The scaling uses the true range of the table, which a user would not know.
    """

    def run(problem: Problem, seed: int, trials: int) -> Metrics:
        from rival_tuners import nni_tuner  # late: others need no NNI

        space = {
            gene.name: {"_type": "choice", "_value": list(gene.values)}  # type: ignore[attr-defined]  # tables
            for gene in problem.genes
        }
        tuner = nni_tuner(kind, seed)
        tuner.update_search_space(space)
        results: Metrics = []
        for number in range(trials):
            params = tuner.generate_parameters(number)
            metrics = problem.evaluate(params)
            results.append(metrics)
            tuner.receive_trial_result(number, params, float(problem.losses(metrics).mean()))
            if hasattr(tuner, "trial_end"):
                tuner.trial_end(number, True)
        return results

    return run


def variant(**options: Any) -> Callable[..., Metrics]:
    """Ours with other options, for the ablation."""

    def run(problem: Problem, seed: int, trials: int) -> Metrics:
        return ours(problem, seed, trials, **options)

    return run


def patched(module: str, **constants: Any) -> Callable[..., Metrics]:
    """Ours with other constants in one of its modules, for the ablation."""

    def run(problem: Problem, seed: int, trials: int) -> Metrics:
        place = importlib.import_module(module)
        before = {name: getattr(place, name) for name in constants}
        try:
            for name, value in constants.items():
                setattr(place, name, value)
            return ours(problem, seed, trials)
        finally:
            for name, value in before.items():
                setattr(place, name, value)

    return run


SAMPLERS: dict[str, Callable[..., Metrics]] = {
    "ours": ours,
    "ours, told costs only": variant(sensitivities=None),
    "ours, told no costs": variant(costs=None, sensitivities=None),
    "random": chance,
    "optuna nsga2 20": optuna_of("NSGAIISampler", population_size=20),
    "optuna nsga2 50": optuna_of("NSGAIISampler", population_size=50),
    "optuna nsga3 50": optuna_of("NSGAIIISampler", population_size=50),
    "optuna tpe multivariate": optuna_of("TPESampler", multivariate=True),
    "pymoo nsga2 20": pymoo_of("nsga2"),
    "pymoo sms-emoa 20": pymoo_of("sms"),
    "nni tpe": nni_of("tpe"),
    "nni evolution": nni_of("evolution"),
    "nni random": nni_of("random"),
    "optuna gp": optuna_of("GPSampler"),
}

ABLATION: dict[str, Callable[..., Metrics]] = {
    "no inner search, no climbing": patched(
        "ga.acquisition.optimize", _INNER_GENERATIONS=0, _LOCAL_ROUNDS=0
    ),
    "deviations believed whole": patched("ga.acquisition.improvement", _BELIEVED=1.0),
    "no knapsack": patched("ga.design.calibrated_design", knapsack_of=lambda *told: None),
    "no plain GA requests": patched("ga.evolution.candidate_sources", _PLAIN_SHARE=0.0),
    "trees only": variant(surrogate="trees"),
    "gp only": variant(surrogate="gp"),
    "trees only, told no costs": variant(surrogate="trees", costs=None),
    "gp only, told no costs": variant(surrogate="gp", costs=None),
    "no surrogate": variant(surrogate="none"),
    "hypervolume survival": variant(survival="hypervolume"),
}
