"""`c/`: the integer network as self-contained C with one function, `<prefix>_infer()`.

The kernels of `hardware/kernels/` are copied as they are; `<prefix>.c` holds the weights and calls
the kernels in order, on a static arena or the caller's. The numbers are those of the Python
reference, bit by bit.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

import hardware
from evaluators.export import arena, c_outputs, recurrent, recurrent_c
from evaluators.export.fixed_point import Array
from evaluators.export.graph import UnsupportedNetworkError, Window
from evaluators.export.integer_network import IntegerNetwork
from evaluators.export.packed import PackedLayer
from evaluators.export.recurrent import Recurrent
from evaluators.export.steps import (
    AveragePool,
    Concatenation,
    Convolution,
    MaxPool,
    Step,
    Sum,
    Tensor,
)
from hardware.ir.layer import POWER_OF_TWO
from hardware.memory.planner import ALIGNMENT

SOURCES = Path(__file__).with_name("c_sources")
KERNELS = Path(hardware.__file__).with_name("kernels")
KERNEL_FILES = ("kernels.h", "kernels_portable.h", "kernels_dsp.h", "kernels_mve.h")
"""The first chooses one of the others by the compiler's macros."""

MISRA = "misra_suppressions.txt"
RECURRENT = "recurrent.h"
"""Kernels of recurrent layers, written where there are any."""

DEFAULT_PREFIX = "model"
_PER_LINE = 16
_INT32 = 2**31 - 1

_TEMPLATES = {
    "header.h": "{}.h",
    "selftest.c": "{}_selftest.c",
    "main.c": "examples/main.c",
    "CMakeLists.txt": "CMakeLists.txt",
    "library.json": "library.json",
    "library.properties": "library.properties",
    "sketch.ino": "examples/{0}_check/{0}_check.ino",
    "idf_component.yml": "idf_component.yml",
    "zephyr/module.yml": "zephyr/module.yml",
    "zephyr/Kconfig": "zephyr/Kconfig",
    "zephyr/CMakeLists.txt": "zephyr/CMakeLists.txt",
}
"""Files of `c_sources/templates` that an export writes, and their names there."""

_TAKEN = re.compile(
    "assert|complex|ctype|errno|fenv|float|inttypes|iso646|kernels(_dsp|_mve|_portable)?|limits|"
    "locale|math|memory|new|recurrent|"
    "setjmp|signal|std(align|arg|atomic|bool|def|int|io|lib|noreturn)|strings?|tgmath|threads|time|"
    "uchar|unistd|version|wchar|wctype|all|clean|help|install|package|test"
)
"""Headers that a `NAME.h` would hide, and names that CMake keeps for itself."""

_FORMER_NAME = """
/* The name in exports that had no prefix. */
static inline void infer(const model_input_t *input, model_output_t *output) {
  model_infer(input, output);
}
"""


