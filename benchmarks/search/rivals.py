"""Rivals that are told more than a search space, behind the function that `samplers.py` describes.

| sampler | told before a trial |
|---|---|
| botorch | exact costs as deterministic models, limits, the reference point |
| smac parego | nothing; its cost is the vector of losses |
| optuna ..., 4 at once | limits; four trials run at a time |
| integer program, sensitivity greedy | costs, sensitivities, limits on costs |

BoTorch and SMAC are not in the project's requirements: `pip install botorch smac pyrfr` into an
environment of its own. SMAC's forests, `pyrfr`, are built from source and need `swig`. The one of
PyPI will do, with its folder `swig/data/bin` on the path and SWIG_LIB at `swig/data/share/swig/*`:
its script for the path fails in pip's isolated builds.
"""

from __future__ import annotations

import itertools
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bit_allocation import Choices, greedy_path, integer_program
from problems import Problem
from samplers import Metrics

import ga

_POOL = 512  # random points at which BoTorch's acquisition is looked at
_SAMPLES = 32  # of its Monte Carlo integration
_FIRST = 10  # random trials before its first model
_CLIMBS = 5  # rounds over the neighbours of the best point


Tried = dict[tuple[int, ...], dict[str, float]]
"""Places of the genes' values -> the metrics of that trial, in the order of the trials."""


