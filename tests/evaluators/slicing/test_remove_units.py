"""Units are cut out of real modules; their sizes, kinds and shared tensors stay right."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from evaluators.slicing.plain_modules import make_plain
from evaluators.slicing.remove_units import PruneError, remove_units, removed_counts, shrunk
from evaluators.slicing.weight_norms import copied
from support.hand_units import group, layer, makes, norm, reads, rows
from support.sized_nets import SIZED, recurrent, shuffled, tied, torch_attention


def small(build, removed, attributes=()):
    model, inputs, groups = build()
    model.eval()
    thin = copied(model)
    remove_units(thin, groups, removed, attributes)
    with torch.no_grad():
        return thin, thin(*inputs)


def test_sizes_of_recurrent_layers() -> None:
    thin, _ = small(recurrent, {"gru": [1, 5, 6], "lstm": [0], "proj": [2], "rnn": [6, 0]})
    sizes = [(m.input_size, m.hidden_size, m.proj_size) for m in (thin.gru, thin.lstm, thin.proj)]
    assert sizes == [(5, 5, 0), (10, 9, 0), (9, 12, 5)]
    assert thin.gru.weight_hh_l1_reverse.shape == (15, 5)
    assert thin.gru.weight_ih_l1.shape == (15, 10)
    assert thin.proj.weight_hh_l0.shape == (48, 5)
    assert all(a is b for a, b in zip(thin.gru._flat_weights, thin.gru.parameters(), strict=True))


def test_layers_of_a_recurrent_module_are_cut_alike() -> None:
    model = nn.GRU(5, 8, num_layers=2)
    units = rows(8, parts=3, apart=8)
    cuts = [*makes(units, "weight_ih_l0", "weight_hh_l0"), *reads(rows(8), "weight_hh_l0")]
    with pytest.raises(PruneError, match=r"l0' has 24 rows.*as many hidden units \(7\)"):
        remove_units(model, [group("gru", cuts)], {"gru": [0]})


def test_sizes_of_attention() -> None:
    thin, _ = small(torch_attention, {"one": [1], "two": [0, 2], "layer.self_attn": [2]})
    assert (thin.one.num_heads, thin.one.embed_dim, thin.one.head_dim) == (2, 24, 8)
    for part in (thin.one.q_proj, thin.one.k_proj, thin.one.v_proj):
        assert part.weight.shape == (16, 24)
    assert thin.one.out_proj.in_features == 16
    widths = thin.two.k_proj.in_features, thin.two.v_proj.in_features
    assert (thin.two.num_heads, *widths) == (1, 10, 6)
    assert set(thin.state_dict()) == set(torch_attention()[0].state_dict())


def test_heads_of_a_class_of_ones_own_stay() -> None:
    class Own(nn.MultiheadAttention):
        pass

    fused, heads = rows(2, 4, parts=3, apart=8), rows(2, 4)
    cuts = [*makes(fused, "in_proj_weight", "in_proj_bias"), *reads(heads, "out_proj.weight")]
    with pytest.raises(PruneError, match="heads of Own can't be removed"):
        remove_units(Own(8, 2), [group("", cuts)], {"": [0]})


def test_attention_gives_torchs_weights() -> None:
    model = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    heads = rows(3, 4)
    cuts = [cut for part in "qkv" for cut in layer(f"{part}_proj", heads)]
    cuts += reads(heads, "out_proj.weight")
    thin = make_plain(copy.deepcopy(model))
    remove_units(thin, [group("heads", cuts)], {"heads": [1]})
    x, padding = torch.randn(2, 5, 12), torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    mask = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
    options = {"key_padding_mask": padding, "attn_mask": mask, "average_attn_weights": False}
    with torch.no_grad():
        want = model(x, x, x, **options)[1]
        got = thin(x, x, x, **options)[1]
        single = thin(x[0], x[0], x[0], attn_mask=mask)
    torch.testing.assert_close(got, want[:, [0, 2]])
    assert single[0].shape == (5, 12)
    assert single[1].shape == (5, 5)


def test_sizes_of_convolutions_and_norms() -> None:
    removed = {"grouped": [0, 3, *range(4, 24, 2)], "up": [1, 6, 11], "spectral": [4]}
    thin, _ = small(shuffled, removed)
    assert (thin.grouped.out_channels, thin.grouped.groups) == (12, 4)
    assert (thin.up.in_channels, thin.up.out_channels, thin.up.groups) == (12, 9, 3)
    assert thin.norm.num_features == 9
    assert (thin.depth.in_channels, thin.depth.out_channels, thin.depth.groups) == (9, 18, 9)
    assert (thin.spectral.in_features, thin.spectral.out_features) == (18, 5)
    assert thin.gain.shape == (9, 1, 1)
    assert type(thin.spectral) is nn.Linear
    assert isinstance(thin.b.weight, nn.Parameter)


def test_the_model_that_was_copied_keeps_its_weight_norms() -> None:
    model, inputs, groups = shuffled()
    before = model.eval()(*inputs).detach()
    names = set(model.state_dict())
    remove_units(copied(model), groups, {"a": [0, 3], "spectral": [1]})
    with torch.no_grad():
        torch.testing.assert_close(model(*inputs), before)
    assert set(model.state_dict()) == names


@pytest.mark.parametrize(("lost", "groups"), [({0, 1}, 1), ({0, 2}, 2), ({0, 2, 3}, 1)])
def test_groups_of_a_norm_keep_as_many_channels(lost: set[int], groups: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1))
    units = rows(4)
    cuts = [*layer("0", units), *layer("1", units), *reads(units, "2.weight")]
    remove_units(model, [group("0", cuts)], {"0": lost})
    assert (model[1].num_channels, model[1].num_groups) == (4 - len(lost), groups)


def test_a_norm_with_uneven_groups_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    cuts = [*layer("0", rows(4)), *layer("1", rows(4))]
    with pytest.raises(PruneError, match=r"groups would keep \[1, 2\] channels"):
        remove_units(model, [group("0", cuts)], {"0": [1]})


def test_shared_tensors_stay_shared() -> None:
    thin, _ = small(tied, {"embed": [0, 5, 6]})
    assert thin.head.weight is thin.embed.weight
    assert (thin.embed.embedding_dim, thin.head.in_features) == (13, 13)


def test_what_a_parameter_is_stays() -> None:
    model = nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 2)).double()
    model[0].weight.requires_grad_(False)
    model(torch.randn(2, 3, dtype=torch.double)).sum().backward()
    units = rows(6)
    remove_units(model, [group("0", [*layer("0", units), *reads(units, "1.weight")])], {"0": [2]})
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True]
    assert all(p.dtype is torch.double for p in model.parameters())
    assert model[1].weight.grad is None
    assert model[1].bias.grad is not None


@pytest.mark.parametrize("name", sorted(SIZED))
def test_in_two_steps_as_in_one(name: str) -> None:
    torch.manual_seed(0)
    model, inputs, groups = SIZED[name]()
    if name == "blocks":
        groups = groups[3:]
    once, twice = copied(model.eval()), copied(model)
    first = {g.name: [b * (g.units // g.step) for b in range(g.step)] for g in groups}
    later = {
        g.name: [b * (g.units // g.step - 1) for b in range(g.step)]
        for g in groups
        if g.units // g.step > 2
    }
    both = {
        n: sorted({*units, *(b * (g.units // g.step) + 1 for b in range(g.step) if n in later)})
        for g in groups
        for n, units in first.items()
        if n == g.name
    }
    remove_units(once, groups, both)
    remove_units(twice, groups, first)
    remove_units(twice, groups, later)
    assert removed_counts(once, groups) == removed_counts(twice, groups)
    for (key, one), other in zip(
        once.state_dict().items(), twice.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), key
    with torch.no_grad():
        twice(*inputs)


def test_a_pruned_model_is_a_whole_one_to_its_own_groups() -> None:
    model = nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 2))

    def groups(size: int):
        units = rows(size)
        return [group("0", [*layer("0", units), *reads(units, "1.weight")])]

    remove_units(model, groups(6), {"0": [0, 1]})
    assert removed_counts(model, groups(6)) == {"0": 2}
    assert removed_counts(model, groups(4)) == {"0": 0}
    remove_units(model, groups(4), {"0": [0]})
    assert model[0].out_features == 3


def test_units_of_a_shrunk_group_lie_closer() -> None:
    units = rows(6, parts=2, apart=6)
    whole = group("a", [*layer("a", units), *norm("n", units)])
    assert shrunk([whole], {"a": 2})[0].cuts[0].indices == rows(4, parts=2, apart=4)


def test_another_model() -> None:
    cuts = layer("nothing", rows(4))
    with pytest.raises(PruneError, match=r"no parameter or buffer 'nothing.weight'"):
        remove_units(nn.Linear(2, 4), [group("a", cuts)], {"a": [0]})
    with pytest.raises(PruneError, match=r"units \[0, 1, 2, 3\] can't be removed of 4"):
        remove_units(nn.Linear(2, 4), [group("a", cuts)], {"a": [0, 1, 2, 3]})
