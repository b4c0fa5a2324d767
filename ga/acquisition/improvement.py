"""What is still to be won beyond a front."""

from __future__ import annotations

import numpy as np

from ga.acquisition.ehvi import BoxDecomposition
from ga.arrays import Array
from ga.surrogate.surrogate import Forecast

# Losses are scaled so that everything observed lies in [0, 1]; the reference point a little
# beyond gives the extremes of the front a gain too. 1.1 is usual; not tuned.
_REFERENCE = 1.1
# Of a forecast's deviation, what counts for a gain where there are several objectives. What is
# asked for is the best of hundreds of forecasts, so mostly one that was overrated: with all of it,
# trials go where nothing but a wide deviation promises anything. Chosen on seeds 100 to 119 of
# NAS-Bench-201 and the tables; with all of it 50 trials end at .985 instead of .991 ("deviations
# believed whole" in docs/search.md).
_BELIEVED = 1 / 3
# With one objective nothing is known of a candidate but its forecast, and all of it counts, as is
# usual for the expected improvement. Five runs on three tables of settings (seeds 100 and 101): the
# mean regret after 30 trials is .12 instead of .16, after 100 it is the same .08.
_BELIEVED_ALONE = 1.0


class ImprovementRegion:
    """The region that no result and no forecast of a running trial dominates.

    Args:
        front: n x m losses of the front.
        observed: losses of all results; they span the reference point.
        limits: per objective, the largest loss that its own bounds allow; infinite without one.
            What lies beyond is no gain, so the region ends there.
        running: what is forecast for candidates in flight, which count as if it had been told.
    """

    def __init__(
        self, front: Array, observed: Array, limits: Array, running: Forecast | None
    ) -> None:
        worst = observed.max(axis=0)
        self._ideal = observed.min(axis=0)
        self._span = np.where(worst > self._ideal, worst - self._ideal, 1.0)
        reference = np.minimum(_REFERENCE, (limits - self._ideal) / self._span)
        ahead = [front.reshape(-1, len(worst))]
        if running is not None:
            ahead.append(running.mean[(running.violation == 0) & running.known])
        self._believed = _BELIEVED_ALONE if len(worst) == 1 else _BELIEVED
        self._boxes = BoxDecomposition((np.vstack(ahead) - self._ideal) / self._span, reference)

    def scaled(self, forecast: Forecast) -> tuple[Array, Array, Array]:
        """A forecast's means, deviations and floors on the region's scale."""
        return (
            (forecast.mean - self._ideal) / self._span,
            forecast.deviation / self._span,
            (forecast.floor - self._ideal) / self._span,
        )

    def gains(self, mean: Array, deviation: Array, floor: Array) -> Array:
        """Expected growth of the hypervolume by each of c candidates, cautiously.

        Args:
            mean: c x m, scaled like the other two.
            deviation: c x m; 0 where a loss is known.
            floor: m, as `Forecast` has them.
        """
        return self._boxes.ehvi(mean, self._believed * deviation, floor)
