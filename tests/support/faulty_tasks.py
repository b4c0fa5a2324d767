"""Tasks with one fault each, as users write them; the fault is the function's name.

``TOLD`` has what is to be said of each before an experiment starts.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import os
import sys
import time
from collections import UserDict
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from evaluators import Task
from evaluators.training import accuracy

TOLD: dict[str, tuple[str, ...]] = {
    "generator": ("'train' split is a generator", "read only once", "ArrayBatches"),
    "one_iterator": ("'train' split is empty when it is read again", "__iter__"),
    "iterator_in_a_dataset": ("'val' split is empty when it is read again",),
    "empty_train": ("'train' split yields no batch",),
    "empty_val": ("'val' split yields no batch",),
    "empty_test": ("'test' split yields no batch",),
    "batch_of_none": ("the first batch of 'val' holds no sample",),
    "broken_loader": ("the loader of 'val' fails with KeyError: 'images'", "faulty_tasks.py:"),
    "inputs_as_dict": ("inputs a dict of x: float32 4x1x6x6", "unexpected keyword argument 'x'"),
    "dict_for_the_loss": ("the loss fails with", "a dict of scores: float32 4x3", "int64 4"),
    "dict_for_the_metric": ("metric 'accuracy' fails on 'val'", "a dict of scores: float32 4x3"),
    "tuple_for_the_loss": ("the loss fails with", "a tuple of float32 4x3, float32 4x8"),
    "own_outputs": ("the loss fails with", "a UserDict of scores: float32 4x3"),
    "half_model": ("half precision ('0.weight' is float16)", "model.float()"),
    "bfloat_model": ("half precision ('0.weight' is bfloat16)", "model.float()"),
    "half_inputs": ("the inputs of 'val' are in half precision (float16 4x1x6x6)",),
    "double_inputs": ("the model fails on a batch of 'train' (inputs float64 4x1x6x6)",),
    "model_elsewhere": ("the model is not on the CPU ('0.weight' is on meta)", "model.cpu()"),
    "other_shape": ("a batch of 'val' has inputs float32 4x1x8x8, example_input is float32 2x1x6",),
    "too_few_inputs": ("a batch of 'train' has 1 input tensors, example_input has 2",),
    "nan_loss": ("the loss is nan on a batch of 'train'", "of finite outputs"),
    "infinite_loss": ("the loss is inf on a batch of 'train'",),
    "nan_inputs": ("the loss is nan on a batch of 'train': the inputs hold NaN or infinity",),
    "nan_gradient": ("the gradient of '0.weight' holds NaN",),
    "loss_of_each": ("the loss is float32 4, not a scalar tensor",),
    "loss_as_number": ("the loss is 1.0, not a scalar tensor",),
    "frozen": ("the loss has no gradient",),
    "nan_metric": ("the task's metric 'accuracy' is nan",),
    "metric_as_text": ("the task's metric 'accuracy' is '97 %'", "return a number"),
    "metric_of_each": ("the task's metric 'accuracy' is no number on 'val' but a Tensor",),
    "metric_fails": ("metric 'accuracy' fails on 'val' with AttributeError", "targets int64 4"),
    "float_targets": (
        "the loss fails with RuntimeError: expected target dtype to be Long or Byte",
    ),
    "targets_spread": ("the loss warns: Using a target size (torch.Size([4]))", "float32 4x1"),
    "too_many_classes": ("the loss fails with IndexError: Target 6 is out of bounds",),
    "batch_of_one": ("the model fails on a batch of 'train'", "more than 1 value per channel"),
}
"""What is said of a task whose fault an exception or a look can show."""


def parts(**changes: Any) -> Task:
    """A small task that is right but for the changes."""
    torch.manual_seed(0)
    x, y = torch.randn(4, 1, 6, 6), torch.tensor([0, 1, 2, 1])
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 3),
    )  # fmt: skip
    settings: dict[str, Any] = {
        "model": model,
        "train": [(x, y)] * 2,
        "val": [(x, y)],
        "test": [(x, y)],
        "example_input": x[:2],
        "loss": nn.functional.cross_entropy,
        "metric": accuracy,
    }
    return Task(**{**settings, **changes})


BATCH = (parts().train, parts().example_input)
X, Y = next(iter(BATCH[0]))


def right() -> Task:
    return parts()


def generator() -> Task:
    return parts(train=(batch for batch in [(X, Y)]))


class OneIterator:
    """A loader whose passes share one iterator."""

    def __init__(self) -> None:
        self.batches = iter([(X, Y)] * 3)

    def __iter__(self) -> Any:
        return self.batches


def one_iterator() -> Task:
    return parts(train=OneIterator())


class Stream(IterableDataset):  # type: ignore[type-arg]  # of samples
    """A dataset that was given an iterator."""

    def __init__(self) -> None:
        self.samples = iter([(X[0], Y[0])] * 8)

    def __iter__(self) -> Any:
        return self.samples


def iterator_in_a_dataset() -> Task:
    return parts(val=DataLoader(Stream(), batch_size=4))


def shuffled_loader() -> Task:
    """Nothing is wrong here: each pass makes a new iterator."""
    samples = list(zip(X, Y, strict=True))
    return parts(train=DataLoader(samples, batch_size=2, shuffle=True))  # type: ignore[arg-type]  # a list has what a Dataset needs


class Restarting:
    """A loader that is its own iterator and starts anew, as DALI's do: nothing is wrong here."""

    def __iter__(self) -> Any:
        self.batches = iter([(X, Y)] * 2)
        return Passing(self)


