"""What belongs to the whole process, and code that sets all of it."""

from __future__ import annotations

import logging
import random
import sys
import warnings

import numpy as np
import torch

LOGGERS = ("", "nni.joint_ga", "nni.compression.speedup.mask_conflict", "a.user", "torch")


def snapshot() -> dict[str, object]:
    kind, keys, *rest = np.random.get_state()
    return {
        "threads": torch.get_num_threads(),
        "path": list(sys.path),
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state().tolist(),
        "warnings": list(warnings.filters),
        "levels": [(logging.getLogger(n).level, logging.getLogger(n).disabled) for n in LOGGERS],
    }


def disturb() -> None:
    """What a user's code may do to the process, one way or another."""
    torch.set_num_threads(3)
    sys.path.insert(0, "/nowhere")
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    warnings.simplefilter("ignore")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.getLogger(name).disabled = True
