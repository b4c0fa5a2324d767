"""The latency model: closed form against counts, published results left out, own boards."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from hardware import cost_function, estimate, intervals, list_devices, load_device
from hardware.calibration.cross_validation import boards, by_vendor, cells, order
from hardware.calibration.mlperf_tiny_networks import REFERENCE_NETWORKS, live_layers
from hardware.calibration.mlperf_tiny_results import rows
from hardware.calibration.model import Cell, fit, kappa, names_of, weighted
from hardware.calibration.own_board import calibrate
from hardware.latency.instruction_counts import instructions as closed_form
from hardware.latency.kernel_calls import Job, jobs
from hardware.latency.layer_instructions import CLASSES, layer_instructions
from hardware.latency.loop_counts import inside
from hardware.measure.qemu import EMULATED, compiler_version, count

NETS = {name: build() for name, build in REFERENCE_NETWORKS.items()}
CALIBRATED = ("cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m33")


@pytest.mark.slow
def test_published_benchmarks_left_out():
    every = cells(by_vendor)
    found = [p for p in every if p.row.cell.core in CALIBRATED]
    errors = [p.error_pct for p in found]
    assert len(errors) == 184
    assert statistics.mean(errors) <= 8
    assert sum(e <= 10 for e in errors) >= 0.795 * len(errors)
    for core in CALIBRATED:
        assert statistics.mean(p.error_pct for p in found if p.row.cell.core == core) <= 10
    helium = [p.error_pct for p in every if p.row.cell.core == "cortex-m85"]
    assert len(helium) == 4
    assert statistics.mean(helium) <= 20
    andes = [p.error_pct for p in every if p.row.cell.core.startswith("andes")]
    assert statistics.mean(andes) <= 10
    covered = sum(
        abs(p.log_error) <= 1.645 * load_device(f"{p.row.device}:{p.row.stack}").runtime.error
        for p in found
    )
    assert covered >= 0.88 * len(found)


def test_published_networks_are_ranked_as_measured():
    # One board with the most stacks: both networks of a pair are left out of the fit.
    board = [row for row in rows() if row.device == "stm32h7a3"]
    ranked = order(board)
    apart = [good for a, b, good in ranked if abs(math.log(a.latency_ms / b.latency_ms)) > 0.1]
    assert len(ranked) == 48
    assert 2 * statistics.mean(apart) - 1 >= 0.97


@pytest.mark.slow
def test_published_boards_left_out():
    errors = [p.error_pct for p in boards()]
    assert len(errors) == 40
    assert statistics.mean(errors) <= 15


@pytest.mark.slow
def test_shipped_profiles_follow_from_the_published_table():
    from hardware.calibration.fit_shipped_devices import table
    from hardware.stacks import fitted

    assert table() == fitted()


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55", "cortex-m0plus"])
@pytest.mark.usefixtures("emulator")
def test_closed_form_equals_the_emulator_within_a_percent(core, tmp_path):
    names = ("kws", "ad") if core == "cortex-m0plus" else tuple(NETS)
    made, owners = [], []
    for name in names:
        for layer in NETS[name].layers:
            for job, _ in jobs(layer):
                made.append(job)
                owners.append(name)
    counted = count(made, core, cache=tmp_path)
    for name in names:
        true = sum(c.total for c, o in zip(counted, owners, strict=True) if o == name)
        made_up = sum(closed_form(j, core) for j, o in zip(made, owners, strict=True) if o == name)
        assert made_up == pytest.approx(true, rel=0.015), name


@pytest.mark.usefixtures("emulator")
def test_counts_are_exact_and_cached(tmp_path, monkeypatch):
    job = Job("conv", 8, 8, 64, 8, 8, 64, 3, 3, 1, 1, (1, 1, 1, 1))
    narrow = job._replace(w_bits=4)
    first = count([job, narrow, job], "cortex-m4", cache=tmp_path)
    assert first[0] == first[2]
    assert first[1].total < first[0].total
    if compiler_version().endswith("12.2.1 20221205"):
        assert (first[0].total, first[1].total) == (EXACT_W8, EXACT_W4)
    monkeypatch.setenv("PATH", str(tmp_path))
    # Without a compiler the version of the cache is unknown, so nothing is guessed.
    with pytest.raises(RuntimeError, match="not installed: arm-none-eabi-gcc"):
        count([job], "cortex-m4", cache=tmp_path)


EXACT_W8, EXACT_W4 = 2_718_814, 2_685_540


def test_unknown_core_is_refused():
    with pytest.raises(RuntimeError, match="'cortex-a9' is not emulated"):
        count([], "cortex-a9")
    assert set(EMULATED) == {"cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"}


def test_taps_inside_against_counting():
    for size, out, k, stride, before in ((7, 4, 3, 2, 1), (5, 5, 5, 1, 2), (49, 25, 10, 2, 4)):
        slow = sum(0 <= o * stride - before + t < size for o in range(out) for t in range(k))
        assert inside(size, out, k, stride, before) == slow


def synthetic(true_kappa, factors, systems=3, noise=0.0):
    rng = np.random.default_rng(0)
    made = []
    for s in range(systems):
        for n in range(6):
            counts = tuple(rng.uniform(1e5, 1e7, len(CLASSES)))
            cycles = true_kappa * (s + 1) * weighted(counts, factors)
            made.append(
                Cell("m4", "v", "v-1", f"s{s}", f"n{n}", cycles * math.exp(rng.normal(0, noise)),
                     counts)
            )  # fmt: skip
    return made


def test_fit_recovers_what_made_the_data():
    made = synthetic(0.8, (1.7, 0.6))
    effects = fit(made, {"all": 1e-3, "family": 10, "vendor": 10, "stack": 10, "system": 10})
    factors = effects.factors(names_of(made[0]))
    assert factors == pytest.approx((1.7, 0.6), rel=1e-3)
    for s in range(3):
        group = [c for c in made if c.system == f"s{s}"]
        assert kappa(group, factors) == pytest.approx(0.8 * (s + 1), rel=1e-3)


def test_sub_byte_weights_buy_flash_not_latency_on_cortex_m_and_both_on_mpic():
    net = NETS["ic"]
    four = {f"{name}.w_bits": 4 for name in net.gene_layers}
    narrow = four | {f"{name}.a_bits": 4 for name in net.gene_layers}
    m4 = cost_function(net, load_device("stm32l4r5"))
    assert m4(four)["size_kb"] < 0.56 * m4({})["size_kb"]
    assert 0.9 < m4(four)["latency_ms"] / m4({})["latency_ms"] <= 1.1
    mpic = cost_function(net, load_device("mpic"))
    assert mpic(narrow)["latency_ms"] < 0.65 * mpic({})["latency_ms"]
    ne16 = cost_function(net, load_device("ne16"))
    assert ne16(four)["latency_ms"] < 0.8 * ne16({})["latency_ms"]


@pytest.mark.parametrize("name", list_devices())
def test_every_device_costs_every_reference_network(name):
    device = load_device(name)
    for net in NETS.values():
        found = intervals(net.layers, device)
        latency = found["latency_ms"]
        assert latency.low <= latency.value <= latency.high
        assert latency.status in ("calibrated", "borrowed", "uncalibrated")
        assert found["ram_kb"].status == "exact"
        assert found["latency_ms"].value == estimate(net.layers, device).latency_ms
        if latency.status != "uncalibrated":
            assert latency.high > latency.value


def test_dead_channels_of_the_wake_word_network():
    live = live_layers(NETS["vww"])
    assert sum(x.macs for x in live) == 3_742_091
    device = load_device("stm32l4r5:xcubeai-8.1")
    assert device.runtime.drops_dead_channels
    ratio = estimate(live, device).latency_ms / estimate(NETS["vww"].layers, device).latency_ms
    # Between two versions of that software the published latency fell to 0.515, of which 0.84 is
    # what its other convolutional network gained too.
    assert 0.515 < ratio < 0.75


def test_own_board_from_measurements(tmp_path):
    board = tmp_path / "board.yml"
    board.write_text(
        "id: mine\ncore: cortex-m4\nclock_mhz: 100\nflash_kb: 512\nram_kb: 128\npower_mw: 30\n"
        "sources: {clock_mhz: manual, flash_kb: manual, ram_kb: manual, power_mw: meter}\n"
    )
    assert load_device(board).status == "borrowed"
    table = tmp_path / "latencies.csv"
    lines = ["network,latency_ms"]
    for name, net in NETS.items():
        counts = sum(layer_instructions(net.layers, "cortex-m4"))
        lines.append(f"{name},{counts * 1.25 / 100e3:.4f}")
    table.write_text("\n".join(lines) + "\n")
    result = calibrate(board, table)
    assert result.kappa == pytest.approx(1.25, rel=0.1)
    assert set(result.left_out_pct) == set(NETS)
    assert 0 < result.expected_error_pct < 25
    text = result.text()
    assert "expected error on the next network" in text
    full = board.read_text() + text[text.index("stacks:") :]
    board.write_text(full)
    device = load_device(board)
    assert device.stack == "measured"
    for name, net in NETS.items():
        counts = sum(layer_instructions(net.layers, "cortex-m4"))
        assert estimate(net.layers, device).latency_ms == pytest.approx(
            counts * 1.25 / 100e3, rel=0.12
        ), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network,latency_ms\nic,300\n", r"1 measured network\(s\)"),
        ("network,latency_us\nic,300\nkws,90\n", "must contain 'network' and 'latency_ms'"),
        ("network,latency_ms\nic,300000\nkws,90000\n", "must be in milliseconds"),
        ("network,latency_ms\nic,fast\nkws,90\n", "latency_ms='fast' must be milliseconds"),
        ("network,latency_ms\nic,-3\nkws,90\n", "line 2: latency_ms='-3'"),
        ("network,latency_ms\n", "0 measured"),
        ("network,latency_ms\nic,300\nic,301\n", "at least two different ones"),
        ("network,latency_ms\n,300\nkws,90\n", "line 2: network='' is neither a file nor"),
        ("network,latency_ms\nic,300\nmine.json,90\n", "line 3: network='mine.json' is neither"),
        ("network,latency_ms,params\nic,300,p.json\nkws,90,\n", "params file .*does not exist"),
        ("network,latency_ms,params\nic,300,t.csv\nkws,90,\n", "line 2: params file .*no JSON"),
    ],
)
def test_bad_measurements(tmp_path, text, message):
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(ValueError, match=message):
        calibrate("stm32f407", table)


def test_board_without_kernels_cannot_be_calibrated(tmp_path):
    with pytest.raises(ValueError, match="no counted kernels"):
        calibrate("mpic", tmp_path / "t.csv")
