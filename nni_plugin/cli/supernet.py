"""``joint-ga supernet``: one set of weights for a search space, which trials start from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nni_plugin.cli.model import Data, TaskName
from nni_plugin.setup.space_files import network_file, read_values
from nni_plugin.user_paths import check_writable_file, existing_file

if TYPE_CHECKING:
    from evaluators.supernet.training import Progress
    from hardware import Device

__all__ = ["add_commands"]


# Long: an option each, with its help.
def supernet(
    task: TaskName,
    space: Annotated[Path, typer.Option(help="The search space's file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The supernet's file.")] = Path(
        "supernet.pt"
    ),
    device: Annotated[
        str | None, typer.Option(help="Check that this device runs the space's bits.")
    ] = None,
    data: Data = None,
    network: Annotated[
        Path | None, typer.Option(help="Its .network.json (default: beside the space).")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training data.")] = 60,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    networks: Annotated[
        int, typer.Option(help="In each step: the largest, the smallest and random ones.")
    ] = 4,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak (default: the task's for pruned networks).")
    ] = None,
    file_mb: Annotated[float, typer.Option(help="An error if the file would be larger.")] = 512.0,
    memory_mb: Annotated[
        float, typer.Option(help="What the smaller networks' index sets may take.")
    ] = 256.0,
    accelerator: Annotated[
        str, typer.Option(help="cpu, cuda, mps, or auto: the best there is.")
    ] = "auto",
) -> None:
    """Train one set of weights for all widths and bits of a search space.

    Ctrl-C keeps the last checkpoint beside the file; the same command goes on from there.
    """
    import hardware
    from evaluators import load_task, trace
    from evaluators.accelerator import chosen
    from evaluators.supernet.file import load_or_train, partial_file
    from evaluators.supernet.training import Settings

    existing_file(space, "--space", (".json",))
    check_writable_file(output, "--output")
    settings = Settings(
        epochs=epochs,
        seed=seed,
        networks=networks,
        learning_rate=learning_rate,
        file_mb=file_mb,
        memory_mb=memory_mb,
    )
    values = read_values(space)
    if device is not None:
        _check_bits(values, hardware.load_device(device))
    computed_on = chosen(accelerator)
    described = network or network_file(space)
    net = None
    if network is not None or described.is_file():
        net = hardware.Network.load(existing_file(described, "--network", (".json",)))
    built = load_task(task, data)
    started = time.process_time()
    try:
        with _shown(epochs) as report:
            found = load_or_train(
                output,
                built,
                trace(built) if net is None else net,
                values,
                settings,
                report=report,
                say=lambda text: print(text, flush=True),
                accelerator=computed_on,
            )
    except KeyboardInterrupt:
        if partial_file(output).exists():
            print(f"the same command goes on from {partial_file(output)}")
        raise
    print(
        f"{output}: {len(found.state)} tensors, {len(found.levels)} learned scales, "
        f"{output.stat().st_size:,} bytes, {time.process_time() - started:.0f} s of CPU\n"
        f"to start trials from it, add  --supernet {output}  to the trialCommand"
    )


def _check_bits(values: dict[str, list[object]], device: Device) -> None:
    """Refuses bits that a device doesn't run."""
    from hardware.ir.gene_kinds import A_BITS, W_BITS

    for gene, widths in values.items():
        for kind, known in ((W_BITS, device.weight_bits), (A_BITS, device.activation_bits)):
            foreign = [w for w in widths if w not in known] if kind.owns(gene) else []
            if foreign:
                raise ValueError(
                    f"gene {gene!r} has {foreign[0]} bits, which device {device.id!r} does not "
                    f"run (it runs {', '.join(map(str, known))})"
                )


@contextmanager
def _shown(epochs: int) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal; elsewhere a line now and then."""
    from rich.progress import Progress as Bar

    from evaluators.supernet.file import progress_lines
    from nni_plugin.cli.tables import make_console

    console = make_console()
    if not console.is_terminal:
        yield progress_lines(lambda text: print(text, flush=True))
        return
    with Bar(console=console, transient=True) as bars:
        bar = bars.add_task("training the supernet", total=epochs)
        yield lambda now: bars.update(
            bar, completed=now.epoch, description=f"training the supernet, loss {now.loss:.4f}"
        )


def add_commands(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        epilog="Example:  joint-ga supernet --task evaluators.tasks.digits:build "
        "--space digits.space.json -o digits.supernet.pt"
    )(supernet)
