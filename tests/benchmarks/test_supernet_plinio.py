"""PLiNIO beside ours: both count the same network alike, and pruned channels count nothing."""

import argparse
from pathlib import Path

import pytest

from benchmarks.supernet.plinio_side_by_side import Price, parts, report, summary, whole
from hardware import Network

NETWORK = Network.load(Path("experiment_configs/kws.space.network.json"))
WEIGHTED = [layer for layer in NETWORK.layers if layer.is_weighted]
DEVICE = "stm32l4r5"
INT8 = {"weights_kb": 21.5, "size_kb": 28.469, "mcycles": 1.2651}


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_one_width_counts_as_a_chromosome_of_it_does(bits: int) -> None:
    genes = {f"{layer.name}.w_bits": bits for layer in WEIGHTED}
    theirs = parts(NETWORK.layers, {x.module: [bits] * x.out_channels for x in WEIGHTED})

    assert Price.of(theirs, DEVICE) == Price.of(NETWORK.apply(genes), DEVICE)


def test_the_reference_is_the_whole_network_with_8_bits() -> None:
    config = Path("experiment_configs/ga_joint_kws.yml")
    price = whole(argparse.Namespace(config=config, device=DEVICE))

    assert vars(price) == pytest.approx(INT8, rel=1e-3)


def test_pruned_channels_count_as_in_a_chromosome_that_prunes_them() -> None:
    group = next(g for g in NETWORK.groups if g.prunable)
    half = NETWORK.apply({f"{group.name}.prune": 0.5})
    kept = {x.name: x.out_channels for x in half if x.is_weighted}
    bits = {x.module: [8] * kept[x.name] + [0] * (x.out_channels - kept[x.name]) for x in WEIGHTED}

    assert Price.of(parts(NETWORK.layers, bits), DEVICE) == Price.of(half, DEVICE)


def test_channels_of_several_widths_are_stored_apart() -> None:
    bits = {x.module: [2] * (x.out_channels // 2) + [8] * (x.out_channels // 2) for x in WEIGHTED}
    found = parts(NETWORK.layers, bits)

    assert len(found) == 2 * len(WEIGHTED)
    assert sum(x.weights for x in found) == sum(x.weights for x in WEIGHTED)


def test_a_summary_leaves_out_what_is_pruned() -> None:
    assert summary([0, 2, 2, 8]) == "2x2+1x8"


def test_the_table_says_which_points_are_dominated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        "seed,arm,kind,name,cpu_s,val,test,test_last,weights_kb,size_kb,mcycles\n"
        "0,plinio-layer,point,1e-05,200,.95,.93,.92,5.8,12.8,1.07\n"
        "0,plinio-layer,point,1e-06,210,.95,.97,.97,9.8,16.8,1.07\n"
        "0,ours,supernet,,400,,,,,,\n"
        "0,ours,finalist,7,500,.95,.94,.94,5.0,9,0.8\n",
        encoding="utf-8",
    )

    report(file, Price(**INT8), 0.8)

    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1:5] for line in lines[:2]] == [
        [" 0 ", " ours ", " 1 ", " 500 "],
        [" 0 ", " plinio-layer ", " 2 ", " 410 "],
    ]
    volume = float(lines[0].split("|")[5])
    assert volume == pytest.approx((0.94 - 0.8) * (INT8["weights_kb"] - 5.0), abs=5e-4)
    beaten = [[x.strip() for x in line.split("|")[-4:-1]] for line in lines[2:]]
    assert beaten == [["", "", ""], ["ours", "ours", "ours"], ["", "", ""]]
