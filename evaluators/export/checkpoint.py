"""`model.pt`: the evaluated network as a `torch.export` program; it loads with torch alone."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

METADATA = "candidate.json"


def save(
    network: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    metadata: Mapping[str, object],
    path: Path,
) -> bool:
    """Writes the network, quantization included, batch-norm folded.

    Args:
        network: `FoldedModel.simulated()`; left as it is.
        inputs: one batch of each input.
        metadata: JSON values that `load` gives back.
        path: file to write.

    It loads without this package, NNI or the model's own source:
    `torch.export.load("model.pt").module()`.

    Returns:
        Whether the batch dimension is free. A model that fixes it in its code is written for the
        batch size of `inputs`.
    """
    network = copy.deepcopy(network).eval()
    for parameter in network.parameters():
        # Pruning leaves views of larger tensors, which would be written whole.
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
    inputs = tuple(x.clone(memory_format=torch.contiguous_format) for x in inputs)
    batch = torch.export.Dim("batch", min=1)
    free = True
    try:
        program = torch.export.export(
            network, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs)
        )
    except Exception:  # torch raises many kinds here; only the batch size can be given up
        free = False
        program = torch.export.export(network, inputs)
    for node in program.graph.nodes:
        # Source lines and paths of the machine that exported.
        node.meta.pop("stack_trace", None)
    buffer = io.BytesIO()
    torch.export.save(
        program, buffer, extra_files={METADATA: json.dumps({**metadata, "free_batch": free})}
    )
    path.write_bytes(buffer.getvalue())
    return free


def load(path: str | Path) -> nn.Module:
    """Loads `model.pt`: a module that gives the evaluated network's outputs.

    The chromosome, task and seed it came from are its attribute `metadata` (a dict).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or none of ours.
    """
    path = Path(path)
    if path.is_dir():
        path /= "model.pt"
    extra = {METADATA: ""}
    content = io.BytesIO(path.read_bytes())
    # torch documents no exceptions for a damaged archive, and raises many kinds.
    try:
        program = torch.export.load(content, extra_files=extra)
    except Exception as error:
        raise ValueError(f"{path} is no exported network, or is truncated ({error})") from error
    module: nn.Module = program.module()
    module.metadata = json.loads(extra[METADATA] or "{}")
    return module
