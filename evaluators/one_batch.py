"""One batch of a task through all that a trial does with it, before any trial starts.

A trial reads the loaders again and again, trains, scores, and joins outputs: what of it a task
can't stand is found here in seconds, and not in each trial of a night.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.fidelity import FloatOutputs
from evaluators.network_match import differences, looks_alike
from evaluators.process_state import eval_mode
from evaluators.pytree import call, tensors
from evaluators.scoring import DataError
from evaluators.task import Batches, Task, no_loss
from evaluators.task_checks import first_batch
from evaluators.task_loading import place
from evaluators.training import score
from hardware import Network

HALF = (torch.float16, torch.bfloat16)
_MOST_CHARACTERS = 400
_FEW = 8
"""Batches that are looked at for padding."""


@dataclass
class Findings:
    """What was found: ``problems`` would break trials, ``notes`` may be meant."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_one_batch(
    task: Task,
    networks: Mapping[str, Network] | None = None,
    step: Callable[[str], None] = lambda _: None,
    read_s: float = 0.0,
) -> Findings:
    """Tries a batch of each split, the loss and its gradients, the metric, and the network files.

    The task and torch's random state are left as they were; of a loader that can be read only
    once, a batch or all is gone.

    Args:
        task: any.
        networks: network files by their names; the model should be as they say.
        step: told what comes next, for whoever waits.
        read_s: seconds to spend on reading ``train`` to its end and once more. 0: only where its
            loader looks as if it could be read but once.

    Returns:
        Every fault that could be found without another one in the way.
    """
    check = _OneBatch(task, step)
    with torch.random.fork_rng(devices=[]):
        batches = {split: check.first(split, read_s) for split in ("train", "val", "test")}
        check.model_numbers()
        for split, batch in batches.items():
            if batch is not None:
                check.inputs(split, batch[0])
        if not check.found.problems:
            check.train(*_pair(batches["train"]))
            check.metric(*_pair(batches["val"]))
        for name, network in (networks or {}).items():
            check.network(name, network)
    return check.found


def _pair(batch: tuple[Any, Any] | None) -> tuple[Any, Any]:
    assert batch is not None
    return batch


