"""Layers and channel groups by name, after they were seen to fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hardware.ir.layer import ChannelGroup, Layer, is_input_name
from hardware.ir.shape_inference import check_cuts


def index_layers(layers: Sequence[Layer]) -> dict[str, Layer]:
    """Layers by name.

    Raises:
        ValueError: a name twice, or a layer before its producers.
    """
    index: dict[str, Layer] = {}
    for layer in layers:
        if layer.name in index or is_input_name(layer.name):
            raise ValueError(f"layer name {layer.name!r} is used twice or is a reserved name")
        for source in layer.inputs:
            if source not in index and not is_input_name(source):
                raise ValueError(
                    f"layer {layer.name!r}: input {source!r} is produced by no layer before it"
                )
        index[layer.name] = layer
    return index


def index_groups(
    groups: Sequence[ChannelGroup], layers: Mapping[str, Layer]
) -> dict[str, ChannelGroup]:
    """Channel groups by name.

    Raises:
        ValueError: a member that holds no such channels, or that two groups claim.
    """
    index: dict[str, ChannelGroup] = {}
    member_of: dict[str, str] = {}
    for group in groups:
        for member in group.layers:
            layer = layers.get(member)
            if layer is None or not layer.is_weighted:
                raise ValueError(
                    f"channel group {group.name!r}: {member!r} is no layer with weights"
                )
            if group.prunable and layer.out_channels != group.channels and not layer.cuts:
                raise ValueError(
                    f"channel group {group.name!r} has {group.channels} channels, its layer "
                    f"{member!r} has {layer.out_channels}"
                )
            if member in member_of:
                raise ValueError(
                    f"layer {member!r} is in two channel groups, {member_of[member]!r} and "
                    f"{group.name!r}"
                )
            member_of[member] = group.name
        index[group.name] = group
    check_cuts(tuple(layers.values()), index)
    return index
