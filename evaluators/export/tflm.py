"""Runs a `.tflite` file in tflite-micro's reference kernels on this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from evaluators.export.fixed_point import Array
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.integer_network import IntegerNetwork
from evaluators.export.litert import real_runner
from evaluators.export.verify import Run

NOT_INSTALLED = "tflite-micro is not installed (pip install 'nni-joint-ga[tflm]')"

_ARENA_BYTES = 64 * 1024 * 1024  # ample for a network of a microcontroller's size


def is_available() -> bool:
    """Whether `tflite-micro` is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


def tflm_runner(path: Path, network: IntegerNetwork) -> Run:
    """Returns a callable from a batch of the only input to the outputs, both in torch's order.

    Raises:
        UnsupportedNetworkError: tflite-micro refuses the file.
    """
    from tflite_micro import runtime

    try:
        interpreter = runtime.Interpreter.from_bytes(path.read_bytes(), arena_size=_ARENA_BYTES)
    except RuntimeError as error:
        raise UnsupportedNetworkError(f"tflite-micro refuses {path.name}: {error}") from error

    def infer(sample: Array) -> Array:
        interpreter.set_input(sample, 0)
        interpreter.invoke()
        found = [interpreter.get_output(i).reshape(-1) for i in range(len(network.outputs))]
        return np.concatenate(found)

    return real_runner(infer, network)
