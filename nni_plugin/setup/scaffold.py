"""Writes what an experiment of one's own needs: task, search space and NNI config."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ga.problem.objectives import Constraint
from nni_plugin.protocol.json_types import Settings
from nni_plugin.protocol.metrics import COSTS
from nni_plugin.protocol.suggestions import did_you_mean
from nni_plugin.protocol.units import unit_of
from nni_plugin.setup.space_files import network_file
from nni_plugin.study.final_args import NAME as FINAL
from nni_plugin.study.final_args import FinalArgs, planned_trials
from nni_plugin.study.user_functions import import_path
from nni_plugin.user_paths import check_writable

if TYPE_CHECKING:
    from evaluators import Task
    from evaluators.supernet.forecast import Forecast
    from hardware import Device, Network
    from hardware.ir.restrictions import Restrictions

__all__ = ["Plan", "already_there", "code_folder", "files_in_the_way", "write_plan"]

_TEMPLATE = Path(__file__).with_name("template_task.py")
_UNLABELLED = Path(__file__).with_name("template_unlabelled_task.py")
_TEMPLATE_FILE, _TEMPLATE_TASK = "my_task.py", "my_task:build"
_SPACE, _CONFIG = "space.json", "ga_joint.yml"
_NETWORK = network_file(Path(_SPACE)).name
_FILES = (_TEMPLATE_FILE, _SPACE, _NETWORK, _CONFIG)
"""In the order in which they take their places: the config last, since it needs the others."""
_POPULATION = 20


@dataclass(frozen=True)
class Plan:
    """What ``joint-ga init`` was asked for.

    Attributes:
        folder: where the files go.
        task: ``module:function``; None writes the template.
        device: a shipped device's id, or the path of a profile.
        trials: ``maxTrialNumber``.
        concurrency: ``trialConcurrency``.
        limits: constraints by metric.
        costs: metrics to minimize beside the task's own one.
        data: handed to the task's function.
        labels: whether the template has any; without them it is scored by its float outputs.
        decided: what may be done to single layers, beside what the task says.
        supernet: whether trials start from one; None: as the caller decides, told the costs.
        final_epochs: of trainings to the end, which the search then asks for; None: for none.
    """

    folder: Path
    task: str | None
    device: str
    trials: int
    concurrency: int
    limits: dict[str, str]
    costs: tuple[str, ...]
    data: str | None = None
    labels: bool = True
    decided: Restrictions | None = None
    supernet: bool | None = None
    final_epochs: int | None = None

    @classmethod
    def make(cls, *, limits: tuple[str, ...], trials: int, concurrency: int, **rest: Any) -> Plan:
        """Checks the options and reads limits like ``ram_kb <= 64``.

        Raises:
            ValueError: an unreadable limit, an unknown cost, a number below 1, too few trials for
                those that train to the end, or a task that is to have no labels.
        """
        if rest["task"] is not None and not rest.get("labels", True):
            raise ValueError(
                "--no-labels is for the template that is written without --task: a task of your "
                "own says it by its metric, as in Task(metric='sqnr_db')"
            )
        for name, number in (("--trials", trials), ("--concurrency", concurrency)):
            if number < 1:
                raise ValueError(f"{name}={number} should be at least 1")
        if (epochs := rest.get("final_epochs")) is not None:
            if epochs < 1:
                raise ValueError(f"--final-epochs={epochs} should be at least 1")
            _check_trials(trials, FinalArgs(epochs=epochs))
        unknown = [cost for cost in rest["costs"] if cost not in COSTS]
        if unknown:
            raise ValueError(
                f"--objective {unknown[0]!r} is not a cost{did_you_mean(unknown[0], COSTS)} (they "
                f"are {', '.join(COSTS)})"
            )
        parsed = {}
        for text in limits:
            metric = re.split("[<>]", text, maxsplit=1)[0].strip()
            bound = text.strip()[len(metric) :]
            constraint = Constraint.parse(metric, bound)
            if near := [cost for cost in COSTS if cost.startswith(f"{metric}_")]:
                raise ValueError(
                    f"--limit {text!r}: did you mean '{near[0]} {constraint.operator} "
                    f"{constraint.bound:g}', in {unit_of(near[0])}?"
                )
            parsed[metric] = f"{constraint.operator} {constraint.bound:g}"
        return cls(limits=parsed, trials=trials, concurrency=concurrency, **rest)


def _check_trials(trials: int, final: FinalArgs) -> None:
    try:
        planned_trials(final, {"maxTrialNumber": trials})
    except ValueError as error:
        raise ValueError(f"--trials={trials}, --final-epochs={final.epochs}: {error}") from error


def files_in_the_way(folder: Path, template: bool) -> list[Path]:
    """Those of the files that ``init`` writes that are there already.

    Args:
        folder: where they go.
        template: whether a task to start from is one of them.
    """
    names = _FILES if template else _FILES[1:]
    return [folder / name for name in names if (folder / name).exists()]


def already_there(files: Sequence[Path]) -> str:
    """What is said of files in the way, and what can be done."""
    kept = f" ({_TEMPLATE_FILE} is kept)" if files[0].name == _TEMPLATE_FILE else ""
    are = "is" if len(files) == 1 else "are"
    return (
        f"{', '.join(map(str, files))} {are} there already: --force writes anew{kept}, or give "
        "another folder (joint-ga init FOLDER)"
    )


def write_plan(
    plan: Plan,
    try_task: Callable[[str, Path], None] = lambda _task, _folder: None,
    say: Callable[[str], None] = lambda _line: None,
    offer: Callable[[Forecast], bool] = lambda _costs: False,
    overwrite: bool = False,
) -> list[Path]:
    """Writes the files, all or none, and returns their paths, the config last.

    Args:
        plan: what to write.
        try_task: called with a task of the user's and the folder that its trials will start in,
            before the task is built in this process.
        say: called with a line about what could be had besides.
        offer: called with the costs of a supernet where the plan leaves it open; whether trials
            are to start from one.
        overwrite: whether files that are there are replaced. Not ``my_task.py``, which holds the
            user's work by now: it becomes the task.

    Raises:
        FileExistsError: some are there already, all named, and are not to be replaced.
        OSError: the folder can't be written.
        ValueError: the task, its model or the device can't be used.
    """
    import hardware

    folder = plan.folder
    if folder.is_file():
        raise NotADirectoryError(f"{folder} is a file: give a folder to write into")
    there = files_in_the_way(folder, plan.task is None)
    if there and not overwrite:
        raise FileExistsError(already_there(there))
    for path in there:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder: give another one (joint-ga init FOLDER)")
    if plan.task is None and folder / _TEMPLATE_FILE in there:
        say(f"{folder / _TEMPLATE_FILE} is kept, and is the task")
        plan = replace(plan, task=_TEMPLATE_TASK)
    device = hardware.load_device(plan.device)
    check_writable(folder)
    code = folder.resolve() if plan.task is None else code_folder(plan.task, folder)
    if plan.task is not None:
        try_task(plan.task, code)
    with _all_or_none(folder) as staged:
        if plan.task is None:
            text = (_TEMPLATE if plan.labels else _UNLABELLED).read_text(encoding="utf-8")
            (staged / _TEMPLATE_FILE).write_text(text, encoding="utf-8")
        with import_path(staged if plan.task is None else code, first=True):
            _write_config(plan, device, staged, code, say, offer)
        written = [folder / name for name in _FILES if (staged / name).exists()]
    return written


def _write_config(
    plan: Plan,
    device: Device,
    staged: Path,
    code: Path,
    say: Callable[[str], None],
    offer: Callable[[Forecast], bool],
) -> None:
    """Writes space, network and config into a folder, as they will be in the plan's own."""
    from evaluators import load_task
    from evaluators.compression.dead_channels import find
    from nni_plugin.setup.space_files import read_values, write_space

    name = plan.task or _TEMPLATE_TASK
    task = load_task(name, plan.data)
    _check_limits(plan, task.metric_name)
    space = staged / _SPACE
    described, _ = write_space(task, name, device, space, {}, restrictions=plan.decided)
    if (dead := find(task, described)).count:
        remedy = f"{name}{'&' if '?' in name else '?'}remove_dead=1"
        say(f"{dead.summary}; --task '{remedy}' takes them out before the search")
    supernet: tuple[str, ...] = ()
    if _starts_from_supernet(plan, task, described, read_values(space), say, offer):
        supernet = (
            f"--train-supernet {os.path.relpath(plan.folder.resolve() / _SPACE, code)}",
            f"--epochs {min(1, task.recipe.epochs)}",
        )
    direction = "maximize" if task.metric_mode == "max" else "minimize"
    settings = _settings(plan, name, task.metric_name, direction, code, supernet)
    text = yaml.safe_dump(settings, sort_keys=False, width=100)
    (staged / _CONFIG).write_text(f"# joint-ga run {_CONFIG}\n{text}", encoding="utf-8")


