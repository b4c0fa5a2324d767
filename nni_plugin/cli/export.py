"""``joint-ga export``: the files of a chosen network."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nni_plugin.cli.options import Directory
from nni_plugin.cli.output import add_result
from nni_plugin.cli.steps import counted, said_at_interrupt
from nni_plugin.protocol.metrics import DEFAULT, UID, remark_on_test
from nni_plugin.study.journal import read_chromosome
from nni_plugin.study.user_functions import import_path
from nni_plugin.trial_supernet import SupernetChoice
from nni_plugin.user_paths import check_writable, existing_file

if TYPE_CHECKING:
    from evaluators.export.card import Metrics
    from nni_plugin.protocol.final_run import FinalRun
    from nni_plugin.protocol.json_types import Params
    from nni_plugin.results.experiment import Experiment
    from nni_plugin.results.trial_command import TrialCommand
    from nni_plugin.study.trial_log import Trial

__all__ = ["add_commands"]

_FILES = {
    "tflite": "model.tflite",
    "tflite_int4": "model_int4.tflite",
    "pte": "model.pte",
    "float_onnx": "model_float.onnx",
}


# Long: an option each, with its help.
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
        int | None, typer.Option(help="Fine-tuning; default: a finalist's own, or 3x the task's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of fine-tuning; default: a finalist's median one, or 0.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="direct or progressive; default: the experiment's.")
    ] = None,
    supernet: Annotated[
        Path | None, typer.Option(help="Weights to start from; default: the experiment's.")
    ] = None,
    c_prefix: Annotated[str, typer.Option(help="Of the C files and their symbols.")] = "model",
    stack: Annotated[
        str | None, typer.Option(help="Software that costs are of; default: the experiment's.")
    ] = None,
    onnx_integers: Annotated[
        str, typer.Option(help="uint8, or int8 for tools that want signed integers.")
    ] = "uint8",
    directory: Directory = None,
) -> None:
    """Fine-tune a chosen chromosome fully and write ONNX, packed weights, C, PyTorch and a card.

    It shows how far the training is, and each file as it is written; Ctrl-C leaves nothing behind.
    The folder must be new or empty. The test split is read here, once.
    """
    if (experiment is None) == (params is None):
        raise typer.BadParameter("give an EXPERIMENT, or --task, --device and --params")
    folders: list[Path] = []
    start = SupernetChoice(supernet) if supernet else None
    check_writable(output, "--output")
    # The files are written beside it first.
    check_writable(output.absolute().parent, "--output: the folder around it,")
    if network is not None:
        existing_file(network, "--network", (".json",))
    if experiment is None:
        assert params is not None
        chromosome = read_chromosome(existing_file(params, "--params", (".json",)))
    else:
        chosen, command, run = _of_experiment(experiment, directory, trial, pick, knee)
        if run is not None:
            epochs = run.epochs if epochs is None else epochs
            seed = run.seed if seed is None else seed
        task, device = task or command.task, device or command.device
        data, network = data or command.data, network or command.network
        schedule, stack = schedule or command.schedule, stack or command.stack
        start = start or command.supernet
        # The task's module lies where the trials started.
        folders = [command.folder]
        chromosome = chosen.params
        add_result(uid=chosen.uid, trial=chosen.job_id)
        print(f"trial {chosen.job_id or '-'} (uid {chosen.uid}): {_brief(chosen.metrics)}")
    if not task or not device:
        raise typer.BadParameter("--task and --device are needed")
    files = {"c_prefix": c_prefix, "onnx_integers": onnx_integers}
    left = f"nothing is written to {output}"
    with import_path(*folders, first=True), said_at_interrupt("export", left):
        options = (data, network, epochs, seed or 0, schedule, stack, start)
        _export(chromosome, output, task, device, *options, files)


def _of_experiment(
    experiment: str, directory: Path | None, trial: str | None, pick: str | None, knee: bool
) -> tuple[Trial, TrialCommand, FinalRun | None]:
    """The chosen trial, what its command says, and how it was trained if it is a finalist."""
    from nni_plugin.results.experiment import Experiment
    from nni_plugin.results.finalists import finalists
    from nni_plugin.results.trial_command import trial_command

    opened = Experiment.open(experiment, directory)
    last = {one.trial.uid: one for one in finalists(opened.log)}
    chosen = _chosen(opened, trial, pick, knee, [one.ranked for one in last.values()])
    run = last[chosen.uid].median.run if chosen.uid in last else None
    if run is not None:
        print(f"a finalist: {run.epochs} epochs, seed {run.seed}, its median training")
    return chosen, trial_command(opened), run


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
    stack: str | None,
    start: SupernetChoice | None,
    files: Mapping[str, str],
) -> None:
    """Writes the files and says what they hold; the arguments are the command's options."""
    import hardware
    from evaluators import load_task
    from evaluators.export import EPOCHS_FACTOR, export_candidate

    # Before the task is built, which may take minutes.
    board = hardware.load_device(device, stack)
    described = hardware.Network.load(network) if network else None
    _check(output, start, files)
    built = load_task(task, data)
    inherited = start.ready(built, described, print) if start else None
    built.recipe = replace(built.recipe, schedule=schedule or built.recipe.schedule)
    epochs = EPOCHS_FACTOR * built.recipe.epochs if epochs is None else epochs
    given = {
        "task": task,
        "device": device,
        "params": output / "params.json",
        "network": output / "network.json",
        "data": data or None,
        "stack": stack or None,
        "schedule": built.recipe.schedule,
        "epochs": epochs,
        "seed": seed,
        **files,
        "supernet": inherited.path if inherited else None,
    }
    write = partial(
        export_candidate,
        built,
        {key: value for key, value in chromosome.items() if key != UID},
        device=board,
        out_dir=output,
        network=described,
        epochs=epochs,
        seed=seed,
        command=_command({**given, "output": f"{output}-again"}),
        supernet=inherited,
        c_prefix=files["c_prefix"],
        onnx_integers=files["onnx_integers"],
    )
    result = _with_progress(write, epochs, built.metric_name)
    _say(result, output)
    smaller = built.metric_mode == "min"
    if remark := remark_on_test(built.metric_name, result["val"], result["test"], smaller=smaller):
        add_result(remark=remark)
        print(f"note: {remark}")


