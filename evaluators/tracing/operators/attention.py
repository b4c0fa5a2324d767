"""Attention as runtimes without a fused kernel run it: two products with a softmax between them."""

from __future__ import annotations

from evaluators.tracing.operators.reading import Reading, Source
from evaluators.tracing.program import Operation
from evaluators.tracing.traced_layer import NO_AXIS


def attention(reading: Reading, operation: Operation) -> None:
    """``scaled_dot_product_attention``: Q K^T, a mask, softmax, and the product with V.

    The scores of all heads, (heads, T, S), lie in memory before and after the softmax, as in the
    ONNX file; the factor is part of the first product's requantization.
    """
    query, key, value = (operation.value(n) for n in ("query", "key", "value"))
    sources = [v for v in (query, key, value) if v is not None and v in reading.sources]
    if query is None or key is None or value is None or query not in sources:
        reading.emit(operation, "opaque", constants=operation.inputs, fallback=True)
        return
    name = reading.function_name(operation)
    shape, places = reading.shaped(reading.sources[query].value)
    length = key.shape[-2]
    scores = ((*shape[:-1], length), (*places[:-1], NO_AXIS))
    made = reading.emit(
        operation, "matmul", name=reading.names.part(name, "scores"), target=query,
        data=[query, *(v for v in (key,) if v in reading.sources)],
        constants=[v for v in (key,) if v in reading.constants], shape_out=scores,
    )  # fmt: skip
    mask = operation.value("attn_mask")
    if mask is not None or operation.arguments.get("is_causal"):
        given = [reading.sources[mask]] if mask in reading.sources and mask is not None else []
        made = reading.emit(
            operation, "add", name=reading.names.part(name, "mask"), target=query, data=(),
            extra=[made, *given], shape_in=scores, shape_out=scores,
            constants=[mask] if mask is not None and not given else [],
            extra_params=query.shape[-2] * length if mask is None else 0,
        )  # fmt: skip
    made = reading.emit(
        operation, "softmax", name=reading.names.part(name, "softmax"), target=query, data=(),
        extra=[made], shape_in=scores, shape_out=scores,
    )  # fmt: skip
    last: list[Source] = [reading.sources[value]] if value in reading.sources else []
    reading.emit(
        operation, "matmul", name=name, data=(), extra=[made, *last], shape_in=scores,
        constants=[value] if value in reading.constants else [],
    )  # fmt: skip
