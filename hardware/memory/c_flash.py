"""Flash of the exported C beside `weights.bin`: the code of its kernels and its tables.

The compiler's sizes of `.text` and `.rodata` were taken apart: each kernel that a network uses
counts once, each call of one has its tables and its code in the function that runs the network.
`data/c_code-N.json` holds the bytes for each core; `python -m benchmarks.hardware.fit_code_size`
measures them again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

from hardware.cores import COUNTED_AS
from hardware.ir.layer import UNIFORM, VIEW_OPS, Layer
from hardware.memory.weight_packing import stored_sparse
from hardware.versions import LATEST

_FOLDER = Path(__file__).parents[1] / "data"

_PACKED = 4
"""Widest weights that the C does not store as bytes."""

_KERNEL = {
    "conv": "convolution", "conv_transpose": "convolution", "linear": "convolution",
    "depthwise": "depthwise", "concat": "concatenation", "pool": "pool",
    "global_pool": "average_pool", "reduce": "average_pool",
}  # fmt: skip
"""Kernel of each operator; all others are sums."""


class CodeSize(TypedDict):
    """Bytes of a core's code.

    Attributes:
        base: of what every network has.
        units: of each kernel and variant, once.
        calls: of each call of a kernel, and of each `tensor` that one reads; `copy`: of writing a
            tensor again in another storage.
    """

    base: int
    units: dict[str, int]
    calls: dict[str, int]


@lru_cache(maxsize=4)
def code_sizes(version: int = LATEST) -> Mapping[str, CodeSize]:
    """Bytes of the code by core."""
    data: dict[str, CodeSize] = json.loads(
        (_FOLDER / f"c_code-{version}.json").read_text(encoding="utf-8")
    )
    return data


def kernel_of(layer: Layer) -> str:
    """Name of the C kernel that a layer calls; empty for a view."""
    return "" if layer.op in VIEW_OPS else _KERNEL.get(layer.kind, "sum")


def units_of(layer: Layer) -> frozenset[str]:
    """Parts of the kernels that a layer's call links, each stored once in a network."""
    kernel = kernel_of(layer)
    if not kernel:
        return frozenset()
    found = {kernel}
    if layer.is_weighted:
        if stored_sparse(layer) or layer.w_scheme != UNIFORM:
            found.add("coded")
        elif layer.w_bits <= _PACKED and kernel == "convolution":
            # Kernels are compiled for the widths that a network has.
            found.add("w2" if layer.w_bits <= 2 else "w4")
    return frozenset(found)


def calls_of(layer: Layer) -> dict[str, int]:
    """What a layer's call consists of: the kernel's, its weights, and the tensors it names."""
    kernel = kernel_of(layer)
    if not kernel:
        return {}
    return {kernel: 1, "tensor": len(layer.inputs)}


def code_bytes(units: frozenset[str], copies: int, core: str, version: int = LATEST) -> int:
    """Flash of the kernels that a network links, and of what every network has.

    `copies` is the number of tensors that are written again in another storage.
    """
    sizes = code_sizes(version)[COUNTED_AS[core]]
    if copies:
        units = units | {"sum"}
    linked = sum(sizes["units"].get(unit, 0) for unit in units)
    return sizes["base"] + linked + copies * sizes["calls"].get("copy", 0)


def call_bytes(layer: Layer, core: str, version: int = LATEST) -> int:
    """Flash of a layer's call and its tables."""
    calls = code_sizes(version)[COUNTED_AS[core]]["calls"]
    return sum(count * calls.get(call, 0) for call, count in calls_of(layer).items())
