"""Whether an ONNX file differs from its network only where a value lies on a rounding edge.

Between layers a network computes in floats, which are rounded to integers in front of the next
layer. A value half way between two integers is rounded up or down by the last bit of a sum, which
torch and ONNX Runtime add in another order. An integer network has no such values
(`evaluators.export.storage`). Any other may have one in a million, and one is enough to change what
an untrained network predicts. Neither answer is wrong.

So the network runs once more, and rounds each value that is on an edge as the file did. Values off
the edges are rounded as they are. Then all predictions must be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from evaluators.compression.quantization import QuantizedInput
from evaluators.export.fixed_point import Array
from evaluators.export.verify import mismatches
from evaluators.pytree import tensors

EDGE = 1e-3
"""So near to the middle between two integers, in steps, a value is on an edge."""


class NotAlikeError(ValueError):
    """The file does not round what the network rounds."""


def differing(
    network: nn.Module, file: Path, batches: Sequence[Tensor], *, classes: bool
) -> tuple[int, int]:
    """Compares an ONNX file with its network, which rounds values on an edge as the file does.

    Args:
        network: quantization included, as it was written.
        file: the ONNX file.
        batches: of inputs; all samples.
        classes: whether the output is scores of classes, of which the highest counts.

    Returns:
        Samples that still differ, and values on an edge that the file rounded another way.

    Raises:
        NotAlikeError: the file does not round what the network rounds.
    """
    session, outputs = _opened(file)
    (given,) = session.get_inputs()
    wrong = edges = 0
    for batch in batches:
        found = session.run(None, {given.name: batch.numpy()})
        rounded = iter(found[outputs:])
        counts: list[int] = []
        own = _following(network, batch, rounded, counts)
        if next(rounded, None) is not None:
            raise NotAlikeError("the file rounds more values than the network")
        edges += sum(counts)
        wrong += max(
            mismatches(one, two, classes=classes)
            for one, two in zip(own, found[:outputs], strict=True)
        )
    return wrong, edges


def _opened(file: Path) -> tuple[onnxruntime.InferenceSession, int]:
    """A session that gives the integers of each QuantizeLinear, too; and the number of outputs."""
    model = onnx.load(file)
    count = len(model.graph.output)
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(node.output[0]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"]), count


def _following(
    network: nn.Module, batch: Tensor, rounded: Iterator[Array], counts: list[int]
) -> list[Array]:
    """The network's outputs; layers are called in the order of the file's nodes."""

    def follow(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        assert isinstance(module, QuantizedInput)
        x, theirs = inputs[0], next(rounded, None)
        if theirs is None or theirs.shape != tuple(x.shape):
            raise NotAlikeError("the file rounds other values than the network")
        q = module.quantization
        step = float(np.float32(q.scale))
        steps = x / step
        mine = steps.round().clamp(-q.zero_point, q.high - q.zero_point)
        other = torch.from_numpy(theirs.astype(np.float32)) - q.zero_point
        edge = ((mine - other).abs() == 1) & ((steps - (mine + other) / 2).abs() < EDGE)
        counts.append(int(edge.sum()))
        return (torch.where(edge, other * step, x), *inputs[1:])

    rounding = [m for m in network.modules() if isinstance(m, QuantizedInput)]
    handles = [m.register_forward_pre_hook(follow) for m in rounding]
    try:
        with torch.no_grad():
            return [x.numpy() for x in tensors(network(batch))]
    finally:
        for handle in handles:
            handle.remove()
