"""What a network of the sweep goes through, stage by stage.

Each stage is a function of a `Subject` that returns its figures. It raises `WrongError` where the
project gave a false answer without a word; any other exception is the project's own.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from benchmarks.coverage import rival, zoo
from benchmarks.coverage.counts import counted_macs, needed_numbers, priced_numbers
from benchmarks.coverage.edges import differing
from benchmarks.coverage.masked import comparison, flat
from evaluators import Task, evaluate, trace
from evaluators.compression.decisions import read_candidate
from evaluators.compression.pruning import prune
from evaluators.export import checkpoint, export_candidate
from evaluators.export.folding import fold
from hardware import Layer, Network, cost_function, load_device
from hardware.costs import unique
from nni_plugin.network_space import for_network

DEVICE = "stm32h7a3"
RATIO = 0.5
MACS_TOLERANCE = 0.02
GAP_TOLERANCE = 1e-4
BATCH, BATCHES = 4, 2

Figures = dict[str, object]


class WrongError(AssertionError):
    """The project said something that is not so; `figures` are what it said."""

    def __init__(self, message: str, figures: Figures | None = None) -> None:
        super().__init__(message)
        self.figures = figures or {}


@dataclass
class Subject:
    """A network on its way through the stages.

    Attributes:
        entry: of the zoo.
        model: settled, in eval mode; no stage changes it.
        inputs: one batch.
        network: the project's view, once it is traced.
    """

    entry: zoo.Entry
    model: nn.Module
    inputs: Tensor
    network: Network | None = None
    task: Task = field(init=False)

    def __post_init__(self) -> None:
        # Of scores of classes the export compares the highest, which numbers of classes tell it.
        scores = getattr(_outputs(self.model, self.inputs), "shape", ()) == (BATCH, zoo.CLASSES)
        targets = torch.zeros(BATCH, dtype=torch.long if scores else torch.float)
        batches = [(zoo.inputs_of(self.entry, BATCH, seed), targets) for seed in range(BATCHES)]
        self.task = Task(
            model=self.model,
            train=batches,
            val=batches,
            test=batches,
            example_input=self.inputs[:2],
            loss=lambda outputs, targets: flat(outputs).pow(2).mean().clamp(max=1e6),
            metric=lambda outputs, targets: float(flat(outputs).abs().mean()),
            metric_name="size",
            name=self.entry.architecture,
            learning_rate=1e-5,
        )

    @property
    def traced(self) -> Network:
        """The network; traced by the first stage."""
        assert self.network is not None
        return self.network

    def half(self) -> dict[str, object]:
        """Half of the channels of every group that can lose some."""
        return {f"{g.name}.prune": RATIO for g in self.traced.groups if g.prunable}

    def mixed(self) -> dict[str, object]:
        """That, with 4-bit weights in every second layer, where the search space offers them."""
        space = for_network(self.traced, load_device(DEVICE))
        wanted: dict[str, object] = {}
        for i, name in enumerate(self.traced.gene_layers):
            wanted |= {f"{name}.w_bits": (8, 4)[i % 2], f"{name}.a_bits": 8}
        bits = {k: v for k, v in wanted.items() if k in space and v in space[k]["_value"]}
        return self.half() | bits


def _outputs(model: nn.Module, inputs: Tensor) -> object:
    with torch.no_grad():
        return model(inputs)


def build(entry: zoo.Entry) -> tuple[Subject, Figures]:
    """The network that all stages see."""
    size = entry.shape[-1] if len(entry.shape) == 3 else None
    model = zoo.build(entry.package, entry.architecture, size)
    inputs = zoo.inputs_of(entry, 8)
    zoo.settle(model, inputs)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    numbers = sum(p.numel() for p in model.parameters())
    return Subject(entry, model, inputs[:BATCH]), {"parameters": numbers}


def traced(subject: Subject) -> Figures:
    """Layers and groups, and how much of the weights a prune gene reaches."""
    subject.network = network = trace(subject.task)
    genes = {name for g in network.groups if g.prunable for name in g.layers}
    weighted = [layer for layer in unique(network.layers) if layer.is_weighted]
    total = sum(layer.weights for layer in weighted)
    return {
        "layers": len(network.layers),
        "groups": len(network.groups),
        "prunable": sum(g.prunable for g in network.groups),
        "gene_share": sum(x.weights for x in weighted if x.name in genes) / max(total, 1),
        "whole": {g.name: g.reason for g in network.groups if not g.prunable},
    }


def priced(subject: Subject) -> Figures:
    """Costs, and whether they hold every number of the model and every multiplication."""
    device = load_device(DEVICE)
    network = subject.traced
    start = time.process_time()
    costs = cost_function(network, device)({})
    genes = len(for_network(network, device))
    seconds = time.process_time() - start
    numbers = priced_numbers(network.layers, subject.model)
    wanted = needed_numbers(subject.model, subject.inputs)
    macs, counted = int(costs["macs"]), counted_macs(subject.model, subject.inputs[:1])
    figures: Figures = {
        "genes": genes,
        "space_s": round(seconds, 2),
        "numbers": numbers,
        "needed": wanted,
        "macs": macs,
        "counted": counted,
    }
    if numbers < wanted:
        share = (wanted - numbers) / wanted
        raise WrongError(
            f"{wanted - numbers} of {wanted} numbers ({share:.1%}) are not in the flash", figures
        )
    if abs(macs - counted) > MACS_TOLERANCE * max(counted, 1):
        raise WrongError(
            f"{macs} MACs, torch counts {counted} ({macs / max(counted, 1):.3f})", figures
        )
    return figures


def pruned(subject: Subject) -> Figures:
    """Half of every group gone: shapes as asked for, outputs as the masked network's."""
    network = subject.traced
    params = subject.half()
    if not params:
        return {"groups": 0}
    candidate = read_candidate(network, params)
    small = prune(
        subject.model, subject.task.inputs, network, candidate.kept, candidate.layers
    ).eval()
    _check_asked(network.apply(params), small)
    before = sum(p.numel() for p in subject.model.parameters())
    after = sum(p.numel() for p in small.parameters())
    error, effect = comparison(subject.model, small, subject.inputs)
    figures: Figures = {
        "groups": len(params),
        "removed": 1.0 - after / before,
        "gap": error,
        "effect": effect,
    }
    if not error <= GAP_TOLERANCE:
        raise WrongError(
            f"pruned and masked differ by {error:.2g} (masked and whole by {effect:.2g})", figures
        )
    return figures


