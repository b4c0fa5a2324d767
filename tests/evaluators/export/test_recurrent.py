"""GRU and LSTM layers in C: the reference, the kernels, streaming, and what is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluators.export import emulate, fold, lower
from evaluators.export.c_code import KERNELS, write_c
from evaluators.export.graph import UnsupportedNetworkError
from evaluators.export.host import checked_run
from evaluators.export.integer_network import IntegerNetwork
from evaluators.export.packed import pack, weights_file
from evaluators.export.recurrent import SIGMOID, Recurrent, one_frame, sigmoid, tangent
from evaluators.export.storage import as_stored
from evaluators.export.verify import torch_runner
from support.recurrent_nets import Net

STRICT = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wsign-conversion"]


class Image(Net):
    """Frames as an image of one channel, the state read by its own output."""

    def forward(self, x: Tensor) -> Tensor:
        _, state = self.rnn[0](x.squeeze(1))
        state = state[0] if isinstance(state, tuple) else state
        return self.fc(state[-1])


class Convolved(Net):
    """Frames from a convolution, which does not stream."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.conv = nn.Conv1d(4, 7, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.conv(x).relu().transpose(1, 2))


CASES = {
    "gru": lambda: (Net("gru"), (20, 7)),
    "lstm": lambda: (Net("lstm"), (20, 7)),
    "two layers": lambda: (Net("gru", 2), (20, 7)),
    "lstm, two layers": lambda: (Net("lstm", 2), (20, 7)),
    "gru of an image": lambda: (Image("gru"), (1, 20, 7)),
    "lstm of an image": lambda: (Image("lstm"), (1, 20, 7)),
    "no bias": lambda: (Net("gru", bias=False), (20, 7)),
    "behind a convolution": lambda: (Convolved("gru"), (4, 22)),
}


@pytest.fixture
def exported(quantize, describe, tmp_path):
    def make(case: str, bits=(8, 8)) -> tuple[IntegerNetwork, Path, Tensor, nn.Module]:
        torch.manual_seed(3)
        model, shape = CASES[case]()
        for name, parameter in model.named_parameters():
            if "rnn" in name:
                # Gates that open and close.
                nn.init.normal_(parameter, 0.0, 0.7)
        x = torch.randn(64, *shape)
        net = quantize(model, x, lambda i: bits)
        folded = as_stored(fold(net.model, net.calibration, x[:2]), x[:2], [x])
        integer = lower(folded, x[:2], [x])
        layers = describe(net.float_model, x, net.calibration)
        modules = pack(folded, layers, integer)
        write_c(integer, modules, tmp_path / "kws", "test", example=x.numpy(), prefix="kws")
        return integer, tmp_path / "kws", x, folded.simulated().eval()

    return make


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no host gcc")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bits", [(8, 8), (4, 8), (2, 6)])
def test_the_c_computes_the_reference_which_follows_the_float_network(exported, case, bits):
    integer, folder, x, network = exported(case, bits)
    inputs = integer.quantize_input(x.numpy())
    expected = integer.run_integers(inputs)
    with checked_run(folder, integer) as run:
        assert run.compiled is not None, run.reason
        assert np.array_equal(run.compiled.run_integers(inputs), expected)
    want, got = torch_runner(network)((x,)), integer.real_outputs(expected)
    # The state is read in steps of 1/128.
    assert np.abs(want - got).max() < 0.05 * np.ptp(want)


