"""What everything that measures has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hardware.ir.layer import Layer


class BackendUnavailableError(RuntimeError):
    """What a backend needs is not installed or did not answer; the message says what to do."""


class Backend(Protocol):
    """What all backends have in common.

    Attributes:
        name: for example `onnxruntime`.
        extra: optional dependency group of this package that it needs; empty for none.
    """

    name: str
    extra: str

    def measure(self, layers: Sequence[Layer]) -> dict[str, float]:
        """Return the metrics of one network.

        Raises:
            BackendUnavailableError: something it needs is missing or failed.
            ValueError: the network has an operator that the backend cannot run.
        """
        ...
