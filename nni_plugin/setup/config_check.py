"""What can be known of an experiment's config before it is started: ``joint-ga check``.

NNI itself finds most mistakes ten seconds after the start, in a log file, or never.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shlex
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ga
from evaluators.cache import cache_dir
from evaluators.supernet.request import SupernetRequest
from ga.problem.finite import shortened
from nni_plugin import search_space
from nni_plugin.protocol import dispatcher
from nni_plugin.protocol.json_types import Settings
from nni_plugin.protocol.metrics import COSTS, DEFAULT
from nni_plugin.protocol.suggestions import did_you_mean
from nni_plugin.registration import registered_class
from nni_plugin.setup.allele_costs import try_all_alleles
from nni_plugin.setup.config_file import genes_of_config, read_config
from nni_plugin.setup.space_files import missing_lines
from nni_plugin.setup.supernet_training import SupernetTraining
from nni_plugin.setup.task_check import TaskCheck, TaskFindings, TaskOptions
from nni_plugin.setup.trial_request import (
    assigned,
    of_trial,
    supernet_request,
    task_request,
    trial_arguments,
)
from nni_plugin.study.final_args import planned_trials
from nni_plugin.study.tuner_args import TunerArgs
from nni_plugin.study.user_functions import import_path
from nni_plugin.user_paths import check_writable, inside

OWN_TUNER = ("nni_plugin.JointGATuner", "nni_plugin.tuner.JointGATuner")
OWN_ASSESSOR = ("nni_plugin.ParetoAssessor", "nni_plugin.assessor.ParetoAssessor")
_TEXTS = (
    "searchSpaceFile", "trialCommand", "trialCodeDirectory", "name", "className", "codeDirectory",
)  # fmt: skip


def check_config(path: str | Path, *, import_task: bool = False) -> list[str]:
    """Problems of an experiment's config, each with what to do about it; none means go.

    Args:
        path: the YAML file that ``nnictl create --config`` gets.
        import_task: also build the trial's task in another process, and try a batch of it.
    """
    return examine_config(path, TaskOptions() if import_task else None).problems


def examine_config(
    path: str | Path,
    task: TaskOptions | None,
    meanwhile: Callable[[], object] = lambda: None,
    *,
    on_nni: bool = True,
) -> TaskFindings:
    """Problems of a config, and notes on its task.

    Args:
        path: as for ``check_config``.
        task: how the trial's task is tried, if the trial is ``nni_plugin.trial``; None: not at all.
        meanwhile: work of the caller's, done while the task is tried and before NNI's names are
            looked up.
        on_nni: whether NNI is to run it, and has to find nothing wrong with it either.

    Returns:
        Also what would train the trials' supernet, if it is missing and the task was tried.
    """
    path = Path(path)
    config = read_config(path)
    if isinstance(config, str):
        return TaskFindings([config])
    check = _Check(path.resolve().parent, config, task)
    try:
        if not check.has_wrong_types():
            check.run(meanwhile)
        if on_nni and not check.problems:
            check.ask_nni(path)
        check.finish()
    finally:
        check.end()
    problems = list(dict.fromkeys(check.problems))
    return TaskFindings(problems, check.notes, training=check.training)


@dataclass
class _Check:
    folder: Path
    config: Settings
    options: TaskOptions | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    task: TaskCheck | None = None
    supernet: SupernetRequest | None = None
    training: SupernetTraining | None = None

    def has_wrong_types(self) -> bool:
        """Whether a setting isn't of the type that all the rest takes for granted; it is noted."""
        for section in ("", "tuner", "assessor", "trainingService"):
            settings = self.config.get(section) if section else self.config
            if not isinstance(settings, Mapping):
                continue
            prefix = f"{section}: " if section else ""
            for key, value in settings.items():
                if not isinstance(key, str):
                    self.problems.append(f"{prefix}{shortened(key)} is no name of a setting")
                elif key in _TEXTS and not isinstance(value, str | None):
                    self.problems.append(f"{prefix}{key}: {shortened(value)} should be a text")
                elif key == "classArgs" and not _is_settings(value):
                    self.problems.append(
                        f"{prefix}classArgs: {shortened(value)} should be a mapping of names to "
                        "values"
                    )
        return bool(self.problems)

    def run(self, meanwhile: Callable[[], object]) -> None:
        # First: while a process tries the task, this one does all the rest.
        trial = self._trial()
        meanwhile()
        space = self._space()
        self._experiments_folder()
        args = self._tuner()
        self._assessor()
        if args is None:
            return
        before = len(self.problems)
        costs = None
        with self._noting("tuner: classArgs: "):
            args.starting_points()
            costs = args.cost_model()
        if trial is not None:
            self._names(args, trial)
            self._same_device(args, trial)
        if space is not None and len(self.problems) == before:
            with self._noting("search space and costs: "):
                try_all_alleles(space, costs if isinstance(args.costs, dict) else None)
                options = args.optimizer_options(costs)
                optimizer = ga.Optimizer(space, args.objectives, **options)
                optimizer.ask()
                self.problems += optimizer.messages.troubles

    def _space(self) -> ga.SearchSpace | None:
        given = [
            key for key in ("searchSpace", "searchSpaceFile") if self.config.get(key) is not None
        ]
        if len(given) != 1:
            self.problems.append("give one of searchSpace and searchSpaceFile")
            return None
        with self._noting(f"{given[0]}: "):
            space = genes_of_config(self.config, self.folder)
            parsed = search_space.parse(space)
            slashed = [name for name in space if "/" in name]
            if slashed:
                self.problems.append(
                    f"searchSpace: NNI's tables cut names at '/': rename {', '.join(slashed)}"
                )
            return parsed
        return None

    def _tuner(self) -> TunerArgs | None:
        tuner = self.config.get("tuner")
        if not isinstance(tuner, dict):
            self.problems.append("tuner: missing; write 'tuner: {name: JointGA, classArgs: {...}}'")
            return None
        class_name = tuner.get("className")
        if class_name is None:
            name = str(tuner.get("name"))
            class_name = registered_class(name)
            if class_name is None:
                self.problems.append(
                    f"tuner: NNI knows no name '{name}'; run 'joint-ga register' for JointGA"
                )
                return None
        elif tuner.get("codeDirectory") is None:
            self.problems.append("tuner: className needs 'codeDirectory: .' beside it")
        else:
            with self._noting("tuner: "):
                if not (self.folder / tuner["codeDirectory"]).is_dir():
                    raise ValueError(f"codeDirectory {tuner['codeDirectory']!r} is no folder")
        if class_name not in OWN_TUNER:
            self._importable(class_name, tuner)
            return None
        with self._noting("tuner: classArgs: "):
            parsed = TunerArgs.parse(
                tuner.get("classArgs") or {}, dispatcher.folders(self._resolved())
            )
            planned_trials(parsed.final_args(), self.config)
            return parsed
        return None

    def _assessor(self) -> None:
        assessor = self.config.get("assessor")
        if not isinstance(assessor, dict):
            return
        class_name = assessor.get("className") or registered_class(str(assessor.get("name")))
        if class_name is None:
            self.problems.append(f"assessor: NNI knows no name '{assessor.get('name')}'")
        elif class_name in OWN_ASSESSOR:
            from nni_plugin.study.early_stopping import parse

            with self._noting("assessor: classArgs: "):
                parse(assessor.get("classArgs") or {})

    def _resolved(self) -> Settings:
        """The paths that NNI would pass on, made absolute as it does."""

        def absolute(path: str | None) -> str | None:
            return None if path is None else str(self.folder / Path(path).expanduser())

        tuner = dict(self.config.get("tuner") or {})
        return {
            "searchSpaceFile": absolute(self.config.get("searchSpaceFile")),
            "tuner": {"codeDirectory": absolute(tuner.get("codeDirectory"))},
            "trialCodeDirectory": str(self._code_folder()),
        }

    def _code_folder(self) -> Path:
        service = self.config.get("trainingService")
        inner = service.get("trialCodeDirectory") if isinstance(service, Mapping) else None
        return self.folder / (self.config.get("trialCodeDirectory") or inner or ".")

    def _importable(self, class_name: str, tuner: Settings) -> None:
        with self._noting(f"tuner: {class_name}: "):
            module, _, name = class_name.rpartition(".")
            with import_path(self.folder / (tuner.get("codeDirectory") or ".")):
                getattr(importlib.import_module(module), name)

    def _trial(self) -> Namespace | None:
        """The arguments of ``nni_plugin.trial``, if that is the trial."""
        service = self.config.get("trainingService")
        inner = service.get("trialCommand") if isinstance(service, Mapping) else None
        command = self.config.get("trialCommand") or inner
        if not isinstance(command, str) or not command.strip():
            self.problems.append("trialCommand: missing")
            return None
        words: list[str] = []
        with self._noting("trialCodeDirectory: "):
            if not self._code_folder().is_dir():
                raise ValueError(f"{self._code_folder()} is no folder")
        with self._noting(f"trialCommand: {shortened(command)}: "):
            words = shlex.split(os.path.expandvars(command))
        if "nni_plugin.trial" not in words:
            return None
        trial = None
        with self._noting("trialCommand: "):
            trial = trial_arguments(words)
        if trial is None:
            return None
        has_data = self._has_data(trial.data or "")
        import hardware

        with self._noting("trialCommand: --device: "), inside(self._code_folder()):
            hardware.load_device(trial.device)
        if trial.network:
            with self._noting("trialCommand: --network: "):
                described = hardware.Network.load(
                    dispatcher.find_file(trial.network, [self._code_folder()], "the network file")
                )
                self.notes += missing_lines(described.metadata)
        options = self.options
        with self._noting("trialCommand: "):
            self.supernet = supernet_request(trial, self._code_folder(), self.config, self.folder)
        if options is not None and has_data and (options.anywhere or self._is_local()):
            with self._noting("trialCommand: --task: "):
                self._try_task(trial, words, options)
        return trial

    def _try_task(self, trial: Namespace, words: Sequence[str], options: TaskOptions) -> None:
        """Starts a process that tries a batch of the task."""
        try:
            check_writable(cache_dir())
        except OSError as error:
            self.notes.append(f"cache: {error}, in JOINT_GA_CACHE; until then nothing is kept")
        tuner = self.config.get("tuner")
        class_args = (tuner.get("classArgs") if isinstance(tuner, dict) else None) or {}
        request = task_request(
            trial,
            class_args,
            self._code_folder(),
            dispatcher.folders(self._resolved()),
            options.read_s,
            self.supernet,
        )
        place = (self._code_folder(), assigned(words))
        self.task = TaskCheck(request, *place, options.limit_s)
        self.training = SupernetTraining.of(words, *place)

    def finish(self) -> None:
        """Waits for the task, if it is tried."""
        if self.task is None or self.options is None:
            return
        found = self.task.finish(self.options.say)
        said = list(map(of_trial, found.problems))
        if found.is_late and not self.options.wait:
            self.notes += said
        else:
            self.problems += said
        self.notes += map(of_trial, found.notes)
        if not (found.supernet_is_missing and self._is_local()):
            self.training = None

    def end(self) -> None:
        """Leaves nothing running."""
        if self.task is not None:
            self.task.end()

    def _is_local(self) -> bool:
        service = self.config.get("trainingService")
        return not isinstance(service, Mapping) or service.get("platform") == "local"

    def _experiments_folder(self) -> None:
        folder = self.config.get("experimentWorkingDirectory")
        with self._noting("experimentWorkingDirectory: "):
            if isinstance(folder, str | None):
                check_writable(self.folder / Path(folder or "~/nni-experiments").expanduser())

    def _has_data(self, data: str) -> bool:
        """Notes variables that would be empty in every trial; a remote machine has its own."""
        names = re.findall(r"\$\{?([A-Za-z]\w*)", data) if self._is_local() else []
        for name in names:
            self.problems.append(
                f"trialCommand: --data: the environment variable {name} is not set: set it to the "
                "data's path, or write the path itself"
            )
        return not names

    def _names(self, args: TunerArgs, trial: Namespace) -> None:
        """Objectives and constraints that ``nni_plugin.trial`` doesn't report."""
        if not isinstance(args.costs, dict):
            return
        import hardware

        with self._noting("tuner: classArgs: "):
            network = hardware.Network.load(
                dispatcher.find_file(args.costs["network"], args.folders, "costs: network")
            )
            metric = network.metadata.get("metric_name")
            if metric is None:
                return
            reported = (DEFAULT, str(metric), *COSTS)
            for name in args.required:
                if name not in reported:
                    self.problems.append(
                        f"tuner: classArgs: no trial reports the metric '{name}'"
                        f"{did_you_mean(name, reported)} (they report: {', '.join(reported)})"
                    )

    def _same_device(self, args: TunerArgs, trial: Namespace) -> None:
        if isinstance(args.costs, dict) and args.costs["device"] != trial.device:
            self.problems.append(
                f"the tuner computes costs for device '{args.costs['device']}', the trial for "
                f"'{trial.device}': name the same one in classArgs.costs and trialCommand"
            )

    def ask_nni(self, path: Path) -> None:
        """NNI's own look at the file, last because its messages are the tersest."""
        from nni.experiment.config import ExperimentConfig

        with self._noting("NNI: "):
            ExperimentConfig.load(path).validate()

    @contextlib.contextmanager
    def _noting(self, prefix: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever a user's file or module does is the answer here
            text = str(error) or "no message"
            if not isinstance(error, (ValueError, OSError)):
                text = f"{type(error).__name__}: {text}"
            self.problems.append(prefix + text)


def _is_settings(value: object) -> bool:
    return value is None or (isinstance(value, dict) and all(isinstance(k, str) for k in value))
