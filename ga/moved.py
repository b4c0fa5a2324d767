"""Where things went in version 0.2: importing one by its old path raises an error that says so.

Each package has a table of its own, so that each works without the others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

MOVED = {
    "ga.archive": "ga.history.archive",
    "ga.assisted": "ga.acquisition.optimize",
    "ga.boxes": "ga.acquisition.ehvi",
    "ga.costs": "ga.problem.known_costs",
    "ga.courses": "ga.early_stopping.learning_curves",
    "ga.explain": "gone (the live page computes the importance of genes)",
    "ga.feasibility": "ga.evolution.repair",
    "ga.features": "ga.surrogate.features",
    "ga.findings": "ga.history.results",
    "ga.foresight": "ga.early_stopping.outlooks",
    "ga.genes": "ga.problem.genes",
    "ga.identity": "ga.problem.duplicates",
    "ga.idle": "ga.evolution.useless_alleles",
    "ga.lessons": "ga.surrogate.learner",
    "ga.notes": "ga.messages",
    "ga.objectives": "ga.problem.objectives",
    "ga.operators": "ga.evolution.variation",
    "ga.pareto": "ga.history.pareto",
    "ga.population": "ga.evolution.population",
    "ga.predictors": "ga.surrogate.extra_trees",
    "ga.process": "ga.surrogate.gaussian_process",
    "ga.proposals": "ga.evolution.candidate_sources",
    "ga.region": "ga.acquisition.improvement",
    "ga.samples": "ga.surrogate.training_data",
    "ga.seeding": "ga.design.initial_design",
    "ga.sensitivities": "ga.problem.sensitivities",
    "ga.space": "ga.problem.search_space",
    "ga.staircase": "ga.problem.knapsack",
    "ga.stopping": "ga.history.termination",
    "ga.surrogate.Forecast": "ga.surrogate.surrogate.Forecast",
    "ga.surrogate.Surrogate": "ga.surrogate.surrogate.Surrogate",
    "ga.survival": "ga.evolution.survival",
}


class _Moved:
    """Python's last finder: asked only for what isn't there, names of a folder included."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        if name in MOVED:
            # Without its argument `name`, or `from package import module` would hide the message.
            raise ModuleNotFoundError(f"{name} is {MOVED[name]} since version 0.2")


def install() -> None:
    """Lets Python ask the table."""
    sys.meta_path.append(_Moved())


_GONE = {
    "notes": "it is `messages`, with `texts` and `troubles`",
    "importances": "the page of `joint-ga watch` shows each gene's importance",
}
"""Attributes of the optimizer of earlier versions, and what takes their place."""


def no_attribute(kind: type, name: str) -> AttributeError:
    """The error for an attribute that there isn't, or no more."""
    if name in _GONE:
        return AttributeError(f"{kind.__name__}.{name} went: {_GONE[name]}")
    return AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")
