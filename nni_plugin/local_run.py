"""The same search without NNI's server: one process, one call, made for notebooks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ga
from nni_plugin.results.experiment import Experiment
from nni_plugin.study.study import Study
from nni_plugin.study.tuner_args import TunerArgs

if TYPE_CHECKING:
    import pandas as pd

    from evaluators import Task
    from hardware import Device, Network
    from nni_plugin.study.trial_log import Trial

__all__ = ["SearchResult", "search"]


@dataclass(frozen=True)
class SearchResult:
    """What a search found; everything is read from its folder's journal.

    Attributes:
        folder: holds ``journal.jsonl``; ``joint-ga report FOLDER`` and ``watch FOLDER`` read it.
        network: the traced network, whose ``apply(params)`` gives a point's layers.
        stopped: why the search ended: ``trials`` or ``exhausted``, or the optimizer's own reason.
    """

    folder: Path
    network: Network
    stopped: str

    @property
    def experiment(self) -> Experiment:
        """The run as every report sees it."""
        return Experiment(self.folder)

    @property
    def front(self) -> list[Trial]:
        """Feasible, non-dominated trials (``.params``, ``.metrics``), by the first objective."""
        return self.experiment.front()

    @property
    def frame(self) -> pd.DataFrame:
        """One row per chromosome, see :meth:`Experiment.frame`."""
        return self.experiment.frame()

    def _repr_html_(self) -> str:
        """The front as a table, in a notebook."""
        frame = self.frame
        shown = ["uid", *self.experiment.log.metric_names()]
        html: str = frame[frame["front"]][shown].to_html(index=False)
        return html


def search(
    task: str | Task,
    device: str | Device,
    objectives: Mapping[str, str] | None = None,
    trials: int = 50,
    *,
    constraints: Mapping[str, Any] | None = None,
    population_size: int | None = 20,
    seed: int = 0,
    epochs: int | None = None,
    data: str | None = None,
    space: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    progress: bool = True,
) -> SearchResult:
    """Searches a task's model for a device, one chromosome after the other, in this process.

    The chromosomes, their costs and their results are those of an NNI experiment with the same
    settings and ``trialConcurrency: 1``: tuner and trial are the same code. Interrupting it (the
    stop button of a notebook, Ctrl-C) loses nothing that has finished.

    Args:
        task: ``module:function`` or a task.
        device: a shipped id, the path of a profile, or a device.
        objectives: ``{metric: "maximize" | "minimize"}``; by default the task's metric, size and
            latency.
        trials: evaluations in all, those of a continued folder included.
        constraints: ``{metric: "<= 256"}``.
        population_size: as in classArgs.
        seed: of the optimizer, as in classArgs. Fine-tuning uses seed 0, as trials do.
        epochs: of fine-tuning; None for the task's own number.
        data: handed to the task's function.
        space: an NNI search space; by default all genes that the device offers.
        folder: where the journal goes; by default a new one under ``runs/``. A folder with a
            journal of the same search space is continued.
        progress: whether to show a bar.

    Raises:
        ValueError: a task, device, objective, constraint or search space that can't be used, or
            only failed trials.
    """
    import evaluators
    import hardware
    from nni_plugin.search_space import for_network

    if trials < 1:
        raise ValueError(f"trials={trials} should be at least 1")
    built = evaluators.load_task(task, data) if isinstance(task, str) else task
    board = device if isinstance(device, hardware.Device) else hardware.load_device(device)
    network = evaluators.trace(built)
    home = Path(folder) if folder else Path("runs") / time.strftime("search-%Y%m%d-%H%M%S")
    home.mkdir(parents=True, exist_ok=True)
    network.save(home / "network.json")
    goal = "maximize" if built.metric_mode == "max" else "minimize"
    default = {built.metric_name: goal, "size_kb": "minimize", "latency_ms": "minimize"}
    class_args: dict[str, Any] = {
        "objectives": dict(objectives or default),
        "constraints": dict(constraints or {}),
        "population_size": population_size,
        "seed": seed,
    }
    if isinstance(device, str):
        class_args["costs"] = {"network": "network.json", "device": device}
    args = TunerArgs.parse(class_args, base=[home.resolve()])
    genes = dict(space) if space is not None else for_network(network, board)
    study = Study(args, genes, home / "journal.jsonl", class_args)
    stopped = "trials"
    with closing(study), _bar(progress, trials, len(study.finished())) as advance:
        todo = study.running()
        while len(study.finished()) < trials:
            reason = study.is_over()
            if reason:
                stopped = reason
                break
            try:
                trial = todo.pop(0) if todo else study.ask()
            except ga.SpaceExhausted:
                stopped = "exhausted"
                break
            _evaluate(study, trial, built, board, network, epochs)
            advance(trial)
        study.end(stopped)
    return SearchResult(home, network, stopped)


def _evaluate(
    study: Study, trial: Trial, task: Task, device: Device, network: Network, epochs: int | None
) -> None:
    """One trial in this process; a failing chromosome is noted, not raised."""
    import evaluators

    try:
        result = evaluators.evaluate(
            task, trial.params, device=device, network=network, epochs=epochs
        )
    except (ValueError, RuntimeError) as error:
        study.fail(trial.uid, f"{type(error).__name__}: {error}")
        return
    broken = {name: x for name, x in result.metrics.items() if not math.isfinite(x)}
    if broken:
        study.fail(trial.uid, f"the final metrics are not finite: {broken}")
    else:
        study.tell(trial.uid, result.metrics)


@contextmanager
def _bar(shown: bool, total: int, done: int) -> Iterator[Any]:
    """A progress bar that names the latest result; yields the function that advances it."""
    from rich.progress import Progress

    with Progress(disable=not shown) as progress:
        bar = progress.add_task("searching", total=total, completed=done)

        def advance(trial: Trial) -> None:
            latest = ", ".join(f"{k} {v:g}" for k, v in list(trial.metrics.items())[1:4])
            progress.update(bar, advance=1, description=f"uid {trial.uid}: {latest or 'failed'}")

        yield advance
