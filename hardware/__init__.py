"""What a candidate network costs on a device: flash, RAM, latency, energy."""

from .costs import (
    CostFunction,
    Costs,
    Flash,
    cost_function,
    estimate,
    flash,
    layer_costs,
    layer_flash,
)
from .device import Device, Stack, list_devices, load_device
from .layer import ChannelGroup, Layer
from .network import Network

__all__ = [
    "ChannelGroup",
    "CostFunction",
    "Costs",
    "Device",
    "Flash",
    "Layer",
    "Network",
    "Stack",
    "cost_function",
    "estimate",
    "flash",
    "layer_costs",
    "layer_flash",
    "list_devices",
    "load_device",
]
