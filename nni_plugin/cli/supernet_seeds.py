"""``joint-ga supernet-seeds``: starting points for a search, found by gradients in a supernet."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nni_plugin.cli.model import Data, TaskName
from nni_plugin.protocol.metrics import COSTS
from nni_plugin.protocol.suggestions import did_you_mean
from nni_plugin.user_paths import check_writable_file, existing_file

if TYPE_CHECKING:
    from evaluators.supernet.gradient import Progress

__all__ = ["add_commands"]


# Long: an option each, with its help.
def supernet_seeds(
    supernet: Annotated[Path, typer.Argument(help="The supernet's file.", show_default=False)],
    task: TaskName,
    device: Annotated[str, typer.Option(help="Whose costs count.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The points, as `initial` takes them.")
    ] = Path("seeds.json"),
    data: Data = None,
    network: Annotated[
        Path | None, typer.Option(help="The search's .network.json (default: the model is traced).")
    ] = None,
    points: Annotated[int, typer.Option(help="Prices of costs, from low to high.")] = 10,
    epochs: Annotated[int, typer.Option(help="Passes over the training data for each.")] = 2,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    cost: Annotated[
        list[str] | None,
        typer.Option(help="A metric to be saved; may be repeated (default: size_kb, latency_ms)."),
    ] = None,
) -> None:
    """Find starting points for a search: the widths and bits that a supernet prefers by gradients.

    A config names the file under `initial`; with `strategy: gradient` these points and their
    neighbours are the whole search.
    """
    import hardware
    from evaluators import load_task, trace
    from evaluators.supernet.gradient import Settings, starting_points
    from evaluators.supernet.weights import Supernet

    existing_file(supernet, "SUPERNET", (".pt",))
    check_writable_file(output, "--output")
    for name in cost or ():
        if name not in COSTS:
            raise ValueError(
                f"--cost {name!r} is no cost{did_you_mean(name, COSTS)} (they are: "
                f"{', '.join(COSTS)})"
            )
    settings = Settings(points=points, epochs=epochs, seed=seed)
    if cost:
        settings = replace(settings, costs=tuple(cost))
    board = hardware.load_device(device)
    net = None
    if network is not None:
        net = hardware.Network.load(existing_file(network, "--network", (".json",)))
    found = Supernet.load(supernet)
    built = load_task(task, data)
    costs = hardware.cost_function(trace(built) if net is None else net, board)
    started = time.process_time()
    params = starting_points(found, built, costs, settings, report=_say)
    output.write_text(json.dumps(params, indent=1) + "\n", encoding="utf-8")
    print(
        f"{output}: {len(params)} different networks, {time.process_time() - started:.0f} s of "
        f"CPU\nto begin with them, write  initial: {output}  under the tuner's classArgs"
    )


def _say(now: Progress) -> None:
    print(
        f"price {now.point} of {now.points}: {now.share:.0%} of the costs, loss {now.loss:.4f}",
        flush=True,
    )


def add_commands(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        epilog="Example:  joint-ga supernet-seeds digits.supernet.pt "
        "--task evaluators.tasks.digits:build --device stm32f746 -o digits.seeds.json"
    )(supernet_seeds)