@contextmanager
def _all_or_none(folder: Path) -> Iterator[Path]:
    """A temporary folder in a folder that is made; at the end its files take their places.

    After an error or Ctrl-C all is as it was: a second try would be told of files in its way.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".joint-ga-init-", dir=folder))
    try:
        yield staged
        for name in _FILES:
            if (staged / name).exists():
                (staged / name).replace(folder / name)
        shutil.rmtree(staged)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        if missing:
            shutil.rmtree(missing[-1], ignore_errors=True)
        raise


def _check_limits(plan: Plan, metric: str) -> None:
    """Refuses limits on what no trial will report."""
    known = (metric, *COSTS)
    for name in plan.limits:
        if name not in known:
            raise ValueError(
                f"--limit '{name} {plan.limits[name]}': no trial reports {name!r}"
                f"{did_you_mean(name, known)}; they report "
                f"{', '.join(known)}"
            )


def _starts_from_supernet(
    plan: Plan,
    task: Task,
    network: Network,
    values: dict[str, list[object]],
    say: Callable[[str], None],
    offer: Callable[[Forecast], bool],
) -> bool:
    """Whether trials are to start from a supernet of the values by gene."""
    from evaluators.supernet.forecast import forecast

    # The template's model will be replaced, so its costs say nothing.
    if plan.supernet is False or (plan.supernet is None and plan.task is None):
        return False
    try:
        costs = forecast(task, network, values)
    # The smaller networks run the user's own code.
    except (ValueError, RuntimeError) as error:
        if plan.supernet:
            raise ValueError(f"--supernet: {error}") from error
        say(f"trials can't start from a supernet: {error}")
        return False
    if plan.supernet is None and not offer(costs):
        return False
    say(f"a supernet is trained before the first trial: {costs}")
    return True


def code_folder(task: str, folder: Path) -> Path:
    """Where the trials must start so that they find the task's module."""
    relative = Path(*task.partition(":")[0].split("."))
    for place in (folder, Path()):
        if (place / relative).is_dir() or (place / relative).with_suffix(".py").is_file():
            return place.resolve()
    return folder.resolve()


