"""Backend: int8 latency on this machine's CPU with LiteRT and XNNPACK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hardware.ir.layer import Layer
from hardware.measure.backend import BackendUnavailableError
from hardware.measure.tflite_model import build
from hardware.measure.timing import interleaved


class LiteRT:
    """Minimum of many runs, one thread.

    Attributes:
        seconds: time spent per network.
    """

    name = "litert"
    extra = "litert"

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds

    def measure(self, layers: Sequence[Layer]) -> dict[str, float]:
        """Return `litert_latency_ms`.

        Raises:
            BackendUnavailableError: ai-edge-litert is not installed.
            ValueError: an operator that cannot be written to TensorFlow Lite.
        """
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise BackendUnavailableError(
                "ai-edge-litert is not installed: pip install 'nni-joint-ga[litert]'"
            ) from None
        interpreter: Any = Interpreter(model_content=build(layers), num_threads=1)
        interpreter.allocate_tensors()
        found = interleaved([interpreter.invoke], self.seconds)[0]
        return {"litert_latency_ms": round(found["min_ms"], 6)}
