"""Device profiles: what a board and its software stacks do with a network, each number sourced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from hardware.cores import COUNTED_AS
from hardware.ir.finite import shortened
from hardware.ir.layer import BIT_WIDTHS, check_bits, is_number
from hardware.runtime import Runtime, parse_runtime, positive
from hardware.stacks import (
    OWN,
    Stacks,
    borrowed_stacks,
    completed,
    first_profiles,
    fitted_stacks,
    own_stack,
)
from hardware.versions import FIRST, LATEST

_FOLDER = Path(__file__).with_name("devices")

TABLE_CORES = (
    "cortex-a72", "esp32", "esp32s3", "esp32c3", "gap9", "mpic", "ne16", "ethos-u55", "ethos-u65",
    "ethos-u85", "esp32p4", "axon",
)  # fmt: skip
"""Cores that are not emulated: their stacks need the model `table` or `ne16`."""

_KNOWN = frozenset(
    {"id", "name", "core", "clock_mhz", "flash_kb", "ram_kb", "power_mw", "sleep_mw",
     "weight_bits", "activation_bits", "stacks", "stack", "sources"}
)  # fmt: skip
_REQUIRED = ("id", "core", "clock_mhz", "flash_kb", "ram_kb", "power_mw", "sources")


@dataclass(frozen=True)
class Device:
    """A board as the search sees it.

    Attributes:
        id: name of the profile.
        name: the board's own name.
        core: an emulated core or one that behaves like it (`COUNTED_AS`), or one of `TABLE_CORES`.
        clock_mhz: clock of the core.
        flash_kb: flash, in units of 1024 bytes.
        ram_kb: RAM, likewise.
        board_power_mw: power while an inference runs, where a stack has no own measurement.
        sleep_mw: power between inferences, for a duty cycle; 0 if unknown.
        weight_bits: weight bit-widths its kernels run.
        activation_bits: activation bit-widths its kernels run.
        stacks: software stacks by name.
        stack: the one in use.
        sources: source of every number, by its dotted path in the profile.
        version: of the costs, see `versions`.
        named: whether its stack was asked for by name, so that no network file chooses it.
        shipped: whether the profile came with this package.
        profile: what the YAML file holds.
    """

    id: str
    name: str
    core: str
    clock_mhz: float
    flash_kb: float
    ram_kb: float
    board_power_mw: float
    sleep_mw: float
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    stacks: Mapping[str, Runtime]
    stack: str
    sources: Mapping[str, str] = field(default_factory=dict)
    version: int = LATEST
    named: bool = False
    shipped: bool = False
    profile: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __hash__(self) -> int:
        return hash((self.id, self.stack, self.version))

    @property
    def runtime(self) -> Runtime:
        """The software stack in use."""
        return self.stacks[self.stack]

    @property
    def power_mw(self) -> float:
        """Power while an inference runs with the stack in use."""
        own = self.runtime.power_mw
        return self.board_power_mw if own is None else own

    @property
    def status(self) -> str:
        """How far the latency can be trusted: calibrated, borrowed or uncalibrated."""
        return self.runtime.status

    def with_stack(self, name: str) -> Device:
        """Return the device with another of its stacks in use.

        Raises:
            ValueError: it has no such stack.
        """
        if name not in self.stacks:
            raise ValueError(
                f"device {self.id!r} has no stack {name!r}{_meant(name, self.stacks)} (it has "
                f"{', '.join(self.stacks)})"
            )
        return replace(self, stack=name, named=True)

    def as_began(self, version: int, stack: str | None) -> Device:
        """Return the device as an experiment's costs began: with their version and stack.

        A stack that was asked for by name stays.

        Raises:
            ValueError: the device has no such stack any more.
        """
        device = self
        if version != self.version:
            profile = self.profile
            if version == FIRST and self.shipped:
                profile = first_profiles().get(self.id, profile)
            device = parse_device(profile, version, self.shipped)
        if self.named:
            return device.with_stack(self.stack)
        return device if stack in (None, device.stack) else device.with_stack(str(stack))

    def check_bits(self, w_bits: int, a_bits: int) -> None:
        """Refuse bit-widths that the device cannot run.

        Raises:
            ValueError: names the value and what is allowed.
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


