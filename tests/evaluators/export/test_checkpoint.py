from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from evaluators.compression.quantization import InputQuantization
from evaluators.export import checkpoint, fold, load

WRITTEN_BEFORE = Path(__file__).with_name("written_before")
"""Files of commit 92e111d: `Linear(3, 2)` behind 4-bit inputs, exported and pickled."""

ALONE = """
import sys, warnings
warnings.simplefilter("error")
for name in ("nni", "evaluators", "hardware", "ga", "nni_plugin"):
    sys.modules[name] = None
import torch
x, want = torch.load(sys.argv[2], weights_only=True)
got = torch.export.load(sys.argv[1]).module()(x)
assert torch.equal(got, want), (got - want).abs().max()
"""


def test_the_checkpoint_runs_with_torch_alone(network, tmp_path):
    net = network("Branches", lambda i: (4, 8))
    path = tmp_path / "model.pt2"
    network = fold(net.model, net.calibration, net.x[:2]).simulated()
    assert checkpoint.save(network, (net.x[:2],), {"seed": 3}, path) is None
    with torch.no_grad():
        want = network(net.x[:5])
    torch.save((net.x[:5], want), tmp_path / "pair.pt")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(path), str(tmp_path / "pair.pt")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    # Torch logs what it has against a file, beside its warnings.
    assert (done.returncode, done.stderr) == (0, "")
    loaded = load(path)
    assert torch.equal(loaded(net.x[:5]), want)
    assert loaded.metadata["seed"] == 3


@pytest.mark.parametrize("samples", [1, 2])
def test_an_example_of_any_size_gives_a_checkpoint_for_any_batch(network, tmp_path, samples):
    net = network("Residual")
    path = tmp_path / "model.pt2"
    network = fold(net.model, net.calibration, net.x[:2]).simulated()
    assert checkpoint.save(network, net.x[:samples], {}, path) is None
    with torch.no_grad():
        for n in (1, 2, 7):
            assert torch.allclose(load(path)(net.x[:n]), network(net.x[:n]), atol=1e-6)


def test_a_batch_that_the_code_fixes_is_named(tmp_path):
    class One(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(1, 6) * 2

    path = tmp_path / "model.pt2"
    assert "shape '[1, 6]' is invalid" in checkpoint.save(One(), torch.ones(1, 2, 3), {}, path)
    loaded = load(path)
    assert loaded.metadata["free_batch"] is False
    assert loaded(torch.ones(1, 2, 3)).tolist() == [[2.0] * 6]


def test_a_folder_of_before_has_its_file_under_another_name(network, tmp_path):
    for name in ("model.pt", "pickled_model.pt"):
        shutil.copy(WRITTEN_BEFORE / name, tmp_path)
    assert load(tmp_path).metadata["seed"] == 5
    net = network("Dense")
    new = fold(net.model, net.calibration, net.x[:2]).simulated()
    checkpoint.save(new, net.x[:2], {"seed": 6}, tmp_path / "model.pt2")
    assert load(tmp_path).metadata["seed"] == 6


def test_a_truncated_checkpoint_is_refused(network, tmp_path):
    net = network("Dense")
    path = tmp_path / "model.pt2"
    checkpoint.save(fold(net.model, net.calibration, net.x[:2]).simulated(), (net.x[:2],), {}, path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="truncated"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere.pt2")


def test_files_of_before_the_modules_moved_still_load():
    x = torch.linspace(-2, 2, 12).reshape(4, 3)
    exported = load(WRITTEN_BEFORE / "model.pt")
    assert exported.metadata["seed"] == 5
    pickled = torch.load(WRITTEN_BEFORE / "pickled_model.pt", weights_only=False)
    assert pickled[0].quantization == InputQuantization(0.05, 20, 4)
    with torch.no_grad():
        got = exported(x)
        assert torch.equal(pickled(x), got)
    # What they gave then.
    assert got.tolist()[0] == [0.15835288166999817, 0.9502177834510803]


def test_the_old_home_of_the_quantizer_says_where_its_other_names_are():
    with pytest.raises(ImportError, match=r"FakeQuantizer is evaluators\.compression\.qat\.Fake"):
        from evaluators.quantize import FakeQuantizer  # noqa: F401 - it isn't there
