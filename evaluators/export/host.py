"""Runs exported C on this machine, so that an export counts what the C itself predicts."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from evaluators.export import c_outputs, recurrent
from evaluators.export.c_code import filled, prefix_of
from evaluators.export.fixed_point import Integers
from evaluators.export.integer_network import IntegerNetwork, Outputs
from evaluators.export.recurrent import Recurrent
from evaluators.pytree import tensors

COMPILERS = ("cc", "gcc", "clang")
MACS = 10**10
"""Multiplications that an export spends on running its C: some ten seconds."""

LARGEST_SOURCE = 2**25
"""Bytes of a `NAME.c` that an export compiles: some 8 million weights, a minute, 1 GB of memory."""

_TIMEOUT_S = 600
_SELFTEST_FAILED = 3
_NUMPY = {"int8_t": np.int8, "int16_t": np.int16, "int32_t": np.int32}


class HostRunError(RuntimeError):
    """Exported C that was compiled did not run to its end."""


@dataclass(frozen=True, eq=False)
class CompiledNetwork(IntegerNetwork):
    """An integer network that is computed by its exported C."""

    program: Path

    def run_integers(self, inputs: Integers) -> Integers:
        """Output integers `[N, *output_shape]` of the C code.

        Raises:
            HostRunError: it crashed or took too long, or its test vector gave another output than
                expected.
        """
        given = inputs.astype(_NUMPY[self.input.quantization.kind]).tobytes()
        try:
            done = subprocess.run(
                [str(self.program)],
                input=given,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise HostRunError(f"the exported C took longer than {_TIMEOUT_S} s") from error
        if done.returncode == _SELFTEST_FAILED:
            raise HostRunError("the exported C gives another output for its test vector")
        outputs = np.frombuffer(done.stdout, _NUMPY[self.outputs[0].tensor.quantization.kind])
        shape = (len(inputs), *self.output_shape)
        if done.returncode != 0 or outputs.size != np.prod(shape):
            raise HostRunError(
                f"the exported C ended with {done.returncode} after {outputs.size} numbers of "
                f"{np.prod(shape)}: {done.stderr.decode(errors='replace')[-500:]}"
            )
        return outputs.reshape(shape).astype(np.int64)


@dataclass
class CheckedRun:
    """Runs the C for the first samples, and its Python reference once `MACS` are spent.

    Attributes:
        reference: the network in Python.
        compiled: the network in C; None if it couldn't be compiled.
        reason: why it couldn't.
        samples: how many samples the C has run.
    """

    reference: IntegerNetwork
    compiled: CompiledNetwork | None
    reason: str | None
    samples: int = field(default=0, init=False)

    def __call__(self, inputs: object) -> Outputs:
        """Real outputs of a batch, as the loader gives it: see `IntegerNetwork.real_outputs`."""
        given = self.reference.quantize_input(np.asarray(tensors(inputs)[0]))
        count = 0
        if self.compiled is not None:
            left = max(MACS // max(macs(self.reference), 1), 1) - self.samples
            count = min(len(given), max(left, 0))
        self.samples += count
        parts = [self.compiled.run_integers(given[:count])] if self.compiled and count else []
        parts += [self.reference.run_integers(given[count:])] if count < len(given) else []
        return self.reference.real_outputs(np.concatenate(parts))


@contextmanager
def checked_run(c_folder: Path, network: IntegerNetwork) -> Iterator[CheckedRun]:
    """Compiles a written folder for this machine, for as long as the context lasts.

    Args:
        c_folder: holds `NAME.c`, `NAME_selftest.c`, `NAME.h` and `kernels.h`.
        network: the network they were written from.
    """
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "network"
        reason = _compile(c_folder.resolve(), program)
        known = {f.name: getattr(network, f.name) for f in fields(network)}
        compiled = None if reason else CompiledNetwork(**known, program=program)
        yield CheckedRun(network, compiled, reason)


def compiler() -> list[str] | None:
    """The command of a C compiler: `$CC`, else the first of `COMPILERS` that is installed."""
    if given := shlex.split(os.environ.get("CC", "")):
        return given
    found = next((c for c in COMPILERS if shutil.which(c)), None)
    return None if found is None else [found]


def macs(network: IntegerNetwork) -> int:
    """Multiply-accumulates of one inference."""
    total = 0
    for step in network.steps:
        frames = step.frames if isinstance(step, Recurrent) else 1
        for product in recurrent.products_of(step):
            outputs = int(np.prod(product.output.shape))
            total += frames * outputs * int(product.weight[0].size)
    return total


def _compile(c_folder: Path, program: Path) -> str | None:
    """Makes the program; says why it couldn't."""
    command = compiler()
    if command is None:
        return f"no C compiler was found ({', '.join(COMPILERS)}, or $CC)"
    prefix = prefix_of(c_folder)
    if (size := (c_folder / f"{prefix}.c").stat().st_size) > LARGEST_SOURCE:
        return f"{prefix}.c has {size} bytes; an export compiles up to {LARGEST_SOURCE}"
    main = program.with_name("main.c")
    header = (c_folder / f"{prefix}.h").read_text(encoding="utf-8")
    values = {"name": prefix, "NAME": prefix.upper(), **c_outputs.of_header(header, prefix)}
    main.write_text(filled("host.c", values), encoding="utf-8")
    sources = [str(main), *(str(c_folder / f"{prefix}{end}.c") for end in ("", "_selftest"))]
    flags = ["-std=c11", "-O3", f"-I{c_folder}", *sources, "-o", str(program)]
    try:
        done = subprocess.run(
            [*command, *flags], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]} could not be run: {error}"
    if done.returncode != 0:
        return f"{command[0]} failed ({done.returncode}): {done.stderr.strip()[-500:]}"
    return None
