"""What a module says about its own size, made to fit the tensors that it is left with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

Lost = Mapping[str, Mapping[int, set[int]]]
"""Entries that went, by tensor and axis."""

_OF_ROWS = (
    "out_features", "out_channels", "out_planes", "out_dim", "num_features", "num_channels",
    "num_parameters", "normalized_shape", "channels",
)  # fmt: skip
_OF_COLUMNS = ("in_features", "in_channels", "in_planes", "in_dim", "embedding_dim")


def fit_sizes(module: nn.Module, before: Mapping[str, Tensor], lost: Lost) -> None:
    """Sets the attributes of a module that describe its tensors, in place.

    Args:
        module: its tensors are sliced already.
        before: its tensors that were sliced, as they were.
        lost: what they lost.

    Raises:
        ValueError: the module's kind has no such shape.
    """
    # torch types an attribute of a module as a tensor or a module.
    m: Any = module
    if isinstance(module, _ConvNd):
        _convolution(m, before, lost)
    elif isinstance(module, nn.Linear):
        m.out_features, m.in_features = m.weight.shape
    elif isinstance(module, nn.Bilinear):
        m.out_features, m.in1_features, m.in2_features = m.weight.shape
    elif isinstance(module, _NormBase):
        m.num_features = _length(m, before)
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        m.normalized_shape = tuple(m.weight.shape)
    elif isinstance(module, nn.GroupNorm):
        groups, _ = _shares(m, m.num_channels, m.num_groups, lost[next(iter(lost))].get(0, set()))
        m.num_channels, m.num_groups = _length(m, before), groups
    elif isinstance(module, nn.PReLU):
        m.num_parameters = m.weight.numel()
    elif isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        m.num_embeddings, m.embedding_dim = m.weight.shape
    elif isinstance(module, nn.RNNBase):
        _recurrent(m)
    elif isinstance(module, nn.RNNCellBase):
        m.input_size, m.hidden_size = m.weight_ih.shape[1], m.weight_hh.shape[1]
    elif isinstance(module, nn.MultiheadAttention):
        # Torch's own is made of linear layers by then (`plain_modules`).
        raise ValueError(
            f"heads of {type(module).__name__} can't be removed: it is a class of its own"
        )
    else:
        _by_name(m, before, lost)


def _length(module: nn.Module, before: Mapping[str, Tensor]) -> int:
    return len(getattr(module, next(iter(before))))


def _convolution(module: Any, before: Mapping[str, Tensor], lost: Lost) -> None:
    weight = before.get("weight")
    if weight is None:
        raise ValueError(f"{type(module).__name__} lost channels of its bias, not of its weight")
    rows = lost["weight"].get(0, set())
    groups, each = _shares(module, len(weight), module.groups, rows)
    if groups * each != len(module.weight):
        raise ValueError(f"{type(module).__name__}'s {groups} groups differ in size after pruning")
    module.groups = groups
    ends = len(module.weight), module.weight.shape[1] * groups
    if isinstance(module, _ConvTransposeNd):
        module.in_channels, module.out_channels = ends
    else:
        module.out_channels, module.in_channels = ends


def _shares(module: nn.Module, channels: int, groups: int, lost: set[int]) -> tuple[int, int]:
    """Groups that are left and channels in each; a group that lost all of its channels is gone."""
    size = channels // groups
    left = [sum(g * size + i not in lost for i in range(size)) for g in range(groups)]
    left = [count for count in left if count]
    if len(set(left)) != 1:
        raise ValueError(
            f"{type(module).__name__}: its groups would keep {left} channels; all must keep as many"
        )
    return len(left), left[0]


def _recurrent(module: Any) -> None:
    first = module.weight_hh_l0
    projected = module.proj_size > 0
    gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
    module.input_size = module.weight_ih_l0.shape[1]
    module.hidden_size = first.shape[0] // gates
    if projected:
        module.proj_size = first.shape[1]
    for names in module._all_weights:
        for name in names:
            rows = len(getattr(module, name))
            if not name.startswith("weight_hr") and rows != gates * module.hidden_size:
                raise ValueError(
                    f"{type(module).__name__}: '{name}' has {rows} rows after pruning; all its "
                    f"layers and directions must keep as many hidden units ({module.hidden_size})"
                )
    refresh_flat_weights(module)


def refresh_flat_weights(module: Any) -> None:
    """Makes a recurrent layer compute with the parameters that it has now."""
    module._flat_weights = [getattr(module, n, None) for n in module._flat_weights_names]
    module.flatten_parameters()


def _by_name(module: nn.Module, before: Mapping[str, Tensor], lost: Lost) -> None:
    """The usual names of a size, in modules of other packages; the rest is tried out."""
    name = "weight" if "weight" in before else next(iter(before))
    old, new = before[name], getattr(module, name)
    rows, columns = (0, 1) if old.dim() > 1 else (0, 0)
    named = dict.fromkeys(_OF_ROWS, rows)
    named.update(dict.fromkeys(_OF_COLUMNS, columns))
    if hasattr(module, "nf") and old.dim() == 2:
        # The Conv1D of transformers has its weight transposed.
        named = {"nf": 1, "nx": 0}
    for attribute, axis in named.items():
        value = vars(module).get(attribute)
        if axis not in lost[name]:
            continue
        if value == old.shape[axis] and isinstance(value, int):
            setattr(module, attribute, new.shape[axis])
        elif attribute == "normalized_shape" and tuple(value or ()) == tuple(old.shape):
            setattr(module, attribute, tuple(new.shape))
