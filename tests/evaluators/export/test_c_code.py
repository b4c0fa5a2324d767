"""The exported C, compiled for Cortex-M and run in QEMU, against the Python reference."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.export import emulate, fold, lower
from evaluators.export.arena import plan
from evaluators.export.c_code import write_c
from evaluators.export.packed import pack
from evaluators.models.ds_cnn import DSCNN

KINDS = ["Residual", "Depthwise", "Branches", "Sequence", "Dense"]
WIDTHS = {
    "w8a8": lambda i: (8, 8),
    "w4a8": lambda i: (4, 8),
    "mixed": lambda i: ((8, 4, 2, 3)[i % 4], (8, 4, 6)[i % 3]),
}

needs_emulator = pytest.mark.usefixtures("emulator")


@pytest.fixture
def exported_c(describe, tmp_path):
    def write(net, **options):
        folded = fold(net.model, net.calibration, net.x[:2])
        network = lower(folded, net.x[:2], [net.x])
        layers = describe(net.float_model, net.x, net.calibration)
        modules = pack(folded, layers, network)
        write_c(network, modules, tmp_path / "c", "test", example=net.x.numpy(), **options)
        return network, tmp_path / "c"

    return write


@needs_emulator
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_equal_the_reference_bit_by_bit(network, exported_c, kind, widths):
    net = network(kind, WIDTHS[widths])
    integer, folder = exported_c(net)
    # Wider than what was calibrated: every clamp is reached.
    inputs = integer.quantize_input((torch.randn(60, *net.x.shape[1:]) * 2).numpy())
    assert np.array_equal(emulate.run(folder, integer, inputs), integer.run_integers(inputs))


@needs_emulator
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m7", "cortex-m33", "cortex-m55"])
def test_every_core_computes_the_same(network, exported_c, core):
    net = network("Branches", WIDTHS["mixed"])
    integer, folder = exported_c(net)
    inputs = integer.quantize_input(net.x[:20].numpy())
    got = emulate.run(folder, integer, inputs, core)
    assert np.array_equal(got, integer.run_integers(inputs))


@needs_emulator
@pytest.mark.parametrize("weights", [8, 4])
def test_the_keyword_spotting_network(quantize, exported_c, weights):
    torch.manual_seed(0)
    net = quantize(DSCNN(12), torch.randn(16, 1, 49, 10), lambda i: (weights, 8))
    integer, folder = exported_c(net)
    inputs = integer.quantize_input(net.x[:4].numpy())
    assert np.array_equal(emulate.run(folder, integer, inputs), integer.run_integers(inputs))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no host gcc")
@pytest.mark.parametrize("kind", ["Residual", "Depthwise", "Branches"])
def test_no_undefined_behaviour_and_no_access_outside(
    network, exported_c, host_main, tmp_path, kind
):
    net = network(kind, WIDTHS["mixed"])
    integer, folder = exported_c(net)
    (tmp_path / "main.c").write_text(host_main)
    checks = ["-fsanitize=undefined,address", "-fno-sanitize-recover=all"]
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", *checks]
    program = tmp_path / "model"
    sources = [str(tmp_path / "main.c"), str(folder / "model.c")]
    subprocess.run(["gcc", *flags, f"-I{folder}", *sources, "-o", str(program)], check=True)
    inputs = integer.quantize_input((net.x * 2).numpy())
    # Two readers of different widths: the input of `Branches` is wide here.
    kind_of = {"int8_t": "i1", "int32_t": "<i4"}[integer.input.quantization.kind]
    given = inputs.astype(kind_of).tobytes()
    done = subprocess.run([str(program)], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    got = np.frombuffer(done.stdout, "<i4").reshape(len(inputs), *integer.output_shape)
    assert np.array_equal(got, integer.run_integers(inputs))


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_alive_together_do_not_overlap(network, kind):
    net = network(kind)
    integer = lower(fold(net.model, net.calibration, net.x[:2]), net.x[:2])
    arena = plan(integer)
    alive: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}
    for index, step in enumerate(integer.steps):
        for tensor in (step.output, *step.inputs):
            alive.setdefault(tensor.name, []).append(index)
            sizes[tensor.name] = tensor.bytes
    names = list(arena.offsets)
    for i, a in enumerate(names):
        assert arena.offsets[a] + sizes[a] <= arena.size
        for b in names[:i]:
            apart = alive[a][-1] < alive[b][0] or alive[b][-1] < alive[a][0]
            below = arena.offsets[a] + sizes[a] <= arena.offsets[b]
            above = arena.offsets[b] + sizes[b] <= arena.offsets[a]
            assert apart or below or above, (a, b)


def test_a_missing_compiler_is_named(network, exported_c, monkeypatch):
    net = network("Dense")
    integer, folder = exported_c(net)
    monkeypatch.setenv("PATH", str(Path(folder)))
    with pytest.raises(emulate.EmulationError, match=r"arm-none-eabi-gcc.*apt-get install"):
        emulate.run(folder, integer, integer.quantize_input(net.x[:1].numpy()))
