"""Writes what an experiment of one's own needs: task, search space and NNI config."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ga.problem.objectives import Constraint
from nni_plugin.protocol.json_types import Settings
from nni_plugin.protocol.metrics import COSTS
from nni_plugin.protocol.suggestions import did_you_mean
from nni_plugin.study.user_functions import import_path
from nni_plugin.user_paths import check_writable

if TYPE_CHECKING:
    from evaluators import Task
    from evaluators.supernet.forecast import Forecast
    from hardware import Network
    from hardware.ir.restrictions import Restrictions

__all__ = ["Plan", "code_folder", "write_plan"]

_TEMPLATE = Path(__file__).with_name("template_task.py")
_UNLABELLED = Path(__file__).with_name("template_unlabelled_task.py")
_TEMPLATE_TASK = "my_task:build"
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

    @classmethod
    def make(cls, *, limits: tuple[str, ...], trials: int, concurrency: int, **rest: Any) -> Plan:
        """Checks the options and reads limits like ``ram_kb <= 64``.

        Raises:
            ValueError: an unreadable limit, an unknown cost, a number below 1, or a task that is
                to have no labels.
        """
        if rest["task"] is not None and not rest.get("labels", True):
            raise ValueError(
                "--no-labels is for the template that is written without --task: a task of your "
                "own says it by its metric, as in Task(metric='sqnr_db')"
            )
        for name, number in (("--trials", trials), ("--concurrency", concurrency)):
            if number < 1:
                raise ValueError(f"{name}={number} should be at least 1")
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
                    f"{constraint.bound:g}'{_unit(near[0])}?"
                )
            parsed[metric] = f"{constraint.operator} {constraint.bound:g}"
        return cls(limits=parsed, trials=trials, concurrency=concurrency, **rest)


def write_plan(
    plan: Plan,
    try_task: Callable[[str, Path], None] = lambda _task, _folder: None,
    say: Callable[[str], None] = lambda _line: None,
    offer: Callable[[Forecast], bool] = lambda _costs: False,
) -> list[Path]:
    """Writes the files and returns their paths, the config last.

    Args:
        plan: what to write.
        try_task: called with a task of the user's and the folder that its trials will start in,
            before the task is built in this process.
        say: called with a line about what could be had besides.
        offer: called with the costs of a supernet where the plan leaves it open; whether trials
            are to start from one.

    Raises:
        FileExistsError: one of them is there already; nothing is overwritten.
        OSError: the folder can't be written.
        ValueError: the task, its model or the device can't be used.
    """
    import hardware
    from evaluators import load_task
    from evaluators.compression.dead_channels import find
    from nni_plugin.setup.space_files import network_file, write_space

    folder = plan.folder
    space, config = folder / "space.json", folder / "ga_joint.yml"
    template = folder / "my_task.py"
    if folder.is_file():
        raise NotADirectoryError(f"{folder} is a file: give a folder to write into")
    for path in (space, config, *([template] if plan.task is None else [])):
        if path.exists():
            raise FileExistsError(
                f"{path} is there already: give another folder (joint-ga init FOLDER), or remove it"
            )
    device = hardware.load_device(plan.device)
    check_writable(folder)
    if plan.task is not None:
        try_task(plan.task, code_folder(plan.task, folder))
    written = [*([template] if plan.task is None else []), space, network_file(space), config]
    with _whole_or_not(folder, written):
        if plan.task is None:
            text = (_TEMPLATE if plan.labels else _UNLABELLED).read_text(encoding="utf-8")
            template.write_text(text, encoding="utf-8")
        name = plan.task or _TEMPLATE_TASK
        code = code_folder(name, folder)
        with import_path(code, first=True):
            task = load_task(name, plan.data)
            _check_limits(plan, task.metric_name)
            described, _ = write_space(task, name, device, space, {}, restrictions=plan.decided)
            if (dead := find(task, described)).count:
                remedy = f"{name}{'&' if '?' in name else '?'}remove_dead=1"
                say(f"{dead.summary}; --task '{remedy}' takes them out before the search")
            supernet = _supernet(plan, task, described, space, code, say, offer)
        direction = "maximize" if task.metric_mode == "max" else "minimize"
        settings = _settings(plan, name, task.metric_name, direction, code, supernet)
        text = yaml.safe_dump(settings, sort_keys=False, width=100)
        config.write_text(f"# joint-ga run {config.name}\n{text}", encoding="utf-8")
    return written


@contextmanager
def _whole_or_not(folder: Path, files: Iterable[Path]) -> Iterator[None]:
    """Makes a folder; after an error it is gone, or without the files if it was there before.

    A second try would be told that they are there already.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        if missing:
            shutil.rmtree(missing[-1])
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


def _supernet(
    plan: Plan,
    task: Task,
    network: Network,
    space: Path,
    code: Path,
    say: Callable[[str], None],
    offer: Callable[[Forecast], bool],
) -> tuple[str, ...]:
    """Words of the trial command for trials that start from a supernet; none without one."""
    from evaluators.supernet.forecast import forecast
    from nni_plugin.setup.space_files import read_values

    # The template's model will be replaced, so its costs say nothing.
    if plan.supernet is False or (plan.supernet is None and plan.task is None):
        return ()
    try:
        costs = forecast(task, network, read_values(space))
    # The smaller networks run the user's own code.
    except (ValueError, RuntimeError) as error:
        if plan.supernet:
            raise ValueError(f"--supernet: {error}") from error
        say(f"trials can't start from a supernet: {error}")
        return ()
    if plan.supernet is None and not offer(costs):
        return ()
    say(f"the first trial trains a supernet: {costs}")
    return (
        f"--train-supernet {os.path.relpath(space.resolve(), code)}",
        f"--epochs {min(1, task.recipe.epochs)}",
    )


def _unit(cost: str) -> str:
    unit = {"kb": "KB", "ms": "ms", "mj": "mJ"}.get(cost.rpartition("_")[2])
    return f", in {unit}" if unit else ""


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
