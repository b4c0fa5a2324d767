"""`model.pt2`: the evaluated network as a `torch.export` program; it loads with torch alone."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_structure, tree_unflatten

from evaluators.export.signature import Signature
from evaluators.pytree import batch_size, plain, plain_outputs, tensors, with_tensors

METADATA = "candidate.json"

FILE = "model.pt2"
"""torch warns of programs in files of another ending."""

_OLD_FILE = "model.pt"


def save(
    network: nn.Module,
    inputs: object,
    metadata: Mapping[str, object],
    path: Path,
    *,
    batches: Iterable[object] = (),
) -> str | None:
    """Writes a network, input quantization included.

    Args:
        network: batch-norm folded; left as it is.
        inputs: one batch of inputs, as the network takes them: a tensor, a tuple or a dict of
            keywords.
        metadata: JSON values that `load` gives back.
        path: file to write.
        batches: more of them; an axis whose length differs among them is free like the samples'.

    It loads without this package, NNI or the model's own source:
    `torch.export.load("model.pt2").module()`. What the network gives as a dataclass is a dict
    there.

    Returns:
        Why the batch dimension is not free; None if it is. A model that fixes it in its code is
        written for the batch size of `inputs`.
    """
    network = make_contiguous(copy.deepcopy(network).eval())
    found = (x.clone(memory_format=torch.contiguous_format) for x in tensors(inputs))
    inputs, batches, reason = with_tensors(inputs, found), list(batches), None
    try:
        signature = Signature.of(network, _two_samples(inputs), batches)
        program = _program(network, signature, signature.dynamic_shapes())
    # torch raises many kinds here, and so does a model that can't take two samples.
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        program = _program(network, Signature.of(network, inputs, batches), None)
    for node in program.graph.nodes:
        # Source lines and paths of the machine that exported.
        node.meta.pop("stack_trace", None)
    buffer = io.BytesIO()
    content = json.dumps({**metadata, "free_batch": reason is None})
    torch.export.save(program, buffer, extra_files={METADATA: content})
    path.write_bytes(buffer.getvalue())
    return reason


def make_contiguous(network: nn.Module) -> nn.Module:
    """Gives every parameter memory of its own, in order, in place.

    Pruning leaves views of larger tensors, which would be written whole.
    """
    for parameter in network.parameters():
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
    return network


def _two_samples(inputs: object) -> object:
    """Inputs of a batch of one, twice: torch takes a length of 1 for one that can't change."""
    if batch_size(inputs) != 1:
        return inputs
    twice = (torch.cat([x, x]) if x.shape[:1] == (1,) else x for x in tensors(inputs))
    return with_tensors(inputs, twice)


def _program(
    network: nn.Module, signature: Signature, dynamic: Any
) -> torch.export.ExportedProgram:
    inputs = signature.example
    named = isinstance(inputs, Mapping)
    arguments = () if named else tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    keywords = dict(inputs) if named else None
    with plain_outputs(network):
        program = torch.export.export(network, arguments, keywords, dynamic_shapes=dynamic)
    called = program.module_call_graph[0].signature
    assert called is not None
    # A graph of `torch.fx` gives dicts and lists that can't be changed: the file's can.
    given = tree_unflatten([torch.empty(0)] * called.out_spec.num_leaves, called.out_spec)
    called.out_spec = tree_structure(plain(given))
    return program


def load(path: str | Path) -> nn.Module:
    """Loads `model.pt2`: a module that gives the evaluated network's outputs.

    The chromosome, task and seed it came from are its attribute `metadata` (a dict). A folder may
    hold the file under its old name, `model.pt`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or none of ours.
    """
    path = Path(path)
    if path.is_dir():
        old = path / _OLD_FILE
        path = old if old.exists() and not (path / FILE).exists() else path / FILE
    extra = {METADATA: ""}
    content = io.BytesIO(path.read_bytes())
    # torch documents no exceptions for a damaged archive, and raises many kinds.
    try:
        program = torch.export.load(content, extra_files=extra)
    except Exception as error:  # torch raises many kinds here
        raise ValueError(f"{path} is no exported network, or is truncated ({error})") from error
    module: nn.Module = program.module()
    module.metadata = json.loads(extra[METADATA] or "{}")
    return module
