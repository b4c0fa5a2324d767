"""Nested inputs, outputs and targets: names, order, and how batches are joined."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluators.pytree import (
    UnequalShapesError,
    describe,
    joined,
    named_tensors,
    plain,
    positional,
    tensors,
    with_tensors,
)
from support.nested import TaggerOutput


class Optional(nn.Module):
    def forward(self, a: Any, mask: Any = None, kind: Any = None, *, only: Any = 1) -> Any:
        return a, mask, kind, only


class Anything(nn.Module):
    def forward(self, a: Any, **rest: Any) -> Any:
        return a, rest


def test_keywords_go_where_forward_has_them() -> None:
    assert positional(Optional(), 5) == (5,)
    assert positional(Optional(), [5, 6]) == (5, 6)
    assert positional(Optional(), {"kind": 2, "a": 1}) == (1, None, 2)
    assert positional(Optional(), {"a": 1}) == (1,)
    with pytest.raises(
        ValueError, match=r"Optional\.forward\(\) .*keywords b .*missing a required"
    ):
        positional(Optional(), {"b": 1})
    for keywords, model in (({"a": 1, "only": 3}, Optional()), ({"a": 1, "x": 3}, Anything())):
        with pytest.raises(ValueError, match="as a keyword only: graphs need it as a parameter"):
            positional(model, keywords)


def test_names_of_tensors() -> None:
    x = torch.zeros(2)
    assert list(named_tensors(x, "output")) == ["output"]
    assert list(named_tensors((x, None, [x, x]), "output")) == [
        "output", "output_1.0", "output_1.1",
    ]  # fmt: skip
    assert list(named_tensors({"cls": x, "boxes": [x, x]}, "output")) == [
        "cls", "boxes.0", "boxes.1",
    ]  # fmt: skip
    assert list(named_tensors(TaggerOutput(logits=x), "output")) == ["logits"]


def test_kinds_are_kept_and_can_be_made_plain() -> None:
    pair = namedtuple("pair", "a b")
    value = {"p": pair(torch.zeros(1), 3), "o": TaggerOutput(logits=torch.ones(1))}
    same: Any = with_tensors(value, (x + 1 for x in tensors(value)))
    assert isinstance(same["p"], pair)
    assert (float(same["p"].a), same["p"].b) == (1.0, 3)
    assert isinstance(same["o"], TaggerOutput)
    assert float(same["o"].logits) == 2.0
    assert same["o"].loss is None
    simple: Any = plain(value)
    assert type(simple["o"]) is dict
    assert simple["p"].keys() == {"a"}
    assert with_tensors((np.zeros(2), "x"), iter([1])) == (1, "x")


def test_descriptions() -> None:
    assert describe(torch.zeros(8, 5)) == "(8, 5)"
    assert describe({"cls": torch.zeros(8, 5), "n": 3}) == "dict(cls (8, 5), n int)"
    assert describe([{"a": 1}] * 3) == "list of 3 dict"


def test_tensors_are_joined_along_the_first_axis() -> None:
    one, other = {"a": torch.zeros(3, 2), "n": None}, {"a": torch.ones(1, 2), "n": None}
    got = joined([one, other], [3, 1])
    assert got["n"] is None
    assert got["a"].tolist() == [[0, 0]] * 3 + [[1, 1]]
    assert joined([torch.tensor(1.0), torch.tensor(2.0)], [3, 1]).tolist() == [1, 2]
    pair: Any = joined([(torch.zeros(2), torch.ones(2))] * 2, [2, 2])
    assert isinstance(pair, tuple)
    assert pair[1].tolist() == [1.0] * 4


def boxes(*counts: int) -> list[Tensor]:
    return [torch.zeros(n, 4) for n in counts]


@pytest.mark.parametrize(
    "batches",
    [
        [[{"b": x} for x in boxes(1, 2)], [{"b": x} for x in boxes(2, 2)]],
        # A batch whose samples have as many boxes as it has samples.
        [[{"b": x} for x in boxes(2, 2)], [{"b": x} for x in boxes(2, 2)]],
        [boxes(1, 2), boxes(2, 2)],
        [("first", "second"), ("third", "fourth")],
    ],
)
def test_entries_of_samples_become_one_list(batches: Any) -> None:
    got = joined(batches, [2, 2])
    assert isinstance(got, list)
    assert len(got) == 4
    assert got[2] is batches[1][0]


def test_several_outputs_are_no_samples() -> None:
    levels = [torch.zeros(3, 8), torch.zeros(3, 4), torch.zeros(3, 2)]
    got = joined([levels, levels], [3, 3])
    assert [tuple(x.shape) for x in got] == [(6, 8), (6, 4), (6, 2)]


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([torch.zeros(2, 7), torch.zeros(2, 9)], r"shapes \(2, 7\) and \(2, 9\)"),
        ([{"a": torch.zeros(2)}, {"b": torch.zeros(2)}], r"dict\(a \(2,\)\), another one dict\(b"),
    ],
)
def test_what_cannot_be_joined_is_said(batches: Any, words: str) -> None:
    with pytest.raises(UnequalShapesError, match=words):
        joined(batches, [2, 2])
