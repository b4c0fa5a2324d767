"""``joint-ga space`` and ``profile``: a model before the search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nni_plugin.cli.layer_options import Bits, Keep, Ratios, restrictions
from nni_plugin.protocol.metrics import UID
from nni_plugin.setup.space_files import check_kinds, network_file, write_space
from nni_plugin.study.journal import read_chromosome
from nni_plugin.user_paths import check_writable_file, existing_file

if TYPE_CHECKING:
    from hardware import Device, Layer, Network

__all__ = ["add_commands"]

_NAMED = 8
"""Layers that are listed by name."""

TaskName = Annotated[
    str, typer.Option("--task", help="MODULE:FUNCTION that returns an evaluators.Task.")
]
DeviceName = Annotated[str, typer.Option("--device", help="A shipped device or a YAML file.")]
Data = Annotated[str | None, typer.Option(help="Handed to the task's function.")]
StackName = Annotated[
    str | None,
    typer.Option("--stack", help="Software that costs are of (default: joint-ga-c, our C)."),
]


# Long: an option each, with its help.
def space(
    task: TaskName,
    device: DeviceName,
    output: Annotated[Path, typer.Option("--output", "-o", help="The search space's file.")] = Path(
        "space.json"
    ),
    data: Data = None,
    stack: StackName = None,
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
    keep: Keep = None,
    bits: Bits = None,
    ratios: Ratios = None,
    channel_multiple: Annotated[
        int, typer.Option(help="Keep channel counts at multiples of it, e.g. 4 or 8.")
    ] = 1,
    remove_dead: Annotated[
        bool, typer.Option(help="Take out channels with all-zero weights before the search.")
    ] = False,
    need: Annotated[
        list[str] | None,
        typer.Option(help="An error if no candidate can be exported so: onnx, c or tflite."),
    ] = None,
) -> None:
    """Write the NNI search space of a model, and its description (.network.json) beside it."""
    import hardware
    from evaluators import load_task
    from evaluators.export import litert
    from evaluators.export.missing import KEY, told

    board = hardware.load_device(device, stack)
    for file in (output, network_file(output)):
        check_writable_file(file, "--output")
    if remove_dead and "remove_dead=" not in task:
        task += ("&" if "?" in task else "?") + "remove_dead=1"
    check_kinds(need or ())
    if "tflite" in (need or ()) and not litert.is_available():
        raise ValueError(f"--need tflite: {litert.NOT_INSTALLED}")
    built = load_task(task, data)
    options = {
        "max_prune": max_prune,
        "weight_bits": _bits(weight_bits, "--weight-bits"),
        "activation_bits": _bits(activation_bits, "--activation-bits"),
        "first_last": first_last,
        "extra": [name.strip() for name in (extra or "").split(",") if name.strip()],
    }
    decided = restrictions(keep, bits, ratios)
    network, genes = write_space(
        built, task, board, output, options, channel_multiple, decided, need or ()
    )
    prunable = sum(group.prunable for group in network.groups)
    print(
        f"{output}: {genes} genes ({len(network.layers)} layers, {prunable} prunable channel "
        f"groups); {network_file(output)} describes the network"
    )
    missing = dict(network.metadata.get(KEY, {}))
    if not litert.is_available():
        missing.setdefault("tflite", litert.NOT_INSTALLED)
    for line in (*_whole(network), *(f"  not exported: {line}" for line in told(missing))):
        print(line)
    if remove_dead:
        print(f"the trial command's --task must be {task!r}, dead channels are gone there too")
    else:
        from evaluators.compression.dead_channels import find

        if (dead := find(built, network)).count:
            print(f"{dead.summary}; --remove-dead takes them out before the search")


def _whole(network: Network) -> Iterator[str]:
    """What can't be pruned and why: a line for each reason."""
    layers: dict[str, list[str]] = {}
    for group in network.groups:
        if not group.prunable:
            layers.setdefault(group.reason, []).extend(group.layers)
    for reason, names in layers.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"  stay whole: {', '.join(names[:_NAMED])}{more}: {reason}"


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
    stack: StackName = None,
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
    from hardware.stacks import in_words
    from nni_plugin.cli.tables import dict_table, make_console, number

    if (task is None) == (network is None):
        raise typer.BadParameter("give one of --task and --network")
    board = hardware.load_device(device, stack)
    chromosome = read_chromosome(existing_file(params, "--params", (".json",))) if params else {}
    if network is not None:
        described = hardware.Network.load(existing_file(network, "--network", (".json",)))
        dead = None
    else:
        from evaluators import load_task, trace
        from evaluators.compression.dead_channels import find

        assert task is not None
        built = load_task(task, data)
        described = trace(built)
        dead = find(built, described)
    chromosome.pop(UID, None)
    board = hardware.device_of(described, board)
    layers = described.apply(chromosome)
    console = make_console()
    rows = _layer_rows(described, layers, board)
    console.print(dict_table(rows, f"{described.name or task} on {board.name}"))
    total = hardware.estimate(layers, board).as_dict()
    console.print(f"latency, energy, RAM and flash are of {in_words(board.stack)}")
    console.print("total: " + ", ".join(f"{k} {number(v)}" for k, v in total.items()))
    for line in _details(layers, board, period_ms, sleep_mw):
        console.print(line)
    if dead is not None and dead.count:
        console.print(f"{dead.summary}:")
        for name, channels in dead.channels.items():
            console.print(f"  {name}: {len(channels)} of {described.group(name).channels}")
    flash = "flash_kb" if "flash_kb" in total else "size_kb"
    for metric, limit in ((flash, board.flash_kb), ("ram_kb", board.ram_kb)):
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
