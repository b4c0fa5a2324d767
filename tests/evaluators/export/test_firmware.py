"""The exported C as a firmware takes it: two networks, C++, CMake, warnings, wide layers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evaluators.export import emulate, export_model, fold, host, lower
from evaluators.export.c_code import check_prefix, prefix_of, write_c
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.host import CompiledNetwork, HostRunError, checked_run
from evaluators.export.packed import pack
from evaluators.export.storage import as_stored

STRICT = ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wsign-conversion", "-Wcast-qual"]
MIXED = lambda i: ((8, 4, 2, 3)[i % 4], (8, 4, 6)[i % 3])  # noqa: E731 - short enough to stand in a table

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no host gcc")


@pytest.fixture
def exported_c(network, describe, tmp_path):
    def write(kind, prefix, folder=None):
        net = network(kind, MIXED)
        integer = lower(fold(net.model, net.calibration, net.x[:2]), net.x[:2], [net.x])
        layers = describe(net.float_model, net.x, net.calibration)
        modules = pack(fold(net.model, net.calibration, net.x[:2]), layers, integer)
        target = tmp_path / (folder or prefix)
        write_c(integer, modules, target, "test", example=net.x.numpy(), prefix=prefix)
        return integer, target, net.x

    return write


def compile_c(*command: object) -> None:
    subprocess.run([str(c) for c in command], check=True)


TWO = """
#include <stdio.h>
#include "wake.h"
#include "command.h"
int main(void) {
  static float x[WAKE_INPUT_SIZE > COMMAND_INPUT_SIZE ? WAKE_INPUT_SIZE : COMMAND_INPUT_SIZE];
  if (wake_selftest() || command_selftest()) return 1;
  if (fread(x, sizeof *x, WAKE_INPUT_SIZE, stdin) != WAKE_INPUT_SIZE) return 2;
  wake_quantize(x, WAKE_INPUT);
  if (fread(x, sizeof *x, COMMAND_INPUT_SIZE, stdin) != COMMAND_INPUT_SIZE) return 2;
  command_quantize(x, COMMAND_INPUT);
  wake_infer(WAKE_INPUT, WAKE_OUTPUT);
  command_infer(COMMAND_INPUT, COMMAND_OUTPUT);
  fwrite(WAKE_OUTPUT, sizeof(wake_output_t), WAKE_OUTPUT_SIZE, stdout);
  fwrite(COMMAND_OUTPUT, sizeof(command_output_t), COMMAND_OUTPUT_SIZE, stdout);
  return 0;
}
"""


@pytest.mark.parametrize(
    ("compiler", "ending"), [("gcc", "c"), ("g++", "cpp"), ("g++", "c")],
    ids=["C", "C++ main with C objects", "all as C++"],
)  # fmt: skip
def test_two_networks_in_one_program_are_both_right(exported_c, tmp_path, compiler, ending):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    wake, first, x = exported_c("Depthwise", "wake")
    command, second, y = exported_c("Residual", "command")
    (tmp_path / f"main.{ending}").write_text(TWO)
    sources = [f / f"{f.name}{end}.c" for f in (first, second) for end in ("", "_selftest")]
    include = [f"-I{first}", f"-I{second}"]
    if ending == "cpp":
        for source in sources:
            compile_c("gcc", "-O1", "-c", *include, source, "-o", source.with_suffix(".o"))
        sources = [s.with_suffix(".o") for s in sources]
    program = tmp_path / "two"
    compile_c(compiler, "-O1", *STRICT, *include, tmp_path / f"main.{ending}", *sources,
              "-o", program)  # fmt: skip
    real = [np.moveaxis(v[5].numpy() * 2, 0, -1).astype(np.float32).tobytes() for v in (x, y)]
    done = subprocess.run([program], input=b"".join(real), capture_output=True, check=True)
    expected = [
        n.run_integers(n.quantize_input(v[5:6].numpy() * 2)) for n, v in ((wake, x), (command, y))
    ]
    got = np.frombuffer(done.stdout, np.int32)
    assert np.array_equal(got, np.concatenate([e.reshape(-1) for e in expected]))


def test_external_symbols_carry_the_prefix(exported_c, tmp_path):
    _, folder, _ = exported_c("Branches", "kws")
    for name in ("kws.c", "kws_selftest.c"):
        compile_c("gcc", "-c", f"-I{folder}", folder / name, "-o", tmp_path / "out.o")
        listed = subprocess.run(
            ["nm", "-g", "--defined-only", tmp_path / "out.o"],
            capture_output=True,
            text=True,
            check=True,
        )
        symbols = [line.split()[-1] for line in listed.stdout.splitlines()]
        assert symbols
        assert all(s.startswith("kws_") for s in symbols), symbols


@pytest.mark.parametrize("kind", ["Residual", "Depthwise", "Branches", "Sequence", "Dense"])
@pytest.mark.parametrize("compiler", ["gcc", "g++", "clang", "arm-none-eabi-gcc"])
def test_no_compiler_warns(exported_c, tmp_path, kind, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    _, folder, _ = exported_c(kind, "kws")
    language = [] if compiler == "g++" else ["-std=c11", "-Wpedantic"]
    target = ["-mcpu=cortex-m4", "-mthumb"] if compiler.startswith("arm") else []
    for source in ("kws.c", "kws_selftest.c", "examples/main.c"):
        compile_c(compiler, *language, *target, "-O2", *STRICT, f"-I{folder}", "-c",
                  folder / source, "-o", tmp_path / "out.o")  # fmt: skip


CALLER = """
#include <stdio.h>
#include "kws.h"
static _Alignas(KWS_ARENA_ALIGNMENT) uint8_t mine[2][KWS_RAM_BYTES];
int main(void) {
  if (kws_selftest_in(mine[0]) || kws_selftest_in(mine[1])) return 1;
  float real[KWS_OUTPUT_SIZE];
  kws_dequantize(KWS_OUTPUT_IN(mine[0]), real);
  fwrite(real, sizeof real, 1, stdout);
  return (int)kws_argmax(KWS_OUTPUT_IN(mine[1])) + 10;
}
"""


def test_an_arena_of_the_caller_is_the_only_one(exported_c, tmp_path):
    integer, folder, x = exported_c("Depthwise", "kws")
    (tmp_path / "main.c").write_text(CALLER)
    sources = [folder / "kws.c", folder / "kws_selftest.c", tmp_path / "main.c"]
    flags = ["-std=c11", "-DKWS_CALLER_ARENA", *STRICT, f"-I{folder}"]
    compile_c("gcc", *flags, *sources, "-o", tmp_path / "out")
    symbols = subprocess.run(["nm", tmp_path / "out"], capture_output=True, text=True, check=True)
    assert "kws_arena" not in symbols.stdout
    done = subprocess.run([tmp_path / "out"], capture_output=True, check=False)
    expected = integer(x[:1].numpy()).reshape(-1)
    assert np.frombuffer(done.stdout, np.float32) == pytest.approx(expected, rel=1e-6)
    assert done.returncode == expected.argmax() + 10


@pytest.mark.parametrize("compiler", ["gcc", "g++"])
def test_a_macro_places_the_arena(exported_c, tmp_path, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    _, folder, _ = exported_c("Dense", "kws")
    place = '-DKWS_ARENA_ATTRIBUTE=__attribute__((section(".dtcm")))'
    compile_c(compiler, place, "-c", f"-I{folder}", folder / "kws.c", "-o", tmp_path / "out.o")
    table = subprocess.run(
        ["objdump", "-t", tmp_path / "out.o"], capture_output=True, text=True, check=True
    )
    (line,) = (row for row in table.stdout.splitlines() if row.endswith(" kws_arena"))
    assert ".dtcm" in line


def test_quantize_rounds_as_the_network_was_verified(exported_c, tmp_path):
    integer, folder, _ = exported_c("Depthwise", "kws")
    (tmp_path / "main.c").write_text(
        """#include <stdio.h>
