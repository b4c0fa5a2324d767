"""The kernels of Cortex-M55 and M85 on the emulator, against the Python reference, bit by bit."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from evaluators.export import emulate, fold, lower
from evaluators.export.c_code import write_c
from evaluators.export.packed import pack
from hardware.latency.kernel_calls import Job
from hardware.measure.qemu import count

pytestmark = pytest.mark.usefixtures("emulator")

CORE = "cortex-m55"
STRICT = ["-Wall", "-Wextra", "-Werror", "-Wpedantic", "-Wconversion", "-Wsign-conversion"]
STRICT += ["-Wcast-qual", "-Wno-unused-function"]


def layer(rng: np.random.Generator, kind: str, channels: int, size: tuple[int, int]) -> nn.Module:
    """One of random kernel, stride, padding and dilation, with an output for this size."""
    kernel = tuple(int(rng.integers(1, 1 + min(4, s))) for s in size)
    dilation = tuple(int(rng.integers(1, 1 + min(2, (s - 1) // max(k - 1, 1) or 1)))
                     for s, k in zip(size, kernel, strict=True))  # fmt: skip
    padding = tuple(int(rng.integers(0, k)) for k in kernel)
    stride = tuple(int(rng.integers(1, 3)) if s > 4 else 1 for s in size)
    out = int(rng.integers(2, 24))
    if kind == "pointwise":
        return nn.Conv2d(channels, out, 1, stride)
    if kind == "max":
        return nn.MaxPool2d(kernel, stride, tuple(p // 2 for p in kernel))
    groups, out = {
        "conv": (1, out),
        "depthwise": (channels, channels),
        "multiplied": (channels, 2 * channels),
        "grouped": (2 - channels % 2, 2 * (out // 2)),
    }[kind]
    return nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups)


def chain(seed: int, shape: tuple[int, int, int]) -> nn.Sequential:
    """Convolutions of every kind, then pools and a linear layer."""
    rng = np.random.default_rng(seed)
    kinds = ["conv", "grouped", "depthwise", "pointwise", "multiplied", "max"]
    modules: list[nn.Module] = []
    x = torch.zeros(1, *shape)
    for kind in ["conv", *rng.permutation(kinds), "pointwise", "depthwise"]:
        _, channels, h, w = x.shape
        modules += [layer(rng, kind, channels, (h, w))]
        x = modules[-1](x)
        modules += [nn.ReLU()] if kind == "multiplied" else []
    modules += [nn.AvgPool2d((min(2, x.shape[2]), min(2, x.shape[3])), 1), nn.Flatten()]
    x = nn.Sequential(*modules[-2:])(x)
    return nn.Sequential(*modules, nn.Linear(x.shape[1], 7))


@pytest.fixture
def exported(quantize, describe, tmp_path):
    """Writes the C of a network; gives its reference and the folder."""

    def write(model: nn.Module, x: torch.Tensor, first: int) -> tuple[Any, Any, Any]:
        net = quantize(model, x, lambda i: ((8, 4, 2)[(first + i) % 3], 8))
        folded = fold(net.model, net.calibration, net.x[:2])
        integer = lower(folded, net.x[:2], [net.x])
        modules = pack(folded, describe(net.float_model, net.x, net.calibration), integer)
        write_c(integer, modules, tmp_path / "c", "test", example=net.x.numpy())
        return integer, tmp_path / "c", net.x

    return write


@pytest.mark.parametrize("seed", range(6))
def test_random_networks(exported, seed):
    torch.manual_seed(seed)
    shape = ((3, 13, 9), (17, 8, 8), (36, 6, 11), (70, 5, 5))[seed % 4]
    integer, folder, x = exported(chain(seed, shape), torch.randn(8, *shape), seed)
    inputs = integer.quantize_input(x[:4].numpy() * 1.5)
    wanted = integer.run_integers(inputs)
    assert len(np.unique(wanted)) > wanted.size // 2
    assert np.array_equal(emulate.run(folder, integer, inputs, CORE), wanted)


@pytest.mark.parametrize("kind", ["Residual", "Depthwise", "Sequence"])
def test_sparse_weights_and_powers_of_two(compressed, kind, tmp_path):
    task, _, _, integer, modules = compressed(kind)
    write_c(integer, modules, tmp_path / "c", "test", example=task.inputs[0].numpy())
    inputs = integer.quantize_input(np.concatenate([x.numpy() for x, _ in task.test])[:20])
    got = emulate.run(tmp_path / "c", integer, inputs, CORE)
    assert np.array_equal(got, integer.run_integers(inputs))


@pytest.mark.parametrize("compiler", ["arm-none-eabi-gcc -std=c11", "arm-none-eabi-g++ -std=c++11"])
@pytest.mark.parametrize("level", ["-O0", "-Os", "-O3"])
def test_no_warning_and_enough_registers_at_any_level(exported, tmp_path, compiler, level):
    _, folder, _ = exported(chain(0, (3, 9, 9)), torch.randn(8, 3, 9, 9), 0)
    language = ["-x", "c++"] if "++" in compiler else []
    target = ["-mcpu=cortex-m55", "-mfloat-abi=hard", "-mthumb", level, *STRICT, f"-I{folder}"]
    subprocess.run(
        [*compiler.split(), *target, *language, "-c", folder / "model.c", "-o", tmp_path / "o.o"],
        check=True,
    )


def test_instructions_per_product(tmp_path):
    """Vectors do the work: fewer instructions than CMSIS-NN has for the same layers."""

    def conv(ic: int, oc: int, k: int, size: int, bits: int, kind: str = "conv") -> Job:
        pads = (k // 2,) * 4
        return Job(kind, size, size, ic, size, size, oc, k, k, 1, 1, pads, bits, 8)

    shapes = [(16, 16, 3, 16), (32, 32, 3, 8), (32, 64, 1, 8)]
    jobs = [conv(*shape, bits) for bits in (8, 4, 2) for shape in shapes]
    jobs.append(conv(48, 48, 3, 4, 8, "depthwise"))
    per_product = [
        got.total / (job.oh * job.ow * job.oc * job.kh * job.kw * job.ic)
        for job, got in zip(jobs[:-1], count(jobs[:-1], CORE, tmp_path), strict=True)
    ]
    # CMSIS-NN: 0.39, 0.25 and 0.47.
    assert np.all(np.array(per_product[:3]) < [0.33, 0.24, 0.55])
    assert np.all(np.array(per_product[3:]).reshape(2, 3) < 1.25 * np.array(per_product[:3]))
    depthwise = count(jobs[-1:], CORE, tmp_path)[0].total
    assert depthwise < 16859  # CMSIS-NN's