def load_device(id_or_path: Device | str | Path, stack: str | None = None) -> Device:
    """Load a shipped profile by id, or a YAML file by path; a loaded one comes back as it is.

    `"stm32l4r5:tflm"` and `stack="tflm"` both pick a stack other than the profile's own choice.

    Raises:
        ValueError: no such profile or stack, one with a missing, wrong or unsourced number, or two
            stacks that are named.
    """
    if isinstance(id_or_path, Device):
        return id_or_path.with_stack(stack) if stack else id_or_path
    text = str(id_or_path)
    ident, _, named = (text, "", "") if _is_file(Path(text)) else text.partition(":")
    if stack and named and stack != named:
        raise ValueError(f"two stacks are named, {named!r} by the device and {stack!r}: give one")
    stack = stack or named
    path = Path(ident) if ident.endswith((".yml", ".yaml")) else _FOLDER / f"{ident}.yml"
    if not _is_file(path):
        raise ValueError(
            f"no device {ident!r}{_near(ident)}: use one of {', '.join(list_devices())}, or the "
            "path of a YAML profile"
        )
    device = _load(path.resolve(), path.stat().st_mtime_ns)
    return device.with_stack(stack) if stack else device


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _near(ident: str) -> str:
    """A hint at the profile that a wrong name may mean, beside it or shipped; may be empty."""
    given = Path(ident)
    try:
        beside = [p.name for p in given.parent.iterdir() if p.suffix in (".yml", ".yaml")]
    except (OSError, ValueError):
        beside = []
    if given.suffix in (".yml", ".yaml") and (near := get_close_matches(given.name, beside, 1)):
        return f" (did you mean {str(given.with_name(near[0]))!r}?)"
    return _meant(given.stem.lower(), list_devices())


def _meant(name: object, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), 1) if isinstance(name, str) else []
    return f" (did you mean {near[0]!r}?)" if near else ""


@lru_cache(maxsize=64)
def _load(path: Path, _mtime: int) -> Device:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    # PyYAML raises what its constructors do, an AttributeError at a bad date for one.
    except Exception as error:
        raise ValueError(f"{path}: not YAML: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path}: a device profile is a mapping, got {type(data).__name__}")
    try:
        return parse_device(data, shipped=path.parent == _FOLDER)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_device(data: Mapping[str, Any], version: int = LATEST, shipped: bool = False) -> Device:
    """Check a profile and make a `Device` of it.

    Stacks known from other boards with the same core are added as borrowed. The stack in use is
    the one that the profile names, else its own first one, else `joint-ga-c` where that was
    counted, else the first that was measured.

    Args:
        data: contents of the YAML file.
        version: of the costs.
        shipped: whether the stacks that were fitted to a board of this id are the profile's.

    Raises:
        ValueError: a field is missing, unknown, out of range, or a number has no source.
    """
    _check_fields(data)
    core, sources = data["core"], data["sources"]
    own = data.get("stacks") or {}
    if not isinstance(own, Mapping):
        raise ValueError(f"stacks={shortened(own)} must map names to their fields")
    if bad := [name for name in own if not isinstance(name, str) or not name]:
        raise ValueError(f"stacks: a stack is named {shortened(bad[0])}; its name must be a text")
    fits: Stacks = fitted_stacks(version) if shipped else {}
    measured = {**fits.get(str(data["id"]), {}), **own}
    ours = own_stack(core, version)
    found = {**ours, **borrowed_stacks(core, version), **measured}
    if not found:
        raise ValueError(f"field 'stacks' is missing, and no stack was measured on core {core!r}")
    if OWN in own and isinstance(own[OWN], Mapping):
        found[OWN] = {**ours.get(OWN, {}), **own[OWN]}
    stacks = {name: parse_runtime(name, completed(name, v, version)) for name, v in found.items()}
    first = measured if version == FIRST else own or ours or measured
    stack = data.get("stack", next(iter(first or found)))
    if not isinstance(stack, str) or stack not in stacks:
        raise ValueError(
            f"stack={shortened(stack)} is none of its stacks{_meant(stack, stacks)} "
            f"({', '.join(stacks)})"
        )
    for one in stacks.values():
        if core in TABLE_CORES and one.model == "kernels":
            raise ValueError(f"stacks.{one.name}: core {core!r} is not emulated, set a `model`")
    return Device(
        id=str(data["id"]),
        name=str(data.get("name", data["id"])),
        core=core,
        clock_mhz=positive(data["clock_mhz"], "clock_mhz"),
        flash_kb=positive(data["flash_kb"], "flash_kb"),
        ram_kb=positive(data["ram_kb"], "ram_kb"),
        board_power_mw=positive(data["power_mw"], "power_mw"),
        sleep_mw=positive(data.get("sleep_mw", 0), "sleep_mw", zero=True),
        weight_bits=_bits(data.get("weight_bits", [2, 4, 8]), "weight_bits"),
        activation_bits=_bits(data.get("activation_bits", [4, 8]), "activation_bits"),
        stacks=stacks,
        stack=stack,
        sources={k: v if isinstance(v, str) else shortened(v) for k, v in sources.items()},
        version=version,
        shipped=shipped,
        profile=data,
    )


