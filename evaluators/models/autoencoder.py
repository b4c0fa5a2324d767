"""The fully-connected autoencoder of MLPerf Tiny's anomaly detection."""

from __future__ import annotations

from torch import Tensor, nn

from evaluators.models.layers import KERAS_EPSILON


class Autoencoder(nn.Module):
    """Four hidden layers, a narrow code, four hidden layers, all with batch norm and ReLU.

    With the default sizes the network of MLPerf Tiny (ToyADMOS windows of 5 x 128 log-mel values;
    Koizumi et al., 2019). Layer names are ``fc1`` ... ``fc9`` (``fc5`` is the code) and ``out``.

    Args:
        features: values of a window.
        hidden: width of the hidden layers.
        code: width of the narrowest layer.
    """

    def __init__(self, features: int = 640, *, hidden: int = 128, code: int = 8) -> None:
        super().__init__()
        widths = [features] + [hidden] * 4 + [code] + [hidden] * 4
        self.depth = len(widths) - 1
        for i in range(self.depth):
            self.add_module(f"fc{i + 1}", nn.Linear(widths[i], widths[i + 1]))
            self.add_module(f"bn{i + 1}", nn.BatchNorm1d(widths[i + 1], KERAS_EPSILON))
            self.add_module(f"relu{i + 1}", nn.ReLU())
        self.out = nn.Linear(hidden, features)

    def forward(self, x: Tensor) -> Tensor:
        """(N, features) to (N, features)."""
        for i in range(1, self.depth + 1):
            for part in ("fc", "bn", "relu"):
                x = self.get_submodule(f"{part}{i}")(x)
        out: Tensor = self.out(x)
        return out
