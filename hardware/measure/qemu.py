"""Instructions of layers on an emulated Cortex-M: `kernels/` compiled, run and counted.

QEMU models no cycles; its counts are exact, repeatable, and scaled to a device by one factor.
Needs `arm-none-eabi-gcc`, `qemu-system-arm` with plugin support and a host `gcc`
(`apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm gcc`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hardware.latency.kernel_calls import KINDS, Job
from hardware.memory.kernel_scratch import convolution_scratch, depthwise_scratch
from hardware.memory.weight_packing import row_bytes, tensor_bytes

KERNELS = Path(__file__).parents[1] / "kernels"
HARNESS = KERNELS / "harness"
CLASSES = ("alu", "load", "store", "mac", "divide", "branch", "vector")
COMMON = ("start.c", "main.c", "rows.c", "shifts.c")
"""Of `kernels/harness/`; they include the kernels that exports ship."""
TIMEOUT_S = 300
"""Of a compiler's or an emulator's run: a choice; both take seconds."""
_SHIFT_MAX = 22
_SPREAD = {2: 1.1, 4: 4.6, 7: 36.0, 8: 74.0}
"""Standard deviation of uniform integers of some bits; at 7, of powers of two up to 64."""

_OUTPUT_SPREAD = 120.0
"""Of an output before the multiplier, which takes two thirds away."""


class QemuError(RuntimeError):
    """A tool is missing or failed; the message says which and what to do."""


@dataclass(frozen=True)
class Emulated:
    """How a core is compiled for and on which of QEMU's machines it runs.

    Code and data are put into the machine's large external memories: only counts matter.
    """

    flags: tuple[str, ...]
    machine: str
    code: int
    ram: int
    ram_size: int
    source: str


EMULATED: dict[str, Emulated] = {
    "cortex-m0plus": Emulated(
        ("-mcpu=cortex-m0plus",), "mps2-an386", 0x0, 0x21000000, 0x1000000, "kernels_portable.h"
    ),
    "cortex-m4": Emulated(
        ("-mcpu=cortex-m4", "-mfloat-abi=soft"),
        "mps2-an386", 0x0, 0x21000000, 0x1000000, "kernels_dsp.h",
    ),
    "cortex-m7": Emulated(
        ("-mcpu=cortex-m7", "-mfloat-abi=soft"),
        "mps2-an500", 0x0, 0x60000000, 0x1000000, "kernels_dsp.h",
    ),
    "cortex-m33": Emulated(
        ("-mcpu=cortex-m33", "-mfloat-abi=soft"),
        "mps2-an505", 0x10000000, 0x80000000, 0x1000000, "kernels_dsp.h",
    ),
    "cortex-m55": Emulated(
        ("-mcpu=cortex-m55", "-mfloat-abi=hard", "-DHAS_VECTORS"),
        "mps3-an547", 0x0, 0x60000000, 0x1000000, "kernels_mve.h",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Count:
    """Instructions of one job by class, and a checksum of its output."""

    classes: dict[str, int]
    checksum: int

    @property
    def total(self) -> int:
        """All instructions."""
        return sum(self.classes.values())


def missing_tools() -> list[str]:
    """Programs that are needed and not installed."""
    return [t for t in ("arm-none-eabi-gcc", "qemu-system-arm", "gcc") if shutil.which(t) is None]


def count(jobs: Sequence[Job], core: str, cache: Path | None = None) -> list[Count]:
    """Return the instructions of each job on a core.

    All jobs that are not in the cache run in one image.

    Args:
        jobs: shapes with their bits.
        core: one of `EMULATED`.
        cache: folder of the cache; by default under `$JOINT_GA_CACHE` or `~/.cache/joint-ga`.

    Raises:
        QemuError: a tool is missing, the compiler or the emulator failed, or it does not model the
            core.
    """
    if core not in EMULATED:
        raise QemuError(f"core {core!r} is not emulated (use one of {', '.join(EMULATED)})")
    path = (cache or _cache_folder()) / f"{core}-{_version(core)}.json"
    known = _read(path)
    todo = [job for job in dict.fromkeys(jobs) if _key(job) not in known]
    if todo:
        for job, result in zip(todo, _run(todo, core), strict=True):
            known[_key(job)] = (result.classes, result.checksum)
        _write(path, known)
    return [Count(classes, checksum) for classes, checksum in (known[_key(j)] for j in jobs)]


def output_shifts(job: Job) -> tuple[int, int]:
    """Left and right shift of the requantization that keeps outputs of random data in 8 bits."""
    taps = job.kh * job.kw if job.kind == "depthwise" else job.row_weights
    bits = 7 if job.kind == "shift" else job.w_bits
    left = 31 - (2 ** (6 + bits) * taps).bit_length()
    spread = math.sqrt(taps) * _SPREAD[bits] * _SPREAD[8] * 2**left
    return left, min(max(round(math.log2(spread / _OUTPUT_SPREAD)), 0), _SHIFT_MAX)


def _key(job: Job) -> str:
    return json.dumps(job)


def _cache_folder() -> Path:
    root = os.environ.get("JOINT_GA_CACHE") or Path.home() / ".cache" / "joint-ga"
    return Path(root) / "instructions"


def _version(core: str) -> str:
    """Digest of what the counts depend on: the kernels, the flags and the compiler."""
    digest = hashlib.sha256(repr(EMULATED[core]).encode())
    for file in (
        *sorted(HARNESS.iterdir()),
        KERNELS / "kernels.h",
        KERNELS / EMULATED[core].source,
    ):
        digest.update(file.read_bytes())
    if missing_tools():
        return digest.hexdigest()[:12]
    digest.update(compiler_version().encode())
    return digest.hexdigest()[:12]


@lru_cache(maxsize=1)
def compiler_version() -> str:
    """First line of `arm-none-eabi-gcc --version`."""
    return run_tool(["arm-none-eabi-gcc", "--version"], "the compiler").splitlines()[0]


def _read(path: Path) -> dict[str, tuple[dict[str, int], int]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    if not isinstance(data, dict):
        return {}
    return {key: (classes, checksum) for key, (classes, checksum) in data.items()}


def _write(path: Path, data: dict[str, tuple[dict[str, int], int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8"
    ) as file:
        json.dump(data, file)
    Path(file.name).replace(path)


def run_tool(command: list[str], what: str) -> str:
    """Return what a program printed.

    Raises:
        QemuError: it is not installed, failed or took too long; `what` names it.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except FileNotFoundError:
        raise QemuError(
            f"{command[0]} is not installed (apt-get install gcc-arm-none-eabi "
            "libnewlib-arm-none-eabi qemu-system-arm gcc); the closed form needs none of them"
        ) from None
    except subprocess.TimeoutExpired:
        raise QemuError(f"{what} took longer than {TIMEOUT_S} s: {' '.join(command)}") from None
    if done.returncode != 0:
        tail = (done.stderr or done.stdout).strip()[-800:]
        raise QemuError(f"{what} failed with exit code {done.returncode}:\n{tail}")
    return done.stdout + done.stderr


