"""Several measurements of one network: their mean is what counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ga.evaluation import Evaluation
from ga.problem.finite import as_finite
from ga.problem.objectives import Metrics


def readings_of(evaluations: Iterable[Evaluation]) -> tuple[Metrics, ...]:
    """What was measured in complete evaluations, one entry for each measurement."""
    found: list[Metrics] = []
    for evaluation in evaluations:
        found += evaluation.readings or [evaluation.metrics or {}]
    return tuple(found)


def pooled(readings: Sequence[Metrics]) -> Metrics:
    """The mean of every metric that is a number, the latest value of any other.

    Args:
        readings: at least one; a metric that some of them lack is the mean of the others.
    """
    mean: Metrics = {}
    for reading in readings:
        mean.update(reading)
    for name in mean:
        values = [reading[name] for reading in readings if name in reading]
        numbers = [as_finite(value) for value in values]
        finite = [number for number in numbers if number is not None]
        # Equal values stay as they are: a mean of sums may differ from them by rounding.
        if len(finite) == len(values) and len(set(finite)) > 1:
            mean[name] = sum(finite) / len(finite)
    return mean
