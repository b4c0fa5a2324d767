"""Results that a strategy has not learned from yet."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from ga.evaluation import Evaluation
from ga.history.results import Results
from ga.problem.search_space import Genome


class Newcomers:
    """Gives each scored result once, in order of completion: a replay meets them alike."""

    def __init__(self) -> None:
        self._taken_in = 0

    def of(self, results: Results) -> Iterator[tuple[Genome, Evaluation]]:
        """Genome and result of what has come since the last call, where it fits the space.

        Args:
            results: so far.
        """
        scored = results.archive.scored
        first, self._taken_in = self._taken_in, len(scored)
        for number, evaluation in islice(scored.items(), first, None):
            if number in results.genomes:
                yield results.genomes[number], evaluation