class _OneBatch:
    """The checks of one task; each notes what it finds."""

    def __init__(self, task: Task, step: Callable[[str], None]) -> None:
        self.task, self.step, self.found = task, step, Findings()

    def first(self, split: str, read_s: float) -> tuple[Any, Any] | None:
        """The first batch of a split; None, and the fault noted, if there is no usable one."""
        batches: Batches = getattr(self.task, split)
        self.step(f"reading the first batch of '{split}'")
        try:
            batch = first_batch(batches, split)
            if not _only_tensors(batch[0]):
                raise DataError(
                    f"the inputs of a batch of '{split}' are {described(batch[0])}: give a tensor, "
                    "or a tuple or dict of tensors if the model takes several"
                )
            if any(x.dim() > 0 and len(x) == 0 for x in tensors(batch[0])):
                raise DataError(f"the first batch of '{split}' holds no sample: check its loader")
            # `test` is read once, by the export.
            if split != "test":
                self._read_again(batches, split, read_s if split == "train" else 0.0)
        except DataError as error:
            self._problem(str(error))
        except Exception as error:  # whatever a user's loader does
            self._problem(f"the loader of '{split}' fails with {_told(error)}")
        else:
            return batch
        return None

    def _read_again(self, batches: Batches, split: str, read_s: float) -> None:
        """Raises a `DataError` if a second pass yields nothing."""
        source = batches.batches if isinstance(batches, FloatOutputs) else batches
        suspect = _shares_an_iterator(source)
        if not suspect and not read_s:
            return
        self.step(f"reading '{split}' twice")
        deadline = time.monotonic() + read_s
        for _ in batches:
            if not suspect and time.monotonic() > deadline:
                return
        if next(iter(batches), None) is None:
            raise DataError(
                f"the '{split}' split is empty when it is read again: its loader hands out one "
                "iterator or generator for all passes; let its __iter__ make a new one, or give a "
                "list, a DataLoader of a Dataset or evaluators.batches.ArrayBatches"
            )

    def model_numbers(self) -> None:
        """Precision and device of the model: trials run on the CPU, in float32."""
        state = [*self.task.model.named_parameters(), *self.task.model.named_buffers()]
        for name, tensor in state:
            if tensor.dtype in HALF:
                self._problem(
                    f"the model is in half precision ({name!r} is {_dtype(tensor)}); trials run in "
                    "float32 on the CPU: let the task's function return model.float()"
                )
                return
            if tensor.device.type != "cpu":
                self._problem(
                    f"the model is not on the CPU ({name!r} is on {tensor.device}), where trials "
                    "run: let the task's function return model.cpu()"
                )
                return

    def inputs(self, split: str, inputs: Any) -> None:
        """A batch against the example input, for which the costs are computed."""
        given, example = tensors(inputs), tensors(self.task.example_input)
        half = [x for x in given if x.dtype in HALF]
        if half:
            self._problem(
                f"the inputs of '{split}' are in half precision ({described(half[0])}); trials run "
                "in float32 on the CPU: let the loader yield inputs.float()"
            )
            return
        if len(given) != len(example):
            self._problem(
                f"a batch of '{split}' has {len(given)} input tensors, example_input has "
                f"{len(example)}: give both the same"
            )
            return
        for got, wanted in zip(given, example, strict=True):
            if got.shape[1:] == wanted.shape[1:]:
                continue
            text = (
                f"a batch of '{split}' has inputs {described(got)}, example_input is "
                f"{described(wanted)}: apart from the first number, the shapes should be the same, "
                "as costs are computed for example_input"
            )
            # Training on crops of another size is a habit of many; the score is of `val`.
            loose = split == "train" or self._varies(split)
            if loose and got.dim() == wanted.dim():
                self.found.notes.append(text)
            else:
                self._problem(text)
            return

    def _varies(self, split: str) -> bool:
        """Whether batches of a split have inputs of different lengths, as padded ones have."""
        if split == "test":  # is read once, by the export
            split = "val"
        few = itertools.islice(getattr(self.task, split), _FEW)
        return len({tuple(x.shape[1:] for x in tensors(batch[0])) for batch in few}) > 1

    def train(self, inputs: Any, targets: Any) -> None:
        """One training step without the step: forward, loss, gradients."""
        model = copy.deepcopy(self.task.model).train()
        self.step("running the model on one batch of 'train'")
        try:
            outputs = call(model, inputs)
        except Exception as error:  # the user's own code
            self._problem(
                f"the model fails on a batch of 'train' (inputs {described(inputs)}) with "
                f"{_told(error)}"
            )
            return
        if self.task.loss is no_loss:
            return
        self.step("computing the loss of one batch of 'train'")
        seen = f"the model's outputs are {described(outputs)}, the targets {described(targets)}"
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                value = self.task.loss(outputs, targets)
            except Exception as error:  # as above
                self._problem(f"the loss fails with {_told(error)}; {seen}{_advice(outputs)}")
                return
        for warning in warned:
            if "target size" in str(warning.message):
                self._problem(f"the loss warns: {_brief(str(warning.message))}; {seen}")
                return
        if not isinstance(value, Tensor) or value.numel() != 1:
            self._problem(
                f"the loss is {described(value)}, not a scalar tensor: let it return the mean over "
                "the batch"
            )
        elif not math.isfinite(float(value.detach())):
            self._problem(
                f"the loss is {float(value.detach())} on a batch of 'train'"
                f"{_not_finite(inputs, outputs)}"
            )
        else:
            self._gradients(model, value)

    def _gradients(self, model: nn.Module, value: Tensor) -> None:
        self.step("computing the gradients of one batch of 'train'")
        if not value.requires_grad:
            self._problem(
                "the loss has no gradient, so nothing can be trained: the model's parameters are "
                "frozen (requires_grad=False), or the model or the loss detaches its outputs"
            )
            return
        try:
            torch.autograd.backward(value)
        except Exception as error:  # the user's own code
            self._problem(f"the gradients of the loss fail with {_told(error)}")
            return
        for name, parameter in model.named_parameters():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                self._problem(
                    f"the gradient of {name!r} holds NaN or infinity on a batch of 'train', though "
                    f"the loss is {float(value.detach()):g}: look for a root, a logarithm or a "
                    "division in the model and the loss"
                )
                return

    def metric(self, inputs: Any, targets: Any) -> None:
        """The metric as trials compute it, on one batch; on the whole split if one is too few."""
        self.step("running the model on one batch of 'val'")
        try:
            with eval_mode(self.task.model), torch.inference_mode():
                outputs = call(self.task.model, inputs)
        except Exception as error:  # the user's own code
            self._problem(
                f"the model fails on a batch of 'val' (inputs {described(inputs)}) with "
                f"{_told(error)}"
            )
            return
        self.step("computing the metric of one batch of 'val'")
        seen = f"the model's outputs are {described(outputs)}, the targets {described(targets)}"
        if self._score([(inputs, targets)]) is None:
            return
        # A metric of ranks or classes may need more samples than one batch has.
        self.step("computing the metric of the whole 'val' split, as one batch gives none")
        fault = self._score(self.task.val)
        if fault is not None:
            self._problem(f"{fault}; {seen}{_advice(outputs)}")

    def _score(self, batches: Batches) -> str | None:
        """What keeps it from being computed; None if nothing does."""
        try:
            score(self.task, self.task.model, batches)
        except DataError as error:
            return _brief(str(error))
        except Exception as error:  # outputs that can't be joined, or the user's own code
            return f"the outputs of 'val' can't be scored: {_told(error)}"
        return None

    def network(self, name: str, described: Network) -> None:
        """The model against a network file."""
        self.step(f"comparing the model with {name}")
        try:
            if looks_alike(self.task, described):
                return
            # Late: it imports NNI and sympy.
            from evaluators.tracing.trace import trace

            found = trace(self.task)
        except Exception as error:  # torch.fx and the user's own code
            self._problem(f"the model can't be traced any more: {_told(error)}")
            return
        if told := differences(self.task, found, described):
            self._problem(
                f"the model has changed since {name} was written: {'; '.join(told)}; write the "
                "file and the search space again with `joint-ga space`"
            )

    def _problem(self, text: str) -> None:
        self.found.problems.append(text)