def _check_fields(data: object) -> None:
    """Refuse a profile whose fields aren't the known ones, or that says no source of a number."""
    if not isinstance(data, Mapping):
        raise ValueError(f"a device profile is a mapping, got {shortened(data)}")
    if unknown := set(data) - _KNOWN:
        near = _meant(min(unknown, key=shortened), _KNOWN)
        raise ValueError(
            f"unknown field {min(map(shortened, unknown))}{near} (known: "
            f"{', '.join(sorted(_KNOWN))})"
        )
    for key in _REQUIRED:
        if key not in data:
            raise ValueError(f"field {key!r} is missing")
    for key in ("id", "name"):
        if not isinstance(data.get(key, ""), str | int | float):
            raise ValueError(f"{key}={shortened(data[key])} must be a text")
    core = data["core"]
    if not isinstance(core, str) or (core not in COUNTED_AS and core not in TABLE_CORES):
        known = (*COUNTED_AS, *TABLE_CORES)
        raise ValueError(
            f"core={shortened(core)} is unknown{_meant(core, known)} (known: {', '.join(known)})"
        )
    sources = data["sources"]
    if not isinstance(sources, Mapping):
        raise ValueError(
            "sources must map the path of each number to where it comes from, got "
            f"{shortened(sources)}"
        )
    try:
        check_sources(data, sources)
    except RecursionError:
        raise ValueError("the profile is nested too deep, or contains itself") from None


def _bits(values: object, where: str) -> tuple[int, ...]:
    if not isinstance(values, list) or not values:
        raise ValueError(
            f"{where}={shortened(values)} must be a list of bit-widths out of {BIT_WIDTHS}"
        )
    return tuple(sorted({check_bits(value, where) for value in values}))


def _numbers(value: object, path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if path or key != "sources":
                yield from _numbers(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        if any(isinstance(v, (int, float)) for v in value):
            yield path
    elif is_number(value):
        yield path


def check_sources(data: Mapping[str, object], sources: Mapping[str, object]) -> None:
    """Refuse a profile in which a number has no source.

    The source of `stacks.tflm` also stands for `stacks.tflm.kappa`.

    Raises:
        ValueError: names the number.
    """
    for path in _numbers(data, ""):
        parts = path.split(".")
        heads = [".".join(parts[: i + 1]) for i in range(len(parts))]
        inline = _at(data, parts[:2]) if parts[0] == "stacks" else None
        if isinstance(inline, Mapping) and str(inline.get("source") or "").strip():
            continue
        if not any(str(sources.get(head) or "").strip() for head in heads):
            raise ValueError(
                f"number {path!r} has no source; add `{path}: <datasheet, log file, measurement>` "
                "under `sources`"
            )


def _at(data: object, parts: list[str]) -> object:
    for part in parts:
        data = data.get(part) if isinstance(data, Mapping) else None
    return data
