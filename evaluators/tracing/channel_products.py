"""How channels pass through products of two activations: attention, matmul, einsum."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from evaluators.tracing.channel_labels import LabelFlow, Labels, varying
from evaluators.tracing.channel_rules import merged, opaque
from evaluators.tracing.program import Operation, Value, values_in


def contraction(
    flow: LabelFlow, op: Operation, operands: Sequence[tuple[Labels, Value, str]], result: str
) -> None:
    """A product of activations, summed over the letters that the result lacks.

    Args:
        flow: takes ties, and the labels of the result.
        op: the operation.
        operands: labels, value and one letter for each axis.
        result: letters of the output's axes.
    """
    summed = set("".join(letters for _, _, letters in operands)) - set(result)
    aligned: list[torch.Tensor] = []
    for labels, value, letters in operands:
        if labels is None or value in flow.derived:
            continue
        others = [(v, names) for own, v, names in operands if own is None or v in flow.derived]
        wide = {x for v, names in others for n, x in zip(v.shape, names, strict=True) if n > 1}
        axes = [d for d, x in enumerate(letters) if x in wide]
        flow.keep_whole(labels, axes, f"'{op.name}' multiplies it by what can't be cut")
        # Channels that are summed over, as an attention head's, go together.
        kept = flow.along(labels, [d for d, x in enumerate(letters) if x not in summed])
        aligned.append(_aligned(kept, letters, result))
    if not aligned:
        return
    for labels in aligned[1:]:
        flow.tie(aligned[0], labels)
    flow.put(op.output, merged(aligned))


def _aligned(labels: torch.Tensor, letters: str, result: str) -> torch.Tensor:
    """Labels with one dimension for each letter of the result."""
    kept = "".join(x for x in letters if x in result)
    labels = labels.reshape([n for n, x in zip(labels.shape, letters, strict=True) if x in result])
    labels = labels.permute([kept.index(x) for x in result if x in kept])
    sizes = dict(zip([x for x in result if x in kept], labels.shape, strict=True))
    return labels.reshape([sizes.get(x, 1) for x in result])


def attention(flow: LabelFlow, op: Operation) -> None:
    """scaled_dot_product_attention: the channels of a head go together."""
    query, key, value = op.value("query"), op.value("key"), op.value("value")
    if query is None or key is None or value is None or len(query.shape) > 12:
        opaque(flow, op)
        return
    batch = "ABCDEFGHIJ"[: len(query.shape) - 2]
    operands = []
    for tensor, letters in ((query, "nd"), (key, "md"), (value, "me")):
        labels = flow.of(tensor)
        if labels is not None and op.arguments.get("enable_gqa") and labels.dim() > 2:
            # Several heads of the query share one of the keys and values.
            heads = labels.shape[-3]
            times = query.shape[-3] // tensor.shape[-3]
            labels = labels if heads == 1 else labels.repeat_interleave(times, -3)
        operands.append((labels, _widened(tensor, query), batch + letters))
    contraction(flow, op, operands, batch + "ne")
    mask, out = op.value("attn_mask"), flow.labels.get(op.output)
    bias = None if mask is None else flow.of(mask)
    if mask is not None and bias is not None and out is not None:
        shape = (1,) * (out.dim() - bias.dim())
        wide = [d for d in varying(out) if d < out.dim() - 2 and (*shape, *mask.shape)[d] > 1]
        if wide:
            flow.tie(flow.along(bias.reshape(*shape, *bias.shape), wide), out)


def _widened(tensor: Value, query: Value) -> Value:
    if len(tensor.shape) < 3 or tensor.shape[-3] == query.shape[-3]:
        return tensor
    shape = (*tensor.shape[:-3], query.shape[-3], *tensor.shape[-2:])
    return Value(tensor.name, shape, tensor.dtype)


def einsum(flow: LabelFlow, op: Operation) -> None:
    """Any equation without an ellipsis and without a letter twice in one operand."""
    equation = str(op.arguments.get("equation", "")).replace(" ", "")
    left, arrow, result = equation.partition("->")
    names = left.split(",")
    tensors = list(values_in(op.arguments.get("tensors")))
    if not arrow or "." in equation or any(len(set(n)) < len(n) for n in [*names, result]):
        opaque(flow, op)
        return
    operands = [(flow.of(t), t, n) for t, n in zip(tensors, names, strict=True)]
    contraction(flow, op, operands, result)


def batched_product(flow: LabelFlow, op: Operation, a: Value, b: Value) -> None:
    """Matmul of two activations, batch axes broadcast."""
    rank = max(len(a.shape), len(b.shape))
    if min(len(a.shape), len(b.shape)) < 2 or rank > 12:
        opaque(flow, op)
        return
    batch = "ABCDEFGHIJ"[: rank - 2]
    names = [(batch + "nk")[-len(a.shape) :], (batch + "km")[-len(b.shape) :]]
    operands = [(flow.of(t), t, n) for t, n in zip((a, b), names, strict=True)]
    contraction(flow, op, operands, batch + "nm")
