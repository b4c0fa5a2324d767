"""Profiles: shipped ones are sourced, bad ones are refused with the reason."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml

import hardware
from hardware import list_devices, load_device
from hardware.device import check_sources, parse_device

FOLDER = Path(hardware.__file__).with_name("devices")

GOOD = {
    "id": "mine",
    "core": "cortex-m4",
    "clock_mhz": 80,
    "flash_kb": 512,
    "ram_kb": 96,
    "power_mw": 20,
    "stacks": {"tflm": {"kappa": 2.0}},
    "sources": dict.fromkeys(
        ("clock_mhz", "flash_kb", "ram_kb", "power_mw", "stacks.tflm"), "datasheet"
    ),
}


@pytest.mark.parametrize("name", list_devices())
def test_every_shipped_number_has_a_source(name):
    device = load_device(name)
    assert device.id == name
    data = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
    check_sources(data, data["sources"])
    assert all(len(str(v)) > 10 for v in data["sources"].values())


def test_own_board_in_a_few_lines(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump(GOOD))
    device = load_device(path)
    assert (device.id, device.stack, device.runtime.status) == ("mine", "tflm", "uncalibrated")
    assert load_device(str(path)) == device


def changed(**kw):
    data = copy.deepcopy(GOOD)
    for key, value in kw.items():
        if value is None:
            del data[key]
        else:
            data[key] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(clock_mhz=None), "'clock_mhz' is missing"),
        (changed(clock_mhz=-80), "clock_mhz=-80 must be a number above 0"),
        (changed(clock_mhz="fast"), "clock_mhz='fast'"),
        (changed(ram_kb=float("nan")), "ram_kb=nan"),
        (changed(core="cortex-m9"), "core='cortex-m9' is unknown"),
        (changed(speed=3), "unknown field 'speed'"),
        (changed(stacks=3), "no source|stacks=3 must map"),
        (changed(stacks={"tflm": {}}), "field 'kappa' is missing"),
        (changed(stacks={"tflm": {"kappa": 0}}), "kappa=0"),
        (changed(stacks={"tflm": {"kapa": 1}}), "no source|unknown field 'kapa'"),
        (changed(stack="other"), "none of its stacks"),
        (changed(weight_bits=[9]), "no source|bit-widths"),
        (changed(sources={}), r"number 'clock_mhz' has no source"),
        (changed(sources="datasheet"), "sources must map"),
    ],
)
def test_bad_profiles(data, message):
    with pytest.raises(ValueError, match=message):
        parse_device(data)


def test_unknown_device_lists_what_there_is():
    with pytest.raises(ValueError, match=r"no device 'nope': use one of .*stm32f746"):
        load_device("nope")
    with pytest.raises(ValueError, match="no stack 'x'"):
        load_device("stm32f746:x")


@pytest.mark.parametrize("text", ["a: [", "- 1", "3"])
def test_files_that_are_no_profile(tmp_path, text):
    path = tmp_path / "bad.yml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bad\.yml"):
        load_device(path)


def test_import_stays_light():
    import subprocess
    import sys

    code = (
        "import sys, hardware; "
        "print([m for m in ('torch', 'nni', 'pandas', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_software_stack_keeps_its_old_name() -> None:
    assert hardware.Stack is hardware.Runtime
    assert isinstance(load_device("stm32f746").runtime, hardware.Stack)


HUGE = 10**400


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(core=["cortex-m4"]), r"core=\['cortex-m4'\] is unknown"),
        (changed(stack={"tflm": "x"}), r"stack=\{'tflm': 'x'\} is none of its stacks"),
        (changed(stacks={3: {"kappa": 2.0}}), "no source|a stack is named 3"),
        (changed(id=["mine"]), r"id=\['mine'\] must be a text"),
        (changed(clock_mhz=HUGE), r"clock_mhz=1000.* must be a number above 0 \(from 1e-12 to"),
        (changed(ram_kb=1e300), r"ram_kb=1e\+300 must be"),
        (changed(power_mw=1e-320), "power_mw=1e-320 must be"),
        ({**GOOD, 3: 1, "speed": 2}, "unknown field '?(3|speed)"),
        ({**GOOD, "weight_bits": [8, [4]], "sources": changed()["sources"] | {"weight_bits": "x"}},
         r"weight_bits=\[4\] is not a bit-width"),
        (changed(stacks={"tflm": {"model": "table", "macs_per_cycle": 2.0}}),
         r"stacks.tflm.macs_per_cycle=2.0 must map classes of layers to rates"),
        (changed(stacks={"tflm": {"model": "table", "macs_per_cycle": {"conv": 2}}}),
         "macs_per_cycle.conv=2 must map bits to a rate"),
        (changed(stacks={"tflm": {"kappa": 2.0, "drops_dead_channels": 1}}),
         "stacks.tflm.drops_dead_channels=1 must be true or false"),
        ([1], r"a device profile is a mapping, got \[1\]"),
    ],
)  # fmt: skip
def test_wrong_types_and_huge_numbers_are_named(data, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_device(data)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("day: !!timestamp nonsense", "not YAML"),
        ("day: 2026-13-45", "not YAML"),
        ("a: " + "[" * 5000, "not YAML"),
        ("&a {id: mine, core: x, stacks: *a}", "field 'clock_mhz' is missing"),
    ],
)
def test_yaml_that_cannot_be_read_names_its_file(tmp_path, text, message):
    path = tmp_path / "mine.yml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_device(path)
    assert str(path) in str(caught.value)


def test_a_profile_that_holds_itself(tmp_path):
    data = changed()
    data["stacks"]["tflm"]["more"] = data["stacks"]
    with pytest.raises(ValueError, match="contains itself"):
        parse_device(data)


def test_a_device_typed_wrong_is_told_which_may_be_meant(tmp_path):
    with pytest.raises(ValueError, match=r"'stm32f764' \(did you mean 'stm32f746'\?\): use one of"):
        load_device("stm32f764")
    with pytest.raises(ValueError, match=r"did you mean 'stm32l4r5'"):
        load_device("STM32L4R5:tflm")
    (tmp_path / "board.yml").write_text(yaml.safe_dump(GOOD))
    with pytest.raises(ValueError, match=r"bord.yml' \(did you mean '.*/board.yml'\?\)"):
        load_device(tmp_path / "bord.yml")
    for name in ("x" * 5000, "a\0b", str(tmp_path)):
        with pytest.raises(ValueError, match="no device"):
            load_device(name)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "core: cortex-m4",
            "core: cortex-m44",
            "core='cortex-m44' is unknown (did you mean 'cortex",
        ),
        (
            "weight_bits:",
            "weigth_bits:",
            "unknown field 'weigth_bits' (did you mean 'weight_bits'?)",
        ),
        ("sources:", "stack: tvm-cmsis\nsources:", "its stacks (did you mean 'tvm-cmsis-nn'?)"),
    ],
)
def test_a_name_in_a_profile_that_is_near_another(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    text = (Path(hardware.__file__).parent / "devices" / "stm32l4r5.yml").read_text()
    (tmp_path / "own.yml").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=re.escape(words)):
        hardware.load_device(tmp_path / "own.yml")


@pytest.mark.parametrize(
    ("device", "benchmark", "published_ms"),
    [
        ("nrf54lm20b-axon", "ic", 17.9),
        ("nrf54lm20b-axon", "vww", 14.4),
        ("nrf54lm20b-axon", "kws", 4.5),
        ("nrf54lm20b-axon", "ad", 1.3),
        ("esp32s3:esp-nn", "vww", 54.0),
    ],
)
def test_profiles_give_back_what_they_were_fitted_to(
    device: str, benchmark: str, published_ms: float
) -> None:
    from hardware.calibration.mlperf_tiny_networks import REFERENCE_NETWORKS

    layers = REFERENCE_NETWORKS[benchmark]().layers
    found = hardware.estimate(layers, load_device(device)).latency_ms
    assert found == pytest.approx(published_ms, rel=0.1)