def _check_asked(layers: tuple[Layer, ...], small: nn.Module) -> None:
    for layer in layers:
        if not layer.is_weighted or not layer.module:
            continue
        weight = getattr(small.get_submodule(layer.module), "weight", None)
        if isinstance(weight, Tensor) and weight.numel() != layer.weights:
            raise WrongError(
                f"'{layer.name}': {layer.weights} weights asked, {weight.numel()} left"
            )


def trial(subject: Subject) -> Figures:
    """A whole trial of one epoch; its costs are those that the tuner computes."""
    params, network = subject.mixed(), subject.traced
    result = evaluate(subject.task, params, device=DEVICE, network=network, epochs=1)
    tuner = cost_function(network, load_device(DEVICE))(params)
    different = {k: (v, result.metrics[k]) for k, v in tuner.items() if v != result.metrics[k]}
    if different:
        raise WrongError(f"the tuner's and the trial's costs differ: {different}")
    return {"metric": result.metrics["default"]}


def exported(subject: Subject) -> Figures:
    """The ONNX file predicts what the evaluated network predicts, rounding edges aside."""
    # `model.pt` takes four fifths of the time, and says nothing of the ONNX file.
    unwritten = mock.patch.object(checkpoint, "save", return_value=True)
    with tempfile.TemporaryDirectory() as folder, unwritten:
        out = Path(folder) / "export"
        metrics: Mapping[str, Any] = export_candidate(
            subject.task,
            subject.mixed(),
            device=DEVICE,
            out_dir=out,
            epochs=0,
            network=subject.traced,
        )
        reason = metrics.get("integer_reason") or ""
        figures: Figures = {"c": reason, "tflite": metrics.get("tflite_reason") or "", "edges": 0}
        if metrics["onnx_mismatches"] is None:
            raise WrongError(f"no ONNX file: {metrics['onnx_reason']}", figures)
        if metrics["onnx_mismatches"]:
            figures["edges"] = _edges(subject, metrics, out / "model.onnx")
    return figures


