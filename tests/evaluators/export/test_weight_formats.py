"""Zeros, powers of two and factors in the files: bytes as counted, values as evaluated."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from evaluators.export import emulate, export_model
from evaluators.export.c_code import write_c
from evaluators.export.packed import header, weights_file
from hardware import flash, load_device

KINDS = ["Residual", "Depthwise", "Sequence"]
BOARD = "stm32f746"


def unpack_file(content: bytes, text: str) -> dict[str, np.ndarray]:
    """Every module's integers, read by what `weights.h` says: written down a second time."""
    rows_of = re.findall(r'\{"([^"]+)", ([\d, ]+), [\d.]+', text)
    found = {}
    for name, numbers in rows_of:
        values = [int(v) for v in numbers.split(",")]
        _, offset, rows, n, _, bits, _, powers, stored = values
        marks = np.ones((rows, n), bool)
        if stored:
            words = np.frombuffer(content, "<u4", rows * (-(-n // 32)), offset).reshape(rows, -1)
            index = np.arange(n)
            marks = (words[:, index // 32] >> (index % 32)) & 1 == 1
            offset += words.nbytes
            assert int(marks.sum()) == stored
            streams = [(offset, stored)]
        else:
            stride = n if bits == 8 else -(-n * bits // 32) * 4
            streams = [(offset + r * stride, n) for r in range(rows)]
        flat: list[int] = []
        for start, count in streams:
            for i in range(count):
                if bits == 8:
                    flat.append(
                        int.from_bytes(content[start + i : start + i + 1], "little", signed=True)
                    )
                else:
                    byte = content[start + i * bits // 8]
                    flat.append(((byte >> (i * bits % 8)) & (2**bits - 1)) - 2 ** (bits - 1))
        weights = np.zeros((rows, n), int)
        weights[marks] = flat
        if powers:
            weights = np.where(
                weights == 0, 0, np.sign(weights) * 2 ** np.maximum(abs(weights) - 1, 0)
            )
        found[name] = weights
    return found


@pytest.mark.parametrize("seed", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_file_has_the_counted_bytes_and_gives_the_weights_back(
    compressed, kind: str, seed: int
) -> None:
    _, result, _, integer, modules = compressed(kind, seed)
    content, _ = weights_file(modules)
    board = load_device(BOARD)
    assert len(content) == flash(result.layers, board).total
    assert round(len(content) / 1024, 3) == result.metrics["size_kb"]
    read = unpack_file(content, header(modules, "test"))
    steps = {s.module: s for s in integer.steps if hasattr(s, "module")}
    assert read.keys() == steps.keys()
    for name, weights in read.items():
        assert np.array_equal(weights, steps[name].rows), name
    assert {m.has_bitmap for m in modules} == {True, False}
    assert {m.scheme for m in modules} == {"power_of_two", "uniform"}


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("kind", KINDS)
def test_the_c_code_computes_the_same(compressed, kind: str, tmp_path: Path) -> None:
    task, _, _, integer, modules = compressed(kind)
    write_c(integer, modules, tmp_path / "c", "test", example=task.inputs[0].numpy())
    inputs = integer.quantize_input(np.concatenate([x.numpy() for x, _ in task.test]))
    assert np.array_equal(
        emulate.run(tmp_path / "c", integer, inputs), integer.run_integers(inputs)
    )


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no host gcc")
def test_no_undefined_behaviour(compressed, host_main: str, tmp_path: Path) -> None:
    task, _, _, integer, modules = compressed("Depthwise")
    write_c(integer, modules, tmp_path / "c", "test", example=task.inputs[0].numpy())
    (tmp_path / "main.c").write_text(host_main)
    checks = ["-fsanitize=undefined,address", "-fno-sanitize-recover=all"]
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", *checks]
    sources = [str(tmp_path / "main.c"), str(tmp_path / "c" / "model.c")]
    program = str(tmp_path / "model")
    subprocess.run(["gcc", *flags, f"-I{tmp_path / 'c'}", *sources, "-o", program], check=True)
    inputs = integer.quantize_input(next(iter(task.test))[0].numpy())
    kind_of = {"int8_t": "i1", "int32_t": "<i4"}[integer.input.quantization.kind]
    done = subprocess.run(
        [program], input=inputs.astype(kind_of).tobytes(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    got = np.frombuffer(done.stdout, "<i4").reshape(len(inputs), *integer.output_shape)
    assert np.array_equal(got, integer.run_integers(inputs))


@pytest.mark.parametrize("kind", ["Residual", "Depthwise"])
def test_all_runtimes_predict_alike(compressed, kind: str, tmp_path: Path) -> None:
    task, result, *_ = compressed(kind)
    metrics = export_model(
        result.model, result.calibration, result.layers, task.inputs, task.test, tmp_path,
        metric=task.metric, calibration_batches=[x for x, _ in task.train],
    )  # fmt: skip
    assert metrics["onnx_mismatches"] == 0
    assert metrics["integer_mismatches"] == 0
    assert metrics["weights_bytes"] == round(result.metrics["size_kb"] * 1024)
    # The ONNX file holds every zero, and powers of two as integers.
    graph = onnx.load(str(tmp_path / "model.onnx")).graph
    stored = {
        i.name: numpy_helper.to_array(i) for i in graph.initializer if i.name.endswith(".int")
    }
    for layer in result.layers:
        if not layer.is_weighted:
            continue
        (values,) = (v for k, v in stored.items() if k.startswith(f"{layer.module}."))
        values = values.astype(int) - (128 if values.dtype == np.uint8 else 0)
        assert int((values == 0).sum()) >= layer.zeros
        if layer.w_scheme == "power_of_two":
            assert set(np.abs(values).reshape(-1)) <= {0, 1, 2, 4, 8, 16, 32, 64}
