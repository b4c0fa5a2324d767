"""Trials that start from the nearest trial trained before instead of from the float model.

A folder holds the float weights that earlier trials ended with, beside their chromosomes. What an
heir must remove is removed by NNI's pruner as from the float model, so an ancestor needs at least
the heir's channels in every group. The folder is bounded: what was used longest ago goes first.
The idea is the beacons of MOHAQ (Rezk et al., arXiv:2108.01192).
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from evaluators.baseline import weights_of
from evaluators.cache import fingerprint, locked, write_atomically
from evaluators.compression.pruning import prune
from evaluators.task import Task
from hardware import Network

LOG = logging.getLogger(__name__)

MEGABYTE = 2**20


class Start(NamedTuple):
    """Where a trial starts: the ancestor's float model, its chromosome, a line that names it."""

    model: nn.Module
    genes: dict[str, object]
    note: str


@dataclass(frozen=True)
class _Ancestor:
    path: Path
    uid: object
    genes: dict[str, object]
    epochs: int

    @property
    def weights(self) -> Path:
        return self.path.with_suffix(".pt")


class Inheritance:
    """A folder of trained checkpoints, shared by the trials of one or several experiments.

    Several trials may use it at once: files appear whole, and one that another trial removes is
    passed over. Whatever goes wrong in it costs a trial its head start and a line in the log, not
    its result.

    Args:
        folder: made if it is missing.
        limit_mb: bytes that all its checkpoints may take, in MB of 2**20 bytes.
        uid: of the present trial, to be named in its heirs' logs.

    Raises:
        ValueError: ``limit_mb`` isn't above 0.
    """

    def __init__(self, folder: str | Path, *, limit_mb: float = 256.0, uid: object = None) -> None:
        if not limit_mb > 0 or math.isinf(limit_mb):
            raise ValueError(f"limit_mb={limit_mb!r} must be a number of megabytes above 0")
        self.folder, self.limit_bytes, self.uid = Path(folder), int(limit_mb * MEGABYTE), uid

    def start(self, task: Task, network: Network, params: Mapping[str, object]) -> Start | None:
        """The nearest ancestor's model, or None if the float model is nearer or there is none."""
        genes = _genes(params)
        wanted = network.kept(genes)
        nearest: list[tuple[float, str, _Ancestor]] = []
        for ancestor in self._ancestors(task):
            try:
                kept = network.kept(ancestor.genes)
                apart = distance(network, ancestor.genes, genes)
            except ValueError:
                continue  # another search space of the same model
            if all(kept[name] >= count for name, count in wanted.items()):
                nearest.append((apart, ancestor.path.name, ancestor))
        whole = distance(network, {}, genes)
        for apart, _, ancestor in sorted(nearest, key=lambda entry: entry[:2]):
            if apart >= whole:
                break
            model = self._load(task, network, ancestor)
            if model is not None:
                name = ancestor.path.stem if ancestor.uid is None else f"uid {ancestor.uid}"
                return Start(
                    model,
                    ancestor.genes,
                    f"started from the checkpoint of {name} ({ancestor.epochs} epochs, distance "
                    f"{apart:.3f}; the float model's is {whole:.3f})",
                )
        return None

    def keep(
        self,
        task: Task,
        network: Network,
        params: Mapping[str, object],
        state: Mapping[str, Tensor],
        epochs: int,
    ) -> list[str]:
        """Stores what a trial ended with; returns what there is to say about it.

        A factorized network has other layers than the task's model and is no ancestor.

        Args:
            task: its model's weights name the family.
            network: of the whole model.
            params: the trial's chromosome.
            state: float weights by the names of the task's model, in pruned shapes.
            epochs: that the trial trained.
        """
        if set(state) != set(task.model.state_dict()):
            return ["its checkpoint is not kept: factorized layers can't be inherited"]
        genes = _genes(params)
        path = self._family(task) / f"{fingerprint(sorted(genes.items()))}.json"
        entry = {"uid": self.uid, "genes": genes, "epochs": epochs}
        plain = {name: tensor.detach().contiguous() for name, tensor in state.items()}
        try:
            with locked(self.folder / "checkpoints"):
                # The weights first: an entry without them would be a promise.
                write_atomically(path.with_suffix(".pt"), lambda to: torch.save(plain, to))
                write_atomically(path, lambda to: _write_json(entry, to))
                self._evict(spared=path)
        except OSError as error:
            LOG.warning("the checkpoint for heirs could not be written: %s", error)
            return [f"its checkpoint could not be written ({error}); its result stands"]
        return []

    def _family(self, task: Task) -> Path:
        return self.folder / f"{task.name}-{fingerprint(*weights_of(task.model))}"

    def _ancestors(self, task: Task) -> list[_Ancestor]:
        paths = sorted(self._family(task).glob("*.json"))
        return [found for path in paths if (found := _read(path)) is not None]

    def _load(self, task: Task, network: Network, ancestor: _Ancestor) -> nn.Module | None:
        """The ancestor's model; None, with a line in the log, if its file is gone or damaged."""
        try:
            state = torch.load(ancestor.weights, map_location="cpu", weights_only=True)
            # A sign of use, for those who look for what to remove.
            os.utime(ancestor.path)
            prunes = {k: v for k, v in ancestor.genes.items() if k.endswith(".prune")}
            kept = {
                name: count
                for name, count in network.kept(prunes).items()
                if count < network.group(name).channels
            }
            # Which channels go doesn't matter here: only the shapes are used.
            model = prune(task.model, task.inputs, network, kept, network.apply(prunes))
            model.load_state_dict(state)
        # A file of any content may lie there: the trial then starts from the float model.
        except Exception as error:
            LOG.warning(
                "the checkpoint %s can't be used (%s: %s)",
                ancestor.weights,
                type(error).__name__,
                str(error).splitlines()[0] if str(error) else "no message",
            )
            return None
        return model

    def _evict(self, spared: Path) -> None:
        """Removes what was used longest ago, until the rest is within the limit."""
        entries = []
        for path in self.folder.glob("*/*.json"):
            weights = path.with_suffix(".pt")
            size = sum(p.stat().st_size for p in (path, weights) if p.exists())
            entries.append((path == spared, path.stat().st_mtime_ns, path, size))
        total = sum(size for *_, size in entries)
        for _, _, path, size in sorted(entries):
            if total <= self.limit_bytes:
                break
            path.unlink(missing_ok=True)
            path.with_suffix(".pt").unlink(missing_ok=True)
            total -= size


