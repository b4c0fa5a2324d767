"""Models whose weights are all plain parameters of layers of their own.

Computed weights become parameters (`weight_norms`), and ``nn.MultiheadAttention``, which holds the
weights of three layers in one tensor, becomes attention made of ``nn.Linear`` layers: each can
have its bits, and whole heads can go. The linear layers of transformers' GPT-2, whose weights are
transposed, become torch's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.slicing.weight_norms import fuse_weight_norms


class LinearAttention(nn.Module):
    """What ``nn.MultiheadAttention`` computes, by four linear layers.

    The number of heads follows from the layers' width, so heads can be removed.

    Args:
        attention: its weights are copied.
    """

    # torch's transformer layers ask for these before they take a shortcut past the layers.
    in_proj_bias = None
    _qkv_same_embed_dim = False

    bias_k: nn.Parameter | None
    bias_v: nn.Parameter | None

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim = attention.embed_dim
        self.head_dim = int(attention.head_dim)
        self.dropout = attention.dropout
        self.batch_first = attention.batch_first
        packed: Tensor | None = attention.in_proj_weight
        weights: Sequence[Tensor]
        if packed is not None:
            weights = packed.detach().chunk(3)
        else:
            parts = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
            weights = [w.detach() for w in parts if isinstance(w, Tensor)]
        bias: Tensor | None = attention.in_proj_bias
        biases: Sequence[Tensor | None] = [None] * 3 if bias is None else bias.detach().chunk(3)
        self.q_proj, self.k_proj, self.v_proj = (
            _linear(w, b) for w, b in zip(weights, biases, strict=True)
        )
        out = attention.out_proj
        self.out_proj = _linear(
            out.weight.detach(), None if out.bias is None else out.bias.detach()
        )
        self.add_zero_attn = attention.add_zero_attn
        for name in ("bias_k", "bias_v"):
            extra = getattr(attention, name)
            own = None if extra is None else nn.Parameter(extra.detach().clone())
            self.register_parameter(name, own)
        self.train(attention.training)

    @property
    def num_heads(self) -> int:
        """Heads that are left."""
        return int(self.q_proj.out_features) // self.head_dim

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Takes and returns what ``nn.MultiheadAttention.forward`` does."""
        batched = query.dim() == 3
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            if key_padding_mask is not None:
                key_padding_mask = key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = (
            x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for x in (
                self.q_proj(query),
                self._lengthened(self.k_proj(key), self.bias_k),
                self._lengthened(self.v_proj(value), self.bias_v),
            )
        )
        mask = _mask(q, k, key_padding_mask, attn_mask)
        rate = self.dropout if self.training else 0.0
        weights: Tensor | None = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
            weights = (scores if mask is None else scores + mask).softmax(-1)
            mixed = functional.dropout(weights, rate) @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, mask, rate)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if not batched:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), weights

    def _lengthened(self, x: Tensor, extra: Tensor | None) -> Tensor:
        """Keys or values with the tokens that torch appends: a learned one, a zero."""
        if extra is not None:
            x = torch.cat([x, extra.expand(len(x), 1, -1)], 1)
        return functional.pad(x, (0, 0, 0, 1)) if self.add_zero_attn else x


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    rows, columns = weight.shape
    layer = nn.Linear(columns, rows, bias is not None, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def _mask(
    q: Tensor, k: Tensor, key_padding_mask: Tensor | None, attn_mask: Tensor | None
) -> Tensor | None:
    """Both masks as numbers that are added to the scores, ``(batch, heads or 1, T, S)``."""
    found: Tensor | None = None
    if attn_mask is not None:
        found = _as_numbers(attn_mask, q)
        if found.dim() == 3:
            # One for each example and head, as torch takes it; it can't follow removed heads.
            found = found.reshape(len(q), -1, *found.shape[1:])
    if key_padding_mask is not None:
        padding = _as_numbers(key_padding_mask, q)[:, None, None, :]
        found = padding if found is None else found + padding
    if found is not None and found.shape[-1] < k.shape[-2]:
        # Nothing hides the tokens that are appended here.
        found = functional.pad(found, (0, k.shape[-2] - found.shape[-1]))
    return found


def _as_numbers(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))


def make_plain(model: nn.Module) -> nn.Module:
    """Makes every weight a plain parameter of a layer of its own, in place.

    Returns:
        The model itself, or what takes its place where it is an attention.
    """
    fuse_weight_norms(model)
    whole = _plain(model)
    if whole is not None:
        return whole
    replaced: dict[int, nn.Module | None] = {}
    for parent in list(model.modules()):
        # Not `named_children`, which leaves out a module's second name.
        for name, child in list(parent._modules.items()):
            if child is None:
                continue
            if id(child) not in replaced:
                replaced[id(child)] = _plain(child)
            made = replaced[id(child)]
            if made is not None:
                setattr(parent, name, made)
    return model


def _plain(module: nn.Module) -> nn.Module | None:
    """What computes the same with plain weights; None if the module does already."""
    if type(module) is nn.MultiheadAttention:
        return LinearAttention(module)
    if _is_transposed_linear(module):
        weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
        return _linear(weight.detach().t(), bias.detach()).train(module.training)
    return None


def _is_transposed_linear(module: nn.Module) -> bool:
    """Whether a module is ``transformers.pytorch_utils.Conv1D``: a linear layer, rows first."""
    features = getattr(module, "nf", None)
    weight = module._parameters.get("weight")
    return (
        type(module).__name__ == "Conv1D"
        and isinstance(features, int)
        and weight is not None
        and weight.dim() == 2
        and weight.shape[1] == features
        and module._parameters.get("bias") is not None
    )
