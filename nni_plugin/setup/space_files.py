"""The search space and the network file that ``joint-ga space`` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nni_plugin.protocol.json_types import Settings

if TYPE_CHECKING:
    from torch import nn

    from evaluators import Task
    from evaluators.tracing.program import Program
    from hardware import Device, Network
    from hardware.ir.restrictions import Restrictions


def network_file(output: Path) -> Path:
    """Where the description of a search space's network lies: beside it."""
    return output.with_suffix(".network.json")


def read_values(path: Path) -> dict[str, list[object]]:
    """The values of each gene in a search space's file.

    Raises:
        ValueError: it is no NNI search space of choices; the gene that isn't one is named.
    """
    try:
        genes = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    if not isinstance(genes, dict) or not genes:
        raise ValueError(f"{path} is no NNI search space: write one with `joint-ga space`")
    found = {}
    for name, gene in genes.items():
        values = gene.get("_value") if isinstance(gene, dict) else None
        if values is None or gene.get("_type") != "choice" or not isinstance(values, list):
            raise ValueError(f"{path}: gene {name!r} is no choice among values: {gene!r}")
        found[name] = values
    return found


def write_space(
    task: Task,
    name: str,
    device: Device,
    output: Path,
    options: Settings,
    channel_multiple: int = 1,
    restrictions: Restrictions | None = None,
    need: Sequence[str] = (),
) -> tuple[Network, int]:
    """Traces the task's model and writes both files; returns the network and the gene count.

    Args:
        task: its model is described. What it says about layers holds.
        name: of the task, for the network file.
        device: says what can be run.
        output: the search space's file.
        options: of ``network_space.for_network``.
        channel_multiple: channel counts are kept at multiples of it.
        restrictions: what is decided about layers beside what the task says.
        need: kinds of files, of `evaluators.export.missing.FILES`, that candidates must have.

    Raises:
        ValueError: no candidate can have a file that is needed; nothing is written.
    """
    from evaluators import trace
    from evaluators.export.missing import FILES, KEY, missing_of
    from hardware.ir.restrictions import Restrictions, restricted
    from nni_plugin.network_space import for_network

    missing: dict[str, str] = {}

    def look(model: nn.Module, program: Program) -> None:
        missing.update(missing_of(model, program, task.example_input))

    check_kinds(need)
    network = trace(task, channel_multiple=channel_multiple, look=look)
    for kind in need:
        if kind in missing:
            raise ValueError(
                f"--need {kind}: no candidate can have {FILES[kind]}: {missing[kind]}; change the "
                "model there, or leave the option out"
            )
    if missing:
        network.metadata[KEY] = missing
    network = restricted(network, restrictions or Restrictions())
    network.metadata.update(
        task=name, metric_name=task.metric_name, metric_mode=task.metric_mode, device=device.id,
        stack=device.stack,
    )  # fmt: skip
    genes = for_network(network, device, **options)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(genes, indent=1) + "\n", encoding="utf-8")
    network.save(network_file(output))
    return network, len(genes)


def check_kinds(need: Sequence[str]) -> None:
    """Raises a `ValueError` for a kind of file that there isn't."""
    from evaluators.export.missing import FILES

    for kind in need:
        if kind not in FILES:
            raise ValueError(f"--need {kind!r}: write one of {', '.join(FILES)}")


def missing_lines(metadata: Mapping[str, object]) -> list[str]:
    """What a network file says of files that no candidate will have: a line for each reason."""
    from evaluators.export.missing import KEY, told

    missing = metadata.get(KEY)
    if not isinstance(missing, Mapping):
        return []
    return [f"not exported: {line}" for line in told(missing)]
