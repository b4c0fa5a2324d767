"""Metrics that are known before a trial, from a user's cost function that may misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from ga.messages import Messages
from ga.problem.finite import shortened
from ga.problem.objectives import Constraint, read_metric
from ga.problem.search_space import Params

# Candidates that are costed in one call, where there are very many. A choice.
_AT_ONCE = 512

CostFunction = Callable[[Params], Mapping[str, float]]


class KnownCosts:
    """Calls a cost function and keeps the search going whatever it does.

    What it raises, and values that are not finite numbers, are noted and dropped: the candidate
    then counts as one with an unknown cost.

    Args:
        function: params -> {metric: value}, with an optional method `batch(list of params)` that
            returns a list of the same, faster; None for no known costs.
        messages: where trouble is said.

    Attributes:
        metrics: names of the metrics that it has returned so far.
    """

    def __init__(self, function: CostFunction | None, messages: Messages) -> None:
        if function is not None and not callable(function):
            raise ValueError(f"costs={function!r} should be callable: params -> {{metric: value}}")
        self.function = function
        self.metrics: set[str] = set()
        self._messages = messages

    def __bool__(self) -> bool:
        return self.function is not None

    def of(self, params: Params) -> dict[str, float] | None:
        """The costs of one candidate; None without a cost function."""
        if self.function is None:
            return None
        try:
            raw = self.function(params)
        except Exception as error:  # the user's code: anything may come
            self._trouble(error)
            return {}
        return self._clean(raw)

    def of_many(self, many: Sequence[Params]) -> list[dict[str, float]]:
        """The costs of many candidates, in one call where the function offers it."""
        batch = getattr(self.function, "batch", None)
        if batch is not None and many:
            try:
                raws = list(batch(list(many)))
                if len(raws) != len(many):
                    raise ValueError(f"batch gave {len(raws)} results for {len(many)} candidates")
                return [self._clean(raw) for raw in raws]
            except Exception as error:  # as above; one by one tells the bad one from the good
                self._trouble(error)
        return [self.of(params) or {} for params in many]

    def of_very_many(self, many: Iterable[Params]) -> Iterator[dict[str, float]]:
        """The costs of candidates that would fill the memory at once, a few hundred at a time."""
        source = iter(many)
        while part := list(islice(source, _AT_ONCE)):
            yield from self.of_many(part)

    def compare(
        self, number: int, known: Mapping[str, float], reported: Mapping[str, object]
    ) -> None:
        """Say where a trial reports something else than the function did.

        Args:
            number: the candidate's id.
            known: its costs.
            reported: its result.
        """
        for name, cost in known.items():
            value = reported.get(name, cost)
            if isinstance(value, (int, float)) and value != cost:
                self._messages.once(
                    f"differs {name}",
                    f"candidate {number} reported {name}={shortened(value)} where the cost "
                    f"function said {cost}: they should be equal; the reported value counts",
                )

    def _trouble(self, error: Exception) -> None:
        self._messages.once(
            f"costs {type(error).__name__}",
            f"the cost function failed ({type(error).__name__}: {error}); "
            "the search goes on and treats the costs of such candidates as unknown",
        )

    def _clean(self, raw: object) -> dict[str, float]:
        if not isinstance(raw, Mapping):
            self._trouble(TypeError(f"it returned {shortened(raw)} instead of a dict of metrics"))
            return {}
        costs = {}
        for name in raw:
            try:
                costs[name] = read_metric(raw, name)
            except ValueError as error:
                self._messages.once(
                    f"cost {name}",
                    f"the cost function returned a bad value ({error}); "
                    "the search goes on and treats it as unknown",
                )
        self.metrics.update(costs)
        return costs


def broken_limits(constraints: Iterable[Constraint], costs: Mapping[str, float] | None) -> float:
    """Sum of violations of the constraints whose metric the costs hold."""
    if not costs:
        return 0.0
    return sum((c.excess(costs[c.metric]) for c in constraints if c.metric in costs), 0.0)