def _edges(subject: Subject, metrics: Mapping[str, Any], file: Path) -> int:
    """Values on rounding edges that make a file differ, if nothing else does (`edges`)."""
    wrong, edges = int(metrics["onnx_mismatches"]), 0
    # An integer network has no edges.
    if metrics["integer_reason"]:
        result = evaluate(
            subject.task, subject.mixed(), device=DEVICE, network=subject.traced, epochs=0
        )
        network = fold(result.model, result.calibration, subject.task.example_input).simulated()
        batches = [inputs for inputs, _ in subject.task.test]
        classes = not next(iter(subject.task.test))[1].is_floating_point()
        wrong, edges = differing(network.eval(), file, batches, classes=classes)
    if wrong:
        raise WrongError(f"{wrong} of {BATCH * BATCHES} samples differ in the ONNX file")
    return edges


def rivalled(subject: Subject) -> Figures:
    """What Torch-Pruning removes."""
    return {"removed": rival.removed(subject.model, subject.inputs, RATIO)}


Stage = Callable[[Subject], Figures]

STAGES: dict[str, Stage] = {
    "trace": traced,
    "price": priced,
    "prune": pruned,
    "trial": trial,
    "onnx": exported,
    "rival": rivalled,
}

NEEDS: dict[str, tuple[str, ...]] = {
    "price": ("trace",),
    "prune": ("trace",),
    "trial": ("trace", "price"),
    "onnx": ("trace", "price"),
}
"""Stages that must have gone right before."""

_REFUSALS = {"TraceError", "DataError", "UnsupportedNetworkError", "PlanError", "ValueError"}


def outcome(error: BaseException) -> dict[str, object]:
    """How a stage ended that raised, in words.

    A refusal is a message of the project's own before anything was offered; in later stages it is
    a crash, as what the project offers must work.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if _is_own(f.filename)]
    place = f"{_short(own[-1].filename)}:{own[-1].lineno}" if own else ""
    last = f"{_short(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    kind = "wrong" if isinstance(error, WrongError) else "crash"
    raised_here = bool(own) and own[-1] is frames[-1]
    if kind == "crash" and raised_here and type(error).__name__ in _REFUSALS:
        kind = "refused"
    text = " ".join(str(error).split())[:600]
    return {
        **(error.figures if isinstance(error, WrongError) else {}),
        "outcome": kind,
        "message": text if kind == "wrong" else f"{type(error).__name__}: {text}",
        "place": place if place == last else f"{place} <- {last}",
    }


def _is_own(path: str) -> bool:
    parts = Path(path).parts
    return "site-packages" not in parts and any(
        room in parts for room in ("evaluators", "hardware", "nni_plugin", "ga")
    )


def _short(path: str) -> str:
    parts = Path(path).parts
    if "site-packages" in parts:
        return "/".join(parts[parts.index("site-packages") + 1 :])
    return "/".join(parts[-3:])


def timed(stage: Stage, subject: Subject) -> dict[str, object]:
    """Runs a stage: its outcome, figures, CPU seconds and the most memory that it took."""
    _reset_peak()
    start = time.process_time()
    record: dict[str, object]
    try:
        record = {"outcome": "right", **stage(subject)}
    except Exception as error:  # whatever comes is a finding
        record = outcome(error)
    record["cpu_s"] = round(time.process_time() - start, 2)
    record["peak_mb"] = _peak_mb()
    return record


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) // 1024
    return 0