def run_counted(image: Path, core: str, folder: Path) -> tuple[str, list[dict[str, int]]]:
    """Runs an image on an emulated core, with the counting plugin.

    Args:
        image: an ELF file.
        core: one of `EMULATED`.
        folder: for the plugin and its file.

    Returns:
        What the program printed, and for each pair of markers the instructions by class.

    Raises:
        QemuError: a tool failed.
    """
    log = folder / "counts.txt"
    printed = run_tool(
        ["qemu-system-arm", "-M", EMULATED[core].machine, "-nographic", "-monitor", "none",
         "-serial", "none", "-semihosting-config", "enable=on,target=native",
         "-kernel", str(image), "-plugin", f"file={build_plugin(folder)},out={log}"],
        "qemu-system-arm",
    )  # fmt: skip
    lines = log.read_text().splitlines() if log.exists() else []
    return printed, [
        {k: int(v) for k, v in (field.split("=") for field in line.split())} for line in lines
    ]


def _run(jobs: Sequence[Job], core: str) -> list[Count]:
    if tools := missing_tools():
        raise QemuError(
            f"not installed: {', '.join(tools)} (apt-get install gcc-arm-none-eabi "
            "libnewlib-arm-none-eabi qemu-system-arm gcc); the closed form needs none of them"
        )
    with tempfile.TemporaryDirectory(prefix="joint-ga-qemu-") as name:
        folder = Path(name)
        image = _build_image(jobs, core, folder)
        printed, lines = run_counted(image, core, folder)
    sums = printed.split()
    if len(lines) != len(jobs) or len(sums) != len(jobs) or "FAULT" in sums:
        raise QemuError(
            f"the emulated {core} finished {len(lines)} of {len(jobs)} layers: {printed[-200:]!r}"
        )
    return [Count(line, int(checksum)) for line, checksum in zip(lines, sums, strict=True)]


