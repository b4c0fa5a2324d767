"""The tuner's class arguments: checked in one place, by tuner and ``joint-ga check``.

NNI never calls a class-args validator for today's configs, so the tuner does.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import ga
from ga.evaluation import COMPLETE, GA
from ga.evolution.operators import read_replacements
from ga.problem.finite import shortened
from ga.problem.objectives import parse_constraints
from ga.strategies.registry import check_strategy
from nni_plugin.protocol.dispatcher import experiment_config, find_file, folders
from nni_plugin.protocol.json_types import JsonObject, Params, Settings
from nni_plugin.protocol.metrics import DEFAULT, UID
from nni_plugin.protocol.suggestions import did_you_mean
from nni_plugin.study.final_args import NAME as FINAL
from nni_plugin.study.final_args import FinalArgs
from nni_plugin.study.trial_limits import NAME as TRIAL_LIMITS
from nni_plugin.study.trial_limits import TrialLimits
from nni_plugin.study.trial_log import TrialLog
from nni_plugin.study.user_functions import UserFunction, import_path, load_function

CostModel = Callable[[Params], Mapping[str, float]]

# Of the optimizer's arguments, those that aren't plain data a config could hold.
_BUILT_HERE = frozenset({"self", "space", "objectives", "constraints", "costs", "phenotype"})


def search_options() -> Settings:
    """The optimizer's own options that a config may set, with their defaults."""
    parameters = inspect.signature(ga.Optimizer.__init__).parameters
    return {n: p.default for n, p in parameters.items() if n not in _BUILT_HERE}


