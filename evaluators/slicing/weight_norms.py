"""Weights that a model computes from other tensors at each call: made plain parameters.

Weight norm, spectral norm and ``torch.nn.utils.prune``, by hooks or by parametrizations. What is
removed from a plain weight leaves the rest of it as it was; removed from the tensors behind it,
the norm of the rest would change.
"""

from __future__ import annotations

import copy
import re
from collections import OrderedDict
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

_PARAMETRIZED = re.compile(r"(?P<owner>.*\.|)parametrizations\.(?P<name>\w+)\.original[01]?")
_SUFFIXES = ("_v", "_g", "_orig")


def copied(model: nn.Module, *, shared: bool = False) -> nn.Module:
    """A deep copy, of models too whose hooks left computed weights on them.

    Args:
        model: left as it is.
        shared: whether the copy has the very tensors of the model, for those who put others in
            their place and change none.
    """
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor) and not value.is_leaf:
                # It is computed anew at each call; a tensor with a history can't be copied.
                vars(module)[name] = value.detach()
    if not shared:
        return copy.deepcopy(model)
    memo: dict[int, object] = {
        id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())
    }
    modules = list(model.modules())
    if any(_copies_itself(module) for module in modules):
        return copy.deepcopy(model, memo)
    # As deepcopy does it, but for what most attributes are: numbers, and hooks that aren't there.
    made = [module.__class__.__new__(module.__class__) for module in modules]
    memo |= {id(module): new for module, new in zip(modules, made, strict=True)}
    for module, new in zip(modules, made, strict=True):
        new.__dict__.update({name: _copied(value, memo) for name, value in vars(module).items()})
    return made[0]


_ATOMS = (int, float, str, type(None), type, torch.dtype, torch.device, torch.Size, FunctionType)
_HOLDERS = (dict, OrderedDict)


def _copies_itself(module: nn.Module) -> bool:
    own = type(module)
    if isinstance(module, nn.RNNBase) or hasattr(own, "__deepcopy__"):
        return True
    state = next(k for k in own.__mro__ if "__setstate__" in vars(k))
    # Those of torch's layers only add what models that were saved long ago lack.
    return (
        not state.__module__.startswith("torch.nn.")
        or "__getstate__" in {name for k in own.__mro__[:-1] for name in vars(k)}
        or own.__reduce_ex__ is not object.__reduce_ex__
    )


def _copied(value: Any, memo: dict[int, object]) -> object:
    if isinstance(value, _ATOMS) or id(value) in memo:
        return memo.get(id(value), value)
    if type(value) in _HOLDERS and all(type(key) is str for key in value):
        # Parameters, buffers, modules; hooks have numbers for keys.
        return type(value)((key, _copied(part, memo)) for key, part in value.items())
    if type(value) is tuple and all(isinstance(part, _ATOMS) for part in value):
        return value
    return copy.deepcopy(value, memo)


def has_computed_weights(model: nn.Module) -> bool:
    """Whether a hook or a parametrization may compute a weight of a model."""
    return any(m._forward_pre_hooks or parametrize.is_parametrized(m) for m in model.modules())


def fuse_weight_norms(model: nn.Module) -> None:
    """Makes every computed weight a plain parameter of the same values, in place."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            _remove_parametrizations(module)
        _remove_hooks(module)


def _remove_parametrizations(module: Any) -> None:
    """What torch's function of this name does, but for copies: they share their class.

    Torch would take the weight from that class, and so from the model that was copied.
    """
    lists = module.parametrizations
    # A spectral norm goes on estimating in train mode.
    lists.eval()
    with torch.no_grad():
        values = {name: getattr(module, name).detach().clone() for name in lists}
    trains = {
        name: [p.requires_grad for p in held.parameters(recurse=False)]
        for name, held in lists.items()
    }
    del module._modules["parametrizations"]
    module.__class__ = type(module).__bases__[0]
    for name, value in values.items():
        if trains[name]:
            module.register_parameter(name, nn.Parameter(value, requires_grad=any(trains[name])))
        else:
            module.register_buffer(name, value)


def _remove_hooks(module: nn.Module) -> None:
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, (WeightNorm, SpectralNorm)):
            trains = any(p.requires_grad for p in module.parameters(recurse=False))
            with torch.no_grad():
                hook.remove(module)
            module.get_parameter(hook.name).requires_grad_(trains)
        elif isinstance(hook, BasePruningMethod):
            hook.remove(module)
        else:
            continue
        module._forward_pre_hooks.pop(key, None)
    for key, hook in list(module._state_dict_hooks.items()):
        if type(hook).__name__ == "SpectralNormStateDictHook":
            del module._state_dict_hooks[key]


def fused_name(name: str) -> str | None:
    """The plain parameter that a tensor behind a weight became; None of one that is no more.

    Args:
        name: qualified name of a tensor that the model hasn't (any more).
    """
    found = _PARAMETRIZED.fullmatch(name)
    if found is not None:
        return found["owner"] + found["name"]
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return None
