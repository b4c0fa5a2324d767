"""Where models pickled before version 0.2 look for the class that rounds a layer's input."""

from __future__ import annotations

from evaluators.compression.quantization import QuantizedInput

__all__ = ["QuantizedInput"]


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    # An AttributeError would become "cannot import name", without these words.
    raise ImportError(
        f"evaluators.quantize.{name} is evaluators.compression.qat.{name} or "
        f"evaluators.compression.quantization.{name} since version 0.2"
    )
