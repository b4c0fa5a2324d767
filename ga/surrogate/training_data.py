"""What a predictor learns from: results in order, and guesses where there is none yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ga.arrays import Array
from ga.problem.search_space import Genome


@dataclass(frozen=True)
class Repeats:
    """How often n values were measured, the values being means.

    Attributes:
        times: n numbers of measurements.
        squares: n sums of squared deviations of the measurements from their mean.
    """

    times: Array
    squares: Array

    def last(self, count: int) -> Repeats:
        """Of the last values only."""
        return Repeats(self.times[-count:], self.squares[-count:])

    def at(self, places: Sequence[int]) -> Repeats:
        """Of some of the values."""
        return Repeats(self.times[places], self.squares[places])


@dataclass
class _Entry:
    """Sums over the results of a genome, or one guess."""

    costs: Mapping[str, float]
    sums: Array
    times: int
    guessed: bool
    squares: Array

    def measured_again(self, values: Array) -> None:
        """Welford's update of the squares."""
        before = self.sums / self.times
        self.sums, self.times = self.sums + values, self.times + 1
        self.squares = self.squares + (values - before) * (values - self.sums / self.times)


class TrainingData:
    """A log of results and guesses; a result takes the place of its genome's guess.

    What is learned from the first n entries depends on nothing that came later, so that a search
    that is replayed learns the same.

    Args:
        names: the metrics.

    Attributes:
        results: number of results, guesses left out.
        has_repeats: whether a genome has several.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._log: list[tuple[Genome, Mapping[str, float], Array, bool]] = []
        self.results = 0
        self.has_repeats = False
        self._measured: set[Genome] = set()
        self._asked: tuple[int, bool, int] | None = None
        self._found: dict[Genome, _Entry] = {}

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
        self.has_repeats |= not guessed and genome in self._measured
        if not guessed:
            self._measured.add(genome)

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
        found = self._entries(count, guesses)
        means = [sample.sums / sample.times for sample in found.values()]
        return (
            list(found),
            [sample.costs for sample in found.values()],
            np.array(means).reshape(-1, len(self._names)),
        )

    def repeats(self, count: int, *, guesses: bool = True) -> dict[str, Repeats]:
        """How often the genomes of `first` were measured, by metric; empty if each was once."""
        found = list(self._entries(count, guesses).values())
        if all(sample.times == 1 for sample in found):
            return {}
        times = np.array([sample.times for sample in found], dtype=float)
        squares = np.array([sample.squares for sample in found])
        return {name: Repeats(times, squares[:, j]) for j, name in enumerate(self._names)}

    def _entries(self, count: int, guesses: bool) -> dict[Genome, _Entry]:
        asked = count, guesses, len(self._log)
        if self._asked != asked:  # a fit asks twice
            self._asked, self._found = asked, self._folded(count, guesses)
        return self._found

    def _folded(self, count: int, guesses: bool) -> dict[Genome, _Entry]:
        found: dict[Genome, _Entry] = {}
        log = self._log if guesses else [entry for entry in self._log if not entry[3]]
        for genome, costs, values, guessed in log[:count]:
            known = found.get(genome)
            if known is None or (known.guessed and not guessed):
                found.pop(genome, None)  # the result comes where it came, not where its guess was
                found[genome] = _Entry(costs, values, 1, guessed, np.zeros_like(values))
            elif not guessed:
                known.measured_again(values)
        return found
