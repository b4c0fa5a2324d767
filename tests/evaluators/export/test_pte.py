"""What ExecuTorch computes; it is installed by hand, and these tests skip elsewhere."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from evaluators.export import fold, pte
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.storage import as_stored
from evaluators.export.verify import torch_runner

installed = pytest.mark.skipif(
    importlib.util.find_spec("executorch") is None,
    reason="the optional package executorch is not installed",
)


def stored(net):
    return as_stored(fold(net.model, net.calibration, net.x[:2]), net.x[:2], [net.x])


@installed
@pytest.mark.parametrize("weights", [8, 4, 2])
@pytest.mark.parametrize("kind", ["Residual", "Depthwise", "Sequence", "Dense"])
def test_executorch_follows_the_network(network, tmp_path, kind, weights):
    net = network(kind, lambda i: (weights, 8))
    path = tmp_path / "model.pte"
    folded = stored(net)
    pte.write_pte(folded, net.x[:2], path, batches=[net.x])
    x = net.x.numpy()
    want, got = torch_runner(folded.simulated().eval())(x), pte.pte_runner(path)(x)
    off = np.abs(want - got) / np.ptp(want)
    # A step of the output's 8 bits. A bias is rounded to the accumulator's, coarse at few bits.
    assert np.median(off.max(axis=1)) <= 1 / 255
    assert off.max() < 0.02
    if kind != "Dense":
        assert (want.argmax(1) != got.argmax(1)).sum() <= 2


@installed
def test_what_executorch_has_no_integer_kernel_for_is_said(network, tmp_path):
    net = network("Branches")
    with pytest.raises(UnsupportedNetworkError, match="no integer kernel for an operator behind"):
        pte.write_pte(stored(net), net.x[:2], tmp_path / "model.pte")
    assert list(tmp_path.iterdir()) == []


def test_bits_that_executorch_has_no_kernels_for_are_named(network, tmp_path):
    for bits, reason in (((8, 4), "activations of 4 bits at 'a'"), ((16, 8), "more than 8 bits")):
        net = network("Dense", lambda i, bits=bits: bits)
        folded = fold(net.model, net.calibration, net.x[:2])
        with pytest.raises(UnsupportedNetworkError, match=reason):
            pte.write_pte(folded, net.x[:2], tmp_path / "model.pte")
    with pytest.raises(UnsupportedNetworkError, match="more than one input"):
        pte.write_pte(folded, (net.x, net.x), tmp_path / "model.pte")
