"""The weights that a training ends with: an average over its last steps.

Weights of few bits go on flipping between two levels while the learning rate falls, and a batch
norm's running statistics lag behind. The last step is one draw of that noise. An average over
steps (Polyak and Juditsky; Izmailov et al., arXiv:1803.05407) is steadier.
"""

from __future__ import annotations

import torch

HORIZON = 1 / 20
"""Steps that count in the average, in parts of the whole training: older ones fade."""


class WeightAverage:
    """The running average of all that an optimizer trains; called after each step.

    Args:
        optimizer: its parameters are watched, and left alone until :meth:`apply`.
        steps: of the whole training.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, steps: int) -> None:
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.average = [p.detach().clone() for p in self.parameters]
        # One step or less is no average: the latest weights stay.
        self.share = min(1.0, 1.0 / (HORIZON * steps))

    def __call__(self) -> None:
        """Takes in the present weights."""
        for mean, parameter in zip(self.average, self.parameters, strict=True):
            mean.lerp_(parameter.detach(), self.share)

    def apply(self) -> None:
        """Gives the parameters their average."""
        with torch.no_grad():
            for mean, parameter in zip(self.average, self.parameters, strict=True):
                parameter.copy_(mean)
