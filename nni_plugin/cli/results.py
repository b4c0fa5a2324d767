"""``joint-ga report``, ``watch``, ``compare`` and ``export``: what a run has found."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nni_plugin.protocol.metrics import DEFAULT, UID
from nni_plugin.study.journal import read_chromosome
from nni_plugin.study.user_functions import import_path

if TYPE_CHECKING:
    from nni_plugin.protocol.json_types import Params
    from nni_plugin.results.experiment import Experiment
    from nni_plugin.study.trial_log import Trial

__all__ = ["add_commands"]

Name = Annotated[str, typer.Argument(help="Experiment id, or its folder.", metavar="EXPERIMENT")]
Directory = Annotated[
    Path | None,
    typer.Option("--dir", help="The experimentWorkingDirectory, if not ~/nni-experiments."),
]


def report(
    experiment: Name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder (default: runs/EXPERIMENT).")
    ] = None,
    directory: Directory = None,
) -> None:
    """Write CSV, PNG and a self-contained HTML page of a running or stopped experiment."""
    from nni_plugin.cli.tables import front_table, make_console
    from nni_plugin.results.experiment import Experiment, NoFrontError
    from nni_plugin.results.report import write_report

    console = make_console()
    opened = Experiment.open(experiment, directory)
    paths = write_report(opened, output or Path("runs") / opened.id)
    for name, path in paths.items():
        console.print(f"  {name:7} {path}", highlight=False, soft_wrap=True)
    try:
        console.print(front_table(opened.log, opened.history()))
    except NoFrontError as error:
        print(f"joint-ga: error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def watch(
    experiment: Name,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1 (0: any free one).")] = 0,
    directory: Directory = None,
) -> None:
    """Serve the live Pareto page on 127.0.0.1; works without NNI's manager. Ctrl-C ends it."""
    import tempfile
    import threading
    import time

    from nni_plugin.results.experiment import Experiment
    from nni_plugin.results.live_page import LivePage
    from nni_plugin.results.page_server import serve_folder

    opened = Experiment.open(experiment, directory)
    # Own files instead of those in the log folder: they may be old, or not ours to write.
    with tempfile.TemporaryDirectory(prefix="joint-ga-") as name:
        page = LivePage(name, opened.journal, opened.id)
        page.write()
        server = serve_folder(Path(name), port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_port}/pareto.html  (Ctrl-C ends)", flush=True)
        size = -1
        try:
            while True:
                now = opened.journal.stat().st_size
                if now != size:
                    size = now
                    page.write()
                time.sleep(1)
        finally:
            server.shutdown()


def compare(
    experiments: Annotated[
        list[str], typer.Argument(help="Two or more ids or folders.", metavar="EXPERIMENT...")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write compare.csv and .png here.")
    ] = None,
    directory: Directory = None,
) -> None:
    """Compare experiments by hypervolume in one common box, judged by the first one's goals."""
    from nni_plugin.cli.tables import dict_table, make_console
    from nni_plugin.results.csv_file import write_csv
    from nni_plugin.results.experiment import Experiment
    from nni_plugin.results.report import compare as measure

    comparison = measure([Experiment.open(name, directory) for name in experiments])
    rows = comparison.table.to_dict(orient="records")
    make_console().print(dict_table([{str(k): v for k, v in row.items()} for row in rows]))
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_csv(comparison.table, output / "compare.csv")
        comparison.draw(output / "compare.png")
        print(f"written: {output / 'compare.csv'}, {output / 'compare.png'}")


