"""What is odd about sensitivities is said at the start; the search goes on all the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ga.messages import Messages
from ga.problem.search_space import SearchSpace
from ga.problem.sensitivities import Sensitivities

_SHOWN = 4


def check_sensitivities(space: SearchSpace, known: Sensitivities, messages: Messages) -> None:
    """Say what of the sensitivities fits the space badly.

    Trouble is what makes them useless: of no gene of the space, gains instead of losses, all zero.
    That they lack genes of the space, have others, or are all equal is only noted.

    Args:
        space: what is searched.
        known: maybe nothing.
        messages: where it is said.
    """
    names = [*known.genes, *(layer for layer in known.layers if not known.genes)]
    if not names:
        return
    here = {locus.gene.name for locus in space.loci} if known.genes else set(_groups(space))
    of_here = [name for name in names if name in here]
    others = [name for name in names if name not in here]
    if not of_here:
        messages.once(
            "sensitivities fit nothing",
            f"the sensitivities are of {_some(names)}, and the search space has "
            f"{_some(sorted(here))}: none of them counts; measure them for this network",
        )
        return
    if others:
        messages.once(
            "sensitivities of others",
            f"sensitivities of {_some(others)} don't count: the search space has no such gene",
            trouble=False,
        )
    lacking = [locus.gene.name for locus in space.loci if locus.gene.name not in known.genes]
    if known.genes and lacking:
        messages.once(
            "sensitivities lacking",
            f"no sensitivities of {_some(lacking)}: the knapsack leaves these genes as they are, "
            "and the rest of the search varies them",
            trouble=False,
        )
    _check_losses(known, of_here, messages)


def _check_losses(known: Sensitivities, names: Sequence[str], messages: Messages) -> None:
    losses = [
        float(known.genes[name][1].max()) if name in known.genes else known.layers[name]
        for name in names
    ]
    gains = [name for name in names if name in known.gains]
    if 2 * len(gains) > len(names):
        messages.once(
            "sensitivities are gains",
            f"the sensitivities of {_some(gains)} are gains: a loss of quality is expected, "
            "positive where compression hurts (accuracy before minus after); gains count as no "
            "loss",
        )
    elif not any(losses):
        messages.once(
            "sensitivities are zero",
            "the sensitivities are all zero: they say nothing of which layer to spare",
        )
    elif len(losses) > 1 and np.ptp(losses) == 0:
        messages.once(
            "sensitivities are equal",
            f"the sensitivities are all equal ({losses[0]:g}): they say nothing of which layer to "
            "spare",
            trouble=False,
        )


def _groups(space: SearchSpace) -> list[str]:
    return [locus.group for locus in space.loci]


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
