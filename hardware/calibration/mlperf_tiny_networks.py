"""The four MLPerf Tiny reference networks, layer by layer, in TensorFlow Lite's order.

Topologies of mlcommons/tiny (`benchmark/training`), batch-norm folded and ReLU fused; SAME
padding is TensorFlow's, so asymmetric at stride 2. They are what published latencies were
measured on, and the checks of the cost models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hardware.ir.layer import ChannelGroup, Layer, Shape
from hardware.ir.network import Network

# Output channels of the pointwise layers of the trained reference model (mlcommons/tiny,
# vww_96.h5) whose weights are all below 1e-6, so zero in int8.
_VWW_DEAD = {
    "pw4": 4, "pw5": 21, "pw6": 71, "pw7": 98, "pw8": 109, "pw9": 109, "pw10": 101, "pw11": 224,
    "pw12": 234,
}  # fmt: skip


def _same(size: int, kernel: int, stride: int) -> tuple[int, int, int]:
    """Output size and padding before and after, as TensorFlow's SAME."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return out, total // 2, total - total // 2


class _Builder:
    """Appends layers to a list, each fed by the one before unless told otherwise."""

    def __init__(self, shape: Shape) -> None:
        self.layers: list[Layer] = []
        self.shapes: dict[str, Shape] = {"input": shape}
        self.last = "input"

    def add(self, layer: Layer) -> str:
        self.layers.append(layer)
        self.shapes[layer.name] = layer.out_shape
        self.last = layer.name
        return layer.name

    def conv(
        self,
        name: str,
        channels: int,
        kernel: tuple[int, int],
        stride: int = 1,
        source: str = "",
        depthwise: bool = False,
    ) -> str:
        source = source or self.last
        c, h, w = self.shapes[source]
        (oh, top, bottom), (ow, left, right) = (
            _same(size, k, stride) for size, k in zip((h, w), kernel, strict=True)
        )
        return self.add(
            Layer(
                name,
                "depthwise" if depthwise else "conv",
                (source,),
                (c, h, w),
                (channels, oh, ow),
                kernel,
                (stride, stride),
                (top, bottom, left, right),
                groups=c if depthwise else 1,
                module=name,
            )
        )

    def linear(self, name: str, features: int) -> str:
        source = self.last
        shape = self.shapes[source]
        return self.add(Layer(name, "linear", (source,), shape, (features,), module=name))

    def op(self, name: str, op: str, shape: Shape, *sources: str, kernel: Shape = (1, 1)) -> str:
        inputs = sources or (self.last,)
        return self.add(
            Layer(name, op, inputs, self.shapes[inputs[0]], shape, kernel, kernel, bias=False)
        )

    def head(self, features: int, pool: tuple[int, int]) -> None:
        channels = self.shapes[self.last][0]
        self.op("pool", "pool", (channels, 1, 1), kernel=pool)
        self.op("flatten", "reshape", (channels,))
        self.linear("fc", features)
        self.op("softmax", "softmax", (features,))


def _output_group(name: str, channels: int) -> ChannelGroup:
    return ChannelGroup(name, (name,), channels, prunable=False, reason="it is the output")


def resnet8() -> Network:
    """Image classification (`ic`): ResNet-8 on 32 x 32 RGB images, 12.5 M MACs."""
    b = _Builder((3, 32, 32))
    b.conv("stem", 16, (3, 3))
    groups = []
    for i, (channels, stride) in enumerate(((16, 1), (32, 2), (64, 2)), start=1):
        source = b.last
        b.conv(f"b{i}a", channels, (3, 3), stride, source)
        main = b.conv(f"b{i}b", channels, (3, 3))
        short = source
        if stride != 1:
            short = b.conv(f"s{i}", channels, (1, 1), stride, source)
        b.op(f"add{i}", "add", b.shapes[main], short, main)
        tied = ("stem", "b1b") if i == 1 else (f"b{i}b", f"s{i}")
        groups += [ChannelGroup(f"b{i}a", (f"b{i}a",), channels), _tied(tied, channels)]
    b.head(10, (8, 8))
    return Network(b.layers, [*groups, _output_group("fc", 10)], name="ic")


def _tied(layers: tuple[str, ...], channels: int) -> ChannelGroup:
    return ChannelGroup(layers[0], layers, channels)


def _separable(b: _Builder, blocks: list[tuple[int, int]], groups: list[ChannelGroup]) -> None:
    """Depthwise and pointwise convolutions; each pointwise one is tied to the next depthwise."""
    producer = b.last
    for i, (channels, stride) in enumerate(blocks):
        width = b.shapes[b.last][0]
        depthwise = b.conv(f"dw{i}", width, (3, 3), stride, depthwise=True)
        groups.append(ChannelGroup(producer, (producer, depthwise), width))
        producer = b.conv(f"pw{i}", channels, (1, 1))
    groups.append(ChannelGroup(producer, (producer,), b.shapes[producer][0]))


def mobilenet_v1() -> Network:
    """Visual wake words (`vww`): MobileNetV1 0.25 on 96 x 96 RGB images, 7.5 M MACs."""
    b = _Builder((3, 96, 96))
    b.conv("stem", 8, (3, 3), 2)
    groups: list[ChannelGroup] = []
    blocks = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5]
    _separable(b, [*blocks, (256, 2), (256, 1)], groups)
    b.head(2, (3, 3))
    groups.append(_output_group("fc", 2))
    return Network(b.layers, groups, name="vww", metadata={"dead_channels": dict(_VWW_DEAD)})


def ds_cnn() -> Network:
    """Keyword spotting (`kws`): DS-CNN on 49 x 10 MFCC features, 2.7 M MACs."""
    b = _Builder((1, 49, 10))
    b.conv("stem", 64, (10, 4), 2)
    groups: list[ChannelGroup] = []
    _separable(b, [(64, 1)] * 4, groups)
    b.head(12, (24, 5))
    return Network(b.layers, [*groups, _output_group("fc", 12)], name="kws")


def autoencoder() -> Network:
    """Anomaly detection (`ad`): fully-connected autoencoder on 640 features, 0.26 M MACs."""
    b = _Builder((640,))
    widths = [128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
    for i, width in enumerate(widths):
        b.linear(f"fc{i}", width)
    groups = [ChannelGroup(f"fc{i}", (f"fc{i}",), w) for i, w in enumerate(widths[:-1])]
    return Network(b.layers, [*groups, _output_group("fc9", 640)], name="ad")


def live_layers(network: Network) -> tuple[Layer, ...]:
    """Layers of a reference network without the channels that are dead in its trained weights.

    Removing them changes no output; some software stacks do it by themselves
    (`Stack.drops_dead_channels`).
    """
    dead: Mapping[str, int] = network.metadata.get("dead_channels", {})
    sizes = {name: network.group(name).channels for name in dead}
    return network.apply({f"{name}.prune": n / sizes[name] for name, n in dead.items()})


REFERENCE_NETWORKS: Mapping[str, Callable[[], Network]] = {
    "ic": resnet8,
    "vww": mobilenet_v1,
    "kws": ds_cnn,
    "ad": autoencoder,
}
"""Builders by benchmark name."""
