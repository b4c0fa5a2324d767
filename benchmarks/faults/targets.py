"""What is fed with wrong input: each target takes a random source and a folder for its files."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

import ga
import hardware
from benchmarks.faults.values import mutated, text, value
from ga.problem.objectives import Objectives, parse_constraints, violation
from ga.problem.sensitivities import Sensitivities
from hardware.device import parse_device
from nni_plugin import search_space
from nni_plugin.protocol.metrics import read_metrics
from nni_plugin.setup.config_check import check_config
from nni_plugin.study.selection import Pick
from nni_plugin.study.trial_log import Trial, TrialLog
from nni_plugin.study.tuner_args import TunerArgs

Target = Callable[[random.Random, Path], object]

SPACE: dict[str, Any] = {
    "a.prune": {"_type": "choice", "_value": [0.0, 0.25, 0.5]},
    "a.w_bits": {"_type": "choice", "_value": [8, 4, 2]},
    "kind": {"_type": "choice", "_value": ["x", "y", None]},
    "n": {"_type": "randint", "_value": [1, 9]},
    "u": {"_type": "uniform", "_value": [0, 1]},
    "qu": {"_type": "quniform", "_value": [0, 1, 0.1]},
    "lu": {"_type": "loguniform", "_value": [1e-5, 1]},
    "qlu": {"_type": "qloguniform", "_value": [1, 1000, 2]},
    "no": {"_type": "normal", "_value": [0, 1]},
    "qno": {"_type": "qnormal", "_value": [0, 1, 0.5]},
    "ln": {"_type": "lognormal", "_value": [0, 1]},
    "qln": {"_type": "qlognormal", "_value": [0, 1, 0.5]},
    "nested": {
        "_type": "choice",
        "_value": [{"_name": "p", "k": {"_type": "choice", "_value": [1, 2]}}, {"_name": "q"}],
    },
}
CLASS_ARGS: dict[str, Any] = {
    "objectives": {"accuracy": "maximize", "size_kb": "minimize"},
    "constraints": {"ram_kb": "<= 64", "accuracy": [">= 0.5", "<= 1"]},
    "costs": {"network": "net.json", "device": "stm32f746"},
    "optimize_mode": "maximize",
    "initial": [{"a": 1}],
    "population_size": 8,
    "seed": 0,
    "survival": "nsga2",
    "surrogate": "none",
    "sensitivities": {"a": 0.1, "a.w_bits": {"2": 0.5, "4": 0.1}},
}
METRICS: dict[str, Any] = {"accuracy": 0.9, "size_kb": 12, "ram_kb": 3.5, "uid": 4}
JOURNAL: tuple[dict[str, Any], ...] = (
    {"event": "start", "version": 1, "objectives": CLASS_ARGS["objectives"], "constraints": {},
     "seed": 3, "space": {"a": SPACE["a.w_bits"]}, "costs": None, "class_args": {}, "time": 1e9},
    {"event": "ask", "uid": 1, "params": {"a": 4}, "costs": {"size_kb": 3.0}, "origin": "lhs",
     "time": 1e9 + 1},
    {"event": "ask", "uid": 2, "params": {"a": 8}, "costs": None, "origin": "ga", "time": 1e9 + 2},
    {"event": "tell", "uid": 1, "metrics": {"accuracy": 0.9, "size_kb": 3.0}, "time": 1e9 + 3},
    {"event": "fail", "uid": 2, "reason": "it died", "time": 1e9 + 4},
    {"event": "end", "reason": "budget", "time": 1e9 + 5},
)  # fmt: skip
SENSITIVITIES: dict[str, Any] = {
    "a": 0.1,
    "a.prune": {"0.25": 0.01, "0.5": 0.1, 0.75: 0.2},
    "a.w_bits": {"2": 0.5, "4": 0.1},
}
DEVICE: dict[str, Any] = {
    "id": "mine",
    "name": "My board",
    "core": "cortex-m4",
    "clock_mhz": 80,
    "flash_kb": 1024,
    "ram_kb": 128,
    "power_mw": 12.5,
    "sleep_mw": 0.1,
    "weight_bits": [2, 4, 8],
    "activation_bits": [4, 8],
    "stack": "tflm",
    "stacks": {
        "tflm": {"kappa": 1.5, "error": 0.1, "source": "measured", "networks": 3},
        "table": {
            "model": "table",
            "macs_per_cycle": {"conv": {"a8w8": 2.0}, "linear": {"a8w8": 1.0}},
            "layer_cycles": 10,
            "source": "measured",
        },
    },
    "sources": dict.fromkeys(
        ("clock_mhz", "flash_kb", "ram_kb", "power_mw", "sleep_mw", "weight_bits",
         "activation_bits", "stacks"), "datasheet",
    ),
}  # fmt: skip


@functools.cache
def network() -> hardware.Network:
    """A small network with every kind of shape: convolutions, a residual sum, a linear head."""
    layers = (
        hardware.Layer("a", "conv", ("input",), (1, 8, 8), (8, 6, 6), kernel=(3, 3), module="a"),
        hardware.Layer("r", "activation", ("a",), (8, 6, 6), (8, 6, 6)),
        hardware.Layer(
            "d", "depthwise", ("r",), (8, 6, 6), (8, 6, 6), kernel=(3, 3), padding=(1, 1), groups=8
        ),
        hardware.Layer("s", "add", ("r", "d"), (8, 6, 6), (8, 6, 6)),
        hardware.Layer("p", "global_pool", ("s",), (8, 6, 6), (8, 1, 1)),
        hardware.Layer("f", "reshape", ("p",), (8, 1, 1), (8,)),
        hardware.Layer("l", "linear", ("f",), (8,), (4,)),
    )
    groups = (
        hardware.ChannelGroup("a", ("a", "d"), 8),
        hardware.ChannelGroup("l", ("l",), 4, prunable=False, reason="the network's output"),
    )
    return hardware.Network(layers, groups, metadata={"metric_name": "accuracy"})


def space(rng: random.Random, folder: Path) -> None:
    names = rng.sample(list(SPACE), rng.randint(1, 5))
    made = search_space.parse(mutated({name: SPACE[name] for name in names}, rng))
    for _ in range(3):
        genome = made.sample(rng)
        assert made.key(made.encode(made.decode(genome))) == made.key(genome)
        made.distance(genome, made.sample(rng))
    if made.cardinality is not None:
        made.decode(made.nth(made.cardinality - 1))
    if rng.random() < 0.02:
        optimizer = ga.Optimizer(made, {"x": "minimize"}, population_size=4, seed=0)
        with suppress(ga.SpaceExhausted):
            for _ in range(6):
                optimizer.tell(optimizer.ask().id, {"x": rng.random()})


def class_args(rng: random.Random, folder: Path) -> None:
    names = rng.sample(list(CLASS_ARGS), rng.randint(1, len(CLASS_ARGS)))
    given = mutated({name: CLASS_ARGS[name] for name in names}, rng)
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        return  # NNI passes them as keyword arguments
    args = TunerArgs.parse(given, [folder])
    args.starting_points()
    args.cost_model()


def metrics(rng: random.Random, folder: Path) -> None:
    report = value(rng) if rng.random() < 0.3 else mutated(METRICS, rng)
    objectives = Objectives.parse({"accuracy": "maximize", "size_kb": "minimize"})
    if rng.random() < 0.5:
        objectives.losses(read_metrics(report, objectives.names))
    elif isinstance(report, dict):
        objectives.losses(report)


def constraints(rng: random.Random, folder: Path) -> None:
    valid = {"ram_kb": "<= 64", "accuracy": [">= 0.5", "<= 1"], "size_kb": text("< 1e3", rng)}
    violation(parse_constraints(mutated(valid, rng)), METRICS)


def picks(rng: random.Random, folder: Path) -> None:
    pick = Pick.parse(text("accuracy >= 0.90, ram_kb <= 64, min size_kb", rng))
    pick.choose([Trial(i, {}, "complete", {**METRICS, "ram_kb": i}) for i in range(4)])


def params(rng: random.Random, folder: Path) -> None:
    valid = {"a.prune": 0.5, "a.w_bits": 4, "a.a_bits": 8, "l.w_bits": 2, "uid": 1}
    if rng.random() < 0.5:
        valid |= {"pruner": "l1", "l.rank": 0.5, "a.sparsity": 0.5, "l.w_scheme": "uniform"}
    if rng.random() < 0.5:
        given = mutated(valid, rng)
        if isinstance(given, dict):
            network().phenotype(given)
            costs_of(given)
    else:
        made = search_space.parse(SPACE)
        made.encode(mutated(made.decode(made.sample(rng)), rng))


@functools.cache
def _cost_function() -> hardware.CostFunction:
    return hardware.cost_function(network(), hardware.load_device("stm32f746"))


def costs_of(given: dict[str, Any]) -> None:
    _cost_function()(given)


def sensitivities(rng: random.Random, folder: Path) -> None:
    given = value(rng) if rng.random() < 0.1 else mutated(SENSITIVITIES, rng)
    read = Sensitivities.parse(given)
    for gene, (values, _) in read.genes.items():
        read.losses(gene, values)
    if rng.random() < 0.05:
        made = search_space.parse({name: SPACE[name] for name in ("a.prune", "a.w_bits")})
        options = {"population_size": 4, "seed": 0, "sensitivities": given}
        ga.Optimizer(made, {"x": "minimize"}, **options).ask()


def device(rng: random.Random, folder: Path) -> None:
    if rng.random() < 0.7:
        made = parse_device(mutated(DEVICE, rng))
    else:
        file = folder / "device.yml"
        written = text(yaml.safe_dump(DEVICE), rng)
        file.write_text(written, encoding="utf-8")
        made = hardware.load_device(file)
    layers = network().layers
    hardware.estimate(layers, made)
    hardware.layer_costs(layers, made)


def networks(rng: random.Random, folder: Path) -> None:
    valid = json.loads(network().to_json())
    try:
        written = json.dumps(mutated(valid, rng), default=str)
    except (ValueError, TypeError, RecursionError):  # no JSON: nothing that a file could hold
        written = text(json.dumps(valid), rng)
    made = hardware.Network.from_json(written)
    chip = hardware.load_device("stm32f746")
    for group in made.groups:
        made.kept({f"{group.name}.prune": 0.5} if group.prunable else {})
    hardware.estimate(made.apply({}), chip)
    hardware.estimate(made.apply({f"{g.name}.prune": 0.5 for g in made.groups if g.prunable}), chip)


def journals(rng: random.Random, folder: Path) -> None:
    lines = [text(json.dumps(event), rng) if rng.random() < 0.2 else "" for event in JOURNAL]
    for index, event in enumerate(JOURNAL):
        with suppress(ValueError, TypeError, RecursionError):  # no JSON: another line of text
            lines[index] = lines[index] or json.dumps(
                mutated(event, rng) if rng.random() < 0.4 else event
            )
    rng.shuffle(lines)
    file = folder / "journal.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="replace")
    log = TrialLog.read(file)
    Pick.parse("min size_kb").choose(log.finished("complete"))


def tasks(rng: random.Random, folder: Path) -> None:
    from evaluators import load_task

    # A class of the standard library, so that no mutation of it starts a training.
    load_task(text("json.decoder:JSONDecoder?strict=1&remove_dead=1", rng), None)


def devices_by_name(rng: random.Random, folder: Path) -> None:
    name = text(rng.choice(["stm32l4r5:tflm", "stm32f746", "./mine.yml:tflm"]), rng)
    hardware.load_device(name)


def configs(rng: random.Random, folder: Path) -> None:
    network().save(folder / "net.json")
    valid = {
        "searchSpace": {"a.w_bits": {"_type": "choice", "_value": [2, 4, 8]}},
        "trialCommand": "python3 -m nni_plugin.trial --task t:build --device stm32f746",
        "trialCodeDirectory": ".",
        "trialConcurrency": 2,
        "maxTrialNumber": 20,
        "tuner": {
            "className": "nni_plugin.JointGATuner",
            "codeDirectory": ".",
            "classArgs": {"objectives": {"accuracy": "maximize"}, "costs": CLASS_ARGS["costs"]},
        },
        "assessor": {"className": "nni_plugin.ParetoAssessor", "codeDirectory": "."},
        "trainingService": {"platform": "local"},
    }
    file = folder / "config.yml"
    try:
        written = yaml.safe_dump(mutated(valid, rng))
    except (ValueError, RecursionError):
        written = text(yaml.safe_dump(valid), rng)
    file.write_text(written, encoding="utf-8", errors="replace")
    problems = check_config(file)
    bare = [p for p in problems if not p.strip()]
    assert not bare, problems


TARGETS: dict[str, tuple[int, Target]] = {
    "space": (14, space),
    "class_args": (10, class_args),
    "metrics": (14, metrics),
    "constraints": (14, constraints),
    "picks": (12, picks),
    "params": (12, params),
    "sensitivities": (10, sensitivities),
    "device": (7, device),
    "device_name": (3, devices_by_name),
    "network": (10, networks),
    "journal": (8, journals),
    "task": (1, tasks),
    "config": (1, configs),
}
"""Share of the cases and function, by name."""
