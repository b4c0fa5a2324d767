"""Checks of an optimizer's plain arguments."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ga.problem.finite import shortened
from ga.problem.search_space import SearchSpace

# More than any search has; lists of this many candidates still fit into memory.
MOST_TRIALS = 10**6
_LARGEST_SEED = 2**64 - 1


def check_arguments(
    space: object, seed: object, survival: str, survivals: Collection[str], **counts: object
) -> None:
    """Raise at the first argument that makes no sense.

    Args:
        space: what is searched.
        seed: of everything random.
        survival: name of a selection.
        survivals: the names that there are.
        counts: numbers of trials; None where there is none.

    Raises:
        ValueError: an argument, with the offending value.
    """
    if not isinstance(space, SearchSpace):
        raise ValueError(f"space={space!r} should be a ga.SearchSpace")
    for name, count in counts.items():
        if count is not None and not _is_whole(count, 1, MOST_TRIALS):
            raise ValueError(
                f"{name}={shortened(count)} should be a number of trials, from 1 to {MOST_TRIALS}"
            )
    if not _is_whole(seed, 0, _LARGEST_SEED):
        raise ValueError(
            f"seed={shortened(seed)} should be a whole number from 0 to {_LARGEST_SEED}"
        )
    if survival not in survivals:
        raise ValueError(f"survival={shortened(survival)} (allowed: {', '.join(survivals)})")


def check_metrics(number: int, metrics: object) -> None:
    """Raise a ValueError if what was told of a candidate is no dict."""
    if not isinstance(metrics, Mapping):
        raise ValueError(
            f"the result of candidate {number} is {metrics!r}, expected a dict of metrics"
        )


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
