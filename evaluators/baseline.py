"""Float baselines: trained once, kept in the cache, checked when they are read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluators.cache import cache_dir, cached, fingerprint

LOG = logging.getLogger(__name__)


def trained(
    model: nn.Module, name: str, fit: Callable[[nn.Module], None], *, version: int = 1
) -> float:
    """Gives ``model`` its trained weights, from the cache or by training now.

    Concurrent processes train once: the others wait for the first. A truncated cache file is
    recognised and trained again.

    Args:
        model: Freshly built; filled in place and left in eval mode.
        name: Of the cache file.
        fit: Trains the model in place. Seeded by the caller, so that it can be repeated.
        version: Raise it when the training recipe changes.

    Returns:
        Seconds spent on training, 0.0 if the weights were cached.

    Raises:
        ValueError: Training left a weight that is not finite.
    """
    shapes = [(k, tuple(v.shape)) for k, v in model.state_dict().items()]
    spent = 0.0

    def make() -> dict[str, Any]:
        nonlocal spent
        start = time.perf_counter()
        # A warning, so that whoever waits sees it on stderr without setting up logging.
        LOG.warning("training the float baseline %r once (kept in %s)", name, cache_dir())
        threads = torch.get_num_threads()
        # Small batches only lose by a second thread, and trials run side by side.
        torch.set_num_threads(1)
        try:
            fit(model)
        finally:
            torch.set_num_threads(threads)
        model.eval()
        state = model.state_dict()
        if not all(bool(torch.isfinite(v).all()) for v in state.values()):
            raise ValueError(f"baseline {name!r}: training diverged (a weight is not finite)")
        spent = time.perf_counter() - start
        LOG.warning("the float baseline %r took %.0f s to train", name, spent)
        return state

    def load(path: Path) -> dict[str, Any]:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = [(k, tuple(v.shape)) for k, v in state.items()]
        if found != shapes:
            raise ValueError("it holds another network")
        return state

    file = f"{name}-{fingerprint(shapes, version)}.pt"
    model.load_state_dict(cached(file, make, load=load, save=torch.save))
    model.eval()
    return spent
