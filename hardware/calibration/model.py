"""Cycles of a software stack from counted instructions: the model, and fitting it.

    cycles = kappa * (I_conv + I_pointwise + I_other + depthwise * I_depthwise + linear * I_linear)

`kappa` scales our kernels to a stack on a board; the two factors say how much better or worse it
does depthwise and fully-connected layers than plain convolutions (a linear layer is often bound
by the flash it streams its weights from). `kappa` is fitted per board and stack. Four networks
cannot tell three factors apart, so the logarithms of the other two are sums of effects of the
family of cores, the vendor, the version and the board with that stack, each drawn towards zero
(ridge regression): what a stack has not shown, it inherits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hardware.calibration.mlperf_tiny_networks import REFERENCE_NETWORKS, live_layers
from hardware.cores import COUNTED_AS, KERNEL_SET
from hardware.ir.layer import Layer
from hardware.latency.layer_instructions import CLASSES, Array, class_instructions, layer_class
from hardware.versions import FIRST, LATEST

FACTORS = ("depthwise", "linear")
LEVELS = ("all", "family", "vendor", "stack", "system")
RIDGE: Mapping[str, float] = {
    "all": 0.05, "family": 0.2, "vendor": 0.2, "stack": 0.2, "system": 0.4,
}  # fmt: skip
"""Strength with which effects of each level are drawn to zero; residuals are log errors."""

FAMILY: Mapping[str, str] = {"andes-d45": "andes-d25f"}
"""Cores whose factors are one: the same instructions, and software that was published together.

The Cortex-M4 and M33 could be one too. That lowers the mean error on benchmarks left out by 0.3
points; they stay apart, since nothing but these errors speaks for it.
"""

_COLUMNS = [CLASSES.index(f) for f in FACTORS]


@lru_cache(maxsize=64)
def benchmark_instructions(benchmark: str, core: str, drops_dead: bool) -> tuple[float, ...]:
    """Instructions by class of a reference network, dead channels removed or not.

    Of the kernels of `counts_version`: what a vendor's stack costs is a factor on these, whatever
    becomes of our own kernels.
    """
    layers = _benchmark_layers(benchmark, drops_dead)
    return tuple(class_instructions(layers, core, counts_version(core)))


def counts_version(core: str) -> int:
    """Which counts the factors of vendors' stacks are of: version 1, but for cores with Helium."""
    return LATEST if KERNEL_SET[COUNTED_AS[core]] == "mve" else FIRST


def linear_bytes(benchmark: str, drops_dead: bool) -> float:
    """Bytes of the weights of fully-connected layers of a reference network, int8."""
    layers = _benchmark_layers(benchmark, drops_dead)
    return float(sum(layer.weights for layer in layers if layer_class(layer) == "linear"))


def _benchmark_layers(benchmark: str, drops_dead: bool) -> Sequence[Layer]:
    network = REFERENCE_NETWORKS[benchmark]()
    return live_layers(network) if drops_dead else network.layers


@dataclass(frozen=True)
class Cell:
    """One measured latency.

    Attributes:
        core: core of the device.
        vendor: maker of the stack.
        stack: stack with its version.
        system: device and stack.
        network: what ran.
        cycles: measured cycles.
        counts: instructions by class.
        linear_bytes: of the weights of fully-connected layers.
    """

    core: str
    vendor: str
    stack: str
    system: str
    network: str
    cycles: float
    counts: tuple[float, ...]
    linear_bytes: float = 0.0

    @property
    def family(self) -> str:
        """What stands for the core in the fit, see `FAMILY`."""
        return FAMILY.get(self.core, self.core)

    def level(self, name: str) -> str:
        """Name of the effect that applies to this cell at a level."""
        return "" if name == "all" else str(getattr(self, name))


@dataclass(frozen=True)
class Effects:
    """Fitted effects on the logarithms of `FACTORS`, by level and name."""

    values: Mapping[tuple[str, str], tuple[float, ...]]

    def factors(self, names: Mapping[str, str]) -> tuple[float, ...]:
        """Factors for a system; a name that was never fitted adds nothing.

        Args:
            names: name at each of `LEVELS` but `all`.
        """
        total = np.zeros(len(FACTORS))
        for level in LEVELS:
            total += self.values.get((level, names.get(level, "")), (0.0,) * len(FACTORS))
        return tuple(float(v) for v in np.exp(total))


def weighted(counts: Sequence[float], factors: Sequence[float]) -> float:
    """Instructions with depthwise and linear ones multiplied by their factors."""
    weights = np.ones(len(CLASSES))
    weights[_COLUMNS] = factors
    return float(weights @ np.asarray(counts))


def fit(cells: Sequence[Cell], ridge: Mapping[str, float] = RIDGE) -> Effects:
    """Fit the effects to measured cells; each system's kappa is free.

    Gauss-Newton on log cycles, all effects together.

    Raises:
        ValueError: no cell.
    """
    if not cells:
        raise ValueError("no measured latency to fit to")
    keys = list(dict.fromkeys((lv, cell.level(lv)) for lv in LEVELS for cell in cells))
    index = {key: i for i, key in enumerate(keys)}
    member = np.zeros((len(cells), len(keys)))
    for row, cell in enumerate(cells):
        for lv in LEVELS:
            member[row, index[lv, cell.level(lv)]] = 1
    counts = np.array([cell.counts for cell in cells])
    target = np.log([cell.cycles for cell in cells])
    center = _center([cell.system for cell in cells])
    penalty = np.repeat([ridge[lv] ** 2 for lv, _ in keys], len(FACTORS))
    effects = np.zeros((len(keys), len(FACTORS)))
    for _ in range(30):
        parts = counts.copy()
        parts[:, _COLUMNS] *= np.exp(member @ effects)
        sums = parts.sum(axis=1)
        residual = center @ (target - np.log(sums))
        share = parts[:, _COLUMNS] / sums[:, None]
        jacobian = -center @ (member[:, :, None] * share[:, None, :]).reshape(len(cells), -1)
        normal = jacobian.T @ jacobian + np.diag(penalty)
        step = np.linalg.solve(normal, jacobian.T @ residual + penalty * effects.ravel())
        effects -= step.reshape(effects.shape)
        if np.abs(step).max() < 1e-9:
            break
    return Effects({key: tuple(map(float, effects[i])) for key, i in index.items()})


def _center(systems: Sequence[str]) -> Array:
    """Matrix that takes each system's mean off, which is what its free kappa does."""
    same = np.array([[a == b for b in systems] for a in systems], dtype=float)
    mean: Array = same / same.sum(axis=1, keepdims=True)
    return np.eye(len(systems)) - mean


def kappa(cells: Sequence[Cell], factors: Sequence[float]) -> float:
    """Cycles per weighted instruction: the geometric mean over measured networks."""
    logs = [np.log(cell.cycles / weighted(cell.counts, factors)) for cell in cells]
    return float(np.exp(np.mean(logs)))


def names_of(cell: Cell) -> dict[str, str]:
    """Names of a cell's effects at every level."""
    return {level: cell.level(level) for level in LEVELS if level != "all"}


def predict(cell: Cell, others: Sequence[Cell], effects: Effects) -> float:
    """Cycles of a cell from its system's other cells.

    Raises:
        ValueError: there is no other cell.
    """
    if not others:
        raise ValueError(f"system {cell.system!r} has no other measured network")
    factors = effects.factors(names_of(cell))
    return kappa(others, factors) * weighted(cell.counts, factors)
