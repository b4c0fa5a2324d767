"""The register of operators: its entries name operators that there are, each once."""

from __future__ import annotations

from collections import Counter

import torch

from evaluators.tracing.channel_rules import elementwise
from evaluators.tracing.operators.registry import (
    NOT_IN_ONNX,
    UNKNOWN,
    operator_of,
    operators,
)
from evaluators.tracing.operators.table import table
from support.paths import REPOSITORY


def test_each_name_is_one_of_atens_and_stands_once() -> None:
    names = Counter(kind for operator in operators() for kind in operator.kinds)
    assert [n for n, count in names.items() if count > 1] == []
    unknown = [n for n in names if not hasattr(torch.ops.aten, n)]
    assert unknown == []


def test_activations_of_torch_are_known() -> None:
    kinds = [
        "relu",
        "silu",
        "gelu",
        "mish",
        "selu",
        "celu",
        "hardswish",
        "softplus",
        "prelu",
        "log_softmax",
        "glu",
    ]
    assert all(operator_of(kind) is not UNKNOWN for kind in kinds)
    assert operator_of("mish").channels is elementwise
    assert operator_of("nobody_knows") is UNKNOWN


def test_the_reference_shows_the_register() -> None:
    page = (REPOSITORY / "docs/reference/operators.md").read_text(encoding="utf-8")
    assert table() in page, "run: python -m evaluators.tracing.operators.table"


def test_what_is_not_in_onnx_has_no_form_in_torchs_exporter() -> None:
    from torch.onnx._internal.torchscript_exporter.registration import registry

    assert registry.is_registered_op("aten::hardswish", 18)
    assert {kind for operator in operators() for kind in operator.kinds} >= NOT_IN_ONNX
    assert [kind for kind in NOT_IN_ONNX if registry.is_registered_op(f"aten::{kind}", 18)] == []
