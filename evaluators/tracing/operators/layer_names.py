"""Names of layers: a module's path, or that of a function as torch.fx numbers its calls."""

from __future__ import annotations

import builtins
from collections import Counter

from torch import nn

from evaluators.tracing.program import Operation

_FUNCTIONS = {
    "div": "truediv", "rsub": "sub", "select": "getitem", "slice": "getitem", "split": "getitem",
    "chunk": "getitem", "split_with_sizes": "getitem", "tensor_split": "getitem",
    "unbind": "getitem", "floor_divide": "floordiv", "upsample_nearest1d": "interpolate",
    "upsample_nearest2d": "interpolate", "upsample_nearest3d": "interpolate",
    "upsample_linear1d": "interpolate", "upsample_bilinear2d": "interpolate",
    "upsample_bicubic2d": "interpolate", "upsample_trilinear3d": "interpolate",
}  # fmt: skip
"""Names of functions that are not called as ATen calls them."""

_IN_PLACE = frozenset({"add", "sub", "mul", "div"})
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class LayerNames:
    """Hands out names that are unique in a network.

    Args:
        model: the model whose modules the layers belong to.
    """

    def __init__(self, model: nn.Module) -> None:
        self.modules = dict(model.named_modules(remove_duplicate=False))
        self.taken: set[str] = {n for n in self.modules if n}
        self.nodes: set[str] = set()
        self.numbers: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.main: dict[str, str] = {}

    def of_module(self, path: str) -> str:
        """The name of the next call of a module."""
        self.calls[path] += 1
        self._node(path.replace(".", "_"))
        return self._free(path if self.calls[path] == 1 else f"{path}@{self.calls[path]}", path)

    def of(self, operation: Operation, weighted: tuple[type, ...], called: str = "") -> str:
        """The name of an operation that holds no weights of its own.

        Args:
            operation: it.
            weighted: classes whose path belongs to the layer with their weights.
            called: the function's name where it isn't ATen's.
        """
        path = operation.module
        module = self.modules.get(path) if path else None
        if module is None or not _is_torch(module) or isinstance(module, _CONTAINERS):
            return self._function(operation, called)
        leaf = next(module.children(), None) is None and not isinstance(module, weighted)
        if leaf and self.main.setdefault(path, operation.kind) == operation.kind:
            return self.of_module(path)
        return self._numbered(f"{path}.{operation.kind}")

    def part(self, name: str, what: str) -> str:
        """The name of a part of an operation that takes several layers."""
        return self._numbered(f"{name}.{what}")

    def _function(self, operation: Operation, called: str) -> str:
        name = called or _FUNCTIONS.get(operation.kind, operation.kind)
        own = str(getattr(operation.target, "_opname", ""))
        if operation.kind in _IN_PLACE and own.endswith("_"):
            name = f"i{name}"
        return self._free(self._node(name), "")

    def _node(self, base: str) -> str:
        """torch.fx's name for a node: numbered from the second one on."""
        name = base
        while name in self.nodes or name in builtins.__dict__:
            self.numbers[base] += 1
            name = f"{base}_{self.numbers[base]}"
        self.nodes.add(name)
        return name

    def _numbered(self, base: str) -> str:
        name = base
        while name in self.taken:
            self.numbers[base] += 1
            name = f"{base}_{self.numbers[base]}"
        self.taken.add(name)
        return name

    def _free(self, name: str, path: str) -> str:
        while name in self.taken and name != path:
            name += "_"
        self.taken.add(name)
        return name


def _is_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn")
