"""Which software costs are of: the exported C by default, another by name, the one of then."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import hardware
from hardware import Network, cost_function, device_of, list_devices, load_device
from hardware.calibration.mlperf_tiny_networks import ds_cnn
from hardware.cores import COUNTED_AS
from hardware.stacks import OWN, first_profiles

PROFILES = Path(hardware.__file__).parent / "devices"


@pytest.mark.parametrize("name", list_devices())
def test_every_cortex_m_defaults_to_the_exported_c(name: str) -> None:
    device = load_device(name)
    assert (device.stack == OWN) == device.core.startswith("cortex-m")
    if device.stack == OWN:
        assert device.runtime.source
        assert device.runtime.error > 0
        assert device.runtime.status != "calibrated"  # nobody published a latency of this C


def test_a_vendors_stack_comes_by_name_only() -> None:
    for device in (load_device("stm32l4r5:xcubeai-9"), load_device("stm32l4r5", "xcubeai-9")):
        assert (device.stack, device.runtime.requant_bytes) == ("xcubeai-9", 0)
    assert load_device("stm32l4r5:tflm", "tflm").stack == "tflm"
    with pytest.raises(ValueError, match=r"two stacks are named, 'tflm' .* and 'xcubeai-9'"):
        load_device("stm32l4r5:tflm", "xcubeai-9")
    with pytest.raises(ValueError, match=r"no stack 'joint-ga' \(did you mean 'joint-ga-c'\?\)"):
        load_device("stm32l4r5", "joint-ga")


def test_a_stack_of_ones_own_stays_the_default(tmp_path: Path) -> None:
    profile = yaml.safe_load((PROFILES / "stm32l4r5.yml").read_text())
    own = {"measured": {"kappa": 2.0, "source": "my board"}}
    (tmp_path / "own.yml").write_text(yaml.safe_dump(profile | {"stacks": own}))
    assert load_device(tmp_path / "own.yml").stack == "measured"
    ours = {OWN: {"kappa": 1.7, "status": "calibrated", "source": "my board"}}
    (tmp_path / "ours.yml").write_text(yaml.safe_dump(profile | {"stacks": ours}))
    runtime = load_device(tmp_path / "ours.yml").runtime
    assert (runtime.kappa, runtime.memory, runtime.counts) == (1.7, "c", 2)


def test_flash_adds_code_and_ram_is_that_of_the_software() -> None:
    net = ds_cnn()
    ours, tflm = (cost_function(net, load_device("stm32l4r5", name))({}) for name in (OWN, "tflm"))
    assert ours["flash_kb"] > ours["size_kb"] + 2
    # Tensors in 16,000 bytes, and the interpreter's own bookkeeping behind them.
    assert tflm["ram_kb"] * 1024 > 16_000 + 5_000
    assert ours["ram_kb"] * 1024 < 18_000


def test_a_file_of_before_keeps_the_profile_of_then() -> None:
    net = ds_cnn()
    new = cost_function(net, load_device("stm32l4r5"))({})
    net.costs_version = 1
    old = cost_function(net, load_device("stm32l4r5"))({})
    assert "flash_kb" not in old
    assert old["latency_ms"] != new["latency_ms"]
    for name, profile in first_profiles().items():
        device = device_of(net, load_device(name))
        assert device.version == 1
        assert device.clock_mhz == profile["clock_mhz"]
        assert device.stack == profile.get("stack", device.stack)
        assert device.stack != OWN
        if device.core in COUNTED_AS:
            assert device.runtime.counts == 1


def test_a_network_file_names_its_stack(tmp_path: Path) -> None:
    net = ds_cnn()
    net.metadata.update(device="stm32l4r5", stack="xcubeai-9")
    net.save(tmp_path / "n.json")
    net = Network.load(tmp_path / "n.json")
    assert net.costs_version == 2
    assert device_of(net, load_device("stm32l4r5")).stack == "xcubeai-9"
    # By name it is another one's, and another device has its own.
    assert device_of(net, load_device("stm32l4r5:tflm")).stack == "tflm"
    assert device_of(net, load_device("stm32f746")).stack == OWN
    net.metadata["stack"] = "gone"
    with pytest.raises(ValueError, match="no stack 'gone'"):
        device_of(net, load_device("stm32l4r5"))


def test_costs_of_a_later_version_are_refused(tmp_path: Path) -> None:
    text = ds_cnn().to_json().replace('"costs_version": 2', '"costs_version": 7')
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(ValueError, match=r"costs_version=7 is unknown .*newer version"):
        Network.load(tmp_path / "n.json")
