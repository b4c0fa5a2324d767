"""Bearing faults of Case Western Reserve University: acceleration, 12,000 values a second.

Source: CWRU Bearing Data Center. The pack ``cwru_de12k.npz`` holds 37 recordings: a healthy bearing
without load, and nine faults (ball, inner and outer race, each of three sizes) at four loads.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.datasets.reading import DataError, default_folder, existing, read_npz

PACK = "cwru_de12k.npz"
CLASSES = 10
LOADS = 4
HEALTHY = 0
"""The class of the bearing without a fault."""
WHAT = "CWRU"
ADVICE = f"Give {PACK}, or the folder that holds it, with --data"


class Recording(NamedTuple):
    """One run of the motor.

    Attributes:
        values: (T,) float32.
        label: 0 for the healthy bearing, else the fault.
        load_hp: load of the motor in horsepower, 0 to 3.
    """

    values: NDArray[np.float32]
    label: int
    load_hp: int


def load_cwru(data: str | Path | None) -> list[Recording]:
    """Reads all recordings.

    Args:
        data: ``cwru_de12k.npz``, or the folder that holds it. None: ``$JOINT_GA_DATA``.

    Raises:
        DataError: nothing is there, or the file is damaged or of another format.
    """
    data = data if data is not None else default_folder(PACK)
    if data is None:
        raise DataError(f"{WHAT}: this task needs --data or $JOINT_GA_DATA. {ADVICE}")
    path = existing(data, WHAT, ADVICE)
    path = existing(path / PACK, WHAT, ADVICE) if path.is_dir() else path
    pack = read_npz(path, ("x", "off", "scale", "label", "load_hp"), WHAT)
    labels, loads = pack["label"].astype(int), pack["load_hp"].astype(int)
    starts, scales = pack["off"].astype(int), pack["scale"].astype(np.float32)
    if not len(labels) == len(loads) == len(scales) == len(starts) - 1:
        raise DataError(
            f"{WHAT}: {path} has {len(labels)} labels, {len(loads)} loads, {len(scales)} scales "
            f"and {len(starts)} offsets; there must be one offset more than recordings"
        )
    for what, values, count in (("labels", labels, CLASSES), ("loads", loads, LOADS)):
        found = sorted(set(values.tolist()))
        if not found or found[0] < 0 or found[-1] >= count:
            raise DataError(f"{WHAT}: {path} has the {what} {found}, not 0..{count - 1}")
    if starts[0] != 0 or (np.diff(starts) < 0).any() or starts[-1] != len(pack["x"]):
        raise DataError(
            f"{WHAT}: the offsets of {path} end at {starts[-1]}, its values at {len(pack['x'])}"
        )
    return [
        Recording(pack["x"][starts[i] : starts[i + 1]] * scales[i], int(label), int(loads[i]))
        for i, label in enumerate(labels)
    ]