def _only_tensors(inputs: object) -> bool:
    """Whether a batch's inputs are tensors, nested or not, and at least one."""
    if isinstance(inputs, Mapping):
        inputs = list(inputs.values())
    if isinstance(inputs, (tuple, list)):
        return bool(inputs) and all(map(_only_tensors, inputs))
    return isinstance(inputs, Tensor)


def _shares_an_iterator(batches: Iterable[Any]) -> bool:
    """Whether two passes over it, or over the dataset of a ``DataLoader``, are one."""
    source: Any = getattr(batches, "dataset", batches)
    if not isinstance(source, torch.utils.data.IterableDataset) and source is not batches:
        return False
    return isinstance(source, Iterable) and iter(source) is iter(source)


def described(value: object) -> str:
    """A batch's part in words: ``float32 8x1x28x28``, ``a dict of box: float32 8x4``."""
    if isinstance(value, Tensor):
        return f"{_dtype(value)} {'x'.join(map(str, value.shape)) or 'scalar'}"
    if isinstance(value, Mapping):
        parts = ", ".join(f"{key}: {described(x)}" for key, x in list(value.items())[:4])
        return f"a {type(value).__name__} of {parts or 'nothing'}"
    if isinstance(value, (tuple, list)):
        parts = ", ".join(described(x) for x in value[:4])
        return f"a {type(value).__name__} of {parts or 'nothing'}"
    if isinstance(value, (int, float, str, type(None))):
        return _brief(repr(value))
    return f"a {type(value).__name__}"


def _advice(outputs: object) -> str:
    if isinstance(outputs, Tensor):
        return ""
    return (
        "; let the model return the tensor that loss and metric are of, or let both take "
        f"{described(outputs).partition(' of ')[0]}"
    )


def _not_finite(inputs: Any, outputs: Any) -> str:
    for what, value in (("inputs", inputs), ("model's outputs", outputs)):
        for tensor in tensors(value):
            if not bool(torch.isfinite(tensor).all()):
                return f": the {what} hold NaN or infinity"
    return ": the loss makes it of finite outputs; look for a logarithm, a root or a division"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {_brief(str(error))}{place(error)}"


def _brief(text: str) -> str:
    """One line of it."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 3] + "..."
