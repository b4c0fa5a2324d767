"""Backend: latency on this machine's CPU with ONNX Runtime."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hardware.ir.layer import Layer
from hardware.measure.backend import BackendUnavailableError
from hardware.measure.onnx_model import build
from hardware.measure.timing import interleaved, session


class OnnxRuntime:
    """Minimum of many runs, one thread, taking turns with a baseline.

    Machines are noisy: the median of a shared one moves by 15 % from minute to minute, the
    minimum by less than 2 %, and a baseline that takes turns shows when even that moved.

    Attributes:
        baseline: network that each candidate takes turns with; its ratio is reported too.
        seconds: time spent per network.
    """

    extra = ""

    def __init__(
        self,
        int8: bool = True,
        baseline: Sequence[Layer] | None = None,
        seconds: float = 1.0,
        threads: int = 1,
    ) -> None:
        self.int8 = int8
        self.name = "onnxruntime-int8" if int8 else "onnxruntime-fp32"
        self.baseline = baseline
        self.seconds = seconds
        self.threads = threads

    def measure(self, layers: Sequence[Layer]) -> dict[str, float]:
        """Return `ort_latency_ms` and, with a baseline, `ort_relative_latency` to it.

        Raises:
            BackendUnavailableError: ONNX Runtime or onnx is not installed.
            ValueError: an operator that cannot be written to ONNX.
        """
        return self.measure_many([layers])[0]

    def measure_many(self, networks: Sequence[Sequence[Layer]]) -> list[dict[str, float]]:
        """Measure several networks that take turns with each other and with the baseline.

        Raises:
            BackendUnavailableError: as `measure`.
            ValueError: as `measure`.
        """
        if importlib.util.find_spec("onnxruntime") is None:
            raise BackendUnavailableError("onnxruntime is not installed: pip install onnxruntime")
        everything = [*networks, *([self.baseline] if self.baseline is not None else [])]
        with tempfile.TemporaryDirectory(prefix="joint-ga-ort-") as folder:
            runs = []
            for i, layers in enumerate(everything):
                path = Path(folder) / f"{i}.onnx"
                path.write_bytes(build(layers, self.int8))
                runs.append(session(str(path), self.threads))
            found = interleaved(runs, self.seconds * len(runs))
        made = []
        for one in found[: len(networks)]:
            metrics = {"ort_latency_ms": round(one["min_ms"], 6)}
            if self.baseline is not None:
                ratio = one["min_ms"] / found[-1]["min_ms"]
                metrics["ort_relative_latency"] = round(ratio, 6)
            made.append(metrics)
        return made
