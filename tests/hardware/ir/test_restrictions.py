"""What a user decides about layers: patterns, what they mean for tied layers, and the file."""

from __future__ import annotations

import pytest

from hardware import Network
from hardware.ir.restrictions import Restrictions, check_allowed, restricted
from support.networks import conv, residual_net


def reasons(network):
    return {group.name: group.reason for group in network.groups if not group.prunable}


def test_a_kept_layer_keeps_those_that_are_tied_to_it():
    before = residual_net()
    net = restricted(before, Restrictions(keep=["b"]))
    assert reasons(net) == {
        **reasons(before),
        "stem": "kept whole by the pattern 'b', which matches 'b', to which 'stem' is tied",
    }
    with pytest.raises(ValueError, match=r"stem\.prune=0\.5: this group cannot be pruned \(kept"):
        net.kept({"stem.prune": 0.5})
    assert net.kept({"a.prune": 0.5})["a"] < net.group("a").channels
    # Nothing of it goes by other genes, and its bits are free.
    assert net.allowed["b.sparsity"] == (0.0,)
    assert "b.w_bits" not in net.allowed
    with pytest.raises(ValueError, match=r"b\.sparsity=0\.5 is not allowed: .* only 0\.0"):
        check_allowed(net, {"b.sparsity": 0.5, "b.w_bits": 2})


def test_bits_of_weights_and_activations_together_or_apart():
    decided = Restrictions(bits={"*": (4, 8), ":first": 8, "fc.a_bits": [8], ":last.w_bits": [2]})
    net = restricted(residual_net(), decided)
    assert net.allowed["stem.w_bits"] == net.allowed["stem.a_bits"] == (8,)
    assert net.allowed["a.w_bits"] == net.allowed["a.a_bits"] == (4, 8)
    assert (net.allowed["fc.w_bits"], net.allowed["fc.a_bits"]) == ((2,), (8,))
    check_allowed(net, {"a.w_bits": 4, "stem.a_bits": 8, "uid": 3})
    with pytest.raises(ValueError, match=r"a\.w_bits=2 is not allowed: .* leaves it 4, 8$"):
        check_allowed(net, {"a.w_bits": 2})


def test_ratios_are_for_groups_by_any_of_their_layers():
    net = restricted(residual_net(), Restrictions(ratios={"b": (0.5, 0)}))
    assert net.allowed == {"stem.prune": (0.0, 0.5)}
    later = restricted(net, Restrictions(ratios={"stem.prune": 0.25}))
    assert later.allowed == {"stem.prune": (0.25,)}
    assert restricted(later, Restrictions(keep=["stem"])).allowed.get("stem.prune") is None


def test_a_module_stands_for_the_layers_in_it():
    layers = [
        conv("head.0", "input", 3, 8),
        conv("head.1.fc", "head.0", 8, 8),
        conv("header", "head.1.fc", 8, 4),
    ]
    net = restricted(Network(layers), Restrictions(bits={"head": 8}))
    assert {key.removesuffix(".w_bits") for key in net.allowed if key.endswith(".w_bits")} == {
        "head.0", "head.1.fc",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("decided", "words"),
    [
        ({"keep": ["stm"]}, r"keep 'stm' matches no layer.*\(did you mean 'stem'\?\); there are"),
        ({"bits": {"relu": 8}}, r"bits 'relu' matches no layer with weights"),
        ({"ratios": {"st*m?": 0.5}}, r"ratios 'st\*m\?' matches no layer"),
        ({"keep": ["b"], "ratios": {"stem": 0.5}}, r"ratios 'stem': layer 'stem' can't be pruned"
         r" \(kept whole by the pattern 'b', which matches 'b', to which 'stem' is tied\)"),
        ({"keep": ["stem"], "ratios": {"b": 0.5}}, r"'b' is tied to 'stem' and can't be pruned"),
        ({"ratios": {"fc": 0.5}}, r"ratios 'fc': layer 'fc' (can't be pruned|keeps its channels)"),
        ({"bits": {"stem": 9}}, r"bits of 'stem'=9 is not a bit-width"),
        ({"bits": {"stem": []}}, r"bits of 'stem': give at least one value"),
        ({"ratios": {"stem": 1.0}}, r"must be a number in \[0, 1\)"),
        ({"keep": "stem"}, r"keep='stem' must be a list of patterns: \['stem'\]"),
        ({"keep": [3]}, r"3 is no pattern of layer names"),
    ],
)  # fmt: skip
def test_what_cannot_be_decided(decided, words):
    with pytest.raises(ValueError, match=words):
        restricted(residual_net(), Restrictions(**decided))


def test_a_wide_pattern_passes_over_what_stays_whole():
    net = restricted(residual_net(), Restrictions(keep=["b"], ratios={"*": (0, 0.5)}))
    assert set(net.allowed) & {"stem.prune", "a.prune"} == {"a.prune"}


def test_decisions_are_in_the_file_and_old_files_have_none(tmp_path):
    net = residual_net()
    assert "allowed" not in net.to_json()
    decided = restricted(net, Restrictions(keep=["b"], bits={":first": 8}))
    decided.save(tmp_path / "n.json")
    loaded = Network.load(tmp_path / "n.json")
    assert loaded == decided
    assert loaded.allowed == decided.allowed
    assert restricted(net, Restrictions()) is net
    for allowed, words in (
        ({"nope.w_bits": [8]}, "'nope.w_bits' names no gene"),
        ({"a.w_bits": []}, "must be a list of values"),
        ([8], "must be a mapping"),
    ):
        with pytest.raises(ValueError, match=words):
            Network(net.layers, net.groups, allowed=allowed)
