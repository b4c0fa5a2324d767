"""Small recurrent networks for the export."""

from __future__ import annotations

import itertools

from torch import Tensor, nn


class Net(nn.Module):
    """Recurrent layers over frames of 7 numbers, then a classifier of the last state."""

    def __init__(self, kind: str, layers: int = 1, units: int = 12, **named: object) -> None:
        super().__init__()
        made = {"gru": nn.GRU, "lstm": nn.LSTM}[kind]
        sizes = [7, *[units] * layers]
        self.rnn = nn.ModuleList(
            made(a, b, batch_first=True, **named) for a, b in itertools.pairwise(sizes)
        )
        self.fc = nn.Linear(units, 5)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.rnn:
            x, _ = layer(x)
        return self.fc(x[:, -1])
