"""Ends a fine-tuning whose result is clear, so that its epochs go to other trials."""

from __future__ import annotations

from evaluators.task import Task

OPTIMISM = 1.0
"""How many times its pace a network may still gain in each epoch that is left.

Learning curves flatten, but they are noisy, and the last epochs of a falling learning rate gain
more than the middle ones; see docs/compression.md for the curves that this was set by.
"""

LEAST_EPOCHS = 2
"""Trained epochs before a verdict: the first one after the post-training score repairs the most."""


class Judge:
    """Watches one trial's scores and says when further epochs can't change what it is worth.

    Two verdicts: the network can't come near the float model any more, even at
    :data:`OPTIMISM` times its pace (its latest gain or its mean one, whichever is more); or it
    equals the float model twice in a row and no longer gains.

    Args:
        task: ``early_end`` is the share of the float metric that a network may lose and still be
            worth training; with None there is never a verdict.
        baseline: The float model's metric.
        epochs: Planned.
    """

    def __init__(self, task: Task, baseline: float, epochs: int) -> None:
        self.sign = 1.0 if task.metric_mode == "max" else -1.0
        self.goal = self.sign * baseline
        self.tolerated = None if task.early_end is None else task.early_end * abs(baseline)
        self.epochs = epochs
        self.scores: list[float] = []

    @property
    def listens(self) -> bool:
        """Whether a verdict is possible at all, so that scores are worth their computing."""
        return self.tolerated is not None and self.epochs > LEAST_EPOCHS

    def verdict(self, metric: float) -> str | None:
        """Takes the next score, the post-training one first; returns why to end, or None."""
        self.scores.append(self.sign * metric)
        trained = len(self.scores) - 1
        left = self.epochs - trained
        if self.tolerated is None or trained < LEAST_EPOCHS or left < 1:
            return None
        before, now = self.scores[-2:]
        best = max(self.scores)
        pace = max(now - before, (best - self.scores[0]) / trained)
        reachable = best + OPTIMISM * pace * left
        if reachable < self.goal - self.tolerated:
            return (
                f"at {self.sign * now:.4g} it can't come within {self.tolerated:.4g} of the float "
                f"model's {self.sign * self.goal:.4g}"
            )
        if self.goal <= now <= before:
            return f"it equals the float model's {self.sign * self.goal:.4g} and no longer gains"
        return None
