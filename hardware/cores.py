"""Cores whose kernels are counted on an emulator."""

from __future__ import annotations

from collections.abc import Mapping

KERNEL_SET: Mapping[str, str] = {
    "cortex-m0plus": "scalar",
    "cortex-m4": "dsp",
    "cortex-m7": "dsp",
    "cortex-m33": "dsp",
    "cortex-m55": "mve",
}
"""Kernel set of each emulated core."""

COUNTED_AS: Mapping[str, str] = {
    **{core: core for core in KERNEL_SET},
    "cortex-m85": "cortex-m55",
    "andes-d25f": "cortex-m4",
    "andes-d45": "cortex-m4",
    "rxv2": "cortex-m4",
}
"""Cores with a cost model, and the emulated one whose counts stand for each."""
