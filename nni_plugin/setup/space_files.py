"""The search space and the network file that ``joint-ga space`` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from nni_plugin.protocol.json_types import Settings

if TYPE_CHECKING:
    from evaluators import Task
    from hardware import Device, Network


def network_file(output: Path) -> Path:
    """Where the description of a search space's network lies: beside it."""
    return output.with_suffix(".network.json")


def write_space(
    task: Task,
    name: str,
    device: Device,
    output: Path,
    options: Settings,
    channel_multiple: int = 1,
) -> tuple[Network, int]:
    """Traces the task's model and writes both files; returns the network and the gene count."""
    from evaluators import trace
    from nni_plugin.network_space import for_network

    network = trace(task, channel_multiple=channel_multiple)
    network.metadata.update(
        task=name, metric_name=task.metric_name, metric_mode=task.metric_mode, device=device.id
    )
    genes = for_network(network, device, **options)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(genes, indent=1) + "\n", encoding="utf-8")
    network.save(network_file(output))
    return network, len(genes)
