from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from evaluators.export import checkpoint, fold, load

ALONE = """
import sys
for name in ("nni", "evaluators", "hardware", "ga", "nni_plugin"):
    sys.modules[name] = None
import torch
x, want = torch.load(sys.argv[2], weights_only=True)
got = torch.export.load(sys.argv[1]).module()(x)
assert torch.equal(got, want), (got - want).abs().max()
"""


def test_the_checkpoint_runs_with_torch_alone(network, tmp_path):
    net = network("Branches", lambda i: (4, 8))
    path = tmp_path / "model.pt"
    network = fold(net.model, net.calibration).simulated()
    assert checkpoint.save(network, (net.x[:2],), {"seed": 3}, path)
    with torch.no_grad():
        want = network(net.x[:5])
    torch.save((net.x[:5], want), tmp_path / "pair.pt")
    subprocess.run(
        [sys.executable, "-c", ALONE, str(path), str(tmp_path / "pair.pt")],
        check=True,
        cwd=tmp_path,
    )
    loaded = load(path)
    assert torch.equal(loaded(net.x[:5]), want)
    assert loaded.metadata["seed"] == 3


def test_a_truncated_checkpoint_is_refused(network, tmp_path):
    net = network("Dense")
    path = tmp_path / "model.pt"
    checkpoint.save(fold(net.model, net.calibration).simulated(), (net.x[:2],), {}, path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="truncated"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere.pt")
