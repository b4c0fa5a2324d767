"""Chooses one trial by a sentence: ``accuracy >= 0.90, min latency_ms``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ga.problem.objectives import Constraint, parse_constraints, violation
from nni_plugin.protocol.metrics import UID
from nni_plugin.protocol.suggestions import did_you_mean

if TYPE_CHECKING:
    from nni_plugin.study.trial_log import Trial

__all__ = ["Pick", "PickError"]


class PickError(ValueError):
    """A pick that can't be read, or that nothing satisfies; says what comes closest."""


@dataclass(frozen=True)
class Pick:
    """Bounds that a trial must keep, and the metric it is then chosen by.

    Attributes:
        bounds: all of them must hold.
        metric: the deciding metric, or ``""``: the first that satisfies the bounds.
        sign: 1 to minimize ``metric``, -1 to maximize it.
    """

    bounds: tuple[Constraint, ...]
    metric: str
    sign: int

    @classmethod
    def parse(cls, text: str) -> Pick:
        """Reads ``"accuracy >= 0.90, ram_kb <= 64, min latency_ms"``.

        Raises:
            PickError: an unreadable part, or other than one ``min`` or ``max``.
        """
        bounds: list[Constraint] = []
        goals: list[tuple[str, int]] = []
        for part in filter(None, (p.strip() for p in text.split(","))):
            words = part.split()
            if len(words) == 2 and words[0] in ("min", "max"):
                goals.append((words[1], 1 if words[0] == "min" else -1))
                continue
            metric = part[: min((part.find(c) for c in "<>" if c in part), default=0)].strip()
            try:
                bounds += parse_constraints({metric: part[len(metric) :].strip()})
            except ValueError as error:
                raise PickError(
                    f"--pick part {part!r} can't be read: write bounds and one goal, for example "
                    "'accuracy >= 0.90, min latency_ms'"
                ) from error
        if len(goals) != 1:
            raise PickError(
                f"--pick {text!r} needs one 'min METRIC' or 'max METRIC' to decide by, it has "
                f"{len(goals)}"
            )
        return cls(tuple(bounds), *goals[0])

    def choose(self, trials: Sequence[Trial]) -> Trial:
        """The best of the trials that keep every bound.

        A metric that is forecast counts with its expected value.

        Args:
            trials: complete ones.

        Raises:
            PickError: no trial reports the metrics, or none keeps the bounds; then the message
                names the trial that comes closest.
        """
        needed = {self.metric, *(bound.metric for bound in self.bounds)}
        told = {t.uid: {**t.shown, **t.ranked} for t in trials}
        able = [t for t in trials if needed <= told[t.uid].keys()]
        if not able:
            known = sorted({name for t in trials for name in told[t.uid] if name != UID})
            missing = ", ".join(sorted(needed - set(known))) or "all of these together"
            near = did_you_mean(min(needed - set(known), default=""), known)
            raise PickError(
                f"no trial reports {missing}{near} (reported: {', '.join(known) or 'none'})"
            )
        fitting = [t for t in able if violation(self.bounds, told[t.uid]) == 0]
        if not fitting:
            closest = min(able, key=lambda t: violation(self.bounds, told[t.uid]))
            values = ", ".join(f"{b.metric}={told[closest.uid][b.metric]:g}" for b in self.bounds)
            wanted = ", ".join(str(b) for b in self.bounds)
            raise PickError(
                f"no trial satisfies {wanted}; the closest is trial "
                f"{closest.job_id or closest.uid} (uid {closest.uid}) with {values}"
            )
        return min(fitting, key=lambda t: self.sign * told[t.uid][self.metric])
