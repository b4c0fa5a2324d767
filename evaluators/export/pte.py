"""`model.pte`: the network with its integers for ExecuTorch's XNNPACK backend.

Needs the optional package `executorch`. Nothing is calibrated or rounded a second time: the graph
that ExecuTorch lowers has the quantizations that were trained. Its 8-bit kernels hold weights of
fewer bits as int8, as ExecuTorch's own quantizer would; wider ones have no form.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn

from evaluators.compression.quantization import InputQuantization, QuantizedInput
from evaluators.compression.submodules import replace_submodule
from evaluators.export import storage
from evaluators.export.checkpoint import make_contiguous
from evaluators.export.fixed_point import narrow
from evaluators.export.folding import FoldedModel, QuantizedLayer
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.verify import Run
from evaluators.pytree import tensors

NOT_INSTALLED = "executorch is not installed (pip install 'nni-joint-ga[executorch]')"

FILE = "model.pte"

_SIGN_OFFSET = 128
_LOW, _HIGH = -128, 127
_LEFT_IN_FLOAT = "quantized_decomposed::dequantize_per_channel"
"""Named in its error where it could not fuse a layer with its neighbours."""


def is_available() -> bool:
    """Whether `executorch` is installed."""
    return importlib.util.find_spec("executorch") is not None


def write_pte(
    folded: FoldedModel, inputs: object, path: Path, *, batches: Sequence[object] = ()
) -> None:
    """Writes the network for one sample at a time.

    Args:
        folded: what is stored, `storage.as_stored`.
        inputs: one batch `[N, ...]` of its only input.
        path: file to write.
        batches: inputs that give the range of the output, which is rounded to 8 bits: ExecuTorch's
            kernels leave a layer in float whose output is. ``inputs`` without them.

    Raises:
        UnsupportedNetworkError: more than one input or output, other than 8-bit activations, wider
            weights, or an operator that ExecuTorch refuses; no file is left.
    """
    given = tensors(inputs)
    if len(given) != 1:
        raise UnsupportedNetworkError("the network has more than one input")
    if folded.matrices or any(layer.integer_bits > 8 for layer in folded.layers.values()):
        raise UnsupportedNetworkError("weights of more than 8 bits, or of a recurrent layer")
    for name, quantization in folded.inputs.items():
        if quantization.bits != 8:
            raise UnsupportedNetworkError(
                f"activations of {quantization.bits} bits at {name!r}: ExecuTorch's kernels have 8"
            )
    model = _with_integers(folded, list(batches) or [given[0]])
    with _quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        try:
            sample = (given[0][:1].clone(memory_format=torch.contiguous_format),)
            traced = torch.export.export(model, sample).module()
            _round_earlier(traced)
            program = torch.export.export(traced, sample)
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            content = lowered.to_executorch().buffer
        except Exception as error:  # ExecuTorch documents no exceptions, and raises many kinds
            cause = (str(error).strip() or repr(error)).splitlines()[0]
            if _LEFT_IN_FLOAT in cause:
                cause = "it has no integer kernel for an operator behind a layer of few bits"
            raise UnsupportedNetworkError(f"ExecuTorch: {cause}") from error
    path.write_bytes(content)
    try:
        pte_runner(path)
    except RuntimeError as error:
        path.unlink()
        raise UnsupportedNetworkError(f"ExecuTorch can't run what it wrote: {error}") from error


def pte_runner(path: Path) -> Run:
    """Returns a callable from a batch of the only input to the only output."""
    with _quiet():
        from executorch.runtime import Runtime

        method = Runtime.get().load_program(path).load_method("forward")

    def run(inputs: object) -> npt.NDArray[np.float32]:
        batch = torch.as_tensor(np.ascontiguousarray(tensors(inputs)[0]))
        return np.concatenate([method.execute([sample[None]])[0].numpy() for sample in batch])

    return run


class _Integers(nn.Module):
    """A layer with its weights as int8 and its input behind a quantizer of 8 bits."""

    scale: Tensor
    zero: Tensor
    weight: Tensor

    def __init__(
        self,
        module: nn.Module,
        quantization: InputQuantization | None,
        layer: QuantizedLayer | None,
    ) -> None:
        super().__init__()
        self.module, self.quantization, self.layer = module, quantization, layer
        if layer is not None:
            self.register_buffer("weight", torch.from_numpy(np.ascontiguousarray(layer.weight)))
            self.register_buffer("scale", torch.from_numpy(layer.scale))
            self.register_buffer("zero", torch.zeros(layer.channels, dtype=torch.int64))

    def forward(self, x: Tensor, *rest: object, **named: object) -> object:
        given, layer = self.quantization, self.layer
        if given is not None:
            x = _rounded(x, given)
        if layer is None:
            return self.module(x, *rest, **named)
        weight = torch.ops.quantized_decomposed.dequantize_per_channel(
            self.weight, self.scale, self.zero, layer.channel_dim, -_HIGH, _HIGH, torch.int8
        )
        return torch.func.functional_call(self.module, {"weight": weight}, (x, *rest), named)


class _RoundedOutput(nn.Module):
    """A network with its only output behind a quantizer of 8 bits."""

    def __init__(self, model: nn.Module, quantization: InputQuantization) -> None:
        super().__init__()
        self.model, self.quantization = model, quantization

    def forward(self, x: Tensor) -> Tensor:
        return _rounded(self.model(x), self.quantization)


def _rounded(x: Tensor, given: InputQuantization) -> Tensor:
    """The tensor behind QuantizeLinear and DequantizeLinear, with signed integers."""
    operators = torch.ops.quantized_decomposed
    step = float(np.float32(given.scale))
    grid = (step, given.zero_point - _SIGN_OFFSET, _LOW, _HIGH, torch.int8)
    rounded: Tensor = operators.dequantize_per_tensor(
        operators.quantize_per_tensor(x, *grid), *grid
    )
    return rounded


def _round_earlier(module: fx.GraphModule) -> None:
    """Rounds what operators read that commute with rounding, if what they give is rounded.

    ExecuTorch's kernels for layers write 8 bits only where a quantizer is next.
    """
    operators = torch.ops.quantized_decomposed
    quantize, dequantize = (
        operators.quantize_per_tensor.default,
        operators.dequantize_per_tensor.default,
    )
    graph = module.graph
    for node in reversed(list(graph.nodes)):
        # Backwards, so that what is put in is found on the way to the next.
        readers = [reader for reader in node.users if reader.target is quantize]
        if node.target not in _commuting() or not readers or len(readers) != len(node.users):
            continue
        grid = readers[0].args[1:]
        for source in node.all_input_nodes:
            if source.target is dequantize and source.args[1:] == grid:
                continue
            with graph.inserting_after(source):
                integers = graph.call_function(quantize, (source, *grid))
            with graph.inserting_after(integers):
                real = graph.call_function(dequantize, (integers, *grid))
            node.replace_input_with(source, real)
    # A layer is fused with one quantizer behind it, not with two that are equal.
    first: dict[object, fx.Node] = {}
    for node in list(graph.nodes):
        if node.target is quantize and first.setdefault(node.args, node) is not node:
            node.replace_all_uses_with(first[node.args])
            graph.erase_node(node)
    module.recompile()


def _commuting() -> frozenset[object]:
    """Operators whose rounded output is that of their rounded inputs."""
    aten = torch.ops.aten
    return frozenset(
        {
            aten.max_pool1d.default,
            aten.max_pool2d.default,
            aten.cat.default,
            aten.hardtanh.default,
            aten.clamp.default,
            aten.view.default,
            aten.reshape.default,
            aten.flatten.using_ints,
            aten.permute.default,
            aten.transpose.int,
            aten.squeeze.dim,
            aten.unsqueeze.default,
            aten.pad.default,
            aten.dropout.default,
        }
    )


def _output_quantization(model: nn.Module, batches: Sequence[object]) -> InputQuantization:
    """8 bits over the range of the output.

    Raises:
        UnsupportedNetworkError: more than one output.
    """
    low = high = 0.0
    for batch in batches:
        with torch.no_grad():
            output = model(tensors(batch)[0])
        if not isinstance(output, Tensor):
            raise UnsupportedNetworkError(f"the network gives a {type(output).__name__}")
        low, high = min(low, float(output.min())), max(high, float(output.max()))
    found = narrow(low, high)
    return InputQuantization(found.scale, found.zero_point, 8)


def _with_integers(folded: FoldedModel, batches: Sequence[object]) -> nn.Module:
    # Registers the operators.
    import torch.ao.quantization.fx._decomposed  # noqa: F401 - for what it registers

    model, repeated = make_contiguous(folded.simulated().eval()), storage.repeated(folded)
    output = _output_quantization(model, batches)
    for name, module in list(model.named_modules()):
        if isinstance(module, QuantizedInput):
            given = None if name in repeated else module.quantization
            layer = folded.layers.get(name)
            replace_submodule(model, name, _Integers(module.module, given, layer))
    return _RoundedOutput(model, output).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """ExecuTorch and what it imports talk about their own affairs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        silent = io.StringIO()
        with warnings.catch_warnings(), redirect_stdout(silent), redirect_stderr(silent):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
