"""Software stacks that a device is known with: our own C, those of its log files, borrowed ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from hardware.runtime import RuntimeFields
from hardware.versions import FIRST, LATEST

Table = Mapping[str, Any]
"""Contents of a file of `data/`."""

Stacks = Mapping[str, Mapping[str, RuntimeFields]]
"""Software stacks by device and name."""

OWN = "joint-ga-c"
"""The C that an export writes: the default wherever it was counted."""

OWN_WORDS = "the C code that an export writes"

_FOLDER = Path(__file__).with_name("data")
_FITTED = {FIRST: "stacks-1.json", LATEST: "stacks.json"}

COMMON: Mapping[int, Mapping[str, RuntimeFields]] = {
    FIRST: {"xcubeai": {"requant_bytes": 0}, "tflm": {"scratch": "none"}},
    LATEST: {
        "xcubeai": {"requant_bytes": 0},
        "tflm": {"scratch": "none", "memory": "tflm"},
        "andes-tflm": {"memory": "tflm"},
        OWN: {"scratch": "none", "memory": "c", "counts": LATEST},
    },
}
"""What stacks of a vendor have in common, by version of the costs.

The weight flash that ST publishes for X-CUBE-AI is int8 weights and 4 bytes per bias to the byte,
so requantization data is not in it. The reference kernels of TensorFlow Lite Micro need no scratch.
"""


def in_words(stack: str) -> str:
    """Which software a stack's latency is of, for a sentence."""
    return f"{stack}, {OWN_WORDS}" if stack == OWN else f"{stack}, not the exported C"


def completed(name: str, values: object, version: int) -> object:
    """Fields of a stack with those that all of its vendor's have."""
    if not isinstance(values, Mapping):
        return values
    common = COMMON[version]
    return {**common.get(name, common.get(name.split("-")[0], {})), **values}


@lru_cache(maxsize=2)
def fitted(version: int = LATEST) -> Table:
    """Contents of `data/stacks.json`, which `hardware.calibration.fit_shipped_devices` writes."""
    return _read(_FITTED[version])


def fitted_stacks(version: int = LATEST) -> Stacks:
    """Calibrated stacks by device."""
    stacks: Stacks = fitted(version)["devices"]
    return stacks


def borrowed_stacks(core: str, version: int = LATEST) -> Mapping[str, RuntimeFields]:
    """Stacks measured on other boards with a core, and their mean as `borrowed`; may be empty."""
    like = {"cortex-m55": "cortex-m85"}.get(core, core)
    found: Mapping[str, RuntimeFields] = fitted(version)["borrowed"].get(like, {})
    return found


def own_stack(core: str, version: int = LATEST) -> Mapping[str, RuntimeFields]:
    """`joint-ga-c` where its C was counted on the core: cycles per instruction, with an error.

    `data/joint-ga-c-N.json` says for each core where its factor comes from.
    """
    if version == FIRST:
        return {}
    cores = _own_factors(version)
    return {OWN: cores[core]} if core in cores else {}


@lru_cache(maxsize=2)
def _own_factors(version: int) -> Mapping[str, RuntimeFields]:
    return _read(f"joint-ga-c-{version}.json")


@lru_cache(maxsize=1)
def first_profiles() -> Mapping[str, Table]:
    """The shipped profiles as they were in version 1, by id."""
    return _read("profiles-1.json")


def _read(name: str) -> Table:
    data: Table = json.loads((_FOLDER / name).read_text(encoding="utf-8"))
    return data