class _Grid:
    """A problem of finite genes as places: what a lattice search and a GP need."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.values = [tuple(gene.values) for gene in problem.genes]  # type: ignore[attr-defined]  # tables: all finite
        self.unordered = [
            i for i, gene in enumerate(problem.genes) if isinstance(gene, ga.Categorical)
        ]
        self.top = np.array([max(len(values) - 1, 1) for values in self.values])

    def params(self, point: tuple[int, ...]) -> dict[str, Any]:
        names = (gene.name for gene in self.problem.genes)
        return {n: v[p] for n, v, p in zip(names, self.values, point, strict=True)}

    def sample(self, rng: random.Random) -> tuple[int, ...]:
        return tuple(rng.randrange(len(values)) for values in self.values)

    def neighbours(self, point: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        for i, values in enumerate(self.values):
            for place in range(len(values)):
                if place != point[i]:
                    yield (*point[:i], place, *point[i + 1 :])

    def trial(self, point: tuple[int, ...]) -> dict[str, float]:
        return self.problem.evaluate(self.params(point))

    def known(self, point: tuple[int, ...]) -> Any:
        """Losses, of which only those of known costs are right."""
        problem = self.problem
        return problem.losses(
            {**dict.fromkeys(problem.objectives, 0.0), **problem.costs(self.params(point))}
        )

    def keeps(self, point: tuple[int, ...]) -> bool:
        """Whether known costs are within their limits."""
        limits = {n: b for n, b in self.problem.constraints.items() if n not in self._unknown}
        if not limits:
            return True
        costs = self.problem.costs(self.params(point))
        return not ga.violation(ga.parse_constraints(limits), costs)

    @property
    def _unknown(self) -> set[str]:
        return {*self.problem.objectives, *self.problem.constraints} - set(self.problem.cheap)

    def coded(self, points: list[tuple[int, ...]]) -> Any:
        """(N, D): ordered genes in [0, 1], unordered ones as places."""
        code = np.array(points, dtype=float) / self.top
        code[:, self.unordered] *= self.top[self.unordered]
        return code

    def decoded(self, code: Any) -> list[tuple[int, ...]]:
        places = np.array(code, dtype=float) * self.top
        places[:, self.unordered] /= self.top[self.unordered]
        return [tuple(row) for row in places.round().astype(int).tolist()]


def botorch(problem: Problem, seed: int, trials: int) -> Metrics:
    """BoTorch with qLogNEHVI and the costs as deterministic models.

    A Gaussian process models the objective that is not known (with a kernel for categories where
    genes are unordered); the acquisition is maximized over random points, the neighbours of the
    front, and then by climbing from neighbour to neighbour.
    """
    import torch

    torch.manual_seed(seed)
    warnings.simplefilter("ignore")
    rng, grid = random.Random(seed), _Grid(problem)
    tried: Tried = {}
    while len(tried) < min(_FIRST, trials):
        point = grid.sample(rng)
        if point not in tried and grid.keeps(point):
            tried[point] = grid.trial(point)
    state: dict[str, Any] = {}
    while len(tried) < trials:
        point = _best_of(grid, tried, _acquisition(grid, tried, state), rng)
        tried[point] = grid.trial(point)
    return list(tried.values())


def _acquisition(grid: _Grid, tried: Tried, state: dict[str, Any]) -> Any:
    """The acquisition on minus the losses, fitted to all trials; `state` warms the next fit."""
    import torch
    from botorch.acquisition.multi_objective.logei import (
        qLogNoisyExpectedHypervolumeImprovement,
    )
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import MixedSingleTaskGP, SingleTaskGP
    from botorch.models.deterministic import GenericDeterministicModel
    from botorch.models.model import ModelList
    from botorch.sampling.get_sampler import get_sampler
    from gpytorch.mlls import ExactMarginalLogLikelihood

    problem = grid.problem
    names = list(problem.objectives)
    unknown = [i for i, name in enumerate(names) if name not in problem.cheap]
    known = [i for i, name in enumerate(names) if name in problem.cheap]
    points, losses = list(tried), _losses(problem, tried)
    x = torch.tensor(grid.coded(points), dtype=torch.double)
    y = -torch.tensor(losses[:, unknown], dtype=torch.double)
    gp: Any = (
        MixedSingleTaskGP(x, y, cat_dims=grid.unordered) if grid.unordered else SingleTaskGP(x, y)
    )
    if state:
        gp.load_state_dict({**gp.state_dict(), **state})
    fit_gpytorch_mll(
        ExactMarginalLogLikelihood(gp.likelihood, gp), optimizer_kwargs={"options": {"maxiter": 50}}
    )
    state.update({k: v for k, v in gp.state_dict().items() if "raw_" in k})

    def costs(code: Any) -> Any:
        flat = grid.decoded(code.reshape(-1, code.shape[-1]).detach().numpy())
        rows = np.array([grid.known(point)[known] for point in flat])
        return -torch.tensor(rows, dtype=torch.double).reshape(*code.shape[:-1], len(known))

    model = ModelList(gp, GenericDeterministicModel(costs, num_outputs=len(known)))
    order = [[*unknown, *known].index(i) for i in range(len(names))]
    sampler = get_sampler(model.posterior(x[:1]), sample_shape=torch.Size([_SAMPLES]))
    bounds = ga.parse_constraints(problem.constraints)
    limits = [_limit(problem, bound, order) for bound in bounds if bound.metric in names]
    return qLogNoisyExpectedHypervolumeImprovement(
        model,
        [-1.0] * len(names),
        x,
        sampler=sampler,
        constraints=limits or None,
        prune_baseline=True,
        cache_root=False,
    )


def _limit(problem: Problem, bound: Any, order: list[int]) -> Callable[[Any], Any]:
    """A limit on an objective as BoTorch takes it: negative where it is kept."""
    place = list(problem.objectives).index(bound.metric)
    column, worst = order[place], float(problem.losses(_at(problem, bound))[place])
    return lambda y: -y[..., column] - worst


def _at(problem: Problem, bound: Any) -> dict[str, float]:
    return dict.fromkeys(problem.objectives, 0.0) | {bound.metric: bound.bound}


def _losses(problem: Problem, tried: Tried) -> Any:
    return np.array([problem.losses(metrics) for metrics in tried.values()])


def _best_of(grid: _Grid, tried: Tried, acquisition: Any, rng: random.Random) -> tuple[int, ...]:
    import torch

    def best(points: list[tuple[int, ...]]) -> tuple[float, tuple[int, ...]]:
        with torch.no_grad():
            code = torch.tensor(grid.coded(points), dtype=torch.double).unsqueeze(1)
            values = torch.cat([acquisition(part) for part in code.split(256)])
        place = int(values.argmax())
        return float(values[place]), points[place]

    front = ga.nondominated(_losses(grid.problem, tried))
    starts = [point for point, is_on in zip(tried, front, strict=True) if is_on]
    near = {n for point in starts for n in grid.neighbours(point)}
    pool = {grid.sample(rng) for _ in range(_POOL)} | set(
        rng.sample(sorted(near), min(len(near), _POOL))
    )
    value, point = best([p for p in sorted(pool - tried.keys()) if grid.keeps(p)])
    for _ in range(_CLIMBS):
        around = [n for n in grid.neighbours(point) if n not in tried and grid.keeps(n)]
        higher, other = best(around) if around else (value, point)
        if higher <= value:
            break
        value, point = higher, other
    return point


def smac(problem: Problem, seed: int, trials: int) -> Metrics:
    """SMAC with ParEGO: SMAC 2.4.1 has no hypervolume acquisition, and takes no limits."""
    import ConfigSpace
    from smac import HyperparameterOptimizationFacade as Facade
    from smac import Scenario
    from smac.runhistory.dataclasses import TrialValue

    grid = _Grid(problem)
    space = ConfigSpace.ConfigurationSpace(seed=seed)
    for i, gene in enumerate(problem.genes):
        kinds = ConfigSpace.CategoricalHyperparameter, ConfigSpace.OrdinalHyperparameter
        places = list(range(len(grid.values[i])))
        space.add(kinds[i not in grid.unordered](gene.name, places))
    names = list(problem.objectives)
    results: Metrics = []
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space,
            objectives=names,
            n_trials=trials,
            seed=seed,
            deterministic=True,
            output_directory=Path(folder),
        )
        search = Facade(
            scenario,
            lambda config, seed=0: dict.fromkeys(names, 0.0),
            multi_objective_algorithm=Facade.get_multi_objective_algorithm(scenario),
            logging_level=False,
        )
        while len(results) < trials:
            info = search.ask()
            point = tuple(int(info.config[gene.name]) for gene in problem.genes)
            results.append(problem.evaluate(grid.params(point)))
            search.tell(info, TrialValue(cost=problem.losses(results[-1]).tolist()))
    return results


def optuna_parallel(kind: str, **options: Any) -> Callable[..., Metrics]:
    """One of Optuna's samplers with four trials at a time: each four are asked for, then told."""

    def run(problem: Problem, seed: int, trials: int) -> Metrics:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore")
        grid, bounds = _Grid(problem), ga.parse_constraints(problem.constraints)
        if bounds:
            options["constraints_func"] = lambda trial: trial.user_attrs["excess"]
        sampler = getattr(optuna.samplers, kind)(seed=seed, **options)
        study = optuna.create_study(directions=["minimize"] * len(problem.ideal), sampler=sampler)
        results: Metrics = []
        while len(results) < trials:
            batch = []
            for trial in [study.ask() for _ in range(min(4, trials - len(results)))]:
                point = tuple(
                    trial.suggest_categorical(gene.name, range(len(grid.values[i])))
                    if i in grid.unordered
                    else trial.suggest_int(gene.name, 0, len(grid.values[i]) - 1)
                    for i, gene in enumerate(problem.genes)
                )
                batch.append((trial, problem.evaluate(grid.params(point))))
            for trial, metrics in batch:
                results.append(metrics)
                trial.set_user_attr("excess", [b.excess(metrics[b.metric]) for b in bounds])
                study.tell(trial, problem.losses(metrics).tolist())
        return results

    return run


