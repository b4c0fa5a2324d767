"""What results probably are worth, luck taken off: posterior means and 90 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ga.evaluation import Evaluation
from ga.history.pareto import nondominated
from ga.problem.objectives import Constraint, Metrics, Objectives, violation
from ga.problem.search_space import Genome
from ga.surrogate.surrogate import Surrogate


@dataclass(frozen=True)
class Belief:
    """A result as all results together see it.

    A result is its network plus luck, and the best of many results were mostly lucky. What similar
    networks had tells how lucky.

    Attributes:
        evaluation: the result.
        mean: posterior mean of each objective and limited metric that scatters.
        low: of each of them, what one network in twenty lies below.
        high: likewise above. Between the two lie nine of ten.
    """

    evaluation: Evaluation
    mean: Mapping[str, float] = field(default_factory=dict)
    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)

    @property
    def metrics(self) -> Metrics:
        """Those of the evaluation, with means in the place of what was measured."""
        return {**(self.evaluation.metrics or {}), **self.mean}


def beliefs(
    surrogate: Surrogate,
    cheap: set[str],
    evaluations: Sequence[Evaluation],
    genomes: Mapping[int, Genome],
    costs: Mapping[Genome, Mapping[str, float]],
) -> list[Belief]:
    """What is believed of complete evaluations; of one outside the space, only what was measured.

    Args:
        surrogate: was taught the results.
        cheap: metrics that are known before a trial.
        evaluations: complete ones.
        genomes: of evaluations, by number.
        costs: known ones, by genome.
    """
    known = [e for e in evaluations if genomes.get(e.id) in costs]
    found = [genomes[e.id] for e in known]
    believed = surrogate.believe(found, [costs[genome] for genome in found], cheap)
    rows = {e.id: place for place, e in enumerate(known)}
    return [
        Belief(
            e,
            {name: float(b.mean[rows[e.id]]) for name, b in believed.items()},
            {name: float(b.low[rows[e.id]]) for name, b in believed.items()},
            {name: float(b.high[rows[e.id]]) for name, b in believed.items()},
        )
        if e.id in rows
        else Belief(e)
        for e in evaluations
    ]


def front_of(
    believed: Sequence[Belief], objectives: Objectives, constraints: Sequence[Constraint]
) -> list[Belief]:
    """Those that keep the limits and are dominated by none, by their means, best first."""
    feasible = [b for b in believed if not violation(constraints, b.metrics)]
    losses = [objectives.losses(b.metrics) for b in feasible]
    if not feasible:
        return []
    keep = nondominated(np.array(losses))
    pairs = sorted(zip(losses, range(len(feasible)), strict=True))
    return [feasible[place] for _, place in pairs if keep[place]]