def export(
    experiment: Annotated[
        str | None,
        typer.Argument(help="Experiment id or folder; or give --task.", metavar="[EXPERIMENT]"),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder.")] = Path("exported"),
    trial: Annotated[str | None, typer.Option(help="NNI's trial id, or a uid.")] = None,
    pick: Annotated[
        str | None, typer.Option(help="Sentence, e.g. 'accuracy >= 0.90, min latency_ms'.")
    ] = None,
    knee: Annotated[bool, typer.Option("--knee", help="The knee of the front.")] = False,
    task: Annotated[str | None, typer.Option(help="M:F; default: the experiment's.")] = None,
    device: Annotated[str | None, typer.Option(help="Default: the experiment's.")] = None,
    params: Annotated[Path | None, typer.Option(help="Chromosome as a JSON file.")] = None,
    network: Annotated[
        Path | None, typer.Option(help="The .network.json of the chromosome's search space.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Default: the experiment's.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Of fine-tuning (default: three times the task's).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of fine-tuning.")] = 0,
    schedule: Annotated[
        str | None, typer.Option(help="direct or progressive; default: the experiment's.")
    ] = None,
    directory: Directory = None,
) -> None:
    """Fine-tune a chosen chromosome fully and write ONNX, packed weights, C, PyTorch and a card.

    The folder must be new or empty. The test split is read here, once.
    """
    if (experiment is None) == (params is None):
        raise typer.BadParameter("give an EXPERIMENT, or --task, --device and --params")
    folders: list[Path] = []
    if experiment is None:
        assert params is not None
        chromosome = read_chromosome(params)
    else:
        from nni_plugin.results.experiment import Experiment
        from nni_plugin.results.trial_command import trial_command

        opened = Experiment.open(experiment, directory)
        chosen = _chosen(opened, trial, pick, knee)
        command = trial_command(opened)
        task, device = task or command.task, device or command.device
        data, network = data or command.data, network or command.network
        schedule = schedule or command.schedule
        # The task's module lies where the trials started.
        folders = [command.folder]
        chromosome = chosen.params
        print(f"trial {chosen.job_id or '-'} (uid {chosen.uid}): {_brief(chosen.metrics)}")
    if not task or not device:
        raise typer.BadParameter("--task and --device are needed")
    with import_path(*folders, first=True):
        _export(chromosome, output, task, device, data, network, epochs, seed, schedule)


def _export(
    chromosome: Params,
    output: Path,
    task: str,
    device: str,
    data: str | None,
    network: Path | None,
    epochs: int | None,
    seed: int,
    schedule: str | None,
) -> None:
    """Writes the files and says what they hold; the arguments are the command's options."""
    import hardware
    from evaluators import load_task
    from evaluators.export import EPOCHS_FACTOR, export_candidate

    built = load_task(task, data)
    built.recipe = replace(built.recipe, schedule=schedule or built.recipe.schedule)
    epochs = EPOCHS_FACTOR * built.recipe.epochs if epochs is None else epochs
    again = ["joint-ga", "export", "--task", task, "--device", device]
    again += ["--params", str(output / "params.json"), "--network", str(output / "network.json")]
    again += ["--data", data] if data else []
    again += ["--schedule", built.recipe.schedule, "--epochs", str(epochs), "--seed", str(seed)]
    result = export_candidate(
        built,
        {key: value for key, value in chromosome.items() if key != UID},
        device=hardware.load_device(device),
        out_dir=output,
        network=hardware.Network.load(network) if network else None,
        epochs=epochs,
        seed=seed,
        command=shlex.join([*again, "-o", f"{output}-again"]),
    )
    print(f"validation: {_brief(result['val'])}")
    print(f"test:       {_brief(result['test'])}")
    print(
        f"ONNX predictions that differ on the test set: {result['onnx_mismatches']}, with ONNX "
        f"Runtime's default options {result['onnx_mismatches_default_options']}"
    )
    for name, size in result["files"].items():
        print(f"  {output / name}  {size:,} bytes")


def _chosen(experiment: Experiment, trial: str | None, pick: str | None, knee: bool) -> Trial:
    if sum((trial is not None, pick is not None, knee)) != 1:
        raise typer.BadParameter("choose a trial by exactly one of --trial, --pick and --knee")
    if trial is not None:
        return experiment.trial(trial)
    if pick is not None:
        from ga.evaluation import COMPLETE
        from nni_plugin.results.selection import Pick

        return Pick.parse(pick).choose(experiment.log.finished(COMPLETE))
    from nni_plugin.results.pareto_front import knee as knee_of

    return knee_of(experiment.front(), experiment.log.objectives)


def _brief(metrics: Mapping[str, object]) -> str:
    from nni_plugin.cli.tables import number

    shown = {k: v for k, v in metrics.items() if k not in (DEFAULT, UID)}
    return ", ".join(f"{name} {number(value)}" for name, value in shown.items())


def add_commands(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command(epilog="Example:  joint-ga report hn4ce1zx -o report")(report)
    app.command(epilog="Example:  joint-ga watch hn4ce1zx --port 8800")(watch)
    app.command(epilog="Example:  joint-ga compare hn4ce1zx bq07xw2k -o comparison")(compare)
    app.command(
        epilog="Example:  joint-ga export hn4ce1zx --pick 'accuracy >= 0.9, min latency_ms' -o out"
    )(export)
