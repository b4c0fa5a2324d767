"""How channels are read and made by operations with weights, and scaled by norms."""

from __future__ import annotations

import torch

from evaluators.tracing.channel_labels import LabelFlow
from evaluators.tracing.channel_products import batched_product
from evaluators.tracing.channel_rules import (
    integers,
    opaque,
    source_of,
)
from evaluators.tracing.program import Operation, Value, values_in

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def convolution(flow: LabelFlow, op: Operation) -> None:
    """Convolutions, transposed and grouped ones too: read and make channels on axis 1."""
    source, weight = op.value("input"), op.value("weight")
    if source is None or weight is None:
        opaque(flow, op)
        return
    transposed = "transpose" in op.kind or op.arguments.get("transposed") is True
    groups = int(str(op.arguments.get("groups", 1)))
    axis = 0 if len(source.shape) == len(weight.shape) - 1 else 1
    ins, outs = source.shape[axis], op.output.shape[axis]
    labels = flow.of(source)
    read = torch.zeros(ins, dtype=torch.int64)
    if labels is not None:
        read = flow.along(labels, [axis]).reshape(-1).expand(ins)
    if 1 < groups == ins and outs % groups == 0:
        # Depthwise: a channel and the filters that read it go together.
        made = read.repeat_interleave(outs // groups)
        flow.record(op, weight, 0, read if transposed else made, produces=True)
    else:
        made = flow.fresh(outs)
        inside = read.reshape(groups, -1)
        filters = made.reshape(groups, -1)
        # Each conv group keeps as many channels as the others.
        flow.along(inside, [1])
        flow.along(filters, [1])
        flow.record(op, weight, 0, read if transposed else made, produces=not transposed)
        flow.record(op, weight, 1, filters[0] if transposed else inside[0], produces=transposed)
    flow.record(op, op.value("bias"), 0, made, produces=True)
    shape = [1] * len(op.output.shape)
    shape[axis] = outs
    flow.put(op.output, made.reshape(shape))


def linear(flow: LabelFlow, op: Operation) -> None:
    """X W^T + b: reads the last axis, makes a new one."""
    source, weight = op.value("input"), op.value("weight")
    if source is None or weight is None:
        opaque(flow, op)
        return
    _product(flow, op, source, weight, op.value("bias"), rows=0)


def matrix_product(flow: LabelFlow, op: Operation) -> None:
    """matmul, mm, bmm, addmm, ...: a linear layer if the second matrix is a parameter."""
    tensors = list(op.inputs)
    bias = tensors.pop(0) if op.kind in ("addmm", "baddbmm") else None
    a, b = tensors[0], tensors[-1]
    constants = flow.program.constants
    if b in constants and a not in constants and len(b.shape) == 2:
        plain = bias is None or (bias in constants and len(bias.shape) == 1)
        if plain:
            _product(flow, op, a, b, bias, rows=1)
            return
    if bias is not None and flow.of(bias) is not None:
        opaque(flow, op)
        return
    batched_product(flow, op, a, b)


def _product(
    flow: LabelFlow, op: Operation, source: Value, weight: Value, bias: Value | None, rows: int
) -> None:
    if len(weight.shape) != 2:
        opaque(flow, op)
        return
    last = len(source.shape) - 1
    labels = flow.of(source)
    if labels is not None:
        read = flow.along(labels, [last]).reshape(-1)
        flow.record(op, weight, 1 - rows, read, produces=False)
    made = flow.fresh(weight.shape[rows])
    flow.record(op, weight, rows, made, produces=True)
    flow.record(op, bias, 0, made, produces=True)
    flow.put(op.output, made.reshape([1] * (len(op.output.shape) - 1) + [-1]))


def channel_norm(flow: LabelFlow, op: Operation) -> None:
    """Batch and instance norm, PReLU: one set of numbers for each channel of axis 1."""
    source = source_of(op)
    labels = None if source is None else flow.of(source)
    if source is None or labels is None or len(source.shape) < 2:
        return
    labels = flow.along(labels, [1])
    for value in op.inputs[1:]:
        if value.shape == (source.shape[1],) and source.shape[1] > 1:
            flow.record(op, value, 0, labels, produces=True)
    flow.put(op.output, labels)


def group_norm(flow: LabelFlow, op: Operation) -> None:
    """Each group of channels keeps as many as the others, as its mean is over them."""
    source = source_of(op)
    labels = None if source is None else flow.of(source)
    if source is None or labels is None:
        return
    groups = int(str(op.arguments.get("num_groups", op.arguments.get("group", 1))))
    labels = flow.along(labels, [1])
    if labels.shape[1] > 1:
        flow.along(labels.reshape(groups, -1), [1])
    for value in op.inputs[1:]:
        flow.record(op, value, 0, labels, produces=True)
    flow.put(op.output, labels)


def layer_norm(flow: LabelFlow, op: Operation) -> None:
    """Layer and RMS norm over the last axes: over the channels that are left."""
    source = source_of(op)
    labels = None if source is None else flow.of(source)
    if source is None or labels is None:
        return
    rank = len(source.shape)
    axes = range(rank - len(integers(op.arguments.get("normalized_shape"))), rank)
    for axis in axes:
        if labels.shape[axis] > 1:
            lead = flow.along(labels, [axis])
            for value in op.inputs[1:]:
                flow.record(op, value, axis - axes.start, lead, produces=True)
    flow.put(op.output, labels)


def embedding(flow: LabelFlow, op: Operation) -> None:
    """A table: each of its columns is a channel."""
    weight = op.value("weight")
    if weight is None or len(weight.shape) != 2:
        opaque(flow, op)
        return
    made = flow.fresh(weight.shape[1])
    flow.record(op, weight, 1, made, produces=True)
    flow.put(op.output, made.reshape([1] * (len(op.output.shape) - 1) + [-1]))


def recurrent(flow: LabelFlow, op: Operation) -> None:
    """LSTM, GRU, RNN: one hidden width for all layers and directions, a unit in each gate."""
    gates = _GATES[op.kind]
    source, params = op.value("input"), list(values_in(op.arguments.get("params")))
    layers = int(str(op.arguments.get("num_layers", 1)))
    ways = 2 if op.arguments.get("bidirectional") else 1
    each = 4 if op.arguments.get("has_biases") else 2
    if source is None or len(params) != layers * ways * each:
        opaque(flow, op)
        return
    hidden = params[0].shape[0] // gates
    made = flow.fresh(hidden)
    for start in op.inputs[1:]:
        if start not in params and flow.labels.get(start) is not None:
            flow.tie(made.reshape([1] * (len(start.shape) - 1) + [-1]), flow.labels[start])
    last = len(source.shape) - 1
    labels = flow.of(source)
    read = torch.zeros(source.shape[last], dtype=torch.int64)
    if labels is not None:
        read = flow.along(labels, [last]).reshape(-1).expand(source.shape[last])
    rows, both = made.repeat(gates), made.repeat(ways)
    for layer in range(layers):
        for way in range(ways):
            own = params[(layer * ways + way) * each :][:each]
            flow.record(op, own[0], 1, read if layer == 0 else both, produces=False)
            flow.record(op, own[1], 1, made, produces=False)
            for value in own:
                flow.record(op, value, 0, rows, produces=True)
    for i, value in enumerate(op.outputs):
        width = both if i == 0 else made
        flow.put(value, width.reshape([1] * (len(value.shape) - 1) + [-1]))
