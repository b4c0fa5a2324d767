"""Float baselines and their metrics: computed once, kept in the cache, checked when read."""

from __future__ import annotations

import itertools
import json
import logging
import math
import pickle
import time
from collections.abc import Callable, Sized
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import CodeType

import torch
from torch import Tensor, nn

from evaluators.cache import cache_dir, cached, fingerprint
from evaluators.process_state import process_as_found
from evaluators.pytree import tensors
from evaluators.task import Task
from evaluators.training import score

LOG = logging.getLogger(__name__)


# Small batches only lose by a second thread, and trials run side by side.
@process_as_found(threads=1)
def trained(
    model: nn.Module, name: str, fit: Callable[[nn.Module], None], *, version: int = 1
) -> float:
    """Gives ``model`` its trained weights, from the cache or by training now.

    Concurrent processes train once: the others wait for the first. A truncated cache file is
    recognised and trained again.

    Args:
        model: freshly built; filled in place and left in eval mode.
        name: of the cache file.
        fit: trains the model in place. Seeded by the caller, so that it can be repeated.
        version: raise it when the training recipe changes.

    Returns:
        Seconds spent on training, 0.0 if the weights were cached.

    Raises:
        ValueError: training left a weight that is not finite.
    """
    shapes = [(k, tuple(v.shape)) for k, v in model.state_dict().items()]
    spent = 0.0

    def make() -> dict[str, Tensor]:
        nonlocal spent
        start = time.perf_counter()
        # A warning, so that whoever waits sees it on stderr without setting up logging.
        LOG.warning("training the float baseline %r once (kept in %s)", name, cache_dir())
        fit(model)
        model.eval()
        state = model.state_dict()
        if not all(bool(torch.isfinite(v).all()) for v in state.values()):
            raise ValueError(f"baseline {name!r}: training diverged (a weight is not finite)")
        spent = time.perf_counter() - start
        LOG.warning("the float baseline %r took %.0f s to train", name, spent)
        return state

    def load(path: Path) -> dict[str, Tensor]:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        found = [(k, tuple(v.shape)) for k, v in state.items()]
        if found != shapes:
            raise ValueError("it holds another network")
        return state

    file = f"{name}-{fingerprint(shapes, version)}.pt"
    model.load_state_dict(cached(file, make, load=load, save=torch.save))
    model.eval()
    return spent


def weights_of(model: nn.Module) -> list[bytes]:
    """A model's weights as bytes, to name what was computed from them."""
    return [v.detach().cpu().numpy().tobytes() for v in model.state_dict().values()]


def metric_and_data(task: Task) -> list[object]:
    """What a metric's value depends on beside the model: the metric's code and the data.

    The first batch stands for all of them: reading every one would cost what the cache saves.
    """
    parts = _code_of(task.metric)
    # The same order for a loader that shuffles, and no draw from the caller's random numbers.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for batch in itertools.islice(task.val, 1):
            found = [torch.as_tensor(x) for x in tensors(tuple(batch))]
            parts += [x.detach().cpu().numpy().tobytes() for x in found]
    count = None
    with suppress(TypeError):  # of a wrapper around a loader without length
        count = len(task.val) if isinstance(task.val, Sized) else None
    return [*parts, count]


def _code_of(metric: object) -> list[object]:
    """What a metric computes: its code, and what an object of it or a closure holds."""
    if isinstance(metric, partial):
        return [*_code_of(metric.func), _pickled((metric.args, metric.keywords))]
    code = getattr(metric, "__code__", None)
    if isinstance(code, CodeType):
        return [getattr(metric, "__qualname__", ""), *_parts_of(code)]
    kind = metric if isinstance(metric, type) else type(metric)
    parts: list[object] = [kind.__qualname__, _pickled(None if metric is kind else metric)]
    for name in ("__call__", "update", "compute"):
        code = getattr(getattr(kind, name, None), "__code__", None)
        parts += _parts_of(code) if isinstance(code, CodeType) else []
    return parts


def _parts_of(code: CodeType) -> list[object]:
    constants = [x for x in code.co_consts if isinstance(x, (bool, int, float, str))]
    inner = [part for x in code.co_consts if isinstance(x, CodeType) for part in _parts_of(x)]
    return [code.co_code, code.co_names, constants, *inner]


def _pickled(value: object) -> bytes | None:
    """An object's state; None if it can't be told, as of a lambda."""
    try:
        return pickle.dumps(value)
    except Exception:  # whatever an object of the user's raises
        return None


def baseline_metric(task: Task) -> float:
    """The float model's metric on ``val``: the task's own figure, or measured once and cached."""
    if task.baseline_metric is not None:
        return task.baseline_metric
    parts = (task.metric_name, *metric_and_data(task), *weights_of(task.model))
    name = f"{task.name}-val-{fingerprint(*parts)}.json"

    def load(path: Path) -> float:
        value = float(json.loads(path.read_text(encoding="utf-8"))["value"])
        if not math.isfinite(value):
            raise ValueError("not finite")
        return value

    def save(value: float, path: Path) -> None:
        path.write_text(json.dumps({"value": value}), encoding="utf-8")

    value = cached(name, lambda: score(task, task.model, task.val), load=load, save=save)
    task.baseline_metric = value
    return value
