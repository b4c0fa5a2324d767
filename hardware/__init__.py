"""What a candidate network costs on a device: flash, RAM, latency, energy."""

from .layer import ChannelGroup, Layer
from .network import Network

__all__ = ["ChannelGroup", "Layer", "Network"]
