"""What a candidate network costs on a device: flash, RAM, latency, energy."""

from hardware.calibration.prediction_intervals import Interval, intervals
from hardware.cost_function import CostFunction, cost_function, device_of
from hardware.costs import (
    Costs,
    Flash,
    duty_cycle_energy_mj,
    estimate,
    flash,
    layer_costs,
    layer_flash,
    tops_per_watt,
)
from hardware.device import Device, list_devices, load_device
from hardware.ir.layer import ChannelGroup, Layer
from hardware.ir.network import Network
from hardware.moved import install
from hardware.runtime import Runtime

__all__ = [
    "ChannelGroup",
    "CostFunction",
    "Costs",
    "Device",
    "Flash",
    "Interval",
    "Layer",
    "Network",
    "Runtime",
    "Stack",
    "cost_function",
    "device_of",
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

install()

Stack = Runtime
