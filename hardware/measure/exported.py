"""What an exported C folder takes on a core: instructions of each call, flash, RAM and stack.

The function that runs the network is compiled as it is, but for markers between its calls, and
run once in the emulator on pseudo-random bytes. Needs what `measure.qemu` needs.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hardware.measure.qemu import EMULATED, HARNESS, QemuError, run_counted, run_tool

OPTIMIZATION = "-O2"
"""What the documented commands compile an export with."""

_BLOCK = re.compile(r"^  \{ /\* (.*) \*/$", re.MULTILINE)
_END = re.compile(r"^  \}$", re.MULTILINE)
# QEMU loses the callback of a marker in the last bytes of one of its pages (1 KB): none lies there.
_MARK = '__asm__ volatile(".balign 8\\n\\tmov {0}, {0}");'
_START, _STOP = _MARK.format("r9"), _MARK.format("r10")
_STACK_WORDS = 4096

_MAIN = """#include <stdint.h>
#include "@name@.h"

void print_number(uint32_t v);
enum { WORDS = @words@, MARK = 0x5eed5eed };

static __attribute__((noinline)) void paint(void) {
  volatile uint32_t words[WORDS];
  int i;
  for (i = 0; i < WORDS; i++) words[i] = MARK;
}

static __attribute__((noinline)) uint32_t untouched(void) {
  volatile uint32_t words[WORDS];
  uint32_t i = 0;
  while (i < WORDS && words[i] == MARK) i++;
  return i;
}

int main(void) {
  uint8_t *bytes = (uint8_t *)@NAME@_INPUT;
  uint32_t seed = 1, i;
  for (i = 0; i < sizeof(@name@_input_t) * @NAME@_INPUT_SIZE; i++) {
    seed = seed * 1664525u + 1013904223u;
    bytes[i] = (uint8_t)(seed >> 24);
  }
  paint();
  @name@_infer(@NAME@_INPUT, @NAME@_OUTPUT);
  print_number(4 * (WORDS - untouched()));
  return 0;
}
"""


@dataclass(frozen=True)
class Call:
    """One call of a kernel: the layer that it is of, and its instructions by class."""

    layer: str
    classes: dict[str, int]

    @property
    def instructions(self) -> int:
        """All instructions."""
        return sum(self.classes.values())


@dataclass(frozen=True)
class Exported:
    """An exported C folder on one core; sizes in bytes.

    Attributes:
        calls: in the order in which they run.
        code: of `.text`.
        constants: of `.rodata`: weights and tables.
        arena: of `.data` and `.bss`.
        stack: deepest during one inference.
    """

    calls: tuple[Call, ...]
    code: int
    constants: int
    arena: int
    stack: int

    @property
    def instructions(self) -> int:
        """Of one inference."""
        return sum(call.instructions for call in self.calls)


def sizes(c_folder: Path, core: str) -> tuple[int, int, int]:
    """Return the bytes of code, constants and static RAM of a folder's objects.

    Raises:
        QemuError: no compiler, or it failed.
    """
    with tempfile.TemporaryDirectory(prefix="joint-ga-size-") as name:
        objects = [_compiled(source, core, Path(name), c_folder) for source in _sources(c_folder)]
        return _sections(objects)


def measure(c_folder: Path, core: str) -> Exported:
    """Compile a folder for a core and run it once.

    Raises:
        QemuError: a tool is missing or failed.
    """
    emulated = EMULATED[core]
    with tempfile.TemporaryDirectory(prefix="joint-ga-exported-") as name:
        work = Path(name)
        prefix = _prefix(c_folder)
        names: list[str] = []
        objects = []
        for source in _sources(c_folder):
            text = source.read_text(encoding="utf-8")
            if source.stem == prefix:
                names = _BLOCK.findall(text)
                text = _BLOCK.sub(lambda found: f"  {{ {_START} /* {found[1]} */", text)
                text = _END.sub(lambda _: f"  {_STOP} }}", text)
            marked = work / source.name
            marked.write_text(text, encoding="utf-8")
            objects.append(_compiled(marked, core, work, c_folder))
        main = work / "main.c"
        values = {"name": prefix, "NAME": prefix.upper(), "words": str(_STACK_WORDS)}
        main.write_text(re.sub("@(\\w+)@", lambda found: values[found[1]], _MAIN))
        objects += [
            _compiled(source, core, work, c_folder) for source in (main, HARNESS / "start.c")
        ]
        image = work / "model.elf"
        run_tool(
            ["arm-none-eabi-gcc", "-mthumb", *emulated.flags, "-nostartfiles", "-nostdlib",
             f"-Wl,--defsym=CODE_BASE={emulated.code:#x}",
             f"-Wl,--defsym=RAM_BASE={emulated.ram:#x}",
             f"-Wl,--defsym=RAM_SIZE={emulated.ram_size:#x}", "-T", str(HARNESS / "link.ld"),
             *map(str, objects), "-lgcc", "-o", str(image)],
            "the linker",
        )  # fmt: skip
        printed, lines = run_counted(image, core, work)
    if len(lines) != len(names) or not printed.split()[-1:][0].isdigit():
        raise QemuError(f"the emulated {core} ended after {len(lines)} of {len(names)} calls")
    code, constants, arena = sizes(c_folder, core)
    calls = tuple(Call(layer, line) for layer, line in zip(names, lines, strict=True))
    return Exported(calls, code, constants, arena, int(printed.split()[-1]))


def _prefix(c_folder: Path) -> str:
    (found,) = (f.stem.removesuffix("_selftest") for f in c_folder.glob("*_selftest.c"))
    return found


def _sources(c_folder: Path) -> list[Path]:
    return [f for f in sorted(c_folder.glob("*.c")) if not f.stem.endswith("_selftest")]


def _compiled(source: Path, core: str, work: Path, c_folder: Path) -> Path:
    target = work / f"{source.stem}.o"
    run_tool(
        ["arm-none-eabi-gcc", "-std=c11", "-mthumb", *EMULATED[core].flags, OPTIMIZATION,
         "-ffreestanding", f"-I{c_folder}", "-c", str(source), "-o", str(target)],
        "the compiler",
    )  # fmt: skip
    return target


def _sections(objects: list[Path]) -> tuple[int, int, int]:
    totals = {"text": 0, "rodata": 0, "bss": 0, "data": 0}
    printed = run_tool(["arm-none-eabi-size", "-A", *map(str, objects)], "arm-none-eabi-size")
    for section, size in re.findall(r"^\.(\w+)\S*\s+(\d+)", printed, re.MULTILINE):
        if section in totals:
            totals[section] += int(size)
    return totals["text"], totals["rodata"], totals["bss"] + totals["data"]
