"""Forecast of a candidate: exact where costs say it, predicted where only a trial would."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ga.arrays import Array
from ga.messages import Messages
from ga.problem.finite import shortened
from ga.problem.objectives import Constraint, Objectives
from ga.problem.search_space import Genome, SearchSpace
from ga.problem.sensitivities import Sensitivities
from ga.surrogate.extra_trees import ExtraTrees, Predictor
from ga.surrogate.features import Features, RecentRows
from ga.surrogate.rank_correlation import held_back_tau, standard_error, tau_of
from ga.surrogate.training_data import TrainingData
from ga.surrogate.warped_process import Shape, WarpedGaussianProcess

_log = logging.getLogger("ga")

KINDS = ("auto", "trees", "gp", "none")

# Fewer results than this teach a predictor nothing; from the second number on its rank
# correlation says enough to act on (below, five or six held-back results would decide).
# These and the threshold of the rank correlation are choices; not tuned.
_MINIMUM = 10
_CHECKED = 24
_CHECK_STEPS = 8
_THRESHOLD = 0.3
# Two predictors that rank alike differ in their uncertainty, where a Gaussian process is better.
# Chosen on seeds 0 to 5 of NAS-Bench-201 (docs/search.md).
_HEAD_START = {"gp": 0.05}
# Up to this many results every one leads to a new fit; each doubling then doubles the interval.
# This and the next bound the time of a fit and of a check. Choices; not tuned.
_EVERY_FIT = 64
_MOST_ROWS = 1000
# Deviations to each side that hold nine of ten normal values; and of what deviation, as a share of
# that of all results, a metric is taken for one without noise. The second is a choice.
_NINETY = 1.645
_SLIGHT_NOISE = 0.01


@dataclass(frozen=True)
class Forecast:
    """What is expected of n candidates with m objectives.

    Attributes:
        mean: n x m losses.
        deviation: n x m; 0 where a loss is known exactly.
        violation: n, of all constraints by expected values.
        feasible: n, the probability that the constraints on predicted metrics hold, but for the
            limits of objectives, beyond which nothing is gained (see
            `ga.acquisition.improvement`); 0 if a known cost breaks its limit.
        floor: m losses that are never reached, where a loss is distributed log-normally above one
            with the median `mean`; -inf where it is normal.
        known: n, whether every cost that should be known is.
    """

    mean: Array
    deviation: Array
    violation: Array
    feasible: Array
    floor: Array
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Beliefs:
    """A metric of n networks, by all that was measured of them and of others.

    Attributes:
        low: n, one in twenty lies below.
        mean: n, the posterior mean (the median on a stretched scale).
        high: n, one in twenty lies above.
    """

    low: Array
    mean: Array
    high: Array


class Surrogate:
    """Learns the expensive metrics from results, and checks how well it ranks.

    A metric is cheap if the cost function returns it and expensive otherwise. The predictor of an
    expensive metric is refitted as results come in, at numbers of results that depend on nothing
    else. Kendall's tau on held-back results is checked after 10, 12, 14, 16, 20, 24,
    28, 32, 40, ... results and logged; while it is surely below 0.3 for any objective, `prepare`
    says no.

    Args:
        space: the search space.
        objectives: what is optimized.
        constraints: their metrics are predicted too.
        kind: `trees`, `gp`, or `auto`: whichever ranked held-back results better.
        sensitivities: losses of quality of layers and genes alone, used as features.
        seed: of the predictors.
        messages: where a fallback is said.

    Attributes:
        tau: rank correlation of each expensive metric at the last check.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Objectives,
        constraints: Sequence[Constraint],
        kind: str,
        sensitivities: Sensitivities,
        seed: int,
        messages: Messages,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"surrogate={shortened(kind)} (allowed: {', '.join(KINDS)})")
        self._features = Features(space, sensitivities)
        self._recent = RecentRows(self._features)
        self._objectives = objectives
        self._constraints = tuple(constraints)
        self._kinds = {"auto": ("trees", "gp"), "none": ()}.get(kind, (kind,))
        self._seed = seed
        self._messages = messages
        self._fitted: tuple[int, tuple[str, ...], tuple[str, ...]] | None = None
        self._checked: tuple[int, tuple[str, ...], tuple[str, ...]] | None = None
        self._models: dict[str, Predictor] = {}
        self._shapes: dict[str, Shape | None] = {}
        self._cost_names: tuple[str, ...] = ()
        self.tau: dict[str, float] = {}
        self._goals = set(zip(objectives.names, objectives.signs, strict=True))
        needed = [*objectives.names, *(c.metric for c in constraints)]
        self._needed = tuple(dict.fromkeys(needed))
        self._data = TrainingData(self._needed)

    def add(
        self,
        genome: Genome,
        costs: Mapping[str, float],
        metrics: Mapping[str, float],
        *,
        guessed: bool = False,
    ) -> None:
        """A complete result with its known costs, or a guess at one that may come later."""
        self._data.add(genome, costs, metrics, guessed=guessed)
        self._cost_names = tuple(sorted({*self._cost_names, *costs}))

    def prepare(self, cheap: set[str]) -> bool:
        """Refit if it is time; whether the forecasts can be relied on.

        Args:
            cheap: the metrics that the cost function knows.
        """
        count = self._data.results
        if count < _MINIMUM or not self._kinds:
            return False
        expensive = tuple(name for name in self._needed if name not in cheap)
        fitted = _boundary(len(self._data), _EVERY_FIT)
        checked = _boundary(count, _CHECK_STEPS)
        # Costs that come into sight late are new columns: everything is learned anew then.
        due = (fitted, expensive, self._cost_names)
        if due != self._fitted:
            if self._checked != (checked, *due[1:]) and checked >= _MINIMUM:
                self._check(checked, expensive)
                self._checked = (checked, *due[1:])
            self._fit(fitted, expensive)
            self._fitted = due
        # Near the front all results are alike, so tau of a few dozen held-back ones scatters; only
        # what is surely below the threshold (by two standard errors) gives cause to stop.
        slack = 2 * standard_error(min(count, _MOST_ROWS // 3))
        weak = {
            name: tau
            for name, tau in self.tau.items()
            if name in self._objectives.names and tau + slack < _THRESHOLD
        }
        if weak and count >= _CHECKED:
            self._messages.once(
                "surrogate fallback",
                f"after {count} results the surrogate ranks "
                f"{', '.join(f'{n} with tau={t:.2f}' for n, t in weak.items())} "
                f"(surely below {_THRESHOLD}): the plain genetic algorithm goes on until that "
                "improves",
            )
            return False
        return True

    def forecast(
        self,
        genomes: Sequence[Genome],
        costs: Sequence[Mapping[str, float]],
        *,
        again: bool = False,
    ) -> Forecast:
        """Expected losses and feasibility of candidates, after `prepare`.

        Args:
            genomes: n genomes.
            costs: their known costs.
            again: whether these will be asked about again: it is faster then.
        """
        source = self._recent if again else self._features
        rows = source.rows(genomes, costs, self._cost_names)
        known = np.ones(len(genomes), dtype=bool)
        values: dict[str, tuple[Array, Array]] = {}
        for name in self._needed:
            if name in self._models:
                values[name] = self._models[name].predict(rows)
                continue
            exact = np.array([c.get(name, np.nan) for c in costs], dtype=float)
            known &= np.isfinite(exact)
            values[name] = (np.nan_to_num(exact), np.zeros(len(genomes)))
        signs = np.array(self._objectives.signs)
        mean = np.column_stack([values[n][0] for n in self._objectives.names]) * signs
        deviation = np.column_stack([values[n][1] for n in self._objectives.names])
        violation, feasible = np.zeros(len(genomes)), np.ones(len(genomes))
        for constraint in self._constraints:
            center, spread = values[constraint.metric]
            violation += [constraint.excess(float(v)) for v in center]
            if (constraint.metric, constraint.sign) not in self._goals or not spread.any():
                feasible *= _probability(constraint, center, spread)
        floor = np.array([self._floor(name) for name in self._objectives.names])
        return Forecast(mean, deviation, violation, feasible, floor, known)

    def believe(
        self, genomes: Sequence[Genome], costs: Sequence[Mapping[str, float]], cheap: set[str]
    ) -> dict[str, Beliefs]:
        """What measured networks' expensive metrics probably are, luck taken off.

        A Gaussian process is fitted for it, whatever predicts otherwise.

        Args:
            genomes: n genomes with results.
            costs: their known costs.
            cheap: the metrics that the cost function knows.

        Returns:
            By metric; without those that scatter hardly, and empty while there are few results.
        """
        if self._data.results < _MINIMUM or not genomes:
            return {}
        known, known_costs, table = self._data.first(len(self._data), guesses=False)
        repeats = self._data.repeats(len(self._data), guesses=False)
        # Last what is asked for: a process takes the last ones.
        wanted = set(genomes)
        places = sorted(range(len(known)), key=lambda i: known[i] in wanted)[-_MOST_ROWS:]
        rows = self._features.rows(
            [known[i] for i in places], [known_costs[i] for i in places], self._cost_names
        )
        asked = self._features.rows(genomes, costs, self._cost_names)
        found = {}
        for column, name in enumerate(self._needed):
            if name in cheap:
                continue
            # On the scale of the values: luck is as large everywhere, and near the best value a
            # logarithm takes it for the network's.
            model = WarpedGaussianProcess(self._groups(), is_lucky=True)
            again = repeats[name].at(places) if repeats else None
            model.fit(rows, table[places, column], again)
            if model.noise > _SLIGHT_NOISE:
                found[name] = Beliefs(*model.interval(asked, _NINETY))
        return found

    @property
    def is_informed(self) -> bool:
        """Whether its forecasts tell luck from networks.

        Measured effects of genes do, and so do networks that were measured several times.
        """
        return self._features.has_effects or self._data.has_repeats

    def factors(self, generator: np.random.Generator, count: int) -> Array | None:
        """What the measured losses of each gene are to be multiplied with, after `prepare`.

        Args:
            generator: source of randomness.
            count: of draws; the first is the expectation.

        Returns:
            count x genes with measured losses; None unless a Gaussian process has learned one
            objective alone.
        """
        learned = [model for name, model in self._models.items() if name in self._objectives.names]
        (model,) = learned if len(learned) == 1 else (None,)
        if not isinstance(model, WarpedGaussianProcess):
            return None
        return model.factors(generator, count)

    # ---- learning

    def _fit(self, count: int, expensive: tuple[str, ...]) -> None:
        self._models = {}
        rng = random.Random(f"fit {self._seed} {count}")
        genomes, costs, table = self._data.first(count)
        repeats = self._data.repeats(count)
        places = list(range(len(genomes)))
        if len(places) > _MOST_ROWS:
            # The recent half is where the search is; the rest stands for the whole space.
            recent = places[-_MOST_ROWS // 2 :]
            places = sorted(rng.sample(places[: -len(recent)], _MOST_ROWS // 2)) + recent
        rows = self._features.rows(
            [genomes[i] for i in places], [costs[i] for i in places], self._cost_names
        )
        for name in expensive:
            shape = self._shapes.get(name)
            model: Predictor = (
                ExtraTrees(self._seed + count)
                if shape is None
                else WarpedGaussianProcess(self._groups(), self._sign(name), shape)
            )
            again = repeats[name].at(places) if repeats else None
            model.fit(rows, table[places, self._needed.index(name)], again)
            self._models[name] = model

    def _floor(self, name: str) -> float:
        model = self._models.get(name)
        return model.floor if isinstance(model, WarpedGaussianProcess) else -np.inf

    def _groups(self) -> list[int]:
        return self._features.groups(len(self._cost_names))

    def _sign(self, name: str) -> float:
        """Which end of a metric matters more: that of objectives only."""
        return dict(zip(self._objectives.names, self._objectives.signs, strict=True)).get(name, 0.0)

    def _check(self, count: int, expensive: tuple[str, ...]) -> None:
        genomes, costs, table = self._data.first(count, guesses=False)
        repeats = self._data.repeats(count, guesses=False)
        # The latest results suffice to judge, and keep the check as cheap as a fit.
        latest = slice(-_MOST_ROWS // 3, None)
        rows = self._features.rows(genomes[latest], costs[latest], self._cost_names)
        table = table[latest]
        for name in expensive:
            values = table[:, self._needed.index(name)]
            taus: dict[str, float] = {}
            shape = None
            if "gp" in self._kinds:
                model = WarpedGaussianProcess(self._groups(), self._sign(name))
                model.fit(rows, values, repeats[name].last(len(rows)) if repeats else None)
                shape = model.shape
                taus["gp"] = tau_of(model.left_out(), values[-len(model.left_out()) :])
            if "trees" in self._kinds:
                taus["trees"] = held_back_tau(rows, values, self._seed + count)
            best = max(taus, key=lambda kind: taus[kind] + _HEAD_START.get(kind, 0.0))
            self._shapes[name] = shape if best == "gp" else None
            self.tau[name] = max(taus.values())
        if expensive:
            said = ", ".join(
                f"{name} {self.tau[name]:.2f} ({'gp' if self._shapes[name] else 'trees'})"
                for name in expensive
            )
            _log.info("surrogate: Kendall's tau on held-back results of %d: %s", count, said)


def _boundary(count: int, steps: int) -> int:
    """The number of results that a fit uses: every one of up to `steps`, then in growing steps.

    It depends on the count alone, so that a replayed search fits the same models. From `steps` to
    twice as many it goes up by 2, then by 4, and so on.
    """
    every = 1
    while count // every >= steps:
        every *= 2
    return count - count % every


def _probability(constraint: Constraint, mean: Array, deviation: Array) -> Array:
    from scipy.special import ndtr

    room = constraint.sign * (constraint.bound - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = ndtr(room / deviation)
    sure = np.array([constraint.excess(float(v)) == 0 for v in mean], dtype=float)
    return np.asarray(np.where(deviation > 0, chance, sure))