class Passing:
    def __init__(self, owner: Restarting) -> None:
        self.owner = owner

    def __iter__(self) -> Passing:
        return self

    def __next__(self) -> Any:
        return next(self.owner.batches)


def restarting() -> Task:
    return parts(train=Restarting())


def empty_train() -> Task:
    return parts(train=[])


def empty_val() -> Task:
    return parts(val=DataLoader([]))  # type: ignore[arg-type]  # a list has what a Dataset needs


def empty_test() -> Task:
    return parts(test=[])


def batch_of_none() -> Task:
    return parts(val=[(X[:0], Y[:0])])


class Broken:
    def __iter__(self) -> Any:
        yield {}["images"]


def broken_loader() -> Task:
    return parts(val=Broken())


def inputs_as_dict() -> Task:
    return parts(train=[({"x": X}, Y)])


class Heads(nn.Module):
    """A network whose outputs are packed as told."""

    def __init__(self, pack: Any) -> None:
        super().__init__()
        self.pack, self.conv, self.head = pack, nn.Conv2d(1, 8, 3), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> Any:
        features = self.conv(x).mean((2, 3))
        return self.pack(self.head(features), features)


def as_dict(scores: torch.Tensor, _features: torch.Tensor) -> Any:
    return {"scores": scores}


def dict_for_the_loss() -> Task:
    return parts(model=Heads(as_dict))


def dict_for_the_metric() -> Task:
    return parts(
        model=Heads(as_dict), loss=lambda out, y: nn.functional.cross_entropy(out["scores"], y)
    )


def tuple_for_the_loss() -> Task:
    return parts(model=Heads(lambda scores, features: (scores, features)))


def own_outputs() -> Task:
    return parts(model=Heads(lambda scores, _features: UserDict(scores=scores)))


def half_model() -> Task:
    return parts(model=parts().model.half())


def bfloat_model() -> Task:
    return parts(model=parts().model.bfloat16())


def half_inputs() -> Task:
    return parts(val=[(X.half(), Y)])


def double_inputs() -> Task:
    return parts(train=[(X.double(), Y)])


def model_elsewhere() -> Task:
    return parts(model=parts().model.to("meta"))


def other_shape() -> Task:
    return parts(val=[(torch.randn(4, 1, 8, 8), Y)])


def too_few_inputs() -> Task:
    return parts(example_input=(X[:2], X[:2]))


def nan_loss() -> Task:
    return parts(loss=lambda out, _y: (out - out.detach()).mean() * math.nan)


def infinite_loss() -> Task:
    return parts(loss=lambda out, _y: 1 / (out - out.detach()).abs().mean())


def nan_inputs() -> Task:
    return parts(train=[(X * math.nan, Y)])


def nan_gradient() -> Task:
    return parts(loss=lambda out, _y: (out - out.detach()).square().sum().sqrt())


def loss_of_each() -> Task:
    return parts(loss=lambda out, y: nn.functional.cross_entropy(out, y, reduction="none"))


def loss_as_number() -> Task:
    return parts(loss=lambda _out, _y: 1.0)


def frozen() -> Task:
    return parts(model=parts().model.requires_grad_(False))


def nan_metric() -> Task:
    return parts(metric=lambda _out, _y: math.nan)


def metric_as_text() -> Task:
    return parts(metric=lambda _out, _y: "97 %")


def metric_of_each() -> Task:
    return parts(metric=lambda out, y: out.argmax(1) == y)


def metric_fails() -> Task:
    return parts(metric=lambda _out, y: y.accuracy)


def metric_of_many() -> Task:
    """Nothing is wrong here: the metric needs more samples than one batch has."""
    return parts(
        val=[(X, Y)] * 2,
        metric=lambda out, y: accuracy(out, y) if len(y) > 4 else math.nan,
    )


def float_targets() -> Task:
    return parts(train=[(X, Y.float())])


def targets_spread() -> Task:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 1))
    return parts(model=model, train=[(X, Y.float())], loss=nn.functional.mse_loss)


def too_many_classes() -> Task:
    return parts(train=[(X, Y + 6)])


def batch_of_one() -> Task:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    return parts(model=model, train=[(X[:1], Y[:1])])


def crops() -> Task:
    """A note at most: the network takes any size, and the score is of `val`."""
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    return parts(model=model, train=[(torch.randn(4, 1, 5, 5), Y)])


# ---- what ends or hangs a process


class Waiting:
    def __iter__(self) -> Any:
        time.sleep(600)
        yield X, Y


def waiting_loader() -> Task:
    return parts(val=Waiting())


def waiting_build() -> Task:
    for epoch in itertools.count():
        print(f"epoch {epoch}", flush=True)
        time.sleep(1)
    raise AssertionError("never here")


class Segfault(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = parts().model

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x) if x.shape[0] == 2 else ctypes.string_at(0)


def segfault() -> Task:
    return parts(model=Segfault())


def leaves() -> Task:
    print("no licence for this data")
    sys.stdout.flush()
    os._exit(7)


def exits() -> Task:
    sys.exit("choose a model first")
