"""`model.tflite` and `model_int4.tflite`: written, and run by the runtimes that they are for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from evaluators.export import litert, tflm
from evaluators.export.folding import FoldedModel
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.integer import lower
from evaluators.export.integer_network import IntegerNetwork
from evaluators.export.verify import Run

INT8, INT4 = "model.tflite", "model_int4.tflite"

LITERT, TFLM = "LiteRT", "tflite-micro"


@dataclass(frozen=True)
class TFLiteFiles:
    """What was written.

    Attributes:
        network: what the files hold; None for the reason beside it.
        reason: why there is no file.
        int4_reason: why there is none with int4 weights.
        int4_runtime: what runs that file here; None if there is none.
    """

    network: IntegerNetwork | None
    reason: str | None
    int4_reason: str | None
    int4_runtime: str | None = None

    def runners(self, folder: Path) -> dict[str, Run]:
        """What runs each of the files, by name."""
        if self.network is None:
            return {}
        found = {"tflite": litert.litert_runner(folder / INT8, self.network)}
        if self.int4_runtime == TFLM:
            found["tflite_int4"] = tflm.tflm_runner(folder / INT4, self.network)
        elif self.int4_runtime == LITERT:
            found["tflite_int4"] = litert.litert_runner(folder / INT4, self.network)
        return found


def write(
    folded: FoldedModel,
    inputs: torch.Tensor,
    batches: Sequence[torch.Tensor],
    folder: Path,
    reason: str | None,
) -> TFLiteFiles:
    """Writes the files that the network and this machine's packages allow.

    Args:
        folded: what is stored, `storage.as_stored`.
        inputs: `[N, ...]`, to find the shapes.
        batches: inputs that give the ranges of tensors that the network keeps in float.
        folder: existing folder.
        reason: why the network has no integers; None if it has.
    """
    if not litert.is_available():
        return TFLiteFiles(None, litert.NOT_INSTALLED, litert.NOT_INSTALLED)
    if reason is not None:
        return TFLiteFiles(None, reason, reason)
    try:
        network = lower(folded, inputs, batches or None, wide_bits=8)
        litert.write_tflite(network, folded, folder / INT8)
    except UnsupportedNetworkError as error:
        return TFLiteFiles(None, str(error), str(error))
    try:
        litert.write_tflite(network, folded, folder / INT4, four_bits=True)
    except UnsupportedNetworkError as error:
        return TFLiteFiles(network, None, str(error))
    return TFLiteFiles(network, None, None, TFLM if tflm.is_available() else LITERT)
