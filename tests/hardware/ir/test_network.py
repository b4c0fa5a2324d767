"""Channel groups, shapes after pruning, genes, and the JSON round trip."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware import ChannelGroup, Layer, Network
from support.networks import conv, residual_net


def test_pruned_shapes_follow_the_graph():
    net = residual_net()
    layers = {x.name: x for x in net.apply({"stem.prune": 0.5, "a.prune": 0.25, "a.w_bits": 4})}
    assert layers["stem"].out_shape == (8, 8, 8)
    assert layers["a"].in_shape == (8, 8, 8)
    assert layers["a"].out_shape == (18, 8, 8)
    assert layers["dw"].groups == 18
    assert layers["dw"].out_shape == (18, 8, 8)
    assert layers["b"].in_shape == (18, 8, 8)
    assert layers["b"].out_shape == (8, 8, 8)
    assert layers["sum"].out_shape == (8, 8, 8)
    assert layers["fc"].in_shape == (8,)
    assert layers["fc"].out_shape == (10,)
    assert layers["a"].w_bits == 4
    assert layers["b"].w_bits == 8


def test_empty_chromosome_is_the_network_itself():
    net = residual_net()
    assert net.apply({}) == net.layers
    assert net.apply({"uid": 7}) == net.layers


def test_json_round_trip(tmp_path):
    net = residual_net()
    assert Network.from_json(net.to_json()) == net
    net.save(tmp_path / "n.json")
    loaded = Network.load(tmp_path / "n.json")
    assert loaded == net
    assert loaded.layers == net.layers
    assert loaded.metadata == {"task": "m:f"}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 1}', '{"format": 99}'])
def test_damaged_file_is_named(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json: .*network file"):
        Network.load(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"nope.prune": 0.1}, "chromosome for another model"),
        ({"stem.width": 0.1}, "chromosome for another model"),
        ({"relu.w_bits": 4}, "chromosome for another model"),
        ({"stem.prune": 1.0}, r"stem.prune=1.0 must be a number in \[0, 1\)"),
        ({"stem.prune": -0.1}, "must be a number"),
        ({"stem.prune": float("nan")}, "must be a number"),
        ({"stem.prune": "0.5"}, "must be a number"),
        ({"fc.prune": 0.5}, "network output"),
        ({"a.w_bits": 9}, "a.w_bits=9 is not a bit-width"),
        ({"a.a_bits": 2.5}, "a.a_bits=2.5"),
    ],
)
def test_bad_chromosomes(params, message):
    with pytest.raises(ValueError, match=message):
        residual_net().apply(params)


@given(ratio=st.floats(0, 1, exclude_max=True), blocks=st.integers(1, 20), step=st.integers(1, 8))
def test_kept_channels_are_blocks_and_never_zero(ratio, blocks, step):
    channels = blocks * step
    net = Network(
        [conv("c", "input", 3, channels)], [ChannelGroup("c", ("c",), channels, step=step)]
    )
    kept = net.kept({"c.prune": ratio})["c"]
    assert kept % step == 0
    assert step <= kept <= channels
    assert abs(kept - channels * (1 - ratio)) <= max(step / 2, step - channels * (1 - ratio)) + 1e-9
    assert net.apply({"c.prune": ratio})[0].out_shape == (kept, 8, 8)


def test_channel_multiple_applies_where_it_divides():
    layers = [conv("c", "input", 3, 32), conv("d", "c", 32, 30)]
    groups = [ChannelGroup("c", ("c",), 32), ChannelGroup("d", ("d",), 30)]
    net = Network(layers, groups, channel_multiple=8)
    assert net.kept({"c.prune": 0.4, "d.prune": 0.4}) == {"c": 16, "d": 18}


def test_grouped_conv_keeps_its_groups_and_loses_channels_in_each():
    layers = [conv("c", "input", 3, 32), conv("g", "c", 32, 32, groups=4), conv("e", "g", 32, 8)]
    net = Network(layers, [ChannelGroup("c", ("c", "g"), 32, step=8)])
    pruned = net.apply({"c.prune": 0.3})
    assert [x.out_shape[0] for x in pruned] == [24, 24, 8]
    assert pruned[1].groups == 4
    assert pruned[1].row_weights == layers[1].row_weights * 6 // 8


def test_concat_and_squeeze_excite_and_flatten():
    layers = [
        conv("a", "input", 3, 16),
        conv("b", "input", 3, 8),
        Layer("cat", "concat", ("a", "b"), (16, 8, 8), (24, 8, 8)),
        Layer("gap", "global_pool", ("cat",), (24, 8, 8), (24, 1, 1)),
        conv("gate", "gap", 24, 24, size=1, k=1),
        Layer("scale", "mul", ("cat", "gate"), (24, 8, 8), (24, 8, 8)),
        Layer("flat", "reshape", ("scale",), (24, 8, 8), (24 * 64,)),
        Layer("fc", "linear", ("flat",), (24 * 64,), (4,)),
    ]
    groups = [ChannelGroup("a", ("a",), 16), ChannelGroup("b", ("b",), 8)]
    net = Network(layers, [*groups])
    with pytest.raises(ValueError, match="must be in one channel group"):
        net.apply({"a.prune": 0.5})
    free = Network([x for x in layers if x.name not in ("gap", "gate", "scale", "flat", "fc")] + [
        Layer("flat", "reshape", ("cat",), (24, 8, 8), (24 * 64,)),
        Layer("fc", "linear", ("flat",), (24 * 64,), (4,)),
    ], groups)  # fmt: skip
    pruned = free.apply({"a.prune": 0.5, "b.prune": 0.25})
    assert pruned[2].out_shape == (14, 8, 8)
    assert pruned[-1].in_shape == (14 * 64,)


def test_shared_module_follows_its_first_call():
    layers = [
        conv("c", "input", 3, 8),
        Layer("h", "conv", ("c",), (8, 8, 8), (8, 8, 8), (3, 3), (1, 1), (1, 1), module="h"),
        Layer("h_1", "conv", ("h",), (8, 8, 8), (8, 8, 8), (3, 3), (1, 1), (1, 1), module="h"),
    ]
    net = Network(layers)
    assert net.gene_layers == ("c", "h")
    assert [x.w_bits for x in net.apply({"h.w_bits": 2})] == [8, 2, 2]
    with pytest.raises(ValueError, match="another model"):
        net.apply({"h_1.w_bits": 2})


def test_phenotype_tells_networks_apart():
    net = residual_net()
    same = net.phenotype({"stem.prune": 0.5}) == net.phenotype({"stem.prune": 0.51})
    assert same
    assert net.phenotype({"a.w_bits": 4}) != net.phenotype({})
    assert net.phenotype({"uid": 3, "a.w_bits": 8}) == net.phenotype({})


def test_unknown_operator_is_refused_only_where_pruning_meets_it():
    layers = [
        conv("a", "input", 3, 16),
        Layer("odd", "fold", ("a",), (16, 8, 8), (4, 16, 16)),
    ]
    net = Network(layers, [ChannelGroup("a", ("a",), 16)])
    assert net.apply({}) == net.layers
    with pytest.raises(ValueError, match=r"odd.*fold"):
        net.apply({"a.prune": 0.5})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Layer("", "conv", ("input",), (1,), (1,)), "non-empty"),
        (lambda: Layer("a", "conv", (), (1,), (1,)), "no input"),
        (lambda: Layer("a", "conv", "input", (1,), (1,)), "tuple of layer names"),
        (lambda: Layer("a", "conv", ("input",), (0, 1, 1), (1, 1, 1)), "integers >= 1"),
        (lambda: conv("a", "input", 3, 8, groups=2), "do not divide"),
        (lambda: conv("a", "input", 3, 8, w_bits=0), "w_bits=0"),
        (lambda: ChannelGroup("a", ("b",), 4), "named after its first layer"),
        (lambda: ChannelGroup("a", ("a",), 4, step=3), "must divide"),
        (lambda: ChannelGroup("a", ("a",), 4, prunable=False), "say why"),
        (lambda: Network([]), "at least one layer"),
        (lambda: Network([conv("a", "b", 3, 8)]), "produced by no layer"),
        (lambda: Network([conv("a", "input", 3, 8)] * 2), "used twice"),
        (
            lambda: Network([conv("a", "input", 3, 8)], [ChannelGroup("a", ("a",), 4)]),
            "has 4 channels, its layer 'a' has 8",
        ),
    ],
)
def test_bad_descriptions_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


HUGE = 10**400


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("layers", 0, "module"), ["m"], r"layer 'stem': module=\['m'\] must be a module's name"),
        (("layers", 0, "inputs"), 5, "layer 'stem': inputs=5 must be a tuple of layer names"),
        (("layers", 0, "in_shape"), [3, HUGE, 8], r"layer 'stem': in_shape=\[3, 1000.*up to"),
        (("layers", 0, "out_shape"), [1] * 9, "layer 'stem': out_shape=.* more than 8 dimensions"),
        (("layers", 0, "groups"), HUGE, "layer 'stem': groups=1000"),
        (("layers", 0, "bias"), "no", "layer 'stem': bias='no' must be true or false"),
        (("layers", 0, "w_bits"), [8], r"layer 'stem': w_bits=\[8\] is not a bit-width"),
        (("layers", 0, "colour"), 1, r"layers\[0\]: .*unexpected keyword argument 'colour'"),
        (("layers", 0), 7, r"layers\[0\]=7 must be an object"),
        (("layers",), {}, r"layers=\{\} must be a list"),
        (("groups", 0, "layers"), None, "layers=None must be a tuple of layer names"),
        (("groups", 0, "channels"), HUGE, "channels=1000.* must be an integer"),
        (("groups", 0, "prunable"), "no", "prunable='no' must be true or false"),
        (("metadata",), [1], r"metadata=\[1\] must be a mapping"),
        (("name",), 3, "name must be a text, got 3"),
        (("channel_multiple",), HUGE, "channel_multiple=1000"),
    ],
)
def test_a_damaged_file_names_its_part_field_and_value(tmp_path, path, value, message):
    data = json.loads(residual_net().to_json())
    home = data
    for key in path[:-1]:
        home = home[key]
    home[path[-1]] = value
    file = tmp_path / "net.json"
    file.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=message) as caught:
        Network.load(file)
    assert str(caught.value).startswith(str(file))


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "nonsense"])
def test_a_text_that_is_no_network_is_refused(text):
    with pytest.raises(ValueError, match="not a network file"):
        Network.from_json(text)
