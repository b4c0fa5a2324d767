"""Backend: instructions on an emulated Cortex-M (see `qemu`)."""

from __future__ import annotations

from collections.abc import Sequence

from hardware.ir.layer import Layer
from hardware.latency.kernel_calls import jobs
from hardware.measure.backend import BackendUnavailableError
from hardware.measure.qemu import QemuError, count
from hardware.memory.planner import fused_activations


class Emulator:
    """Counts the instructions of our kernels: `instructions`, and those that touch memory."""

    extra = ""

    def __init__(self, core: str) -> None:
        self.core = core
        self.name = f"qemu-{core}"

    def measure(self, layers: Sequence[Layer]) -> dict[str, float]:
        """Return `qemu_instructions` and `qemu_memory_instructions` of one inference.

        Raises:
            BackendUnavailableError: the compiler or the emulator is missing or failed.
            ValueError: an operator without a kernel.
        """
        fused = fused_activations(layers)
        found = [pair for layer in layers if layer.name not in fused for pair in jobs(layer)]
        try:
            counts = count([job for job, _ in found], self.core)
        except QemuError as error:
            raise BackendUnavailableError(str(error)) from None
        total = memory = 0
        for (_, times), one in zip(found, counts, strict=True):
            total += times * one.total
            memory += times * (one.classes["load"] + one.classes["store"])
        return {"qemu_instructions": float(total), "qemu_memory_instructions": float(memory)}
