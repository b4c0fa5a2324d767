"""An inference software on a device: how it turns a network into cycles, flash and RAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hardware.ir.finite import is_finite, shortened
from hardware.versions import FIRST, VERSIONS

STATUSES = ("calibrated", "borrowed", "uncalibrated")
MODELS = ("kernels", "table", "ne16")
SCRATCH = ("none", "im2col16")
MEMORY = ("planned", "c", "tflm")


RuntimeFields = Mapping[str, Any]
"""Fields of a software stack, as a profile or the fitted table gives them."""


@dataclass(frozen=True)
class Runtime:
    """One software stack, called a stack in profiles.

    Attributes:
        name: for example `tflm` or `xcubeai-9`.
        model: how cycles are estimated: `kernels`, `table` or `ne16` (see `latency`).
        kappa: cycles per instruction that the kernels of `kernels/` need (model `kernels`).
        depthwise: factor on depthwise convolutions.
        linear: factor on fully-connected layers.
        stream_cycles: what a byte of a fully-connected layer's weights takes at least, since each
            is read once, from flash (model `kernels`).
        macs_per_cycle: by class of layer and `a<bits>w<bits>` (model `table`).
        layer_cycles: cycles of calling one layer (model `table`).
        element_cycles: cycles per element of an operator without weights (models but `kernels`).
        error: standard error of the logarithm of a latency, from leaving benchmarks out; 0 if
            nobody has measured it.
        status: calibrated, borrowed (factors of another device) or uncalibrated.
        networks: how many measured networks it was fitted to.
        requant_bytes: flash bytes of requantization data per output channel.
        scratch: kernel scratch in the arena: `none`, or `im2col16` as CMSIS-NN needs.
        memory: how RAM and flash are counted: `planned` (tensors at their bits and `scratch`), `c`
            (the arena, tables and code of the exported C) or `tflm` (TensorFlow Lite Micro's arena,
            its own bookkeeping included).
        counts: version of the instruction counts that its factors are of, see `versions`.
        code_kb: flash of the software itself, where it is known; `c` works it out by itself.
        drops_dead_channels: whether it removes channels with all-zero weights by itself.
        power_mw: power while it runs, where it was measured; otherwise the device's.
        source: where the numbers come from.
    """

    name: str
    model: str = "kernels"
    kappa: float = 1.0
    depthwise: float = 1.0
    linear: float = 1.0
    stream_cycles: float = 0.0
    macs_per_cycle: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    layer_cycles: float = 0.0
    element_cycles: float = 1.0
    error: float = 0.0
    status: str = "uncalibrated"
    networks: int = 0
    requant_bytes: int = 8
    scratch: str = "im2col16"
    memory: str = "planned"
    counts: int = FIRST
    code_kb: float = 0.0
    drops_dead_channels: bool = False
    power_mw: float | None = None
    source: str = ""


_CHOICES: Mapping[str, tuple[object, ...]] = {
    "status": STATUSES, "model": MODELS, "scratch": SCRATCH, "memory": MEMORY, "counts": VERSIONS,
}  # fmt: skip
_FIELDS = frozenset(f.name for f in fields(Runtime)) - {"name"}
_POSITIVE = ("kappa", "depthwise", "linear", "power_mw")
_NOT_NEGATIVE = (
    "stream_cycles", "layer_cycles", "element_cycles", "error", "networks", "requant_bytes",
    "code_kb",
)  # fmt: skip


# No clock, memory, power or rate of a device lies outside; sums and quotients stay numbers.
_SMALLEST, _LARGEST = 1e-12, 1e15


def positive(value: object, where: str, zero: bool = False) -> float:
    """Return `value` as a float.

    Raises:
        ValueError: it is no finite number above 0 (or, with `zero`, at least 0), or one that no
            device has: below 1e-12 or above 1e15.
    """
    fits = is_finite(value) and (_SMALLEST <= value <= _LARGEST or (zero and value == 0))
    if not is_finite(value) or not fits:
        raise ValueError(
            f"{where}={shortened(value)} must be a number {'>= 0' if zero else 'above 0'} "
            f"(from {_SMALLEST:g} to {_LARGEST:g})"
        )
    return float(value)


def parse_runtime(name: str, values: object) -> Runtime:
    """Check the fields of a stack in a profile.

    Raises:
        ValueError: a field is missing, unknown or out of range; the message names it.
    """
    where = f"stacks.{name}"
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} must be a mapping, got {shortened(values)}")
    table: dict[str, Any] = dict(values)
    if unknown := set(table) - _FIELDS:
        raise ValueError(
            f"{where}: unknown field {min(map(shortened, unknown))} "
            f"(known: {', '.join(sorted(_FIELDS))})"
        )
    for key, allowed in _CHOICES.items():
        if key in table and table[key] not in allowed:
            raise ValueError(
                f"{where}.{key}={shortened(table[key])} must be one of "
                f"{', '.join(map(str, allowed))}"
            )
    model = table.get("model", "kernels")
    needed = {"kernels": "kappa", "table": "macs_per_cycle"}.get(model)
    if needed and needed not in table:
        raise ValueError(f"{where}: field {needed!r} is missing")
    for key in _POSITIVE:
        if table.get(key) is not None:
            table[key] = positive(table[key], f"{where}.{key}")
    for key in _NOT_NEGATIVE:
        if key in table:
            number = positive(table[key], f"{where}.{key}", zero=True)
            table[key] = int(number) if key in ("networks", "requant_bytes") else number
    _check_rates(table.get("macs_per_cycle", {}), f"{where}.macs_per_cycle")
    for key, kind in (("drops_dead_channels", bool), ("source", str)):
        if key in table and not isinstance(table[key], kind):
            wanted = "true or false" if kind is bool else "a text"
            raise ValueError(f"{where}.{key}={shortened(table[key])} must be {wanted}")
    return Runtime(name, **table)


def _check_rates(rates_of: object, where: str) -> None:
    """Refuse rates that are no numbers by class of layer and bits."""
    if not isinstance(rates_of, Mapping):
        raise ValueError(
            f"{where}={shortened(rates_of)} must map classes of layers to rates, for example "
            "{conv: {a8w8: 2.5}}"
        )
    for kind, rates in rates_of.items():
        if not isinstance(rates, Mapping):
            raise ValueError(f"{where}.{kind}={shortened(rates)} must map bits to a rate")
        for bits, rate in rates.items():
            positive(rate, f"{where}.{kind}.{bits}")
