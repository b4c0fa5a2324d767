"""Choosing prune ratios and bits from sensitivities alone, as mixed-precision papers do.

Both ways take losses and costs of single genes as additive: what the network loses, or saves, if
only that gene leaves its mildest value. The integer program is HAWQ-V3's (Yao et al. 2021): least
loss within budgets of costs, solved exactly. The greedy one takes the step that loses least per
cost saved, as with HAWQ's list of layers. Where HAWQ takes the Hessian's trace, both take what
post-training compression of that gene alone loses: it is measured, on the same validation data.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

import ga

Params = dict[str, Any]


@dataclass(frozen=True)
class Choices:
    """What a bit allocation is told.

    Attributes:
        whole: The network that nothing is taken from.
        values: Gene -> its values.
        sensitivities: Gene -> value -> what is lost if it alone has that value.
        costs: Params -> costs.
        minimized: Costs that are objectives.
        limits: Of costs: {name: "<= 12"}.
    """

    whole: Params
    values: Mapping[str, Sequence[Any]]
    sensitivities: Mapping[str, Mapping[float, float]]
    costs: Callable[[Params], Mapping[str, float]]
    minimized: Sequence[str]
    limits: Mapping[str, str]

    def loss(self, gene: str, value: float) -> float:
        """Never below zero: a gain of one gene alone is noise."""
        return max(self.sensitivities.get(gene, {}).get(value, 0.0), 0.0)

    @cached_property
    def options(self) -> list[tuple[str, Any]]:
        """All genes with all their values."""
        return [(name, value) for name, values in self.values.items() for value in values]

    @cached_property
    def savings(self) -> NDArray[np.float64]:
        """(options, costs): what each saves alone, as a share of the whole network's cost."""
        names = [*self.minimized, *(n for n in self.limits if n not in self.minimized)]
        whole = self.costs(self.whole)
        rows = [self.costs({**self.whole, gene: value}) for gene, value in self.options]
        return np.array([[1 - row[n] / whole[n] for n in names] for row in rows])

    def keeps(self, params: Params) -> bool:
        """Whether its true costs are within the limits."""
        return not ga.violation(ga.parse_constraints(dict(self.limits)), self.costs(params))


def integer_program(choices: Choices, count: int) -> list[Params]:
    """Least-loss networks for a grid of budgets, about `count` distinct ones.

    Args:
        choices: what is known.
        count: how many are wanted; the grid of budgets is made finer until there are as many.
    """
    found: dict[tuple[Any, ...], Params] = {}
    side, kinds = max(2, int(np.sqrt(count))), len(choices.minimized)
    for budgets in (side, 2 * side):
        steps = np.linspace(0.02, 0.98, budgets)
        for shares in itertools.product(steps, repeat=kinds):
            params = _least_loss(choices, np.array(shares))
            if params is not None and choices.keeps(params):
                found.setdefault(tuple(params.values()), params)
            if len(found) >= count:
                return _spread(list(found.values()))
    return _spread(list(found.values()))


def _least_loss(choices: Choices, shares: NDArray[np.float64]) -> Params | None:
    """One solution: each cost to be cut by a share of what can be saved at all."""
    losses = np.array([choices.loss(gene, value) for gene, value in choices.options])
    savings, genes = choices.savings[:, : len(shares)], list(choices.values)
    owner = np.array([genes.index(gene) for gene, _ in choices.options])
    one_each = csr_matrix((np.ones(len(owner)), (owner, np.arange(len(owner)))))
    most = np.array([savings[owner == i].max(axis=0) for i in range(len(genes))]).sum(axis=0)
    solved = milp(
        losses + 1e-9,
        integrality=np.ones(len(losses)),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(savings.T, shares * most, np.inf),
        ],
        options={"time_limit": 10.0},
    )
    if solved.x is None:
        return None
    taken = [choices.options[i] for i in np.flatnonzero(solved.x > 0.5)]
    return dict(taken)


def _spread(listed: list[Params]) -> list[Params]:
    """The same, so that every beginning is spread over the grid."""
    order = sorted(range(len(listed)), key=lambda i: (i * 0.6180339887498949) % 1)
    return [listed[i] for i in order]


def greedy_path(choices: Choices, count: int) -> list[Params]:
    """Networks on greedy ways from the whole one down, one way for each mix of the costs.

    Args:
        choices: what is known.
        count: how many are wanted.
    """
    mixes = np.linspace(0, 1, 5)
    index = {option: i for i, option in enumerate(choices.options)}
    found: dict[tuple[Any, ...], Params] = {}
    for mix in mixes:
        weights = np.array([mix, 1 - mix])[: len(choices.minimized)]
        worth = choices.savings[:, : len(weights)] @ weights
        at = dict(choices.whole)
        while True:
            best, step = np.inf, None
            for gene, value in choices.options:
                here = at[gene]
                saved = worth[index[gene, value]] - worth[index[gene, here]]
                lost = choices.loss(gene, value) - choices.loss(gene, here)
                if saved > 1e-9 and lost / saved < best:
                    best, step = lost / saved, (gene, value)
            if step is None:
                break
            at[step[0]] = step[1]
            if choices.keeps(at):
                found.setdefault(tuple(at.values()), dict(at))
    return _spread(list(found.values()))[:count]
