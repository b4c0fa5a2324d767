"""Checks of an optimizer's plain arguments."""

from __future__ import annotations

from collections.abc import Collection

from ga.problem.search_space import SearchSpace


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
        if count is not None and not _is_whole(count, 1):
            raise ValueError(f"{name}={count!r} should be a number of trials, from 1 on")
    if not _is_whole(seed, 0):
        raise ValueError(f"seed={seed!r} should be a whole number from 0 on")
    if survival not in survivals:
        raise ValueError(f"survival={survival!r} (allowed: {', '.join(survivals)})")


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
