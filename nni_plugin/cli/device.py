"""``joint-ga calibrate`` and ``measure``: costs of a real or an emulated device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nni_plugin.protocol.metrics import UID
from nni_plugin.protocol.suggestions import did_you_mean
from nni_plugin.study.journal import read_chromosome
from nni_plugin.user_paths import existing_file

__all__ = ["add_commands"]


def calibrate(
    device: Annotated[str, typer.Option("--device", help="A shipped device or a YAML file.")],
    measured: Annotated[
        Path, typer.Option("--measured", help="CSV: network,latency_ms and optionally params.")
    ],
    stack: Annotated[str, typer.Option(help="Name of the new stack.")] = "measured",
) -> None:
    """Fit a device's latency model to latencies measured on your board.

    Prints the fit, its error, and the lines to paste under 'stacks:' of the board's YAML file.
    """
    from hardware.calibration.own_board import calibrate as fit

    existing_file(measured, "--measured", (".csv",))
    print(fit(device, measured, stack=stack).text())


def measure(
    network: Annotated[Path, typer.Option("--network", help="A .network.json file.")],
    backend: Annotated[
        str | None, typer.Option(help="By name; without it all that are available.")
    ] = None,
    params: Annotated[Path | None, typer.Option(help="A chromosome (JSON) to apply.")] = None,
) -> None:
    """Measure a network here: ONNX Runtime, LiteRT, Vela, TFLM's arena, an emulated Cortex-M."""
    import hardware
    from hardware.measure import BackendUnavailableError, backends
    from nni_plugin.cli.tables import number

    known = backends()
    if backend is not None and backend not in known:
        raise ValueError(
            f"--backend {backend!r} is unknown{did_you_mean(backend, known)} (known: "
            f"{', '.join(known)})"
        )
    existing_file(network, "--network", (".json",))
    chromosome = read_chromosome(existing_file(params, "--params", (".json",))) if params else {}
    chromosome.pop(UID, None)
    layers = hardware.Network.load(network).apply(chromosome)
    for name, one in known.items():
        if backend not in (None, name):
            continue
        try:
            metrics = one.measure(layers)
        except (BackendUnavailableError, ValueError) as error:
            if backend is not None:
                raise
            print(f"{name}: {error}")
            continue
        print(f"{name}: " + ", ".join(f"{k} {number(v)}" for k, v in metrics.items()))


def add_commands(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command(
        epilog="Example:  joint-ga calibrate --device my_board.yml --measured latencies.csv"
    )(calibrate)
    app.command(
        epilog="Example:  joint-ga measure --network space.network.json --backend onnxruntime-int8"
    )(measure)