def write_c(
    network: IntegerNetwork,
    modules: Sequence[PackedLayer],
    folder: Path,
    title: str,
    *,
    example: Array,
    prefix: str = DEFAULT_PREFIX,
) -> None:
    """Writes a folder that a firmware takes as it is.

    Args:
        network: the integer network.
        modules: its packed weights.
        folder: made if it does not exist.
        title: first comment of the files.
        example: `[N, C, ...]` real inputs in torch's order; the first becomes the test vector.
        prefix: of the files and of every external symbol.

    Raises:
        ValueError: the prefix can't name files and symbols of C.
        UnsupportedNetworkError: as `check_ranges`.
    """
    check_prefix(prefix)
    check_ranges(network)
    plan = arena.plan(network)
    values: dict[str, object] = {"name": prefix, "NAME": prefix.upper(), "title": _plain(title)}
    values |= _header_values(network, plan, prefix) | _test_vector(network, prefix, example)
    values |= _layer_names(network)
    stream = recurrent_c.streaming(network)
    values |= {"stream": "", "stream_test": ""} | (stream or {})
    if stream is not None:
        values["stream"] = filled("stream.h", values)
        values["stream_test"] = filled("selftest_stream.c", values)
    folder.mkdir(parents=True, exist_ok=True)
    recurrents = [RECURRENT] if recurrent_c.layers(network) else []
    for name in (*KERNEL_FILES, *recurrents, MISRA):
        shutil.copyfile(KERNELS / name, folder / name)
    for template, target in _TEMPLATES.items():
        text = filled(template, values)
        path = folder / target.format(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    source = _model(network, plan, modules, values)
    (folder / f"{prefix}.c").write_text(source, encoding="utf-8")


def check_prefix(prefix: str) -> None:
    """Raises a `ValueError` unless files and symbols of C can begin with the prefix."""
    if re.fullmatch("[a-z][a-z0-9_]{0,62}", prefix) is None:
        raise ValueError(
            f"the prefix of the C code is {prefix!r}: give lower-case letters, digits and "
            "underscores, a letter first, at most 63, like 'wake_word'"
        )
    if _TAKEN.fullmatch(prefix):
        raise ValueError(
            f"the prefix of the C code is {prefix!r}, which is taken by C or CMake: "
            f"give another, like 'my_{prefix}'"
        )


def check_ranges(network: IntegerNetwork) -> None:
    """Raises an `UnsupportedNetworkError` if a tensor is beyond the kernels' 32 bits."""
    for step in network.steps:
        for tensor in (*step.inputs, step.output):
            if tensor.bytes > _INT32:
                raise UnsupportedNetworkError(
                    f"layer '{step.name}' has a tensor of {tensor.bytes} bytes; the C kernels "
                    f"count up to {_INT32}"
                )


def prefix_of(c_folder: Path) -> str:
    """The prefix of a written folder, by its header."""
    names = [f.stem for f in c_folder.glob("*.h") if f.name not in (*KERNEL_FILES, RECURRENT)]
    if len(names) != 1:
        raise FileNotFoundError(f"{c_folder} holds no exported network: expected one NAME.h")
    return names[0]


def filled(template: str, values: Mapping[str, object]) -> str:
    """A file of `c_sources/templates` with every `@key@` replaced.

    Lines between `@outputs@` and `@end@` are there once for each of `values["outputs"]`, filled
    with what it holds too.
    """
    outputs: object = values.get("outputs", ())
    assert isinstance(outputs, Sequence)

    def repeated(found: re.Match[str]) -> str:
        return "".join(_replaced(found[1], {**values, **output}) for output in outputs)

    text = (SOURCES / "templates" / template).read_text(encoding="utf-8")
    text = re.sub(r"^@outputs@\n(.*?)^@end@\n", repeated, text, flags=re.DOTALL | re.MULTILINE)
    return _replaced(text, values)


def _replaced(text: str, values: Mapping[str, object]) -> str:
    return re.sub("@([A-Za-z_]+)@", lambda found: str(values[found[1]]), text)


def _header_values(network: IntegerNetwork, plan: arena.Arena, prefix: str) -> dict[str, object]:
    tensor, q = network.input, network.input.quantization
    values: dict[str, object] = {
        "ram_bytes": plan.size,
        "alignment": ALIGNMENT,
        "input_dims": "x".join(map(str, tensor.shape)),
        "input_size": math.prod(tensor.shape),
        "input_type": q.kind,
        "input_scale": repr(q.scale),
        "input_zero_point": q.zero_point,
        "input_min": f"({q.low})",
        "input_max": q.high,
        "input_offset": plan.offsets[tensor.name],
    }
    has_former = prefix == DEFAULT_PREFIX and len(network.outputs) == 1
    values["former_name"] = _FORMER_NAME if has_former else ""
    return values | c_outputs.macros(network.outputs, plan.offsets, prefix)


def _layer_names(network: IntegerNetwork) -> dict[str, object]:
    names = [f'"{_plain(step.name)}"' for step in network.steps]
    return {"layers": len(names), "layer_names": ", ".join([*names, '""'])}


def _test_vector(network: IntegerNetwork, prefix: str, example: Array) -> dict[str, object]:
    given = network.quantize_input(example[:1])
    found = network.run_integers(given).reshape(-1)
    arrays, start = [], 0
    for output in network.outputs:
        name = "_".join(filter(None, (f"{prefix}_output_t test_output", output.name)))
        arrays.append(_array(name, found[start : start + output.size]))
        start += output.size
    return {
        "input": _array(f"{prefix}_input_t test_input", given.reshape(-1)),
        "output": "\n".join(arrays),
    }


def _model(
    network: IntegerNetwork,
    plan: arena.Arena,
    modules: Sequence[PackedLayer],
    values: Mapping[str, object],
) -> str:
    """The text of `NAME.c`; of the values `name`, `NAME`, `title` and those of streaming."""
    prefix = values["name"]
    packed = {m.name: (i, m) for i, m in enumerate(modules)}
    used = {product.module for product in recurrent.products(network)}
    lines = [f"/* {values['title']} */", f'#include "{prefix}.h"', "", _widths(network)]
    lines.append('#include "kernels.h"')
    if recurrent_c.layers(network):
        lines.append(f'#include "{RECURRENT}"')
    for name, (index, module) in packed.items():
        if name in used:
            lines += ["", f"/* {_plain(name)}: {module.trained_bits}-bit weights */"]
            lines += _arrays(index, module)
    arguments = f"const {prefix}_input_t *input, {values['output_argument']}"
    lines += ["", filled("hooks.c", values)]
    lines += [f"void {prefix}_infer_in(uint8_t *arena, {arguments}) {{"]
    lines += [_body(network, plan, packed, values), "}", "", filled("arena.c", values)]
    if values["stream"] and (single := recurrent.one_frame(network)):
        body = _body(single, plan, packed, values, keeps_state=True)
        lines.append(filled("stream.c", {**values, "body": body}))
    return "\n".join(lines)


def _body(
    network: IntegerNetwork,
    plan: arena.Arena,
    packed: dict[str, tuple[int, PackedLayer]],
    values: Mapping[str, object],
    *,
    keeps_state: bool = False,
) -> str:
    """Lines that run a network on `input`, `output` and `arena`, and maybe `state`."""
    lines, states = ["  (void)arena;"], recurrent_c.layers(network)
    for index, step in enumerate(network.steps):
        lines += [f"  {{ /* {_plain(step.name)} */", f"    {values['NAME']}_BEGIN({index})"]
        number = states.index(step) if keeps_state and step in states else None
        lines += [f"    {line}" for line in _call(step, network, plan, packed, number)]
        lines += [f"    {values['NAME']}_END({index})", "  }"]
    return "\n".join(lines)


def _widths(network: IntegerNetwork) -> str:
    """Tells the kernels which widths of weights to compile; what is unpacked has 8 bits."""
    found = recurrent.products(network)
    widths = {8} | {s.bits for s in found if not (s.is_coded or s.is_depthwise)}
    return f"#define KERNELS_WIDTHS {sum(widths)}"


def _plain(text: str) -> str:
    """The text without what would end a comment or a string."""
    return " ".join(text.replace("*/", "* /").replace("\\", "/").replace('"', "'").split())


def _arrays(index: int, module: PackedLayer) -> Iterable[str]:
    r = module.requantization
    content, bitmap = module.weights, "NULL"
    if module.has_bitmap:
        bitmap = f"bitmap_{index}"
        marks = np.frombuffer(content[: module.bitmap_bytes], "<u4")
        yield _array(f"uint32_t {bitmap}", marks, "u")
        content = content[module.bitmap_bytes :]
    if module.bits == 8:
        yield _array(f"int8_t weights_{index}", np.frombuffer(content, np.int8))
    else:
        yield _array(f"uint32_t weights_{index}", np.frombuffer(content, "<u4"), "u")
    yield _array(f"int32_t bias_{index}", r.bias)
    yield _array(f"int32_t multiplier_{index}", r.multiplier)
    yield _array(f"int32_t shift_{index}", r.words())
    names = ", ".join(f"{n}_{index}" for n in ("weights", "bias", "multiplier", "shift"))
    kind = f"{module.bits}, {int(module.scheme == POWER_OF_TWO)}, {bitmap}"
    yield f"static const layer_t layer_{index} = {{{names}, {kind}}};"


def _array(declaration: str, values: npt.NDArray[np.generic], suffix: str = "") -> str:
    numbers = [f"{v}{suffix}" for v in values.tolist()]
    rows = ["  " + ", ".join(numbers[i : i + _PER_LINE]) for i in range(0, len(numbers), _PER_LINE)]
    return f"static const {declaration}[{len(numbers)}] = {{\n" + ",\n".join(rows) + "};"


def _call(
    step: Step,
    network: IntegerNetwork,
    plan: arena.Arena,
    packed: dict[str, tuple[int, PackedLayer]],
    number: int | None,
) -> Iterable[str]:
    """Lines that run a step; `number` is of the state that it keeps between calls."""
    inputs = ", ".join(_tensor(t, network, plan) for t in step.inputs)
    yield f"const tensor_t in[] = {{{inputs}}};"
    yield f"const tensor_t out = {_tensor(step.output, network, plan)};"
    count, bounds = len(step.inputs), f"{_int32(step.bounds[0])}, {_int32(step.bounds[1])}"
    if isinstance(step, (Convolution, MaxPool, AveragePool)):
        yield f"const window_t window = {_window(step.window)};"
    if isinstance(step, Convolution):
        layer = f"&layer_{packed[step.module][0]}"
        place = plan.scratch.get(step.name)
        scratch = "NULL" if place is None else f"(int8_t *)arena + {place}"
        kernel, groups = ("depthwise", "") if step.is_depthwise else (
            "convolution", f" {step.groups},"
        )  # fmt: skip
        yield f"{kernel}(in, &out, {layer}, &window,{groups} {bounds}, {scratch});"
    elif isinstance(step, Recurrent):
        index = {name: i for name, (i, _) in packed.items()}
        yield from recurrent_c.call(step, index, plan.scratch[step.name], number=number)
    elif isinstance(step, Sum) and step.in_bytes:
        factors = ", ".join(map(str, (*step.multipliers, 0)[:2]))
        yield f"const terms_t terms = {{{{{factors}}}, {step.constant}, {step.shift}, {bounds}}};"
        yield f"add(in, {count}, &out, &terms);"
    elif isinstance(step, Sum):
        yield f"const int32_t multiplier[] = {{{', '.join(map(str, step.multipliers))}}};"
        yield f"sum(in, multiplier, {count}, {step.shift}, &out, {bounds});"
    elif isinstance(step, Concatenation):
        yield f"concatenation(in, {count}, &out, {bounds});"
    elif isinstance(step, MaxPool):
        yield f"max_pool(in, &out, &window, {bounds});"
    elif isinstance(step, AveragePool) and step.requantization:
        r = step.requantization
        scaling = f"{r.bias[0]}, {r.multiplier[0]}, {r.words()[0]}"
        yield f"average_pool(in, &out, &window, {scaling}, {bounds});"
    elif isinstance(step, AveragePool):
        scaling = f"{step.multiplier}, {step.shift}"
        yield f"average_pool_wide(in, &out, &window, {scaling}, {bounds});"
    else:
        raise TypeError(f"no kernel for {type(step).__name__}")


def _tensor(tensor: Tensor, network: IntegerNetwork, plan: arena.Arena) -> str:
    outputs = {output.tensor.name: output for output in network.outputs}
    if tensor.name == network.input.name:
        # The kernels only read it.
        data = "(void *)(uintptr_t)input"
    elif tensor.name in outputs:
        data = c_outputs.pointer(outputs[tensor.name])
    else:
        data = f"arena + {plan.offsets[tensor.name]}"
    h, w, c = tensor.shape
    q = tensor.quantization
    return f"{{{data}, {h}, {w}, {c}, {q.item_bytes}, {q.zero_point}}}"


def _window(window: Window) -> str:
    values = [*window.kernel, *window.stride, *window.padding, *window.dilation]
    return "{" + ", ".join(map(str, values)) + "}"


def _int32(value: int) -> str:
    return "INT32_MIN" if value == -(2**31) else str(value)
