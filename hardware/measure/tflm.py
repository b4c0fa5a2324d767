"""Backend: the arena that TensorFlow Lite Micro really allocates."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hardware.ir.layer import Layer
from hardware.measure.backend import BackendUnavailableError
from hardware.measure.tflite_model import build

_ARENA = 16 * 1024 * 1024  # ample: what is used of it is what is read
_PROGRAM = """
import sys, numpy
from tflite_micro import runtime
model = open(sys.argv[1], "rb").read()
interpreter = runtime.Interpreter.from_bytes(model, arena_size=int(sys.argv[2]))
interpreter.print_allocations()
"""
_LINE = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")


class TFLMArena:
    """Head (tensors) and tail (persistent data) of the arena, in units of 1024 bytes.

    The tail is that of this machine's 64-bit pointers; on a microcontroller it is smaller.
    """

    name = "tflm"
    extra = "tflm"

    def measure(self, layers: Sequence[Layer]) -> dict[str, float]:
        """Return `tflm_head_kb` and `tflm_tail_kb`.

        Raises:
            BackendUnavailableError: tflite-micro is not installed or refused the model.
            ValueError: an operator that cannot be written to TensorFlow Lite.
        """
        if importlib.util.find_spec("tflite_micro") is None:
            raise BackendUnavailableError(
                "tflite-micro is not installed: pip install 'nni-joint-ga[tflm]'"
            )
        with tempfile.TemporaryDirectory(prefix="joint-ga-tflm-") as folder:
            path = Path(folder) / "model.tflite"
            path.write_bytes(build(layers))
            # It writes its allocations to the process's standard error, below Python's.
            done = subprocess.run(
                [sys.executable, "-c", _PROGRAM, str(path), str(_ARENA)],
                capture_output=True,
                text=True,
                timeout=120,
            )
        sizes = {key: int(value) for key, value in _LINE.findall(done.stdout + done.stderr)}
        if done.returncode != 0 or "head" not in sizes:
            raise BackendUnavailableError(f"tflite-micro failed: {done.stderr.strip()[-400:]}")
        return {"tflm_head_kb": sizes["head"] / 1024, "tflm_tail_kb": sizes["tail"] / 1024}
