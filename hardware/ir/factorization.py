"""A layer in two: a matrix of low rank as the product of two thin ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hardware.ir.layer import Layer


def full_rank(layer: Layer) -> int:
    """Return the full rank of a layer's matrix; 0 for one that is not a plain matrix product."""
    pointwise = layer.op == "conv" and layer.groups == 1 and all(k == 1 for k in layer.kernel)
    if not pointwise and layer.op != "linear":
        return 0
    return min(layer.in_channels, layer.out_channels)


def factorized(layers: Sequence[Layer], ranks: Mapping[str, int]) -> tuple[Layer, ...]:
    """Return the layers with each named one split into `<name>.0` and `<name>.1`.

    The first has no bias, and the stride and padding of a convolution: fewer positions are left
    for the second. Bits and schemes are the same in both.

    Args:
        layers: in execution order.
        ranks: channels between the two halves, by name.
    """
    renamed: dict[str, str] = {}
    out: list[Layer] = []
    for layer in layers:
        inputs = tuple(renamed.get(i, i) for i in layer.inputs)
        rank = ranks.get(layer.name)
        if rank is None:
            out.append(layer if inputs == layer.inputs else changed(layer, inputs=inputs))
            continue
        first, second = f"{layer.name}.0", f"{layer.name}.1"
        if layer.op == "linear":
            between = (*layer.out_shape[:-1], rank)
        else:
            between = (rank, *layer.out_shape[1:])
        dims = len(layer.kernel)
        module = layer.module or layer.name
        out.append(
            changed(
                layer, name=first, inputs=inputs, out_shape=between, bias=False,
                module=f"{module}.0",
            )
        )  # fmt: skip
        out.append(
            changed(
                layer, name=second, inputs=(first,), in_shape=between, stride=(1,) * dims,
                padding=(0,) * dims, module=f"{module}.1",
            )
        )  # fmt: skip
        renamed[layer.name] = second
    return tuple(out)


def changed(layer: Layer, **fields: object) -> Layer:
    """Copy a layer without checking its fields again, which were checked: a GA does this a lot."""
    new = object.__new__(Layer)
    new.__dict__.update(layer.__dict__, **fields)
    return new
