"""What the costs promise of the exported C, against the C itself: compiled, run and counted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from torch import nn

from benchmarks.hardware.deployed import DEVICE_OF, cmsis_nn, promised
from benchmarks.hardware.untrained import Made, export, export_named
from hardware import cost_function, load_device
from hardware.measure.exported import measure
from hardware.measure.qemu import missing_tools

pytestmark = pytest.mark.skipif(
    bool(missing_tools()) or shutil.which("arm-none-eabi-size") is None,
    reason="no emulator or no compiler",
)


def check(made: Made, core: str) -> None:
    """Instructions within 3 %, flash within 4 %, RAM to the byte."""
    device = load_device(DEVICE_OF[core])
    found = measure(made.folder, core)
    assert promised(made, device) == pytest.approx(found.instructions, rel=0.03)
    costs = cost_function(made.network, device)(made.params)
    assert costs["flash_kb"] * 1024 == pytest.approx(found.code + found.constants, rel=0.04)
    assert round(costs["ram_kb"] * 1024) == found.arena
    assert 0 < found.stack < 1024


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
def test_what_is_promised_is_what_runs(tmp_path: Path, core: str) -> None:
    check(export_named("digits", tmp_path / "c", "mixed"), core)


class Odd(nn.Sequential):
    """Channels that fill no word, a stride of two, a window that leaves the image."""

    shape = (3, 13, 9)

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 11, 5, 2, 2), nn.ReLU(), nn.Conv2d(11, 11, 3, 1, 1, groups=11), nn.ReLU(),
            nn.Conv2d(11, 22, 1), nn.ReLU(), nn.Conv2d(22, 13, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(13, 7),
        )  # fmt: skip


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m33"])
def test_sizes_that_fill_no_word_are_promised_too(tmp_path: Path, core: str) -> None:
    check(export(Odd(), Odd.shape, tmp_path / "c"), core)


def test_cmsis_nn_was_counted_for_the_same_calls() -> None:
    rivals = cmsis_nn()
    assert len(rivals["resnet8", "cortex-m4"]) == 14
    assert sum(n for _, n in rivals["resnet8", "cortex-m4"]) == 30_449_294
