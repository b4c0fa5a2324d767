"""Backends that really run something, each skipped with a reason where it is not installed."""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hardware import Layer, estimate, load_device
from hardware.calibration.mlperf_tiny_networks import REFERENCE_NETWORKS
from hardware.measure import BackendUnavailableError, backends, qemu
from hardware.measure.emulator import Emulator
from hardware.measure.litert import LiteRT
from hardware.measure.onnx_model import build as build_onnx
from hardware.measure.onnxruntime import OnnxRuntime
from hardware.measure.ssh import SshBoard
from hardware.measure.tflite_model import build as build_tflite
from hardware.measure.tflm import TFLMArena
from hardware.measure.vela import Vela
from hardware.memory.planner import buffers, plan

NETS = {name: build() for name, build in REFERENCE_NETWORKS.items()}
PRUNED = {
    "ic": {"b2a.prune": 0.4, "b3b.prune": 0.3, "stem.prune": 0.5},
    "kws": {"pw0.prune": 0.5, "pw2.prune": 0.25},
}


def needs(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


def test_onnx_runtime_takes_turns_with_a_baseline():
    needs("onnxruntime")
    small = NETS["kws"].apply(PRUNED["kws"])
    backend = OnnxRuntime(int8=True, baseline=NETS["ic"].layers, seconds=0.2)
    found = backend.measure_many([NETS["ic"].layers, small])
    assert found[0]["ort_relative_latency"] == pytest.approx(1, abs=0.35)
    assert found[1]["ort_latency_ms"] < found[0]["ort_latency_ms"]


@pytest.mark.parametrize("int8", [True, False])
@pytest.mark.parametrize("name", sorted(NETS))
def test_onnx_models_are_valid_and_shaped_as_asked(name, int8):
    onnx = pytest.importorskip("onnx")
    layers = NETS[name].apply(PRUNED.get(name, {}))
    model = onnx.load_from_string(build_onnx(layers, int8))
    onnx.checker.check_model(model, full_check=True)
    dims = [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
    assert dims == [1, *layers[-1].out_shape]


@pytest.mark.parametrize("name", sorted(NETS))
def test_tflite_micro_allocates_what_the_planner_says(name):
    needs("tflite_micro")
    for params in ({}, PRUNED.get(name, {})):
        layers = NETS[name].apply(params)
        found = TFLMArena().measure(layers)
        assert found["tflm_head_kb"] * 1024 == plan(buffers(layers))


def test_litert_runs_a_pruned_network():
    needs("ai_edge_litert")
    found = LiteRT(seconds=0.1).measure(NETS["ic"].apply(PRUNED["ic"]))
    assert 0 < found["litert_latency_ms"] < 1000


def test_vela_compiles_for_an_npu():
    needs("ethosu")
    found = Vela().measure(NETS["kws"].layers)
    assert found["vela_cycles"] == pytest.approx(89_900, rel=0.03)
    assert found["vela_sram_kb"] > 0
    assert found["vela_flash_kb"] > 20


@pytest.mark.usefixtures("emulator")
def test_emulator_counts_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path))
    found = Emulator("cortex-m4").measure(NETS["ad"].layers)
    assert found["qemu_instructions"] == pytest.approx(602_000, rel=0.02)
    assert 0 < found["qemu_memory_instructions"] < found["qemu_instructions"]
    again = Emulator("cortex-m4").measure(NETS["ad"].layers)
    assert again == found


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("tool", ["arm-none-eabi-gcc", "qemu-system-arm", "gcc"])
def test_emulator_whose_tools_fail_says_which_and_estimates_go_on(tool, tmp_path, monkeypatch):
    fake = tmp_path / "bin" / tool
    fake.parent.mkdir()
    version = 'case "$1" in --version) echo fake 1.0; exit 0;; esac\n'
    fake.write_text(f"#!/bin/sh\n{version}echo it broke >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path))
    qemu.compiler_version.cache_clear()
    try:
        with pytest.raises(BackendUnavailableError, match="failed with exit code 3:\nit broke"):
            Emulator("cortex-m4").measure(NETS["ad"].layers)
    finally:
        qemu.compiler_version.cache_clear()
    assert estimate(NETS["ad"].layers, load_device("stm32l4r5")).latency_ms > 0


def test_emulator_without_tools_says_what_to_install_and_estimates_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path))
    with pytest.raises(BackendUnavailableError, match=r"not installed: arm-none-eabi-gcc.*apt-get"):
        Emulator("cortex-m4").measure(NETS["ad"].layers)
    assert estimate(NETS["ad"].layers, load_device("stm32l4r5")).latency_ms > 0


def test_all_backends_share_one_interface():
    found = backends()
    assert {"onnxruntime-int8", "litert", "tflm", "qemu-cortex-m4"} <= set(found)
    assert all(name == backend.name for name, backend in found.items())


@pytest.mark.parametrize("build", [build_onnx, build_tflite])
def test_operator_that_cannot_be_written_is_named(build):
    if build is build_tflite and not any(
        importlib.util.find_spec(m) for m in ("ai_edge_litert", "tflite_micro")
    ):
        pytest.skip("no package with the TensorFlow Lite schema is installed")
    odd = Layer("fourier", "fft", ("input",), (8, 8), (8, 8))
    with pytest.raises(ValueError, match="'fourier': operator 'fft'"):
        build([odd])


@pytest.fixture
def board(tmp_path):
    """An SSH server on this machine that lets a fresh key in."""
    server = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(server).exists() or shutil.which("ssh-keygen") is None:
        pytest.skip("no SSH server here (apt-get install openssh-server)")
    for name in ("host_key", "user_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True
        )
    keys = tmp_path / "authorized_keys"
    keys.write_text((tmp_path / "user_key.pub").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host_key\n"
        f"AuthorizedKeysFile {keys}\nPasswordAuthentication no\nStrictModes no\nUsePAM no\n"
        f"PidFile {tmp_path}/pid\nPermitRootLogin prohibit-password\n"
        "Subsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [server, "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                pytest.skip(f"the SSH server did not start: {process.stderr.read()[-300:]}")
            time.sleep(0.1)
        yield {
            "host": f"{getpass.getuser()}@127.0.0.1",
            "port": port,
            "identity": str(tmp_path / "user_key"),
            "options": ("StrictHostKeyChecking=no", f"UserKnownHostsFile={tmp_path}/known"),
        }
    finally:
        process.terminate()
        process.wait(10)


def test_board_over_ssh(board):
    needs("onnxruntime")
    found = SshBoard(**board, python=sys.executable, seconds=0.2).measure(NETS["kws"].layers)
    assert 0 < found["board_latency_ms"] < 1000


def test_board_without_a_python_says_so(board):
    with pytest.raises(BackendUnavailableError, match="no-such-python"):
        SshBoard(**board, python="no-such-python").measure(NETS["ad"].layers)


def test_board_that_is_not_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if shutil.which("ssh") is None:
        pytest.skip("no SSH client here (apt-get install openssh-client)")
    with pytest.raises(BackendUnavailableError, match=r"board 127\.0\.0\.1: ssh failed"):
        SshBoard("127.0.0.1", port=port).measure(NETS["ad"].layers)
    with pytest.raises(ValueError, match="host="):
        SshBoard("-oProxyCommand=x")