def _check(output: Path, start: SupernetChoice | None, files: Mapping[str, str]) -> None:
    """Refuses what an export would fail at once its training is done."""
    from evaluators.export.c_code import check_prefix
    from evaluators.export.folder import check_new_folder
    from evaluators.export.qdq import check_integers

    check_new_folder(output)
    check_prefix(files["c_prefix"])
    check_integers(files["onnx_integers"])
    if start is not None:
        start.check_file()


def _with_progress(write: Callable[..., Metrics], epochs: int, metric: str) -> Metrics:
    """What an export returns that shows its training and its files as they come."""
    from nni_plugin.cli.tables import make_console

    # Beside the epochs: the pruned network and the rounded one (from a supernet the latter alone).
    with counted(make_console(), "fine-tuning", None, total=epochs + 2) as step:
        return write(
            report=lambda now: step(f"{metric} {now['default']:.4g}"),
            say=lambda line: print(line, flush=True),
        )


def _command(options: Mapping[str, object]) -> str:
    """A command line that makes an export; options that are None are left out."""
    words = ["joint-ga", "export"]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def _say(result: Metrics, output: Path) -> None:
    """Prints what an export has found, and its files."""
    add_result(folder=output, metrics=result)
    print(f"validation: {_brief(result['val'])}")
    print(f"test:       {_brief(result['test'])}")
    if result["onnx_reason"]:
        print(f"no ONNX file: {result['onnx_reason']}")
    else:
        print(
            f"ONNX predictions that differ on the test set: {result['onnx_mismatches']}, with ONNX "
            f"Runtime's default options {result['onnx_mismatches_default_options']}"
        )
    if result["integer_reason"]:
        print(f"no C: {result['integer_reason']}")
    elif result["c_reason"]:
        print(f"the C was not run: {result['c_reason']}")
    for kind, file in _FILES.items():
        if result[f"{kind}_reason"]:
            print(f"no {file}: {result[f'{kind}_reason']}")
    written = sorted(path for path in output.rglob("*") if path.is_file())
    add_result(files={str(path): path.stat().st_size for path in written})
    for path in written:
        print(f"  {path}  {path.stat().st_size:,} bytes")
    for line in result["exceeds"]:
        print(f"joint-ga: the network does not fit: {line}", file=sys.stderr)


def _chosen(
    experiment: Experiment, trial: str | None, pick: str | None, knee: bool, last: list[Trial]
) -> Trial:
    """The trial that is meant: of the finalists where there are any, else of all."""
    if sum((trial is not None, pick is not None, knee)) != 1:
        raise typer.BadParameter("choose a trial by exactly one of --trial, --pick and --knee")
    if trial is not None:
        return experiment.trial(trial)
    if pick is not None:
        from ga.evaluation import COMPLETE
        from nni_plugin.study.selection import Pick, PickError

        sentence = Pick.parse(pick)
        if last:
            try:
                return sentence.choose(last)
            except PickError:
                print(f"no finalist keeps {pick!r}: chosen among all trials")
        return sentence.choose(experiment.log.finished(COMPLETE))
    from nni_plugin.results.pareto_front import knee as knee_of

    return knee_of(last or experiment.front(), experiment.log.objectives)


def _brief(metrics: Mapping[str, object]) -> str:
    from nni_plugin.cli.tables import number

    shown = {k: v for k, v in metrics.items() if k not in (DEFAULT, UID)}
    return ", ".join(f"{name} {number(value)}" for name, value in shown.items())


def add_commands(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        epilog="Example:  joint-ga export hn4ce1zx --pick 'accuracy >= 0.9, min latency_ms' -o out"
    )(export)
