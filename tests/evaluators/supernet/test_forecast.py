"""What a supernet will cost, before it is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from evaluators import trace
from evaluators.supernet.forecast import Forecast, forecast
from evaluators.supernet.training import Settings, train_supernet
from support.nets import ZOO, randomize
from support.tasks import build_task


def test_the_file_is_as_large_as_told(tmp_path: Path) -> None:
    build, shape = ZOO["residual"]
    task = build_task(randomize(build()), shape)
    network = trace(task)
    space = {f"{name}.w_bits": [2, 4, 8] for name in network.gene_layers}
    before = torch.get_rng_state()
    told = forecast(task, network, space, Settings(epochs=1))
    assert torch.equal(before, torch.get_rng_state())
    train_supernet(task, network, space, Settings(epochs=1)).save(tmp_path / "one.pt")
    assert told.kb == pytest.approx((tmp_path / "one.pt").stat().st_size / 1024, abs=2.0)
    assert told.seconds > 0.0
    with pytest.raises(ValueError, match="no gene of widths or bits"):
        forecast(task, network, {})


def test_how_it_is_told() -> None:
    assert str(Forecast(43.4, 112.2)) == ("about 43 s of training, once, and a file of 112 KB")
    assert str(Forecast(7000.0, 21_234.0)) == (
        "about 117 minutes of training, once, and a file of 21,234 KB"
    )
