"""Constrained and mixed-variable problems whose fronts are formulas: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from problems import Params, Problem

import ga

Array = NDArray[np.float64]


def _known(
    name: str,
    genes: tuple[ga.Gene, ...],
    evaluate: Callable[[Params], dict[str, float]],
    front: Array,
    reference: Array,
    cheap: tuple[str, ...] = (),
    constraints: dict[str, str] | None = None,
) -> Problem:
    ideal = front.min(axis=0)
    best = ga.hypervolume((front - ideal) / (reference - ideal), np.ones(front.shape[1]))
    goals = {f"f{i + 1}": "minimize" for i in range(front.shape[1])}
    return Problem(name, genes, goals, cheap, evaluate, ideal, reference, best, constraints or {})


def zdt5() -> Problem:
    """ZDT5 (Zitzler et al. 2000): integers; f1 = 1 + ones in the first, f2 deceptive / f1.

    The bit strings enter through their number of ones only, so each is one integer gene here. The
    first objective is cheap.
    """
    genes = (ga.Integer("x0", 0, 30), *(ga.Integer(f"x{i}", 0, 5) for i in range(1, 11)))

    def evaluate(params: Params) -> dict[str, float]:
        first = 1 + params["x0"]
        ones = [params[f"x{i}"] for i in range(1, 11)]
        g = sum(2 + u if u < 5 else 1 for u in ones)
        return {"f1": float(first), "f2": g / first}

    f1 = np.arange(1, 32, dtype=float)
    return _known(
        "zdt5", genes, evaluate, np.column_stack([f1, 10 / f1]), np.array([32.0, 70.0]), ("f1",)
    )


def _from_pymoo(name: str, reference: Array, *, mixed: bool, cheap: tuple[str, ...]) -> Problem:
    """A continuous problem of pymoo; with `mixed`, every second variable is an ordered grid."""
    from pymoo.problems import get_problem

    problem: Any = get_problem(name)
    low, high = problem.bounds()
    genes: list[ga.Gene] = []
    for i, (a, b) in enumerate(zip(low, high, strict=True)):
        if mixed and i % 2:
            # 33 steps; they hold the optimum of the problems used here.
            grid = tuple(float(v) for v in np.linspace(a, b, 33))
            genes.append(ga.Ordered(f"x{i}", grid))
        else:
            genes.append(ga.Real(f"x{i}", float(a), float(b)))

    def evaluate(params: Params) -> dict[str, float]:
        out = problem.evaluate(
            np.array([params[f"x{i}"] for i in range(len(low))]), return_as_dictionary=True
        )
        metrics = {f"f{i + 1}": float(v) for i, v in enumerate(np.ravel(out["F"]))}
        if problem.n_ieq_constr:
            metrics |= {f"g{i + 1}": float(v) for i, v in enumerate(np.ravel(out["G"]))}
        return metrics

    bounds = {f"g{i + 1}": "<= 0" for i in range(problem.n_ieq_constr)}
    return _known(
        f"{name}{'-mixed' if mixed else ''}",
        tuple(genes),
        evaluate,
        np.asarray(problem.pareto_front()),
        reference,
        cheap,
        bounds,
    )


MIXED: dict[str, Callable[[], Problem]] = {
    "zdt5": zdt5,
    "bnh": lambda: _from_pymoo("bnh", np.array([140.0, 50.0]), mixed=False, cheap=("f1",)),
    "zdt1-mixed": lambda: _from_pymoo("zdt1", np.array([1.1, 6.0]), mixed=True, cheap=("f1",)),
}