def _settings(
    plan: Plan, task: str, metric: str, direction: str, code: Path, supernet: Iterable[str]
) -> Settings:
    folder = plan.folder.resolve()
    device = plan.device
    if Path(device).is_file():
        device = os.path.relpath(device, code)
    network = os.path.relpath(folder / "space.network.json", code)
    # Options of a task, as in my_model:build?width=2&remove_dead=1, are signs to a shell.
    words = ["python3 -m nni_plugin.trial", f"--task {shlex.quote(task)}", f"--device {device}"]
    words += [f"--network {network}"] + ([f"--data {plan.data}"] if plan.data else [])
    words += supernet
    class_args: Settings = {
        "objectives": {metric: direction, **dict.fromkeys(plan.costs, "minimize")}
    }
    if plan.limits:
        class_args["constraints"] = plan.limits
    class_args |= {
        "population_size": min(_POPULATION, max(4, plan.trials // 4)),
        "seed": 0,
        **({FINAL: {"epochs": plan.final_epochs}} if plan.final_epochs else {}),
        "costs": {"network": "space.network.json", "device": _from(folder, plan.device)},
    }
    return {
        "experimentName": f"joint-ga {task.partition(':')[0]}",
        "searchSpaceFile": "space.json",
        "trialCommand": " ".join(words),
        "trialCodeDirectory": os.path.relpath(code, folder),
        "trialConcurrency": plan.concurrency,
        "maxTrialNumber": plan.trials,
        "tuner": {"name": "JointGA", "classArgs": class_args},
        "trainingService": {"platform": "local"},
    }


def _from(folder: Path, device: str) -> str:
    return os.path.relpath(device, folder) if Path(device).is_file() else device
