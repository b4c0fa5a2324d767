"""The same search without NNI's server: one process, one call, made for notebooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import evaluators
import hardware
from nni_plugin.engines.driver import Budget, Driver
from nni_plugin.engines.in_process import InProcessEngine
from nni_plugin.protocol.json_types import JsonObject, Metrics, NniSpace, Params
from nni_plugin.results.experiment import Experiment
from nni_plugin.search_space import for_network
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
    constraints: Mapping[str, object] | None = None,
    population_size: int | None = 20,
    seed: int = 0,
    epochs: int | None = None,
    data: str | None = None,
    space: NniSpace | None = None,
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
    if trials < 1:
        raise ValueError(f"trials={trials} should be at least 1")
    subject = _Subject.of(task, device, data)
    home = _made(folder)
    _save_network(subject, home / "network.json")
    class_args: JsonObject = {
        "objectives": dict(objectives or subject.objectives()),
        "constraints": dict(constraints or {}),
        **{"population_size": population_size, "seed": seed},
    }
    if isinstance(device, str):
        class_args["costs"] = {"network": "network.json", "device": device}
    args = TunerArgs.parse(class_args, base=[home.resolve()])
    genes = dict(space) if space is not None else for_network(subject.network, subject.device)
    study = Study(args, genes, home / "journal.jsonl", class_args)
    engine = InProcessEngine(lambda params: subject.evaluate(params, epochs))
    with closing(study), _bar(progress, trials, study) as advance:
        stopped = _run(Driver(study, engine, home, 1, Budget(trials)), advance)
    return SearchResult(home, subject.network, stopped)


def _run(driver: Driver, advance: Callable[[], None]) -> str:
    """Runs to the end; returns why it ended, raises what went wrong."""
    ended = driver.run(advance)
    if ended.error is not None:
        raise ended.error
    if ended.status == "INTERRUPTED":
        raise KeyboardInterrupt
    return "trials" if ended.reason == "budget" else ended.reason


def _save_network(subject: _Subject, file: Path) -> None:
    """Describes the network; a search that goes on in its folder keeps the costs it began with."""
    network, device = subject.network, subject.device
    network.metadata.update(device=device.id, stack=device.stack)
    if file.exists():
        began = hardware.Network.load(file)
        network.costs_version = began.costs_version
        network.metadata["stack"] = began.metadata.get("stack")
    network.save(file)


def _made(folder: str | Path | None) -> Path:
    home = Path(folder) if folder else Path("runs") / time.strftime("search-%Y%m%d-%H%M%S")
    home.mkdir(0o700, parents=True, exist_ok=True)
    return home


@dataclass(frozen=True)
class _Subject:
    """What is compressed, and for what."""

    task: Task
    device: Device
    network: Network

    @classmethod
    def of(cls, task: str | Task, device: str | Device, data: str | None) -> _Subject:
        built = evaluators.load_task(task, data) if isinstance(task, str) else task
        board = device if isinstance(device, hardware.Device) else hardware.load_device(device)
        return cls(built, board, evaluators.trace(built))

    def objectives(self) -> dict[str, str]:
        """Those of a search that names none."""
        goal = "maximize" if self.task.metric_mode == "max" else "minimize"
        return {self.task.metric_name: goal, "size_kb": "minimize", "latency_ms": "minimize"}

    def evaluate(self, params: Params, epochs: int | None) -> Metrics:
        """The final metrics of one trial in this process."""
        return evaluators.evaluate(
            self.task, params, device=self.device, network=self.network, epochs=epochs
        ).metrics


@contextmanager
def _bar(shown: bool, total: int, study: Study) -> Iterator[Callable[[], None]]:
    """A progress bar that names the latest result; yields the function that advances it."""
    from rich.progress import Progress

    with Progress(disable=not shown) as progress:
        bar = progress.add_task("searching", total=total, completed=len(study.finished()))

        def advance() -> None:
            finished = study.finished()
            if not finished:
                return
            trial = finished[-1]
            latest = ", ".join(f"{k} {v:g}" for k, v in list(trial.metrics.items())[1:4])
            said = f"uid {trial.uid}: {latest or 'failed'}"
            progress.update(bar, completed=len(finished), description=said)

        yield advance
        advance()
