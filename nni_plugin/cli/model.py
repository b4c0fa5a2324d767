"""``joint-ga space`` and ``profile``: a model before the search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nni_plugin.protocol.metrics import UID
from nni_plugin.setup.space_files import network_file, write_space
from nni_plugin.study.journal import read_chromosome

if TYPE_CHECKING:
    from evaluators.compression.dead_channels import DeadChannels
    from hardware import Device, Layer, Network

__all__ = ["add_commands"]

TaskName = Annotated[
    str, typer.Option("--task", help="MODULE:FUNCTION that returns an evaluators.Task.")
]
DeviceName = Annotated[str, typer.Option("--device", help="A shipped device or a YAML file.")]
Data = Annotated[str | None, typer.Option(help="Handed to the task's function.")]


def space(
    task: TaskName,
    device: DeviceName,
    output: Annotated[Path, typer.Option("--output", "-o", help="The search space's file.")] = Path(
        "space.json"
    ),
    data: Data = None,
    max_prune: Annotated[float, typer.Option(help="Largest prune ratio on offer.")] = 0.875,
    weight_bits: Annotated[
        str | None, typer.Option(help="Offer these only, e.g. 2,4,8 (default: the device's).")
    ] = None,
    activation_bits: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    extra: Annotated[
        str | None,
        typer.Option(
            "--with", help="Further genes: some of pruner,scheme,sparsity,rank.", metavar="GENES"
        ),
    ] = None,
    first_last: Annotated[
        int | None, typer.Option(help="Fewest bits of the first and the last layer, e.g. 8.")
    ] = None,
    channel_multiple: Annotated[
        int, typer.Option(help="Keep channel counts at multiples of it, e.g. 4 or 8.")
    ] = 1,
    remove_dead: Annotated[
        bool, typer.Option(help="Take out channels with all-zero weights before the search.")
    ] = False,
) -> None:
    """Write the NNI search space of a model, and its description (.network.json) beside it."""
    import hardware
    from evaluators import load_task

    board = hardware.load_device(device)
    if remove_dead and "remove_dead=" not in task:
        task += ("&" if "?" in task else "?") + "remove_dead=1"
    built = load_task(task, data)
    options = {
        "max_prune": max_prune,
        "weight_bits": _bits(weight_bits, "--weight-bits"),
        "activation_bits": _bits(activation_bits, "--activation-bits"),
        "first_last": first_last,
        "extra": [name.strip() for name in (extra or "").split(",") if name.strip()],
    }
    network, genes = write_space(built, task, board, output, options, channel_multiple)
    prunable = sum(group.prunable for group in network.groups)
    print(
        f"{output}: {genes} genes ({len(network.layers)} layers, {prunable} prunable channel "
        f"groups); {network_file(output)} describes the network"
    )
    if remove_dead:
        print(f"the trial command's --task must be {task!r}, dead channels are gone there too")
    else:
        from evaluators.compression.dead_channels import find

        if (dead := find(built, network)).count:
            print(f"{_dead_text(dead)}; --remove-dead takes them out before the search")


def _dead_text(dead: DeadChannels) -> str:
    return (
        f"{dead.count} channels have all-zero weights, without them {dead.macs_left:,} of "
        f"{dead.macs:,} MACs are left"
    )


def _bits(text: str | None, option: str) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{option} {text!r}: write whole numbers like 2,4,8") from error


def profile(
    device: DeviceName,
    task: Annotated[str | None, typer.Option(help="MODULE:FUNCTION; or give --network.")] = None,
    network: Annotated[Path | None, typer.Option(help="A .network.json file: no torch.")] = None,
    params: Annotated[Path | None, typer.Option(help="A chromosome (JSON) to apply.")] = None,
    data: Data = None,
    period_ms: Annotated[
        float | None, typer.Option(help="One inference in so many ms, and sleep in between.")
    ] = None,
    sleep_mw: Annotated[
        float | None, typer.Option(help="Power in between (default: the device's).")
    ] = None,
) -> None:
    """Show what each layer costs on a device: MACs, bytes, RAM, ms, mJ, and the channel groups.

    Below the table: the total, with the range that nine of ten measured latencies and energies lie
    in, tera-operations per joule, and with a task the channels whose weights are all zero.
    """
    import hardware
    from nni_plugin.cli.tables import dict_table, make_console, number

    if (task is None) == (network is None):
        raise typer.BadParameter("give one of --task and --network")
    board = hardware.load_device(device)
    if network is not None:
        described = hardware.Network.load(network)
        dead = None
    else:
        from evaluators import load_task, trace
        from evaluators.compression.dead_channels import find

        assert task is not None
        built = load_task(task, data)
        described = trace(built)
        dead = find(built, described)
    chromosome = read_chromosome(params) if params else {}
    chromosome.pop(UID, None)
    layers = described.apply(chromosome)
    console = make_console()
    rows = _layer_rows(described, layers, board)
    console.print(dict_table(rows, f"{described.name or task} on {board.name}"))
    total = hardware.estimate(layers, board).as_dict()
    console.print("total: " + ", ".join(f"{k} {number(v)}" for k, v in total.items()))
    for line in _details(layers, board, period_ms, sleep_mw):
        console.print(line)
    if dead is not None and dead.count:
        console.print(f"{_dead_text(dead)}:")
        for name, channels in dead.channels.items():
            console.print(f"  {name}: {len(channels)} of {described.group(name).channels}")
    for metric, limit in (("size_kb", board.flash_kb), ("ram_kb", board.ram_kb)):
        if total[metric] > limit:
            console.print(f"[yellow]{metric} is above the board's {number(limit)}[/]")


def _layer_rows(
    network: Network, layers: Sequence[Layer], board: Device
) -> Iterator[dict[str, object]]:
    """A row of the table for each layer: its costs, shape and bits, and what prunes it."""
    import hardware

    group_of = {name: group for group in network.groups for name in group.layers}
    for layer, costs in zip(layers, hardware.layer_costs(layers, board), strict=True):
        group = group_of.get(layer.name)
        pruned = "" if group is None else f"fixed: {group.reason}"
        yield {
            **costs,
            "out": "x".join(map(str, layer.out_shape)),
            "bits w/a": f"{layer.w_bits}/{layer.a_bits}" if layer.module else "",
            "group": group.name if group is not None and group.prunable else pruned,
        }


def _details(
    layers: tuple[Layer, ...], board: Device, period_ms: float | None, sleep_mw: float | None
) -> Iterator[str]:
    """How far latency and energy can be trusted, efficiency, and the energy of a duty cycle."""
    import hardware

    costs = hardware.estimate(layers, board)
    found = hardware.intervals(layers, board)
    for name in ("latency_ms", "energy_mj"):
        one = found[name]
        known = one.high > one.low
        span = f"{one.low:.4g} to {one.high:.4g}" if known else "error not measured"
        yield f"{name} {one.value:.4g}, {one.status}: {span}"
    if costs.energy_mj:
        yield f"{hardware.tops_per_watt(costs):.4g} TOPS/W at {board.power_mw:g} mW"
    if period_ms is not None:
        asleep = board if sleep_mw is None else replace(board, sleep_mw=sleep_mw)
        energy = hardware.duty_cycle_energy_mj(costs, asleep, period_ms)
        yield (
            f"one inference in {period_ms:g} ms: {energy:.4g} mJ each, "
            f"{1000 * energy / period_ms:.4g} mW on average"
        )


def add_commands(app: typer.Typer) -> None:
    """Adds this module's commands."""
    task = "--task evaluators.tasks.digits:build --device stm32f746"
    app.command(epilog=f"Example:  joint-ga space {task} -o digits.space.json")(space)
    app.command(epilog=f"Example:  joint-ga profile {task}")(profile)