@dataclass(frozen=True)
class TunerArgs:
    """What a config's ``classArgs`` may hold.

    Attributes:
        objectives: ``{metric: maximize | minimize}``; without it ``default`` is optimized.
        constraints: ``{metric: "<= 256"}``.
        costs: ``{network: FILE, device: ID or FILE}``, or ``module:function``, a function from
            parameters to ``{metric: value}`` for metrics that are known before a trial.
        optimize_mode: direction of ``default``; NNI's UI ranks trials by it.
        initial: parameters to begin with: a list of dicts, a JSON file with such a list, or the
            journal of an earlier experiment, whose complete trials' parameters are taken.
        trial_limits: what a trial may take: ``{seconds: 600, memory_mb: 4000}``.
        final: what is trained to the end: ``{epochs: 40, trials: 5, count: 3, seeds: 3}``.
        options: the optimizer's own options, see ``search_options``. Its ``toolbox`` holds
            operators as ``module:function``, or ``{function: module:function, ...}`` with further
            arguments.
        folders: where relative paths start from.
    """

    objectives: dict[str, str]
    constraints: JsonObject = field(default_factory=dict)
    costs: dict[str, str] | str | None = None
    optimize_mode: str = "maximize"
    initial: list[Params] | str | None = None
    trial_limits: JsonObject | None = None
    final: JsonObject | None = None
    options: Settings = field(default_factory=dict)
    folders: tuple[Path, ...] = ()

    @classmethod
    def parse(
        cls, class_args: Mapping[str, object], base: Sequence[Path] | None = None
    ) -> TunerArgs:
        """Checks a config's ``classArgs``.

        Args:
            class_args: as written in the config.
            base: where relative paths start from; by default what NNI told this process.

        Raises:
            TypeError: an argument doesn't exist; the message lists those that do.
            ValueError: an argument's value can't be used.
        """
        defaults = search_options()
        own = {f.name for f in fields(cls)} - {"options", "folders"}
        # `population_size:` with nothing behind it means something to the optimizer: derive it.
        args: Settings = {n: x for n, x in class_args.items() if x is not None or n not in own}
        unknown = sorted(set(args) - own - set(defaults))
        if unknown:
            allowed = ", ".join(sorted(own | set(defaults)))
            near = did_you_mean(unknown[0], own | set(defaults))
            raise TypeError(f"unknown classArgs: {', '.join(unknown)}{near} (allowed: {allowed})")
        mode = args.get("optimize_mode", "maximize")
        if mode not in ("maximize", "minimize"):
            raise ValueError(f"optimize_mode={shortened(mode)} (allowed: 'maximize', 'minimize')")
        objectives = args.get("objectives", {DEFAULT: mode})
        ga.Objectives.parse(objectives)
        constraints = args.get("constraints", {})
        parse_constraints(constraints)
        _check_costs(args.get("costs"))
        TrialLimits.parse(args.get(TRIAL_LIMITS))
        parsed = cls(
            dict(objectives),
            dict(constraints),
            args.get("costs"),
            mode,
            args.get("initial"),
            args.get(TRIAL_LIMITS),
            args.get(FINAL),
            {name: args[name] for name in defaults if name in args and name != "initial"},
            tuple(folders(experiment_config()) if base is None else base),
        )
        parsed.final_args()
        parsed._try_options()
        parsed._check_toolbox()
        return parsed

    @property
    def seed(self) -> int:
        """The seed of everything random."""
        seed: int = {**search_options(), **self.options}["seed"]
        return seed

    def limits(self) -> TrialLimits:
        """What ``trial_limits`` says."""
        return TrialLimits.parse(self.trial_limits)

    def final_args(self) -> FinalArgs | None:
        """What ``final`` says; None without it."""
        return FinalArgs.parse(self.final, self.required)

    @property
    def required(self) -> list[str]:
        """The metrics that a trial's result must hold."""
        names = [*self.objectives, *(c.metric for c in parse_constraints(self.constraints))]
        return list(dict.fromkeys(names))

    def cost_model(self) -> CostModel | None:
        """The function behind ``costs``.

        Raises:
            FileNotFoundError: a file isn't there.
            ValueError: a file or a function can't be used.
        """
        if self.costs is None:
            return None
        if isinstance(self.costs, str):
            return load_function("costs", self.costs, self.folders)
        import hardware

        network = find_file(self.costs["network"], self.folders, "costs: network")
        device = self.costs["device"]
        if device.partition(":")[0].endswith((".yml", ".yaml")):
            device = str(find_file(device, self.folders, "costs: device"))
        return hardware.cost_function(hardware.Network.load(network), hardware.load_device(device))

    def starting_points(self) -> list[Params]:
        """The parameters behind ``initial``.

        Raises:
            FileNotFoundError: the file isn't there.
            ValueError: it holds something else than a list of parameters.
        """
        initial: object = self.initial or []
        if isinstance(initial, str):
            path = find_file(initial, self.folders, "initial")
            if path.suffix == ".jsonl":
                initial = [trial.params for trial in TrialLog.read(path).finished(COMPLETE)]
            else:
                initial = json.loads(path.read_text())
        if not isinstance(initial, list) or not all(isinstance(p, dict) for p in initial):
            raise ValueError(
                f"initial={shortened(self.initial)} should be a list of parameter dicts, or a file "
                "with one"
            )
        return [{k: v for k, v in params.items() if k != UID} for params in initial]

    def optimizer_options(self, cost_model: CostModel | None) -> Settings:
        """Keyword arguments of ``ga.Optimizer``, all but space and objectives."""
        return {
            **self.options,
            **self._operators(),
            "constraints": self.constraints,
            "costs": cost_model,
            "phenotype": getattr(cost_model, "phenotype", None),
            "initial": self.starting_points(),
            **self._known_sensitivities(cost_model),
        }

    def _operators(self) -> JsonObject:
        """The ``toolbox``; its functions may import what lies beside them when they are called."""
        if self.options.get("toolbox") is None:
            return {}
        with import_path(*self.folders):
            found = read_replacements(self.options["toolbox"])
        wrapped = {name: UserFunction(one.function, self.folders) for name, one in found.items()}
        return {
            "toolbox": {
                name: {**one.options, "function": wrapped[name]} if one.options else wrapped[name]
                for name, one in found.items()
            }
        }

    def _known_sensitivities(self, cost_model: CostModel | None) -> JsonObject:
        """Those that were written into the network file, unless the config brings its own."""
        network = getattr(cost_model, "network", None)
        found = network.metadata.get("sensitivities") if network is not None else None
        return {} if found is None or "sensitivities" in self.options else {"sensitivities": found}

    def _try_options(self) -> None:
        """Lets the optimizer itself judge its options, on a space of two points."""
        space = ga.SearchSpace([ga.Categorical("x", ("a", "b"))])
        # Operators may be written for the real space: they are tried there, when a search starts.
        # So are strategies, which need costs, sensitivities or points.
        later = ("toolbox", "strategy")
        options = {name: value for name, value in self.options.items() if name not in later}
        check_strategy(self.options.get("strategy", GA))
        try:
            ga.Optimizer(space, self.objectives, self.constraints, **options)
        except TypeError as error:
            raise ValueError(f"classArgs: {error}") from error

    def _check_toolbox(self) -> None:
        """Imports the operators of ``toolbox``; their modules may lie in one of the folders."""
        try:
            with import_path(*self.folders):
                read_replacements(self.options.get("toolbox"))
        except ValueError as error:
            places = ", ".join(map(str, self.folders)) or "no folder"
            raise ValueError(
                f"{error} (beside the installed packages, looked in {places})"
            ) from error


def _check_costs(costs: object) -> None:
    if costs is None or isinstance(costs, str):
        return
    if not isinstance(costs, Mapping) or set(costs) != {"network", "device"}:
        raise ValueError(
            f"costs={shortened(costs)} should be {{network: FILE, device: ID}} or 'module:function'"
        )
    for key, value in costs.items():
        if not isinstance(value, str):
            raise ValueError(f"costs: {key}={shortened(value)} should be a file name or an id")
