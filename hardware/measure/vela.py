"""Backend: Arm's Vela compiler for Ethos-U NPUs; its figures are estimates, not measurements."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hardware.ir.layer import Layer
from hardware.measure.backend import BackendUnavailableError
from hardware.measure.tflite_model import build


class Vela:
    """Cycles, SRAM and flash of a network compiled for an Ethos-U.

    Attributes:
        accelerator: for example `ethos-u55-128`, `ethos-u65-256`, `ethos-u85-256`.
    """

    extra = "vela"

    def __init__(self, accelerator: str = "ethos-u55-128") -> None:
        self.accelerator = accelerator
        self.name = f"vela-{accelerator}"

    def measure(self, layers: Sequence[Layer]) -> dict[str, float]:
        """Return `vela_cycles`, `vela_latency_ms`, `vela_sram_kb` and `vela_flash_kb`.

        Raises:
            BackendUnavailableError: ethos-u-vela is not installed or failed.
            ValueError: an operator that cannot be written to TensorFlow Lite.
        """
        if importlib.util.find_spec("ethosu") is None:
            raise BackendUnavailableError(
                "ethos-u-vela is not installed: pip install 'nni-joint-ga[vela]'"
            )
        with tempfile.TemporaryDirectory(prefix="joint-ga-vela-") as name:
            folder = Path(name)
            (folder / "model.tflite").write_bytes(build(layers))
            done = subprocess.run(
                [sys.executable, "-m", "ethosu.vela", "model.tflite",
                 f"--accelerator-config={self.accelerator}", "--output-dir=."],
                cwd=folder, capture_output=True, text=True, timeout=300,
            )  # fmt: skip
            summaries = list(folder.glob("*_summary_*.csv"))
            if done.returncode != 0 or not summaries:
                tail = (done.stderr or done.stdout).strip()[-400:]
                raise BackendUnavailableError(f"vela failed: {tail}")
            with summaries[0].open(newline="", encoding="utf-8") as file:
                row = next(csv.DictReader(file))
        seconds = float(row["inference_time"])
        return {
            "vela_cycles": float(row["cycles_total"]),
            "vela_latency_ms": round(seconds * 1000, 6),
            "vela_sram_kb": float(row["sram_memory_used"]),
            "vela_flash_kb": float(row["off_chip_flash_memory_used"]),
        }
