"""Costs that are measured, emulated or compiled for, instead of estimated.

Every backend takes a candidate's layers and gives metrics of its own names, so one can be an
objective of a search beside the estimates. Models are made from the layers with random weights: no
backend's figure depends on the values. Each needs its own optional packages (`Backend.extra`).
"""

from __future__ import annotations

from hardware.measure.backend import Backend, BackendUnavailableError

__all__ = ["Backend", "BackendUnavailableError", "backends"]


def backends() -> dict[str, Backend]:
    """Return the local backends by name; none is imported or checked before it is used."""
    from hardware.measure.emulator import Emulator
    from hardware.measure.litert import LiteRT
    from hardware.measure.onnxruntime import OnnxRuntime
    from hardware.measure.tflm import TFLMArena
    from hardware.measure.vela import Vela

    made: tuple[Backend, ...] = (
        OnnxRuntime(int8=True),
        OnnxRuntime(int8=False),
        LiteRT(),
        TFLMArena(),
        Vela(),
        Emulator("cortex-m4"),
    )
    return {backend.name: backend for backend in made}