def build_plugin(folder: Path) -> Path:
    """Return the counting plugin of QEMU, compiled into a folder."""
    plugin = folder / "counter.so"
    run_tool(
        ["gcc", "-shared", "-fPIC", "-O2", "-o", str(plugin), str(HARNESS / "counter.c")],
        "the host compiler",
    )
    return plugin


def _build_image(jobs: Sequence[Job], core: str, folder: Path) -> Path:
    emulated = EMULATED[core]
    (folder / "table.h").write_text(_table(jobs))
    image = folder / "layers.elf"
    sources = [str(HARNESS / f) for f in COMMON]
    run_tool(
        ["arm-none-eabi-gcc", "-mthumb", *emulated.flags, "-std=gnu11", "-O2", "-ffreestanding",
         "-nostartfiles", "-nostdlib", f"-I{folder}", f"-Wl,--defsym=CODE_BASE={emulated.code:#x}",
         f"-Wl,--defsym=RAM_BASE={emulated.ram:#x}",
         f"-Wl,--defsym=RAM_SIZE={emulated.ram_size:#x}",
         "-T", str(HARNESS / "link.ld"), *sources, "-lgcc", "-o", str(image)],
        "arm-none-eabi-gcc",
    )  # fmt: skip
    return image


def _table(jobs: Sequence[Job]) -> str:
    rows = []
    for j in jobs:
        fields = [
            KINDS.index(j.kind), j.w_bits, *output_shifts(j), j.ih, j.iw, j.ic, j.oh, j.ow,
            j.oc, j.kh, j.kw, j.sh, j.sw, j.pads[0], j.pads[2], j.pitch[0] or j.ic,
            j.pitch[1] or j.oc, int(j.stored >= 0), int(j.power_of_two),
        ]  # fmt: skip
        rows.append("{" + ",".join(map(str, fields)) + "}")
    weights = max(
        max(j.rows * row_bytes(j.row_weights, j.w_bits), j.oc * row_bytes(j.kh * j.kw, j.w_bits))
        for j in jobs
    )
    ins = max(
        tensor_bytes(
            (j.pitch[0] or j.ic, max(j.ih, (j.oh - 1) * j.sh + j.kh),
             max(j.iw, (j.ow - 1) * j.sw + j.kw)), 8)
        for j in jobs
    )  # fmt: skip
    unpacked = [j for j in jobs if j.kind == "unpack"]
    outs = max(tensor_bytes((j.pitch[1] or j.oc, j.oh, j.ow), 8) for j in jobs)
    outs = max([outs, *(j.oc * j.ic for j in unpacked)])
    stored = [str(max(j.stored, 0)) for j in jobs]
    marks = max((j.oc * -(-j.ic // 32) for j in unpacked), default=1)
    channels = max(max(j.oc, j.ic) for j in jobs)
    return (
        f"#define MAX_WEIGHTS {max(weights, 256)}\n#define MAX_INPUT {ins}\n"
        f"#define MAX_OUTPUT {outs}\n#define MAX_CHANNELS {channels}\n#define LAYERS {len(jobs)}\n"
        f"#define MAX_MARKS {marks}\n#define MAX_SCRATCH {max(map(_scratch, jobs))}\n"
        "static const uint32_t stored[] = {" + ",".join(stored) + "};\n"
        "static const job_t table[] = {" + ",\n".join(rows) + "};\n"
    )


def _scratch(job: Job) -> int:
    """As much as the kernel of any shape alike needs."""
    taps = job.kh * job.kw
    if job.kind == "depthwise":
        return depthwise_scratch(taps, job.oc, is_plain=False, leaves_image=True)
    return convolution_scratch(
        taps * job.ic, job.oc, is_coded=False, is_single=False, is_pointwise=False
    )
