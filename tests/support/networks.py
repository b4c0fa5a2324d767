"""A small network, described by hand."""

from __future__ import annotations

from hardware import ChannelGroup, Layer, Network


def conv(name, source, i, o, size=8, k=3, op="conv", groups=1, **kw):
    return Layer(
        name, op, (source,), (i, size, size), (o, size, size), (k, k), (1, 1), (k // 2, k // 2),
        groups, module=name, **kw,
    )  # fmt: skip


def residual_net() -> Network:
    layers = [
        conv("stem", "input", 3, 16),
        Layer("relu", "activation", ("stem",), (16, 8, 8), (16, 8, 8)),
        conv("a", "relu", 16, 24),
        conv("dw", "a", 24, 24, op="depthwise", groups=24),
        conv("b", "dw", 24, 16, k=1),
        Layer("sum", "add", ("relu", "b"), (16, 8, 8), (16, 8, 8)),
        Layer("pool", "global_pool", ("sum",), (16, 8, 8), (16, 1, 1)),
        Layer("flat", "reshape", ("pool",), (16, 1, 1), (16,)),
        Layer("fc", "linear", ("flat",), (16,), (10,), module="fc"),
    ]
    groups = [
        ChannelGroup("stem", ("stem", "b"), 16),
        ChannelGroup("a", ("a", "dw"), 24),
        ChannelGroup("fc", ("fc",), 10, prunable=False, reason="network output"),
    ]
    return Network(layers, groups, name="residual", metadata={"task": "m:f"})