STREAM = """
#include <stdio.h>
#include "kws.h"
int main(void) {
  static kws_state_t one, two;
  kws_input_t frame[KWS_FRAME_SIZE];
  kws_reset(&one);
  kws_reset(&two);
  while (fread(frame, sizeof frame, 1, stdin) == 1) {
    kws_step(&one, frame, KWS_OUTPUT);
    fwrite(KWS_OUTPUT, sizeof(kws_output_t), KWS_OUTPUT_SIZE, stdout);
    kws_step(&two, frame, KWS_OUTPUT); /* a second stream, begun anew each time */
    kws_reset(&two);
  }
  return 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no host gcc")
@pytest.mark.parametrize("case", ["gru", "lstm", "two layers", "lstm of an image"])
def test_frame_by_frame_gives_what_the_sequence_so_far_gives(exported, tmp_path, case):
    integer, folder, x, _ = exported(case)
    (tmp_path / "main.c").write_text(STREAM)
    sources = [tmp_path / "main.c", folder / "kws.c"]
    command = ["gcc", *STRICT, f"-I{folder}", *sources, "-o", tmp_path / "stream"]
    subprocess.run(command, check=True)
    sequence = integer.quantize_input(x[:1].numpy()).reshape(20, 7)
    kind = np.uint8 if integer.input.quantization.low == 0 else np.int8
    done = subprocess.run(
        [tmp_path / "stream"],
        input=sequence.astype(kind).tobytes(),
        capture_output=True,
        check=True,
    )
    got = np.frombuffer(done.stdout, np.int32).reshape(20, -1)
    for frames in (1, 2, 7, 20):
        shorter = _of_frames(integer, frames)
        want = shorter.run_integers(sequence[None, :frames].reshape(1, *shorter.input.shape))
        assert np.array_equal(got[frames - 1], want.reshape(-1)), frames


def _of_frames(network: IntegerNetwork, frames: int) -> IntegerNetwork:
    """The same network for a shorter sequence."""
    single = one_frame(network)
    assert single is not None
    spanning = {single.input.name}
    steps, layers = [], sum(isinstance(s, Recurrent) for s in single.steps)
    for step in single.steps:
        layers -= isinstance(step, Recurrent)
        inputs = tuple(_longer(t, frames, spanning) for t in step.inputs)
        if any(t.name in spanning for t in inputs) and layers:
            spanning.add(step.output.name)
        steps.append(replace(step, inputs=inputs, output=_longer(step.output, frames, spanning)))
    return replace(single, input=_longer(single.input, frames, spanning), steps=tuple(steps))


def _longer(tensor, frames, spanning):
    h, w, c = tensor.shape
    return replace(tensor, shape=(h, w * frames, c)) if tensor.name in spanning else tensor


def test_what_spans_frames_in_another_way_has_no_stream(exported):
    integer, folder, _, _ = exported("behind a convolution")
    assert one_frame(integer) is None
    assert "_step" not in (folder / "kws.h").read_text()


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("case", ["gru", "lstm"])
def test_a_cortex_m_computes_the_same(exported, case, core):
    integer, folder, x, _ = exported(case)
    inputs = integer.quantize_input(x[:4].numpy())
    got = emulate.run(folder, integer, inputs, core)
    assert np.array_equal(got, integer.run_integers(inputs))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no host gcc")
@pytest.mark.parametrize("compiler", ["gcc", "g++"])
def test_no_compiler_warns(exported, tmp_path, compiler):
    _, folder, _, _ = exported("lstm")
    flags = STRICT if compiler == "gcc" else STRICT[1:]
    for source in ("kws.c", "kws_selftest.c"):
        command = [compiler, *flags, "-Wcast-qual", "-O2", f"-I{folder}", "-c", folder / source]
        subprocess.run([*command, "-o", tmp_path / "out.o"], check=True)


def test_the_functions_are_within_their_steps():
    values = np.arange(-(2**16), 2**16, 7)
    for fraction in (4, 9, 11, 12):
        real = values * 2.0**-fraction
        clipped = np.clip(real, -8, 8)
        assert np.abs(sigmoid(values, fraction) / 2**15 - 1 / (1 + np.exp(-clipped))).max() < 1e-4
        assert np.abs(tangent(values, fraction) / 2**15 - np.tanh(real)).max() < 7e-4


def test_the_kernels_hold_the_same_table():
    text = (KERNELS / "recurrent.h").read_text()
    numbers = re.search(r"table\[129\] = \{([^}]*)\}", text)
    assert numbers is not None
    assert [int(n) for n in numbers[1].split(",")] == SIGMOID.tolist()


def test_the_weights_are_packed_as_two_modules(quantize, describe):
    torch.manual_seed(0)
    model, shape = CASES["gru"]()
    x = torch.randn(8, *shape)
    net = quantize(model, x, lambda i: (4, 8))
    folded = fold(net.model, net.calibration, x[:2])
    modules = pack(folded, describe(net.float_model, x, net.calibration), lower(folded, x[:2], [x]))
    assert [m.name for m in modules] == ["rnn.0.weight_ih_l0", "rnn.0.weight_hh_l0", "fc"]
    # Two records of 8 bytes, 12 for each of 36 rows, and rows of 4 bits in whole words.
    content, _ = weights_file(modules[:2])
    assert len(content) == 2 * (8 + 12 * 36) + 36 * (4 * 1 + 4 * 2)


class Read(nn.Module):
    """What follows a GRU, or what it begins with."""

    def __init__(self, read, **named) -> None:
        super().__init__()
        self.rnn = nn.GRU(7, 6, batch_first=True, **named)
        self.fc, self.read = nn.Linear(6, 3), read

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self, x)


REFUSED = {
    "all and last": (lambda m, x: m.fc(m.rnn(x)[0][:, -1] + m.rnn(x)[0].mean(1)), {}),
    "the first state": (lambda m, x: m.fc(m.rnn(x)[0][:, 0]), {}),
    "every state": (lambda m, x: m.fc(m.rnn(x)[0]), {}),
    "a mean of states": (lambda m, x: m.fc(m.rnn(x)[0].mean(1)), {}),
    "another layer's place": (lambda m, x: m.fc(m.rnn(x)[1].transpose(0, 1)[:, 0]), {}),
    "a given state": (lambda m, x: m.fc(m.rnn(x, torch.ones(1, len(x), 6))[0][:, -1]), {}),
    "two layers": (lambda m, x: m.fc(m.rnn(x)[0][:, -1]), {"num_layers": 2}),
    "both directions": (lambda m, x: m.fc(m.rnn(x)[0][:, -1, :6]), {"bidirectional": True}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_forms_are_refused_by_name(quantize, case):
    read, named = REFUSED[case]
    x = torch.randn(4, 9, 7)
    net = quantize(Read(read, **named), x, lambda i: (8, 8))
    with pytest.raises(UnsupportedNetworkError, match=r"rnn|select|called more"):
        lower(fold(net.model, net.calibration, x[:2]), x[:2], [x])
