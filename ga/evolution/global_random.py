"""The process's global random generators, borrowed for one call.

DEAP's operators draw from the module `random`, and NSGA-III from `numpy.random`. A search shall
neither depend on what the host program draws there, nor change what it will draw.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

# Two optimizers may search in two threads: one at a time may have the generators.
_LOCK = threading.RLock()


@contextmanager
def borrowed() -> Iterator[None]:
    """Both global generators are as before afterwards, also after an exception."""
    with _LOCK:
        state, numpy_state = random.getstate(), np.random.get_state()
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)


@contextmanager
def drawing_from(rng: random.Random) -> Iterator[None]:
    """What the global generators give follows from this one, which seeds them."""
    with borrowed():
        random.seed(rng.getrandbits(64))
        np.random.seed(rng.getrandbits(32))
        yield
