"""A public call leaves its caller's process as it found it."""

from __future__ import annotations

import gc
import logging
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def process_as_found(threads: int | None = None) -> Iterator[None]:
    """Restores what belongs to the whole process, also when the block raises.

    That is: torch's number of threads, ``sys.path``, the random states of Python, numpy and torch,
    the filters of warnings, and the levels of loggers. Not meant for two threads at once, which
    share all of it. As a decorator it holds around each call.

    Args:
        threads: of torch inside; as it is if None.
    """
    found_threads, path = torch.get_num_threads(), list(sys.path)
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    levels = [(x, x.level, x.disabled) for x in loggers if isinstance(x, logging.Logger)]
    try:
        with random_states_as_found(), warnings.catch_warnings():
            if threads is not None:
                torch.set_num_threads(threads)
            yield
    finally:
        torch.set_num_threads(found_threads)
        sys.path[:] = path
        for logger, level, disabled in levels:
            logger.setLevel(level)
            logger.disabled = disabled


@contextmanager
def random_states_as_found() -> Iterator[None]:
    """What the block draws from Python, numpy and torch is not missed after it."""
    python, array = random.getstate(), np.random.get_state()
    tensor = torch.get_rng_state()
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    devices = torch.cuda.get_rng_state_all() if cuda else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        torch.set_rng_state(tensor)
        if devices:
            torch.cuda.set_rng_state_all(devices)


def why_not_to_fork() -> str | None:
    """Why a process that was forked from this one could not use torch; None if it could.

    CUDA does not outlive a fork. Torch's own threads don't either, and that is no harm: a trial
    computes with one.
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return "the task has put something on a GPU, which a forked process can't use"
    return None


@contextmanager
def rare_collections() -> Iterator[None]:
    """Lets Python look for cycles of garbage seldom: each time it walks all that torch imported."""
    found = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*found)


@contextmanager
def eval_mode(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode for the block; every module's own mode afterwards."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
