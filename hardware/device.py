"""Device profiles: what a board and its software stack do with a network, each number sourced."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from .layer import BIT_WIDTHS

_FOLDER = Path(__file__).with_name("devices")

CORES: Mapping[str, str] = {
    "cortex-m0plus": "scalar",
    "cortex-m4": "dsp",
    "cortex-m7": "dsp",
    "cortex-m33": "dsp",
    "cortex-m55": "mve",
    "cortex-m85": "mve",
}
"""Known cores and the kernel set each of them runs."""


@dataclass(frozen=True)
class Stack:
    """One inference software on a device.

    Attributes:
        name: For example `tflm` or `xcubeai-9`.
        kappa: Cycles per instruction that the reference kernels of `kernels/` need: what scales
            a count of instructions to this stack on this core.
        requant_bytes: Flash bytes of requantization data per output channel.
        scratch: Kernel scratch in the arena: `none`, or `im2col16` as CMSIS-NN needs.
        status: calibrated, borrowed or uncalibrated.
    """

    name: str
    kappa: float
    requant_bytes: int = 8
    scratch: str = "im2col16"
    status: str = "uncalibrated"


@dataclass(frozen=True)
class Device:
    """A board as the search sees it.

    Attributes:
        id: Name of the profile.
        name: The board's own name.
        core: One of `CORES`.
        clock_mhz: Clock of the core.
        flash_kb: Flash, in units of 1024 bytes.
        ram_kb: RAM, likewise.
        power_mw: Power while an inference runs.
        weight_bits: Weight bit-widths its kernels run.
        activation_bits: Activation bit-widths its kernels run.
        stacks: Software stacks by name.
        stack: The one in use.
        sources: Source of every number, by its dotted path in the profile.
    """

    id: str
    name: str
    core: str
    clock_mhz: float
    flash_kb: float
    ram_kb: float
    power_mw: float
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    stacks: Mapping[str, Stack]
    stack: str
    sources: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.id, self.stack))

    @property
    def runtime(self) -> Stack:
        """The software stack in use."""
        return self.stacks[self.stack]

    @property
    def kernels(self) -> str:
        """Kernel set of the core: dsp, mve or scalar."""
        return CORES[self.core]

    def with_stack(self, name: str) -> Device:
        """Return the device with another of its stacks in use.

        Raises:
            ValueError: It has no such stack.
        """
        if name not in self.stacks:
            raise ValueError(
                f"device {self.id!r} has no stack {name!r} (it has {sorted(self.stacks)})"
            )
        return replace(self, stack=name)

    def check_bits(self, w_bits: int, a_bits: int) -> None:
        """Refuse bit-widths that the device cannot run.

        Raises:
            ValueError: Names the value and what is allowed.
        """
        for what, value, allowed in (
            ("weight_bits", w_bits, self.weight_bits),
            ("activation_bits", a_bits, self.activation_bits),
        ):
            if value not in allowed:
                raise ValueError(
                    f"{what}={value} is not supported by device {self.id!r} "
                    f"(allowed: {', '.join(map(str, allowed))})"
                )


def list_devices() -> tuple[str, ...]:
    """Ids of the profiles that are shipped."""
    return tuple(sorted(p.stem for p in _FOLDER.glob("*.yml")))


def load_device(id_or_path: str | Path) -> Device:
    """Load a shipped profile by id, or a YAML file by path.

    `"stm32l4r5:tflm"` picks a stack other than the profile's own choice.

    Raises:
        ValueError: No such profile, or one with a missing, wrong or unsourced number.
    """
    text = str(id_or_path)
    ident, _, stack = text.partition(":") if not Path(text).exists() else (text, "", "")
    path = Path(ident) if ident.endswith((".yml", ".yaml")) else _FOLDER / f"{ident}.yml"
    if not path.is_file():
        raise ValueError(
            f"no device {ident!r}: use one of {', '.join(list_devices())}, or the path of a "
            "YAML profile"
        )
    device = _load(path.resolve(), path.stat().st_mtime_ns)
    return device.with_stack(stack) if stack else device


@lru_cache(maxsize=64)
def _load(path: Path, _mtime: int) -> Device:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path}: a device profile is a mapping, got {type(data).__name__}")
    try:
        return parse_device(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_device(data: Mapping[str, Any]) -> Device:
    """Check a profile and make a `Device` of it.

    Raises:
        ValueError: A field is missing, unknown, out of range, or a number has no source.
    """
    known = {
        "id", "name", "core", "clock_mhz", "flash_kb", "ram_kb", "power_mw", "weight_bits",
        "activation_bits", "stacks", "stack", "sources",
    }  # fmt: skip
    if unknown := set(data) - known:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r} (known: {sorted(known)})")
    for key in ("id", "core", "clock_mhz", "flash_kb", "ram_kb", "power_mw", "stacks", "sources"):
        if key not in data:
            raise ValueError(f"field {key!r} is missing")
    if data["core"] not in CORES:
        raise ValueError(f"core={data['core']!r} is unknown (known: {', '.join(CORES)})")
    sources = data["sources"]
    if not isinstance(sources, Mapping):
        raise ValueError("sources must map the path of each number to where it comes from")
    check_sources(data, sources)
    stacks = {
        name: _stack(name, values) for name, values in _mapping(data["stacks"], "stacks").items()
    }
    if not stacks:
        raise ValueError("stacks is empty; a device needs at least one software stack")
    stack = data.get("stack", next(iter(stacks)))
    if stack not in stacks:
        raise ValueError(f"stack={stack!r} is none of its stacks ({sorted(stacks)})")
    return Device(
        id=str(data["id"]),
        name=str(data.get("name", data["id"])),
        core=data["core"],
        clock_mhz=_positive(data["clock_mhz"], "clock_mhz"),
        flash_kb=_positive(data["flash_kb"], "flash_kb"),
        ram_kb=_positive(data["ram_kb"], "ram_kb"),
        power_mw=_positive(data["power_mw"], "power_mw"),
        weight_bits=_bits(data.get("weight_bits", [2, 4, 8]), "weight_bits"),
        activation_bits=_bits(data.get("activation_bits", [4, 8]), "activation_bits"),
        stacks=stacks,
        stack=stack,
        sources=dict(sources),
    )


def _stack(name: str, values: Any) -> Stack:
    where = f"stacks.{name}"
    table = dict(_mapping(values, where))
    known = {"kappa", "requant_bytes", "scratch", "status"}
    if unknown := set(table) - known:
        raise ValueError(f"{where}: unknown field {sorted(unknown)[0]!r} (known: {sorted(known)})")
    status = table.get("status", "uncalibrated")
    if status not in ("calibrated", "borrowed", "uncalibrated"):
        raise ValueError(f"{where}.status={status!r} must be calibrated, borrowed or uncalibrated")
    scratch = table.get("scratch", "im2col16")
    if scratch not in ("none", "im2col16"):
        raise ValueError(f"{where}.scratch={scratch!r} must be none or im2col16")
    if "kappa" not in table:
        raise ValueError(f"{where}: field 'kappa' is missing")
    return Stack(
        name,
        kappa=_positive(table["kappa"], f"{where}.kappa"),
        requant_bytes=int(table.get("requant_bytes", 8)),
        scratch=scratch,
        status=status,
    )


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a mapping, got {value!r}")
    return value


def _positive(value: Any, where: str) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{where}={value!r} must be a number above 0")
    return float(value)


def _bits(values: Any, where: str) -> tuple[int, ...]:
    if not isinstance(values, list) or not values or any(v not in BIT_WIDTHS for v in values):
        raise ValueError(f"{where}={values!r} must be a list of bit-widths out of {BIT_WIDTHS}")
    return tuple(sorted(set(values)))


def _numbers(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if path or key != "sources":
                yield from _numbers(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        if any(isinstance(v, (int, float)) for v in value):
            yield path
        for inner in value:
            if isinstance(inner, Mapping):
                yield from _numbers(inner, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path


def check_sources(data: Mapping[str, Any], sources: Mapping[str, Any]) -> None:
    """Refuse a profile in which a number has no source.

    The source of `stacks.tflm` also stands for `stacks.tflm.kappa`.

    Raises:
        ValueError: Names the number.
    """
    for path in _numbers(data, ""):
        parts = path.split(".")
        heads = [".".join(parts[: i + 1]) for i in range(len(parts))]
        if not any(str(sources.get(head) or "").strip() for head in heads):
            raise ValueError(
                f"number {path!r} has no source; add `{path}: <datasheet, log file, measurement>` "
                "under `sources`"
            )
