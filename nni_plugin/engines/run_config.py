"""An experiment's YAML file, as an engine without NNI's manager reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from ga.problem.finite import as_finite, shortened
from nni_plugin.engines.driver import Budget
from nni_plugin.protocol import dispatcher
from nni_plugin.protocol.json_types import JsonObject, NniSpace, Settings
from nni_plugin.setup.config_check import OWN_ASSESSOR, OWN_TUNER
from nni_plugin.study.trial_limits import duration_s
from nni_plugin.study.tuner_args import TunerArgs

__all__ = ["RunConfig"]

_NAMES = {"JointGA": OWN_TUNER, "joint-ga": OWN_TUNER, "ParetoAssessor": OWN_ASSESSOR}
_NAMES["pareto"] = OWN_ASSESSOR
_OF_NNI = ("sharedStorage", "advisor")
"""Settings that change what trials get; an engine that left them out would run something else."""


@dataclass(frozen=True)
class RunConfig:
    """What a run needs of its config.

    Attributes:
        settings: as in the file, with absolute paths.
        space: NNI's search space.
        class_args: the tuner's.
        assessor: the assessor's ``classArgs``; None for no early stopping.
        command: of a trial.
        code: the folder that trials start in.
        concurrency: how many trials run at once.
        gpus: of each trial.
        budget: trials and seconds.
        home: the folder of all experiments.
    """

    settings: Settings
    space: NniSpace
    class_args: JsonObject
    assessor: JsonObject | None
    command: str
    code: Path
    concurrency: int
    gpus: float
    budget: Budget
    home: Path

    @classmethod
    def load(cls, path: Path) -> RunConfig:
        """Reads a config.

        Raises:
            ValueError: it asks for something that only NNI has, or lacks something.
            OSError: a file can't be read.
        """
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError(f"{path}: holds no experiment's settings")
        return cls.of(_with_absolute_paths(settings, path.resolve().parent))

    @classmethod
    def of(cls, settings: Settings) -> RunConfig:
        """The same of settings whose paths are absolute, such as those of a resume.

        Raises:
            ValueError: as for :meth:`load`.
            OSError: the search space's file can't be read.
        """
        _check_service(settings)
        tuner = _section(settings, "tuner", OWN_TUNER)
        if tuner is None:
            raise ValueError("tuner: missing; write 'tuner: {name: JointGA, classArgs: {...}}'")
        assessor = _section(settings, "assessor", OWN_ASSESSOR)
        command = settings.get("trialCommand")
        if not isinstance(command, str) or not command.strip():
            raise ValueError("trialCommand: missing")
        concurrency = settings.get("trialConcurrency", 1)
        trials = settings.get("maxTrialNumber")
        for name, number in (("trialConcurrency", concurrency), ("maxTrialNumber", trials)):
            if number is not None and (not isinstance(number, int) or number < 1):
                raise ValueError(f"{name}={shortened(number)} should be a whole number from 1 on")
        seconds = duration_s(settings.get("maxExperimentDuration"))
        return cls(
            settings,
            _space(settings),
            dict(tuner.get("classArgs") or {}),
            None if assessor is None else dict(assessor.get("classArgs") or {}),
            command,
            Path(settings["trialCodeDirectory"]),
            concurrency,
            as_finite(settings.get("trialGpuNumber")) or 0.0,
            Budget(trials, seconds),
            Path(settings["experimentWorkingDirectory"]),
        )

    def tuner_args(self) -> TunerArgs:
        """The tuner's arguments, checked.

        Raises:
            TypeError: an argument is unknown.
            ValueError: an argument's value can't be used.
        """
        return TunerArgs.parse(self.class_args, dispatcher.folders(self.settings))

    def with_numbers(self, trials: int | None, concurrency: int | None) -> RunConfig:
        """With another budget or concurrency; None leaves what the file says."""
        settings = dict(self.settings)
        budget = self.budget
        if trials is not None:
            settings["maxTrialNumber"] = trials
            budget = replace(budget, trials=trials)
        if concurrency is not None:
            settings["trialConcurrency"] = concurrency
        return replace(
            self,
            settings=settings,
            budget=budget,
            concurrency=concurrency or self.concurrency,
        )


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    """The settings with paths that mean the same from anywhere, as NNI makes them."""

    def absolute(value: object) -> str:
        return str((folder / Path(str(value)).expanduser()).resolve())

    result = dict(settings)
    service = settings.get("trainingService")
    for name in ("trialCommand", "trialCodeDirectory"):
        if result.get(name) is None and isinstance(service, Mapping) and service.get(name):
            result[name] = service[name]
    result["trialCodeDirectory"] = absolute(result.get("trialCodeDirectory") or ".")
    home = settings.get("experimentWorkingDirectory") or "~/nni-experiments"
    result["experimentWorkingDirectory"] = absolute(home)
    if settings.get("searchSpaceFile") is not None:
        result["searchSpaceFile"] = absolute(settings["searchSpaceFile"])
    for name in ("tuner", "assessor"):
        section = settings.get(name)
        if isinstance(section, Mapping) and section.get("codeDirectory"):
            result[name] = {**section, "codeDirectory": absolute(section["codeDirectory"])}
    return result


def _check_service(settings: Settings) -> None:
    service = settings.get("trainingService")
    services = service if isinstance(service, list) else [service or {}]
    names = [str(s.get("platform", "local")) for s in services if isinstance(s, Mapping)]
    other = [name for name in names if name != "local"]
    if other:
        raise ValueError(
            f"trainingService: {other[0]!r} is NNI's: run it with --engine nni, or take the "
            "section out; --engine ray reaches other machines"
        )
    for name in _OF_NNI:
        if settings.get(name):
            raise ValueError(f"{name}={shortened(settings[name])} needs --engine nni")


def _section(settings: Settings, kind: str, own: tuple[str, ...]) -> Settings | None:
    section = settings.get(kind)
    if section is None:
        return None
    if not isinstance(section, dict):
        raise ValueError(f"{kind}: {shortened(section)} should be a mapping")
    given = section.get("className") or section.get("name")
    if given not in own and _NAMES.get(str(given)) != own:
        raise ValueError(f"{kind}: {shortened(given)} needs --engine nni (others run {own[0]})")
    return section


def _space(settings: Settings) -> NniSpace:
    file = settings.get("searchSpaceFile")
    space = settings.get("searchSpace")
    if (file is None) == (space is None):
        raise ValueError("give one of searchSpace and searchSpaceFile")
    if file is not None:
        space = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    if not isinstance(space, dict):
        raise ValueError(f"the search space is {shortened(space)}, not a mapping of genes")
    return space