def distance(network: Network, one: Mapping[str, object], other: Mapping[str, object]) -> float:
    """How far two chromosomes are apart, as far as trained weights care.

    The mean difference of the shares of channels kept, plus the mean difference of weight and
    activation bits in doublings, of which three (8 bits to 1) count as all channels.

    Raises:
        ValueError: one is of another model.
    """
    kept, against = network.kept(one), network.kept(other)
    channels = [
        abs(kept[group.name] - against[group.name]) / group.channels
        for group in network.groups
        if group.prunable
    ]
    bits, bits_against = network.bits(one), network.bits(other)
    widths = [
        abs(math.log2(a / b)) / 3.0
        for name in network.gene_layers
        for a, b in zip(bits[name], bits_against[name], strict=True)
    ]
    return sum(channels) / max(1, len(channels)) + sum(widths) / max(1, len(widths))


def _read(path: Path) -> _Ancestor | None:
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        return _Ancestor(path, entry["uid"], dict(entry["genes"]), int(entry["epochs"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        LOG.warning("%s is no usable checkpoint (%s); it is passed over", path, error)
        return None


def _genes(params: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in params.items() if key != "uid"}


def _write_json(entry: dict[str, object], path: Path) -> None:
    path.write_text(json.dumps(entry), encoding="utf-8")