#include "kws.h"
int main(void) {
  static float x[KWS_INPUT_SIZE];
  while (fread(x, sizeof x, 1, stdin) == 1) {
    kws_quantize(x, KWS_INPUT);
    fwrite(KWS_INPUT, sizeof(kws_input_t), KWS_INPUT_SIZE, stdout);
  }
  return 0;
}
"""
    )
    sources = [tmp_path / "main.c", folder / "kws.c"]
    compile_c("gcc", f"-I{folder}", *sources, "-o", tmp_path / "out")
    h, w, c = integer.input.shape
    q = integer.input.quantization
    rng = np.random.default_rng(0)
    # Halves of a step exactly, neighbours of them, and what lies far outside.
    steps = rng.integers(-2 * q.high, 2 * q.high, (40, h, w, c)) / 2
    real = (steps * np.float32(q.scale)).astype(np.float32)
    real[::3] *= rng.choice([1 - 1e-7, 1 + 1e-7, 1e9], real[::3].shape).astype(np.float32)
    done = subprocess.run([tmp_path / "out"], input=real.tobytes(), capture_output=True, check=True)
    kind = {"int8_t": np.int8, "int32_t": np.int32}[q.kind]
    got = np.frombuffer(done.stdout, kind).reshape(real.shape)
    assert np.array_equal(got, q.quantize(real))


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake")
def test_the_folder_builds_with_cmake(exported_c, tmp_path):
    integer, folder, x = exported_c("Depthwise", "kws")
    build = tmp_path / "build"
    compile_c("cmake", "-S", folder, "-B", build, "-Wno-dev")
    compile_c("cmake", "--build", build)
    done = subprocess.run([build / "kws_example"], capture_output=True, text=True, check=True)
    zeros = integer(np.zeros((1, *x.shape[1:]), np.float32)).reshape(-1)
    assert f"output {zeros.argmax()} is the largest" in done.stdout


def test_the_layer_hooks_see_every_layer_once_a_call_and_cost_nothing_without(exported_c, tmp_path):
    integer, folder, _ = exported_c("Branches", "kws")
    sources = [folder / n for n in ("kws.c", "kws_selftest.c", "examples/main.c")]
    compile_c("gcc", *STRICT, "-DKWS_TIMED", f"-I{folder}", *sources, "-o", tmp_path / "timed")
    done = subprocess.run([tmp_path / "timed"], capture_output=True, text=True, check=True)
    counted = [line for line in done.stdout.splitlines() if line.endswith(" 2 calls")]
    assert [line.split(":")[0] for line in counted] == [step.name for step in integer.steps]
    source, objects = (folder / "kws.c").read_text(), []
    for text in (source, re.sub(r"KWS_(BEGIN|END)\(\d+\)", "", source)):
        (tmp_path / "kws.c").write_text(text)
        compile_c("gcc", "-O2", "-c", f"-I{folder}", tmp_path / "kws.c", "-o", tmp_path / "kws.o")
        objects.append((tmp_path / "kws.o").read_bytes())
    assert objects[0] == objects[1]


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="no arm-none-eabi-gcc")
@pytest.mark.parametrize(("core", "clock"), [("cortex-m0plus", True), ("cortex-m4", False)])
def test_the_example_counts_cycles_where_the_core_can(exported_c, tmp_path, core, clock):
    _, folder, _ = exported_c("Dense", "kws")
    flags = ["-std=c11", "-mthumb", f"-mcpu={core}", "-O2", *STRICT, "-DKWS_TIMED", f"-I{folder}"]
    made = tmp_path / "main.o"
    compile_c("arm-none-eabi-gcc", *flags, "-c", folder / "examples/main.c", "-o", made)
    listed = subprocess.run(
        ["arm-none-eabi-nm", "-u", made], capture_output=True, text=True, check=True
    )
    assert ("clock" in listed.stdout.split()) == clock


def test_the_selftest_fails_where_a_weight_differs(exported_c):
    integer, folder, x = exported_c("Depthwise", "kws")
    inputs = integer.quantize_input(x[:3].numpy())
    with checked_run(folder, integer) as run:
        assert isinstance(run.compiled, CompiledNetwork)
        assert np.array_equal(run.compiled.run_integers(inputs), integer.run_integers(inputs))
    source = (folder / "kws.c").read_text()
    changed = source.replace("_infer_in(uint8_t *arena", "_other(uint8_t *arena", 1).replace(
        "kws_infer_in(kws_arena, input, output)", "kws_other(kws_arena, input, output)"
    )
    changed = changed.replace("void kws_other(", "static void kws_other(", 1)
    changed += (
        "void kws_infer_in(uint8_t *arena, const kws_input_t *input, kws_output_t *output) {\n"
        "  kws_other(arena, input, output);\n  output[0]++;\n}\n"
    )
    (folder / "kws.c").write_text(changed)
    with (
        checked_run(folder, integer) as run,
        pytest.raises(HostRunError, match="another output for its test vector"),
    ):
        run(x.numpy())


def test_without_a_compiler_the_c_is_not_run_and_the_reason_is_given(exported_c, monkeypatch):
    integer, folder, x = exported_c("Dense", "kws")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CC", raising=False)
    with checked_run(folder, integer) as run:
        assert np.array_equal(run(x.numpy()), integer(x.numpy()))
    assert run.samples == 0
    assert run.reason is not None
    assert "no C compiler was found" in run.reason


def test_after_the_budget_the_reference_goes_on(exported_c, monkeypatch):
    integer, folder, x = exported_c("Dense", "kws")
    monkeypatch.setattr(host, "MACS", 5 * host.macs(integer))
    with host.checked_run(folder, integer) as run:
        for part in (x[:3], x[3:9], x[9:12]):
            assert np.array_equal(run(part.numpy()), integer(part.numpy()))
    assert run.samples == 5


def test_a_source_too_large_to_compile_is_said(exported_c, monkeypatch):
    integer, folder, x = exported_c("Dense", "kws")
    monkeypatch.setattr(host, "LARGEST_SOURCE", 100)
    with host.checked_run(folder, integer) as run:
        assert np.array_equal(run(x.numpy()), integer(x.numpy()))
    assert run.samples == 0
    assert "kws.c has" in str(run.reason)


@pytest.mark.parametrize("bad", ["", "Kws", "2x", "a-b", "../x", "math", "kernels", "test"])
def test_prefixes_that_c_cannot_use_are_refused(bad):
    with pytest.raises(ValueError, match=r"give .*like"):
        check_prefix(bad)


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv1d(1, 4, 9, stride=4), nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean(2))


class LongRow(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(size, 2)

    def forward(self, x):
        return self.fc(x)


@pytest.mark.parametrize("kind", ["signal", "row"])
def test_forty_thousand_inputs_are_counted_right(quantize, describe, tmp_path, kind):
    """Sizes of 16 bits gave every input the same output."""
    torch.manual_seed(0)
    x = torch.randn(4, 1, 40_000) if kind == "signal" else torch.randn(4, 40_000)
    x *= torch.tensor([0.1, 0.5, 1.0, 2.0]).reshape(4, *[1] * (x.ndim - 1))
    net = quantize(Wide() if kind == "signal" else LongRow(40_000), x, lambda i: (8, 8))
    folded = as_stored(fold(net.model, net.calibration, x[:2]), x[:2], [x])
    integer = lower(folded, x[:2], [x])
    layers = describe(net.float_model, x, net.calibration)
    folder = tmp_path / "c"
    write_c(integer, pack(folded, layers, integer), folder, "test", example=x.numpy())
    inputs = integer.quantize_input(x.numpy())
    with checked_run(folder, integer) as run:
        assert run.compiled is not None, run.reason
        outputs = run.compiled.run_integers(inputs)
    assert np.array_equal(outputs, integer.run_integers(inputs))
    assert len(np.unique(outputs.reshape(4, -1), axis=0)) == 4


def test_a_sum_beyond_the_accumulator_is_refused_by_name(quantize):
    x = torch.randn(2, 140_000)
    model = LongRow(140_000)
    nn.init.ones_(model.fc.weight)
    net = quantize(model, x, lambda i: (8, 8))
    folded = fold(net.model, net.calibration, x)
    with pytest.raises(UnsupportedNetworkError, match=r"'fc' can add up to \d+ in an accumulator"):
        as_stored(folded, x)


@pytest.mark.usefixtures("emulator")
def test_a_prefixed_network_runs_on_a_cortex_m(exported_c):
    integer, folder, x = exported_c("Residual", "kws")
    assert prefix_of(Path(folder)) == "kws"
    inputs = integer.quantize_input(x[:4].numpy())
    assert np.array_equal(emulate.run(folder, integer, inputs), integer.run_integers(inputs))


def test_an_export_without_c_for_its_sums_names_the_layer_and_writes_the_rest(
    quantize, describe, tmp_path
):
    x = torch.randn(2, 140_000)
    model = LongRow(140_000)
    nn.init.ones_(model.fc.weight)
    net = quantize(model, x, lambda i: (8, 8))
    metrics = export_model(
        net.model,
        net.calibration,
        describe(net.float_model, x, net.calibration),
        (x,),
        [(x, torch.zeros(2, dtype=torch.int64))],
        tmp_path,
        metric=lambda outputs, targets: 0.0,
    )
    assert "layer 'fc' can add up to" in metrics["integer_reason"]
    assert metrics["onnx_mismatches"] == 0
    assert {"model.onnx", "model.pt2"} <= set(metrics["files"])
    assert not (tmp_path / "c").exists()
