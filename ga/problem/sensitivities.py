"""What is known, before any trial, of the quality that compressing one layer alone costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np

from ga.arrays import Array
from ga.problem.finite import shortened

_WANTED = "give {layer: loss} or {gene: {value: loss}}"


@dataclass(frozen=True)
class Sensitivities:
    """Losses of quality by layer, and by gene and value where they were measured.

    Attributes:
        layers: layer (a gene's name up to the last dot) -> loss; it orders and weighs layers.
        genes: gene -> its measured values in ascending order, and their losses.
        gains: layers and genes that were said to gain more by compression than they lose.
    """

    layers: Mapping[str, float]
    genes: Mapping[str, tuple[Array, Array]]
    gains: tuple[str, ...] = ()

    @classmethod
    def parse(cls, given: Mapping[str, object] | None) -> Sensitivities:
        """From `{layer: loss}`, or `{gene: {value: loss}}` with values as numbers or texts.

        Gains count as no loss. A layer's loss is the mean of what is given for its genes.

        Raises:
            ValueError: no mapping, or something that is no finite number; the message names it.
        """
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(f"sensitivities={shortened(given)} is no mapping; {_WANTED}")
        layers: dict[str, float] = {}
        genes: dict[str, tuple[Array, Array]] = {}
        rows: dict[str, list[float]] = {}
        gains: list[str] = []
        for name, entry in (given or {}).items():
            if not isinstance(name, str):
                raise ValueError(
                    f"sensitivities: {shortened(name)} is no name of a layer or a gene; {_WANTED}"
                )
            if not isinstance(entry, Mapping):
                layers[name] = max(0.0, _number(name, entry))
                gains += [name] * (_number(name, entry) < 0)
                continue
            table = sorted(
                (_number(name, value), _number(name, loss)) for value, loss in entry.items()
            )
            gains += [name] * (sum(loss for _, loss in table) < 0)
            table = [(value, max(0.0, loss)) for value, loss in table]
            rows.setdefault(name.rpartition(".")[0], []).extend(loss for _, loss in table)
            if name.endswith(".prune"):
                table = [(0.0, 0.0), *(row for row in table if row[0] > 0)]
            values, losses = zip(*table, strict=True) if table else ((), ())
            if values:
                genes[name] = np.array(values), np.array(losses)
        for layer, found in rows.items():
            layers.setdefault(layer, sum(found) / len(found) if found else 0.0)
        return cls(layers, genes, tuple(gains))

    def losses(self, gene: str, values: Array) -> Array:
        """Losses of a measured gene's values, interpolated linearly, constant beyond the ends.

        Of pruning they go by `removed_per_left`, and beyond the largest ratio measured on as they
        came there: what is removed from the last few channels hurts more than what was measured.
        """
        measured, losses = self.genes[gene]
        pruned = gene.endswith(".prune") and are_ratios(measured) and are_ratios(values)
        if not pruned or len(measured) < 2:
            return np.interp(values, measured, losses)
        known, asked = removed_per_left(measured), removed_per_left(values)
        step = float(known[-1] - known[-2])  # 0 if a ratio is given twice
        slope = max(0.0, float(losses[-1] - losses[-2]) / step) if step else 0.0
        beyond = np.maximum(0.0, asked - known[-1])
        return np.asarray(np.interp(asked, known, losses) + slope * beyond)


def are_ratios(values: Array) -> bool:
    """Whether values are shares of something that may be removed, all of it excluded."""
    return bool((values >= 0.0).all() and (values < 1.0).all())


def removed_per_left(ratios: Array) -> Array:
    """Of ratios in [0, 1) that are removed: how much is removed for each part that is left.

    On this scale pruning hurts about evenly: from a quarter left to an eighth it is as far as from
    all to a fifth.
    """
    return np.asarray(ratios / (1.0 - ratios))


def _number(name: str, raw: object) -> float:
    number = math.nan
    if isinstance(raw, (str, SupportsFloat)):
        with suppress(ValueError, OverflowError):
            number = float(raw)
    if isinstance(raw, bool) or not math.isfinite(number):
        raise ValueError(
            f"sensitivities: {name!r} has {shortened(raw)} where a finite number is needed; "
            f"{_WANTED}"
        )
    return number
