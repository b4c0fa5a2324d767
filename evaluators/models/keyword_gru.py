"""A small recurrent network for keyword spotting."""

from __future__ import annotations

from torch import Tensor, nn


class KeywordGRU(nn.Module):
    """(N, 1, T, F) features to (N, classes), by the state behind the last frame.

    As the GRU of Zhang et al., "Hello Edge" (arXiv:1711.07128), which has 154 hidden features.

    Args:
        classes: number of outputs.
        features: F, of a frame.
        hidden: features of the state.
    """

    def __init__(self, classes: int = 12, features: int = 10, hidden: int = 48) -> None:
        super().__init__()
        self.gru = nn.GRU(features, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """One layer over all frames, then the classifier."""
        states, _ = self.gru(x.squeeze(1))
        out: Tensor = self.fc(states[:, -1])
        return out
