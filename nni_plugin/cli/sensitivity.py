"""``joint-ga sensitivity``: what each gene alone costs, and a first population made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nni_plugin.cli.model import Data, DeviceName, TaskName
from nni_plugin.protocol.json_types import NniSpace, Params
from nni_plugin.setup.space_files import network_file
from nni_plugin.user_paths import check_writable_file, existing_file

if TYPE_CHECKING:
    from hardware import Network

__all__ = ["add_commands"]

Table = Sequence[Mapping[str, Any]]

_SHOWN_DROP = 0.5
# What the same ratio may differ by in a table and in a space.
_ROUNDING = 1e-9


def sensitivity(
    task: TaskName,
    device: DeviceName,
    data: Data = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write this CSV, and a .png beside.")
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(help="A search space's file: seed its first population, see the docs."),
    ] = None,
) -> None:
    """Compress one layer at a time, without fine-tuning, and show what the metric loses."""
    import evaluators
    import hardware
    from nni_plugin.cli.steps import counted, said_at_interrupt
    from nni_plugin.cli.tables import dict_table, make_console

    # Before minutes of measuring, whatever may be wrong with the files.
    board = hardware.load_device(device)
    written = [output, output.with_suffix(".png")] if output is not None else []
    for file in written:
        check_writable_file(file, "--output")
    genes = None if space is None else _read_space(space)
    described = None if space is None else hardware.Network.load(network_file(space))
    for file in [] if space is None else [network_file(space), _ladder_file(space)]:
        check_writable_file(file, "--space")
    with said_at_interrupt("sensitivity", "nothing is written"):
        built = evaluators.load_task(task, data)
        network = evaluators.trace(built) if described is None else described
    console = make_console()
    with counted(console, "measuring", "nothing is written") as step:
        table = evaluators.sensitivity(
            built, network=network, device=board, report=lambda _row: step()
        )
    console.print(dict_table(table, f"sensitivity of {built.name}"))
    if output is not None:
        import pandas as pd

        from nni_plugin.results.csv_file import write_csv

        output.parent.mkdir(parents=True, exist_ok=True)
        write_csv(pd.DataFrame(table), output)
        picture = output.with_suffix(".png")
        draw(table, built.metric_name, picture)
        print(f"written: {output}, {picture}")
    if space is not None and genes is not None and described is not None:
        _seed(table, genes, space, described)


def draw(table: Table, metric: str, path: Path) -> None:
    """The table as a picture: a row per layer, a column per gene and value, coloured by the loss.

    Losses beyond half of the metric's scale look alike: such a layer needs training or nothing.
    """
    import numpy as np
    from matplotlib.figure import Figure

    from hardware.ir.gene_kinds import gene_kinds

    layers = list(dict.fromkeys(str(row["layer"]) for row in table))
    kinds = {kind.name: kind for kind in gene_kinds()}
    order = list(kinds)
    columns = sorted(
        {(str(row["gene"]).rpartition(".")[2], float(row["value"])) for row in table},
        # From mild to strong.
        key=lambda column: (
            order.index(column[0]) if column[0] in kinds else len(order),
            column[1] if column[0] in kinds and kinds[column[0]].grows else -column[1],
        ),
    )
    losses = np.full((len(layers), len(columns)), np.nan)
    for row in table:
        column = (str(row["gene"]).rpartition(".")[2], float(row["value"]))
        losses[layers.index(row["layer"]), columns.index(column)] = row["drop"]
    figure = Figure(
        figsize=(2.5 + 0.6 * len(columns), 1.6 + 0.3 * len(layers)), layout="constrained"
    )
    axes = figure.subplots()
    image = axes.imshow(losses, cmap="YlOrRd", vmin=0.0, vmax=_SHOWN_DROP, aspect="auto")
    axes.set_yticks(range(len(layers)), layers, fontsize=8)
    names = {name: kind.short_label or kind.label for name, kind in kinds.items()}
    labels = [f"{names.get(name, name)}\n{value:g}" for name, value in columns]
    axes.set_xticks(range(len(columns)), labels, fontsize=8)
    for (i, j), loss in np.ndenumerate(losses):
        if np.isfinite(loss):
            color = "white" if loss > 0.6 * _SHOWN_DROP else "black"
            axes.text(j, i, f"{loss:.3f}", ha="center", va="center", color=color, fontsize=7)
    axes.set_title(
        f"loss of {metric} when one layer alone is compressed, not fine-tuned", fontsize=9
    )
    figure.colorbar(image, ax=axes, extend="max", label=f"loss of {metric}")
    figure.savefig(path, dpi=130)


def _ladder_file(space: Path) -> Path:
    return space.with_suffix(".ladder.json")


def _read_space(path: Path) -> NniSpace:
    existing_file(path, "--space", (".json",))
    try:
        genes: NniSpace = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"--space {path}: not JSON ({error})") from error
    if not isinstance(genes, dict) or not all(isinstance(g, dict) for g in genes.values()):
        raise ValueError(f"{path} is no NNI search space: write one with `joint-ga space`")
    return genes


def _seed(table: Table, genes: NniSpace, space: Path, network: Network) -> None:
    """Writes what the tuner starts from: each gene's losses into the network file, and a ladder."""
    from evaluators import ladder
    from evaluators.sensitivity_analysis import by_gene

    network.metadata["sensitivities"] = by_gene(table)
    network.save(network_file(space))
    rungs = [in_space(rung, genes) for rung in ladder(list(map(dict, table)))]
    unique = list({json.dumps(rung, sort_keys=True): rung for rung in rungs}.values())
    path = _ladder_file(space)
    path.write_text(json.dumps(unique, indent=1) + "\n", encoding="utf-8")
    print(
        f"{network_file(space)}: the tuner's first candidates and its predictor know these "
        f"sensitivities now\n{path}: {len(unique)} chromosomes from mild to strong; to begin with "
        f"them, add  initial: {path.name}  to the config's classArgs"
    )


def in_space(rung: Mapping[str, float], genes: NniSpace) -> Params:
    """A whole chromosome of a search space that compresses as a rung does, at most.

    Args:
        rung: some genes' values, from :func:`evaluators.ladder`.
        genes: NNI's search space, of choices.
    """
    from hardware.ir.gene_kinds import kind_of

    chosen: Params = {}
    for name, gene in genes.items():
        values = gene.get("_value", [])
        kind = kind_of(name)
        if kind is None or not kind.is_ordered:
            # Categories list what a missing gene means first.
            chosen[name] = values[0]
            continue
        mildest = kind.mildest(values)
        limit = rung.get(name, mildest)
        if kind.grows:
            chosen[name] = max((v for v in values if v <= limit + _ROUNDING), default=mildest)
        else:
            chosen[name] = min((v for v in values if v >= limit - _ROUNDING), default=mildest)
    return chosen


def add_commands(app: typer.Typer) -> None:
    """Adds the command."""
    task = "--task evaluators.tasks.digits:build --device stm32f746"
    app.command(epilog=f"Example:  joint-ga sensitivity {task} -o digits.csv")(sensitivity)
