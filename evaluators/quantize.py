"""Where models pickled while the quantizer's class had its home here still look for it."""

from __future__ import annotations

from evaluators.compression.quantization import QuantizedInput

__all__ = ["QuantizedInput"]
