"""Where things went in version 0.2: importing one by its old path raises an error that says so.

Each package has a table of its own, so that each works without the others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

# ruff: noqa: E501 - one row for each path
MOVED = {
    "hardware.calibrate": "hardware.calibration.own_board",
    "hardware.calibration.Cell": "hardware.calibration.model.Cell",
    "hardware.calibration.Effects": "hardware.calibration.model.Effects",
    "hardware.calibration.benchmark_instructions": "hardware.calibration.model.benchmark_instructions",
    "hardware.calibration.class_instructions": "hardware.latency.layer_instructions.class_instructions",
    "hardware.calibration.counted": "hardware.latency.layer_instructions.counted",
    "hardware.calibration.fit": "hardware.calibration.model.fit",
    "hardware.calibration.kappa": "hardware.calibration.model.kappa",
    "hardware.calibration.layer_class": "hardware.latency.layer_instructions.layer_class",
    "hardware.calibration.layer_instructions": "hardware.latency.layer_instructions.layer_instructions",
    "hardware.calibration.names_of": "hardware.calibration.model.names_of",
    "hardware.calibration.predict": "hardware.calibration.model.predict",
    "hardware.calibration.weighted": "hardware.calibration.model.weighted",
    "hardware.closed_form": "hardware.latency.instruction_counts",
    "hardware.fit_devices": "hardware.calibration.fit_shipped_devices",
    "hardware.genes": "hardware.ir.gene_kinds",
    "hardware.intervals": "hardware.calibration.prediction_intervals",
    "hardware.jobs": "hardware.latency.kernel_calls",
    "hardware.latency.cycles_of": "hardware.latency.cycles.cycles_of",
    "hardware.latency.layer_cycles": "hardware.latency.cycles.layer_cycles",
    "hardware.layer": "hardware.ir.layer",
    "hardware.leave_one_out": "hardware.calibration.cross_validation",
    "hardware.low_rank": "hardware.ir.factorization",
    "hardware.memory.Buffer": "hardware.memory.planner.Buffer",
    "hardware.memory.Skeleton": "hardware.memory.planner.Skeleton",
    "hardware.memory.Tensor": "hardware.memory.planner.Tensor",
    "hardware.memory.buffers": "hardware.memory.planner.buffers",
    "hardware.memory.fused_activations": "hardware.memory.planner.fused_activations",
    "hardware.memory.liveness_peak": "hardware.memory.planner.liveness_peak",
    "hardware.memory.plan": "hardware.memory.planner.plan",
    "hardware.memory.skeleton": "hardware.memory.planner.skeleton",
    "hardware.network": "hardware.ir.network",
    "hardware.packing": "hardware.memory.weight_packing",
    "hardware.planner": "hardware.memory.planner",
    "hardware.published": "hardware.calibration.mlperf_tiny_results",
    "hardware.reference_networks": "hardware.calibration.mlperf_tiny_networks",
    "hardware.shapes": "hardware.ir.shape_inference",
    "hardware.stack": "hardware.runtime",
}


class _Moved:
    """Python's last finder: asked only for what isn't there, names of a folder included."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        if name in MOVED:
            # Without its argument `name`, or `from package import module` would hide the message.
            raise ModuleNotFoundError(f"{name} is {MOVED[name]} since version 0.2")


def install() -> None:
    """Lets Python ask the table."""
    sys.meta_path.append(_Moved())
