"""What goes into an exported file and comes out of it: names, and axes whose length is free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from evaluators.pytree import batch_size, call, named_tensors, with_tensors

INPUT, OUTPUT = "input", "output"
"""Names of the only one, or of the first of several that have none of their own."""

BATCH = "batch"

Axes = Mapping[str, tuple[int, ...]]
"""Free axes of tensors, by the tensors' names."""


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a network.

    Attributes:
        example: one batch of inputs, nested as the network takes them.
        inputs: their names in order, and which axes are free: the samples', and those that are of
            another length in another batch.
        outputs: likewise.
    """

    example: Any
    inputs: Axes
    outputs: Axes

    @classmethod
    def of(cls, model: nn.Module, example: Any, batches: Iterable[Any] = ()) -> Signature:
        """Looks at what a network takes and gives.

        Args:
            model: in eval mode.
            example: one batch of inputs.
            batches: more batches, of which some may be padded to another length.
        """
        given = [_shapes(example, INPUT)]
        with torch.no_grad():
            found = [_shapes(call(model, example), OUTPUT)]
            for batch in batches:
                shapes = _shapes(batch, INPUT)
                # Only what is longer or shorter has something new to say of the outputs.
                if {k: s[1:] for k, s in shapes.items()} != {
                    k: s[1:] for k, s in given[-1].items()
                }:
                    given.append(shapes)
                    found.append(_shapes(call(model, batch), OUTPUT))
        samples = batch_size(example)
        inputs = _free(given, samples)
        # A file's tensors have one name each, and none begins with a digit.
        outputs = {}
        for name, axes in _free(found, samples).items():
            own = f"{OUTPUT}_{name}" if name[:1].isdigit() else name
            outputs[f"{own}_{OUTPUT}" if own in inputs else own] = axes
        return cls(example, inputs, outputs)

    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """Names of the free axes, as the ONNX exporter takes them."""
        return {
            name: {axis: f"{name}_{axis}" if axis else BATCH for axis in axes}
            for name, axes in (*self.inputs.items(), *self.outputs.items())
        }

    def dynamic_shapes(self) -> Any:
        """The same as ``torch.export`` takes it, nested as the inputs are."""
        batch = torch.export.Dim(BATCH, min=1)
        dims = [
            {axis: torch.export.Dim.AUTO if axis else batch for axis in axes}
            for axes in self.inputs.values()
        ]
        example = self.example
        nested = example if isinstance(example, (tuple, list, Mapping)) else (example,)
        return with_tensors(nested, iter(dims))


def _shapes(value: object, root: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(x.shape) for name, x in named_tensors(value, root).items()}


def _free(found: list[dict[str, tuple[int, ...]]], samples: int) -> dict[str, tuple[int, ...]]:
    """Free axes by name: the first one, if it has the samples, and those of several lengths."""
    axes = {}
    for name, shape in found[0].items():
        lengths = zip(*(other.get(name, shape) for other in found), strict=False)
        varied = [axis for axis, each in enumerate(lengths) if axis and len(set(each)) > 1]
        axes[name] = (*([0] if shape[:1] == (samples,) else []), *varied)
    return axes
