"""Profiles: shipped ones are sourced, bad ones are refused with the reason."""

from __future__ import annotations

import copy
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
