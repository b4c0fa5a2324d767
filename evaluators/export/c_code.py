"""`c/`: the integer network as self-contained C with one function, `infer()`.

`kernels.h` is copied as it is; `model.c` holds the weights and calls the kernels in order, on a
static arena. The numbers are those of the Python reference, bit by bit.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evaluators.export import arena
from evaluators.export.graph import Window
from evaluators.export.integer import IntegerNetwork
from evaluators.export.packed import PackedLayer
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
_PER_LINE = 16


def write_c(
    network: IntegerNetwork, modules: Sequence[PackedLayer], folder: Path, title: str
) -> None:
    """Writes `kernels.h`, `model.h` and `model.c`.

    Args:
        network: the integer network.
        modules: its packed weights.
        folder: made if it does not exist.
        title: first comment of the files.
    """
    folder.mkdir(exist_ok=True)
    shutil.copyfile(SOURCES / "kernels.h", folder / "kernels.h")
    plan = arena.plan(network)
    (folder / "model.h").write_text(_header(network, plan, title), encoding="utf-8")
    (folder / "model.c").write_text(_model(network, plan, modules, title), encoding="utf-8")


def _header(network: IntegerNetwork, plan: arena.Arena, title: str) -> str:
    given, result = network.input, network.output
    return f"""/* {title} */
#ifndef JOINT_GA_MODEL_H
#define JOINT_GA_MODEL_H

#include <stdint.h>

/* Input and output are stored (height, width, channels): {_dims(given)} and {_dims(result)}.
 * q = clamp(round(real / scale) + zero point); real = (q - zero point) * scale.
 */
#define MODEL_INPUT_SIZE {_count(given)}
#define MODEL_INPUT_SCALE {given.quantization.scale!r}f
#define MODEL_INPUT_ZERO_POINT {given.quantization.zero_point}
#define MODEL_INPUT_MIN ({given.quantization.low})
#define MODEL_INPUT_MAX {given.quantization.high}
#define MODEL_OUTPUT_SIZE {_count(result)}
#define MODEL_OUTPUT_SCALE {result.quantization.scale!r}f
#define MODEL_OUTPUT_ZERO_POINT {result.quantization.zero_point}
#define MODEL_RAM_BYTES {plan.size} /* of the arena: all but the stack */

typedef {given.quantization.kind} model_input_t;
typedef {result.quantization.kind} model_output_t;

/* Activations live in one static arena, so `infer` is not reentrant. Input and output have their
 * places there too: `infer(MODEL_INPUT, MODEL_OUTPUT)` needs no other RAM, and overwrites the
 * input. Buffers of your own work as well.
 */
extern uint8_t model_arena[MODEL_RAM_BYTES];
#define MODEL_INPUT ((model_input_t *)(void *)(model_arena + {plan.offsets[given.name]}))
#define MODEL_OUTPUT ((model_output_t *)(void *)(model_arena + {plan.offsets[result.name]}))
void infer(const model_input_t *input, model_output_t *output);

#endif
"""


def _model(
    network: IntegerNetwork, plan: arena.Arena, modules: Sequence[PackedLayer], title: str
) -> str:
    packed = {m.name: (i, m) for i, m in enumerate(modules)}
    used = {s.module for s in network.steps if isinstance(s, Convolution)}
    lines = [
        f"/* {title} */",
        '#include "model.h"',
        "",
        '#include "kernels.h"',
        "",
        f"_Alignas({ALIGNMENT}) uint8_t model_arena[MODEL_RAM_BYTES];",
    ]
    for name, (index, module) in packed.items():
        if name in used:
            lines += ["", f"/* {name}: {module.trained_bits}-bit weights */"]
            lines += _arrays(index, module)
    lines += ["", "void infer(const model_input_t *input, model_output_t *output) {"]
    for step in network.steps:
        lines.append(f"  {{ /* {step.name} */")
        lines += [f"    {line}" for line in _call(step, network, plan, packed)]
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


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
    if module.has_bias:
        yield _array(f"int32_t bias_{index}", r.bias)
    yield _array(f"int32_t multiplier_{index}", r.multiplier)
    yield _array(f"int32_t shift_{index}", r.words())
    bias = f"bias_{index}" if module.has_bias else "NULL"
    yield (
        f"static const layer_t layer_{index} = {{weights_{index}, {bias}, multiplier_{index}, "
        f"shift_{index}, {module.bits}, {int(module.scheme == POWER_OF_TWO)}, {bitmap}}};"
    )


def _array(declaration: str, values: npt.NDArray[np.generic], suffix: str = "") -> str:
    numbers = [f"{v}{suffix}" for v in values.tolist()]
    rows = ["  " + ", ".join(numbers[i : i + _PER_LINE]) for i in range(0, len(numbers), _PER_LINE)]
    return f"static const {declaration}[{len(numbers)}] = {{\n" + ",\n".join(rows) + "};"


def _call(
    step: Step,
    network: IntegerNetwork,
    plan: arena.Arena,
    packed: dict[str, tuple[int, PackedLayer]],
) -> Iterable[str]:
    inputs = ", ".join(_tensor(t, network, plan) for t in step.inputs)
    yield f"const tensor_t in[] = {{{inputs}}};"
    yield f"const tensor_t out = {_tensor(step.output, network, plan)};"
    count, bounds = len(step.inputs), f"{_int32(step.bounds[0])}, {_int32(step.bounds[1])}"
    if isinstance(step, (Convolution, MaxPool, AveragePool)):
        yield f"const window_t window = {_window(step.window)};"
    if isinstance(step, Convolution):
        layer = f"&layer_{packed[step.module][0]}"
        place = plan.scratch.get(step.name)
        scratch = "NULL" if place is None else f"(int8_t *)model_arena + {place}"
        kernel, groups = ("depthwise", "") if step.is_depthwise else (
            "convolution", f" {step.groups},"
        )  # fmt: skip
        yield f"{kernel}(in, &out, {layer}, &window,{groups} {bounds}, {scratch});"
    elif isinstance(step, Sum):
        yield f"const int32_t multiplier[] = {{{', '.join(map(str, step.multipliers))}}};"
        yield f"sum(in, multiplier, {count}, {step.shift}, &out, {bounds});"
    elif isinstance(step, Concatenation):
        yield f"concatenation(in, {count}, &out, {bounds});"
    elif isinstance(step, MaxPool):
        yield f"max_pool(in, &out, &window, {bounds});"
    elif isinstance(step, AveragePool):
        yield f"average_pool(in, &out, &window, {step.multiplier}, {step.shift}, {bounds});"
    else:
        raise TypeError(f"no kernel for {type(step).__name__}")


def _tensor(tensor: Tensor, network: IntegerNetwork, plan: arena.Arena) -> str:
    if tensor.name == network.input.name:
        data = "(void *)input"
    elif tensor.name == network.output.name:
        data = "output"
    else:
        data = f"model_arena + {plan.offsets[tensor.name]}"
    h, w, c = tensor.shape
    q = tensor.quantization
    return f"{{{data}, {h}, {w}, {c}, {q.item_bytes}, {q.zero_point}}}"


def _window(window: Window) -> str:
    values = [*window.kernel, *window.stride, *window.padding, *window.dilation]
    return "{" + ", ".join(map(str, values)) + "}"


def _int32(value: int) -> str:
    return "INT32_MIN" if value == -(2**31) else str(value)


def _count(tensor: Tensor) -> int:
    h, w, c = tensor.shape
    return h * w * c


def _dims(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))
