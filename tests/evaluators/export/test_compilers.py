"""The exported C under the compilers and the rules that firmware is built with."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from evaluators.export import fold, lower
from evaluators.export.c_code import KERNELS, write_c
from evaluators.export.packed import pack
from support.recurrent_nets import Net

WARNINGS = (
    "-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion",
    "-Wsign-conversion", "-Wcast-qual",
)  # fmt: skip
NEWLIB = ("-isystem", "/usr/lib/arm-none-eabi/include", "-isystem", "/usr/include/newlib")
CORES = ("m0", "m0plus", "m3", "m4", "m7", "m23", "m33", "m55")
M85 = "-march=armv8.1-m.main+mve.fp+fp.dp -mfloat-abi=hard"
RV32 = ("riscv64-unknown-elf-gcc", "--specs=picolibc.specs", "-mabi=ilp32")
COMPILERS = {
    **{f"gcc, Cortex-{m}": ("arm-none-eabi-gcc", "-mthumb", f"-mcpu=cortex-{m}") for m in CORES},
    "gcc, Cortex-m85": ("arm-none-eabi-gcc", "-mthumb", *M85.split()),
    **{
        f"clang, Cortex-{m}": (
            "clang", "--target=arm-none-eabi", "-mthumb", f"-mcpu=cortex-{m}", *NEWLIB
        )
        for m in CORES
    },
    "gcc, RV32IMAC": (*RV32, "-march=rv32imac"),
    "gcc, RV32IMC": (*RV32, "-march=rv32imc"),
    "clang, this machine": ("clang",),
}  # fmt: skip


def need(tool: str) -> None:
    """Skips without a tool; in CI it must be here."""
    if shutil.which(tool) is None:
        message = f"no {tool}: see SYSTEM_PACKAGES in the Makefile"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """Exports of two kinds; every kernel is in each of them, called or not."""
    from support.quantized import layers_of, make, round_all

    torch.manual_seed(0)
    bits = lambda i: ((8, 4, 2)[i % 3], 8)  # noqa: E731 - as in the other tests of mixed widths
    networks = {"residual": make("Residual", bits)}
    networks["lstm"] = round_all(Net("lstm"), torch.randn(8, 20, 7), bits)
    found = []
    for name, net in networks.items():
        folded = fold(net.model, net.calibration, net.x[:2])
        integer = lower(folded, net.x[:2], [net.x])
        modules = pack(folded, layers_of(net.float_model, net.x, net.calibration), integer)
        found.append(tmp_path_factory.mktemp("c") / name)
        write_c(integer, modules, found[-1], name, example=net.x.numpy(), prefix=name)
    return found


@pytest.mark.parametrize("compiler", COMPILERS)
def test_compilers_have_nothing_to_say(folders, tmp_path, compiler):
    command = COMPILERS[compiler]
    need(command[0])
    for folder in folders:
        for source in (f"{folder.name}.c", f"{folder.name}_selftest.c"):
            arguments = [*WARNINGS, f"-I{folder}", "-c", folder / source, "-o", tmp_path / "a.o"]
            subprocess.run([*command, *arguments], check=True)


CONFIGURATIONS = {
    "portable": (),
    "dsp": ("-D__ARM_FEATURE_DSP=1", "-D__ARM_FEATURE_SIMD32=1", "-D__GNUC__=12"),
    "mve": ("-D__ARM_FEATURE_MVE=3", "-D__GNUC__=12"),
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_misra_rules_that_are_not_suppressed_are_kept(folders, configuration):
    done = "".join(misra(folder, CONFIGURATIONS[configuration]) for folder in folders)
    assert [line for line in done.splitlines() if line.startswith("misra")] == []


def test_misra_sees_what_breaks_a_rule(folders, tmp_path):
    """So that an empty list above says something."""
    folder = tmp_path / folders[-1].name
    shutil.copytree(folders[-1], folder)
    source = folder / f"{folder.name}.c"
    source.write_text(source.read_text() + "\nint octal(void) { return 012; }\n")
    assert "misra-c2012-7.1" in misra(folder, ())


def misra(folder: Path, defines: tuple[str, ...]) -> str:
    need("cppcheck")
    # It reads no system headers.
    limits = ("INT_MAX=2147483647", "INT32_MIN=-2147483648", "INT16_MIN=-32768", "INT16_MAX=32767")
    done = subprocess.run(
        ["cppcheck", "--std=c11", "--platform=unix32", "--enable=style", "--addon=misra",
         f"--suppressions-list={KERNELS / 'misra_suppressions.txt'}",
         "--template={id} {file}:{line}",
         *(f"-D{limit}" for limit in limits), *defines, "-I.", f"{folder.name}.c",
         f"{folder.name}_selftest.c"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stderr
