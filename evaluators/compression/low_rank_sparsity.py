"""What makes layers smaller beside removing channels: factors of low rank, and single zeros."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from evaluators import nni_imports
from evaluators.compression.decisions import Candidate
from evaluators.compression.pruning import check_shapes
from evaluators.compression.submodules import replace_submodule
from evaluators.slicing.remove_units import PruneError

_PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d)


def thin(model: nn.Module, candidate: Candidate) -> None:
    """Factorizes and zeroes what a chromosome asks for, in a model without its pruned channels.

    Args:
        model: changed in place; factorized layers become an ``nn.Sequential`` of two.
        candidate: its ``layers`` are the shapes to arrive at, which are checked.

    Raises:
        PruneError: a layer's shape, or its number of zeros, isn't the one asked for.
    """
    factorize(model, candidate.ranks)
    sparsify(model, {name: bits.zeros for name, bits in candidate.bits.items()})
    if candidate.ranks:
        check_shapes(model, candidate.layers)


def factorize(model: nn.Module, ranks: Mapping[str, int]) -> None:
    """Replaces layers by two of lower rank, in place: the best such pair by squared error.

    ``W = U S V`` becomes ``sqrt(S) V`` and ``U sqrt(S)`` of the largest singular values (Eckart and
    Young, 1936); the root on both sides keeps their weights of one size, which rounding likes.

    Args:
        model: holds ``nn.Linear`` and 1x1 convolutions under these names.
        ranks: rows of the first factor, by module.

    Raises:
        ValueError: a layer of a class of its own, which may compute something else.
    """
    for name, rank in ranks.items():
        # torch types an attribute of a module as a tensor or a module.
        module: Any = model.get_submodule(name)
        if type(module) not in _PLAIN:
            raise ValueError(
                f"layer '{name}' is a {type(module).__name__}: only plain linear layers and "
                f"convolutions of torch.nn can be factorized; leave '{name}.rank' out of the space"
            )
        weight = module.weight.detach()
        ones = (1,) * (weight.dim() - 2)
        u, s, v = torch.linalg.svd(weight.flatten(1).double(), full_matrices=False)
        root = s[:rank].sqrt()
        first, second = _pair(module, rank)
        with torch.no_grad():
            first.weight.copy_((root[:, None] * v[:rank]).reshape(rank, -1, *ones))
            second.weight.copy_((u[:, :rank] * root).reshape(-1, rank, *ones))
            if module.bias is not None:
                second.bias.copy_(module.bias)
        pair = nn.Sequential(first, second).to(weight)
        pair.train(module.training)
        pair.requires_grad_(module.weight.requires_grad)
        replace_submodule(model, name, pair)


def _pair(module: Any, rank: int) -> tuple[Any, Any]:
    biased = module.bias is not None
    if isinstance(module, nn.Linear):
        return (
            nn.Linear(module.in_features, rank, bias=False),
            nn.Linear(rank, module.out_features, bias=biased),
        )
    kind = type(module)
    # The first one strides: fewer positions are left for the second.
    first = kind(
        module.in_channels, rank, 1, module.stride, module.padding, bias=False,
        padding_mode=module.padding_mode,
    )  # fmt: skip
    return first, kind(rank, module.out_channels, 1, bias=biased)


def sparsify(model: nn.Module, zeros: Mapping[str, int]) -> None:
    """Zeroes the smallest weights of layers, in place."""
    for name, mask in level_masks(model, zeros).items():
        weight: Any = model.get_submodule(name).weight
        weight.data.mul_(mask)


def level_masks(model: nn.Module, zeros: Mapping[str, int]) -> dict[str, Tensor]:
    """Masks of NNI's ``LevelPruner``: 0 for the smallest magnitudes of each layer, else 1.

    Weights that are zero already come first, so masks of a model that was sparsified to the same
    counts are the same.

    Args:
        model: left as it is.
        zeros: weights to be zero, by module; those with none get no mask.

    Raises:
        PruneError: NNI masked another number of weights.
    """
    wanted = {name: count for name, count in zeros.items() if count}
    if not wanted:
        return {}
    # NNI views weights as one row, which the channels-last layout doesn't allow: it gets copies.
    copies = nn.ModuleDict()
    config = []
    for index, (name, count) in enumerate(wanted.items()):
        module: Any = copy.deepcopy(model.get_submodule(name))
        module.weight.data = module.weight.data.contiguous()
        copies[str(index)] = module
        # NNI masks int(n * ratio) weights: half a weight keeps that above the float error.
        ratio = (count + 0.5) / module.weight.numel()
        config.append({"op_names": [str(index)], "target_names": ["weight"], "sparse_ratio": ratio})
    pruner = nni_imports.nni_pruning().LevelPruner(copies, config)
    _, found = pruner.compress()
    masks = {name: found[str(i)]["weight"].detach() for i, name in enumerate(wanted)}
    for name, mask in masks.items():
        masked = int((mask == 0).sum())
        if masked != wanted[name]:
            raise PruneError(f"layer '{name}': asked for {wanted[name]} zeros, got {masked}")
    return masks
