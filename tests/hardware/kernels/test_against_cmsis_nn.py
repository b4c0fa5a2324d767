"""Instructions of the kernels beside those of CMSIS-NN 99f736a, layer by layer."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from hardware.latency.kernel_calls import Job
from hardware.measure.qemu import count

pytestmark = pytest.mark.usefixtures("emulator")

COUNTS = Path(__file__).parents[3] / "benchmarks" / "hardware" / "cmsis_nn_counts.csv"
LIMIT = 1.1


def shape(text: str) -> tuple[int, int, int]:
    h, w, c = map(int, text.split("x"))
    return h, w, c


def job(row: dict[str, str]) -> Job:
    (h, w, ic), (oh, ow, oc) = shape(row["in_shape"]), shape(row["out_shape"])
    bits = int(row["w_bits"]) if row["w_bits"].isdigit() else 8
    if row["kind"] == "sum":
        return Job("add", h, w, ic, h, w, ic)
    if row["kind"].startswith("average"):
        return Job("avgpool", h, w, ic, 1, 1, ic, h, w)
    depthwise = row["kind"] == "depthwise"
    k = math.isqrt(int(row["macs"]) // (oh * ow * oc * (1 if depthwise else ic)))
    kind = "depthwise" if depthwise else "linear" if h * w == 1 else "conv"
    pads = (k // 2,) * 4
    return Job(kind, h, w, ic, oh, ow, oc, k, k, h // oh, w // ow, pads, bits)


@pytest.mark.parametrize(
    ("network", "short", "core", "limit"),
    [
        ("digits-mix", "m4", "cortex-m4", LIMIT),
        ("digits-w8", "m7", "cortex-m7", LIMIT),
        ("digits-w8", "m0", "cortex-m0plus", LIMIT),
        ("digits-w8", "m55", "cortex-m55", 1.3),
    ],
)
def test_no_layer_takes_more_instructions(network, short, core, limit, tmp_path):
    with COUNTS.open() as file:
        rows = [r for r in csv.DictReader(file) if (r["network"], r["core"]) == (network, short)]
    assert len(rows) == 12
    ours = count([job(r) for r in rows], core, cache=tmp_path)
    ratios = {
        r["layer"]: got.total / int(r["cmsis_nn_instructions"])
        for r, got in zip(rows, ours, strict=True)
    }
    assert max(ratios.values()) < limit, ratios


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
def test_packed_weights_cost_little(core, tmp_path):
    shapes = [
        Job("conv", 8, 8, 24, 8, 8, 24, 3, 3, 1, 1, (1, 1, 1, 1)),
        Job("conv", 4, 4, 48, 4, 4, 48),
        Job("linear", 1, 1, 256, 1, 1, 64),
        Job("depthwise", 8, 8, 32, 8, 8, 32, 3, 3, 1, 1, (1, 1, 1, 1)),
    ]
    for wide in shapes:
        narrow = [wide._replace(w_bits=bits) for bits in (4, 2)]
        eight, four, two = (got.total for got in count([wide, *narrow], core, cache=tmp_path))
        # On Cortex-M55 a linear layer has one patch, to whose unpacking all rows must pay.
        limit = 1.4 if (core, wide.kind) == ("cortex-m55", "linear") else 1.25
        assert four < limit * eight, wide
        assert two < 1.4 * eight, wide