def allocated(
    way: Callable[[Choices, int], list[dict[str, Any]]], problem: Problem, seed: int, trials: int
) -> Metrics:
    """Networks that a bit allocation chooses from sensitivities; it learns nothing on its way."""
    del seed  # nothing is random
    values = {gene.name: tuple(gene.values) for gene in problem.genes}  # type: ignore[attr-defined]  # tables: all finite
    # Nothing is lost by the one value whose loss was not measured.
    told = problem.sensitivities
    whole = {n: next(v for v in values[n] if v not in told.get(n, {})) for n in values}
    limits = {n: b for n, b in problem.constraints.items() if n in problem.cheap}
    choices = Choices(whole, values, told, problem.costs, problem.cheap, limits)
    listed = itertools.islice(way(choices, trials), trials)
    return [problem.evaluate(params) for params in listed]


RIVALS: dict[str, Callable[..., Metrics]] = {
    "botorch qlognehvi, told costs": botorch,
    "smac parego": smac,
    "optuna tpe multivariate, 4 at once": optuna_parallel("TPESampler", multivariate=True),
    "optuna gp, 4 at once": optuna_parallel("GPSampler"),
    "integer program": partial(allocated, integer_program),
    "sensitivity greedy": partial(allocated, greedy_path),
}
FIXED = ("integer program", "sensitivity greedy")
"""Rivals without randomness: one run of each says all."""
