"""The fx graph of a model, with every node's shape, or an error that names the layer."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp


class TraceError(ValueError):
    """A model that torch.fx can't follow; the message says where and what to do."""


class _NamingTracer(fx.Tracer):
    """Remembers which module is being traced, so that a failure can name it."""

    def __init__(self) -> None:
        super().__init__()
        self.path: list[str] = []
        self.failed_in = ""

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        self.path.append(self.path_of_module(m))
        try:
            result = super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed_in = self.failed_in or self.path[-1]
            raise
        finally:
            self.path.pop()
        return result


def graph_of(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> fx.GraphModule:
    """Traces a copy-free graph of ``model`` in eval mode and fills in every node's shape.

    Raises:
        TraceError: torch.fx can't follow the model, or the example input doesn't fit.
    """
    tracer = _NamingTracer()
    try:
        graph = tracer.trace(model)
    except Exception as error:
        where = f"in layer '{tracer.failed_in}'" if tracer.failed_in else "in the model's forward()"
        raise TraceError(
            f"{type(model).__name__} can't be traced by torch.fx {where}: {error}. Values of "
            "tensors must not steer Python code there (if, for, len, int): move such code out of "
            "the model, or wrap that function with torch.fx.wrap"
        ) from error
    graph_module = fx.GraphModule(model, graph)
    with eval_mode(model), torch.no_grad():
        try:
            # torch prints the traceback of what is reported below in one line.
            with redirect_stderr(io.StringIO()):
                _Shapes(graph_module).propagate(*inputs)
        except Exception as error:
            where = _Shapes.where(error)
            shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
            cause = str(_root(error)).split("\n")[0]
            raise TraceError(
                f"{type(model).__name__} does not run on the task's example_input (shapes "
                f"{shapes}){where}: {cause}"
            ) from error
    return graph_module


class _Shapes(ShapeProp):
    """Shape propagation that notes the failing node on the exception."""

    def run_node(self, n: fx.Node) -> object:
        try:
            return fx.Interpreter.run_node(self, n) if n.op == "output" else super().run_node(n)
        except Exception as error:
            if not hasattr(error, "fx_node"):
                error.fx_node = n  # type: ignore[attr-defined]  # a note for whoever catches it
            raise

    @staticmethod
    def where(error: BaseException) -> str:
        seen: BaseException | None = error
        while seen is not None:
            node = getattr(seen, "fx_node", None)
            if node is not None:
                return f" at layer '{node.target if node.op == 'call_module' else node.name}'"
            seen = seen.__cause__
        return ""


def _root(error: BaseException) -> BaseException:
    """What was raised first: torch.fx wraps it in errors that quote the graph."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode for the block; every module's own mode afterwards."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
