"""RAM beside the tensors that TensorFlow Lite Micro takes, against what it allocates."""

from __future__ import annotations

import importlib.util

import pytest

from hardware.calibration.mlperf_tiny_networks import REFERENCE_NETWORKS
from hardware.measure.tflm import TFLMArena
from hardware.memory.planner import fused_activations
from hardware.memory.tflm_arena import HOST_POINTER, MCU_POINTER, tail_bytes

# Read from tflite-micro 0.dev20261023 on a 64-bit machine.
TAILS = {"ic": 6832, "vww": 29_952, "kws": 8272, "ad": 3216}


@pytest.mark.parametrize("name", TAILS)
def test_the_tail_is_what_the_interpreter_allocates(name: str) -> None:
    layers = REFERENCE_NETWORKS[name]().layers
    fused = fused_activations(layers)
    assert tail_bytes(layers, fused, HOST_POINTER) == pytest.approx(TAILS[name], rel=0.03)
    assert 0.5 < tail_bytes(layers, fused, MCU_POINTER) / TAILS[name] < 1


@pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None, reason="tflite-micro is not installed"
)
@pytest.mark.parametrize("name", ["kws", "ad"])
def test_the_installed_interpreter_allocates_so_much(name: str) -> None:
    tail = TFLMArena().measure(REFERENCE_NETWORKS[name]().layers)["tflm_tail_kb"] * 1024
    assert tail == pytest.approx(TAILS[name], rel=0.1)
