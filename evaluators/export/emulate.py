"""Runs exported C on an emulated Cortex-M, to compare it with the Python reference.

Needs `arm-none-eabi-gcc` and `qemu-system-arm`
(`apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm`).
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from evaluators.export import c_outputs
from evaluators.export.c_code import filled, prefix_of
from evaluators.export.fixed_point import Array, Integers
from evaluators.export.integer_network import IntegerNetwork, Outputs
from hardware.measure.qemu import EMULATED, HARNESS

TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm")
TIMEOUT_S = 600
_NUMPY = {"int8_t": "i1", "uint8_t": "u1", "int16_t": "<i2", "int32_t": "<i4"}
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-function")


class EmulationError(RuntimeError):
    """A tool is missing or failed; the message says which."""


def missing_tools() -> list[str]:
    """Programs that are needed and not installed."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def run(
    c_folder: Path, network: IntegerNetwork, inputs: Integers, core: str = "cortex-m4"
) -> Integers:
    """Compiles the network for a core and runs it on integer inputs.

    Args:
        c_folder: holds `NAME.c`, `NAME.h` and `kernels.h`.
        network: the network they were written from; tells the shape of the output.
        inputs: `[N, H, W, C]`, as `IntegerNetwork.quantize_input` gives them.
        core: one of `hardware.measure.qemu.EMULATED`.

    Returns:
        Output integers `[N, *output_shape]`.

    Raises:
        EmulationError: a tool is missing, or compiling or running failed.
    """
    shape = network.output_shape
    typed = inputs.astype(_NUMPY[network.input.quantization.kind])
    outputs = run_files(c_folder, typed, math.prod(shape), core)
    return outputs.reshape(len(inputs), *shape)


def outputs(c_folder: Path, real: Array, core: str = "cortex-m4") -> Outputs:
    """Runs exported C on real inputs, as a device would: all it needs to know is in the header.

    Args:
        c_folder: holds `NAME.c`, `NAME.h` and `kernels.h`.
        real: `[N, C, ...]`, in torch's order.
        core: one of `hardware.measure.qemu.EMULATED`.

    Returns:
        Real outputs `[N, size]`, stored (height, width, channels); a tuple of several.

    Raises:
        EmulationError: as `run_files`.
    """
    prefix = prefix_of(c_folder)
    text = (c_folder / f"{prefix}.h").read_text(encoding="utf-8")
    macro = rf"#define {prefix.upper()}_(\w+) \(?(-?[\d.e-]+)f?\)?$"
    define = dict(re.findall(macro, text, re.MULTILINE))
    (kind,) = re.findall(rf"typedef (\w+) {prefix}_input_t;", text)
    steps = np.rint(np.moveaxis(real, 1, -1) / np.float32(define["INPUT_SCALE"]))
    low, high = int(define["INPUT_MIN"]), int(define["INPUT_MAX"])
    inputs = np.clip(steps + int(define["INPUT_ZERO_POINT"]), low, high).astype(_NUMPY[kind])
    keys = [key.removesuffix("_SIZE") for key in define if re.fullmatch(r"OUTPUT\w*_SIZE", key)]
    sizes = [int(define[f"{key}_SIZE"]) for key in keys]
    got = run_files(c_folder, inputs, sum(sizes), core)
    found = []
    for key, part in zip(keys, np.split(got, np.cumsum(sizes)[:-1], axis=1), strict=True):
        scaled = (part - int(define[f"{key}_ZERO_POINT"])) * np.float32(define[f"{key}_SCALE"])
        found.append(np.asarray(scaled, np.float32))
    return found[0] if len(found) == 1 else tuple(found)


def run_files(c_folder: Path, inputs: Array, output_size: int, core: str = "cortex-m4") -> Integers:
    """Runs exported C without its Python reference.

    Args:
        c_folder: holds `NAME.c`, `NAME.h` and `kernels.h`.
        inputs: `[N, ...]` in the type that `infer()` takes.
        output_size: numbers that one inference gives.
        core: one of `hardware.measure.qemu.EMULATED`.

    Returns:
        `[N, output_size]`.

    Raises:
        EmulationError: a tool is missing, or compiling or running failed.
    """
    if missing := missing_tools():
        raise EmulationError(
            f"{', '.join(missing)} not found: apt-get install gcc-arm-none-eabi "
            "libnewlib-arm-none-eabi qemu-system-arm"
        )
    target, c_folder = EMULATED[core], c_folder.resolve()
    prefix = prefix_of(c_folder)
    # Exports without a prefix call it by a name of its own.
    text = (c_folder / f"{prefix}.h").read_text(encoding="utf-8")
    named = f"{prefix}_infer" in text
    kinds = re.findall(rf"typedef (\w+) {prefix}_output_t;", text)
    infer = f"{prefix}_infer" if named else "infer"
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        values = {"name": prefix, "NAME": prefix.upper(), "infer": infer}
        main = filled("semihosting.c", values | c_outputs.of_header(text, prefix))
        (work / "main.c").write_text(main, encoding="utf-8")
        symbols = {
            "CODE_BASE": target.code, "RAM_BASE": target.ram, "RAM_SIZE": target.ram_size
        }  # fmt: skip
        _call(
            ["arm-none-eabi-gcc", "-std=c11", "-O2", "-mthumb", *target.flags, *WARNINGS,
             "-ffreestanding", "-nostartfiles", "-nostdlib", "-T", str(HARNESS / "link.ld"),
             *(f"-Wl,--defsym={k}={v:#x}" for k, v in symbols.items()), f"-I{c_folder}",
             str(HARNESS / "start.c"), "main.c", str(c_folder / f"{prefix}.c"),
             "-lgcc", "-o", "model.elf"],
            work,
        )  # fmt: skip
        inputs.tofile(work / "input.bin")
        _call(
            ["qemu-system-arm", "-M", target.machine, "-nographic", "-semihosting-config",
             "enable=on,target=native", "-kernel", "model.elf"],
            work,
        )  # fmt: skip
        outputs = np.fromfile(work / "output.bin", _NUMPY[kinds[0] if kinds else "int32_t"])
    if outputs.size != len(inputs) * output_size:
        raise EmulationError(f"{core} wrote {outputs.size} numbers for {len(inputs)} inputs")
    return outputs.reshape(len(inputs), output_size).astype(np.int64)


def _call(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EmulationError(f"{command[0]} took longer than {TIMEOUT_S} s") from error
    if done.returncode != 0 or "FAULT" in done.stdout:
        text = (done.stderr + done.stdout).strip()[-2000:]
        raise EmulationError(f"{command[0]} failed ({done.returncode}): {text}")
