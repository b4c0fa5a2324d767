"""Writes what an experiment of one's own needs: task, search space and NNI config."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ga.problem.objectives import Constraint
from nni_plugin.protocol.json_types import Settings
from nni_plugin.protocol.metrics import COSTS
from nni_plugin.protocol.suggestions import did_you_mean
from nni_plugin.study.user_functions import import_path

__all__ = ["Plan", "write_plan"]

_TEMPLATE = Path(__file__).with_name("template_task.py")
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
    """

    folder: Path
    task: str | None
    device: str
    trials: int
    concurrency: int
    limits: dict[str, str]
    costs: tuple[str, ...]
    data: str | None = None

    @classmethod
    def make(cls, *, limits: tuple[str, ...], trials: int, concurrency: int, **rest: Any) -> Plan:
        """Checks the options and reads limits like ``ram_kb <= 64``.

        Raises:
            ValueError: an unreadable limit, an unknown cost, or a number below 1.
        """
        for name, number in (("--trials", trials), ("--concurrency", concurrency)):
            if number < 1:
                raise ValueError(f"{name}={number} should be at least 1")
        unknown = [cost for cost in rest["costs"] if cost not in COSTS]
        if unknown:
            raise ValueError(f"--objective {unknown[0]!r} is not a cost (one of {COSTS})")
        parsed = {}
        for text in limits:
            metric = re.split("[<>]", text, maxsplit=1)[0].strip()
            bound = text.strip()[len(metric) :]
            constraint = Constraint.parse(metric, bound)
            if near := [cost for cost in COSTS if cost.startswith(f"{metric}_")]:
                raise ValueError(f"--limit {text!r}: did you mean {near[0]!r}?")
            parsed[metric] = f"{constraint.operator} {constraint.bound:g}"
        return cls(limits=parsed, trials=trials, concurrency=concurrency, **rest)


def write_plan(plan: Plan) -> list[Path]:
    """Writes the files and returns their paths, the config last.

    Raises:
        FileExistsError: one of them is there already; nothing is overwritten.
        ValueError: the task, its model or the device can't be used.
    """
    import hardware
    from evaluators import load_task
    from nni_plugin.setup.space_files import network_file, write_space

    folder = plan.folder
    space, config = folder / "space.json", folder / "ga_joint.yml"
    template = folder / "my_task.py"
    for path in (space, config, *([template] if plan.task is None else [])):
        if path.exists():
            raise FileExistsError(
                f"{path} is there already: give another folder (joint-ga init FOLDER), or remove it"
            )
    device = hardware.load_device(plan.device)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    if plan.task is None:
        template.write_text(_TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
        written.append(template)
    name = plan.task or _TEMPLATE_TASK
    code = _code_folder(name, folder)
    with import_path(code, first=True):
        task = load_task(name, plan.data)
        try:
            _check_limits(plan, task.metric_name)
        except ValueError:
            # A second try would be told that it is there already.
            for path in written:
                path.unlink()
            raise
        write_space(task, name, device, space, {})
    written += [space, network_file(space)]
    direction = "maximize" if task.metric_mode == "max" else "minimize"
    settings = _settings(plan, name, task.metric_name, direction, code)
    text = yaml.safe_dump(settings, sort_keys=False, width=100)
    config.write_text(f"# joint-ga run {config.name}\n{text}", encoding="utf-8")
    return [*written, config]


def _check_limits(plan: Plan, metric: str) -> None:
    """Refuses limits on what no trial will report."""
    known = (metric, *COSTS)
    for name in plan.limits:
        if name not in known:
            raise ValueError(
                f"--limit: no trial reports {name!r}{did_you_mean(name, known)}; they report "
                f"{', '.join(known)}"
            )


def _code_folder(task: str, folder: Path) -> Path:
    """Where the trials must start so that they find the task's module."""
    relative = Path(*task.partition(":")[0].split("."))
    for place in (folder, Path()):
        if (place / relative).is_dir() or (place / relative).with_suffix(".py").is_file():
            return place.resolve()
    return folder.resolve()


def _settings(plan: Plan, task: str, metric: str, direction: str, code: Path) -> Settings:
    folder = plan.folder.resolve()
    device = plan.device
    if Path(device).is_file():
        device = os.path.relpath(device, code)
    network = os.path.relpath(folder / "space.network.json", code)
    # Options of a task, as in my_model:build?width=2&remove_dead=1, are signs to a shell.
    words = ["python3 -m nni_plugin.trial", f"--task {shlex.quote(task)}", f"--device {device}"]
    words += [f"--network {network}"] + ([f"--data {plan.data}"] if plan.data else [])
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
