"""What a predictor learns from: results in order, and guesses where there is none yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ga.arrays import Array
from ga.problem.search_space import Genome


@dataclass
class _Entry:
    """Sums over the results of a genome, or one guess."""

    costs: Mapping[str, float]
    sums: Array
    times: int
    guessed: bool


class TrainingData:
    """A log of results and guesses; a result takes the place of its genome's guess.

    What is learned from the first n entries depends on nothing that came later, so that a search
    that is replayed learns the same.

    Args:
        names: the metrics.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._log: list[tuple[Genome, Mapping[str, float], Array, bool]] = []
        self.results = 0

    def __len__(self) -> int:
        return len(self._log)

    def add(
        self,
        genome: Genome,
        costs: Mapping[str, float],
        metrics: Mapping[str, float],
        *,
        guessed: bool,
    ) -> None:
        """A result or a guess, with the known costs of its genome."""
        values = np.array([float(metrics[name]) for name in self._names])
        self._log.append((genome, costs, values, guessed))
        self.results += not guessed

    def first(
        self, count: int, *, guesses: bool = True
    ) -> tuple[list[Genome], list[Mapping[str, float]], Array]:
        """Distinct genomes of the first entries, their costs and the means of their metrics.

        Args:
            count: of entries; of results if guesses are left out.
            guesses: whether guesses count, where a genome has no result.

        Returns:
            n genomes, n costs, n x metrics.
        """
        found: dict[Genome, _Entry] = {}
        log = self._log if guesses else [entry for entry in self._log if not entry[3]]
        for genome, costs, values, guessed in log[:count]:
            known = found.get(genome)
            if known is None or (known.guessed and not guessed):
                found.pop(genome, None)  # the result comes where it came, not where its guess was
                found[genome] = _Entry(costs, values, 1, guessed)
            elif not guessed:
                known.sums = known.sums + values
                known.times += 1
        means = [sample.sums / sample.times for sample in found.values()]
        return (
            list(found),
            [sample.costs for sample in found.values()],
            np.array(means).reshape(-1, len(self._names)),
        )
