"""Networks with several outputs, or one in a dict, as integers, C and LiteRT files."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.export import arena, emulate, fold, litert, load, lower, missing_files, storage
from evaluators.export.c_code import write_c
from evaluators.export.graph import output_names
from evaluators.export.host import CompiledNetwork, checked_run
from evaluators.export.packed import pack
from evaluators.export.verify import torch_runner
from hardware import estimate, load_device
from support.exported import export
from support.quantized import cbr

STRICT = ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wsign-conversion", "-Wcast-qual"]


class Detector(nn.Module):
    """Boxes at two scales and scores; one of the keys is a word of C."""

    shape = (3, 8, 8)
    outputs = ("boxes_0", "boxes_1", "class")

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = cbr(3, 8), cbr(8, 8, s=2)
        self.near, self.far, self.fc = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> dict[str, object]:
        y = self.stem(x)
        z = self.down(y)
        return {"boxes": [self.near(y), self.far(z)], "class": self.fc(z.mean((2, 3)))}


class Pair(nn.Module):
    """A tuple, of which the first part is made first; one spatial dimension."""

    shape = (3, 12)
    outputs = ("0", "1")

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv1d(i, o, 3) for i, o in ((3, 6), (6, 4), (6, 2)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.relu(self.a(x))
        return torch.relu(self.b(y)), self.c(y)


class Scores(nn.Module):
    """One output in a dict: as if it were alone."""

    shape = (8,)
    outputs = ("",)

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"scores": self.fc(x)}


@dataclass
class Found:
    word: Tensor
    speaker: Tensor


class Recurrent(nn.Module):
    """Two heads on a state."""

    shape = (9, 6)
    outputs = ("word", "speaker")

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.a, self.b = nn.GRU(6, 8, batch_first=True), nn.Linear(8, 4), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        state = self.gru(x)[0][:, -1]
        return {"word": self.a(state), "speaker": self.b(state)}


NETWORKS = {kind.__name__: kind for kind in (Detector, Pair, Scores, Recurrent)}


@pytest.fixture
def made(quantize, describe, tmp_path):
    def make(kind):
        torch.manual_seed(0)
        x = torch.randn(40, *NETWORKS[kind].shape)
        net = quantize(NETWORKS[kind](), x, lambda i: ((8, 4)[i % 2], 8))
        folded = storage.as_stored(fold(net.model, net.calibration, x[:2]), x[:2], [x])
        layers = describe(net.float_model, x, net.calibration)
        integer = lower(folded, x[:2], [x])
        folder = tmp_path / "c"
        write_c(integer, pack(folded, layers, integer), folder, "t", example=x.numpy(), prefix="m")
        return integer, folder, folded, layers, x

    return make


@pytest.mark.parametrize("kind", NETWORKS)
def test_all_outputs_are_those_of_torch_and_of_the_c(made, kind):
    integer, folder, folded, layers, x = made(kind)
    assert tuple(output.name for output in integer.outputs) == NETWORKS[kind].outputs
    wanted = torch_runner(folded.simulated().eval())(x)
    got = integer(x.numpy())
    for one, other in zip(_flat(wanted), _flat(got), strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() < 0.02 * np.ptp(one)
    inputs = integer.quantize_input(2 * x.numpy())
    with checked_run(folder, integer) as run:
        assert isinstance(run.compiled, CompiledNetwork)
        assert np.array_equal(run.compiled.run_integers(inputs), integer.run_integers(inputs))
    if kind != "Recurrent":
        counted = estimate(layers, load_device("stm32f746"))
        assert arena.plan(integer).size == counted.ram_kb * 1024


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("compiler", ["gcc", "g++", "clang"])
def test_no_compiler_warns_and_the_example_names_the_outputs(made, tmp_path, kind, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    folder = made(kind)[1]
    language = [] if compiler == "g++" else ["-std=c11", "-Wpedantic"]
    sources = [folder / name for name in ("m.c", "m_selftest.c", "examples/main.c")]
    command = [compiler, *language, "-O1", *STRICT, f"-I{folder}", *sources, "-o", tmp_path / "m"]
    subprocess.run([str(part) for part in command], check=True)
    said = subprocess.run([tmp_path / "m"], capture_output=True, text=True, check=True).stdout
    for name in NETWORKS[kind].outputs:
        assert f"the test vector is right; output{f' {name}:' if name else ''} " in said


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("kind", ["Detector", "Pair"])
def test_a_microcontroller_gives_them_too(made, kind):
    integer, folder, *_, x = made(kind)
    inputs = integer.quantize_input(x[:6].numpy())
    assert np.array_equal(emulate.run(folder, integer, inputs), integer.run_integers(inputs))
    by_header = emulate.outputs(folder, x[:6].numpy())
    for output, got, want in zip(
        integer.outputs, by_header, integer(x[:6].numpy()), strict=True
    ):  # fmt: skip
        stored = want if output.rank == 1 else np.moveaxis(want, 1, -1).reshape(6, -1)
        assert np.allclose(got, stored, rtol=1e-5, atol=1e-6)


STREAM = """
#include <stdio.h>
#include "m.h"
int main(void) {
  static m_state_t state;
  m_input_t frame[M_FRAME_SIZE];
  m_reset(&state);
  while (fread(frame, sizeof frame, 1, stdin) == 1) m_step(&state, frame, M_OUTPUT);
  fwrite(M_OUTPUT_WORD_IN(m_arena), sizeof(m_output_t), M_OUTPUT_WORD_SIZE, stdout);
  fwrite(M_OUTPUT_SPEAKER_IN(m_arena), sizeof(m_output_t), M_OUTPUT_SPEAKER_SIZE, stdout);
  return 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no host gcc")
def test_streams_have_several_outputs(made, tmp_path):
    integer, folder, *_, x = made("Recurrent")
    (tmp_path / "main.c").write_text(STREAM)
    sources = [tmp_path / "main.c", folder / "m.c"]
    subprocess.run(["gcc", f"-I{folder}", *map(str, sources), "-o", tmp_path / "m"], check=True)
    inputs = integer.quantize_input(x[:1].numpy())
    done = subprocess.run(
        [tmp_path / "m"], input=inputs.astype(np.int8).tobytes(), capture_output=True, check=True
    )
    got = np.frombuffer(done.stdout, np.int32)
    assert np.array_equal(got, integer.run_integers(inputs).reshape(-1))


@pytest.mark.parametrize("kind", ["Detector", "Pair", "Scores"])
def test_a_whole_export_has_the_c_and_the_litert_file(tmp_path, kind):
    torch.manual_seed(0)
    done = export(NETWORKS[kind](), torch.randn(24, *NETWORKS[kind].shape), tmp_path)
    assert done.metrics["integer_mismatches"] == 0
    assert done.metrics["c_samples"] == 24
    assert type(load(tmp_path)(done.x)) is type(NETWORKS[kind]()(done.x))
    if done.metrics["tflite_reason"] is None:
        assert (tmp_path / "model.tflite").exists()
        assert done.metrics["tflite_mismatches"] is not None


@pytest.mark.parametrize("kind", ["Detector", "Pair"])
def test_outputs_of_the_litert_file_are_in_order(made, tmp_path, kind):
    if not litert.is_available():
        pytest.skip(litert.NOT_INSTALLED)
    integer, _, folded, _, x = made(kind)
    network = lower(folded, x[:2], [x], wide_bits=8)
    litert.write_tflite(network, folded, tmp_path / "model.tflite")
    got = litert.litert_runner(tmp_path / "model.tflite", network)(x)
    for output, one, other in zip(network.outputs, got, integer(x.numpy()), strict=True):
        # Rounded to eight bits, where the C has 32.
        assert one.shape == other.shape
        assert np.abs(one - other).max() < 3 * output.tensor.quantization.scale


def test_names_are_fit_for_c_and_differ():
    x = torch.zeros(1)
    assert output_names(x) == ("",)
    assert output_names({"Größe": x, "a-b": [x, x], "a_b_0": x, "→": x}) == (
        "gr_e", "a_b_0", "a_b_1", "a_b_0_", "unnamed",
    )  # fmt: skip


class Refused(nn.Module):
    def __init__(self, case: str) -> None:
        super().__init__()
        self.case, self.a, self.b = case, nn.Linear(8, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, ...] | Found:
        y = torch.relu(self.a(x))
        z = self.b(y)
        if self.case == "dataclass":
            return Found(y, z)
        if self.case == "softmax":
            return torch.relu(z), functional.softmax(z, 1)
        return {"features": (y, z), "twice": (z, z.reshape(-1, 3)), "input": (x, z)}[self.case]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("features", "the output '0' is read by the network, or another output too"),
        ("twice", "the output '1' is read by the network, or another output too"),
        ("input", "the output '0' is read by the network, or another output too"),
        ("dataclass", "the network returns a Found"),
        ("softmax", "softmax of a nested output at '.*': return the scores before it"),
    ],
)
def test_what_has_no_c_is_said_before_the_search(case, said):
    assert re.fullmatch(said, missing_files(Refused(case), torch.randn(2, 8))["c"])


def _flat(value):
    if isinstance(value, np.ndarray):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    return [found for part in parts for found in _flat(part)]
