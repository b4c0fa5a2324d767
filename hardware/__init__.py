"""What a candidate network costs on a device: flash, RAM, latency, energy."""

from .cost_function import CostFunction, cost_function
from .costs import (
    Costs,
    Flash,
    duty_cycle_energy_mj,
    estimate,
    flash,
    layer_costs,
    layer_flash,
    tops_per_watt,
)
from .device import Device, list_devices, load_device
from .intervals import Interval, intervals
from .layer import ChannelGroup, Layer
from .network import Network
from .stack import Stack

__all__ = [
    "ChannelGroup",
    "CostFunction",
    "Costs",
    "Device",
    "Flash",
    "Interval",
    "Layer",
    "Network",
    "Stack",
    "cost_function",
    "duty_cycle_energy_mj",
    "estimate",
    "flash",
    "intervals",
    "layer_costs",
    "layer_flash",
    "list_devices",
    "load_device",
    "tops_per_watt",
]
