"""What the templates of the exported C want to know of a network's outputs.

One output is a plain pointer. Several are a struct of pointers, one for each, that is passed by
value; its macros and functions end in the output's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from evaluators.export.integer_network import Output

Values = dict[str, object]


def macros(outputs: Sequence[Output], offsets: Mapping[str, int], prefix: str) -> Values:
    """What `header.h` and the files that include it need.

    Args:
        outputs: of the network.
        offsets: byte offset of every tensor in the arena.
        prefix: of all symbols.
    """
    found = []
    for output in outputs:
        q = output.tensor.quantization
        found.append({
            **_names(output.name, prefix),
            "size": output.size,
            "scale": repr(q.scale),
            "zero_point": q.zero_point,
            "offset": offsets[output.tensor.name],
        })  # fmt: skip
    dims = ["x".join(map(str, output.tensor.shape)) for output in outputs]
    named = [f"{o.name} {d}".strip() for o, d in zip(outputs, dims, strict=True)]
    kind = f"{prefix}_output_t"
    values: Values = {
        "outputs": found,
        "output_dims": ", ".join(named),
        "output_type": outputs[0].tensor.quantization.kind,
        "output_struct": "",
        "outputs_in": "",
        "output_argument": f"{kind} *output",
        "output_const": f"const {kind} *output",
        "output_variable": f"{kind} *const output",
    }
    return values if len(outputs) == 1 else values | _struct(outputs, prefix)


def of_header(text: str, prefix: str) -> Values:
    """What a program that calls an exported network needs, read from its header."""
    found = re.findall(rf"#define {prefix.upper()}_OUTPUT_(\w+)_IN\(", text)
    return {"outputs": [_names(name.lower(), prefix) for name in found or [""]]}


def _names(name: str, prefix: str) -> dict[str, object]:
    suffix = f"_{name}" if name else ""
    place = f"{prefix.upper()}_OUTPUT"
    return {
        "suffix": suffix,
        "SUFFIX": suffix.upper(),
        "said": f" {name}:" if name else "",
        "pointer": f"output.{_field(name)}" if name else "output",
        "place": f"{place}{suffix.upper()}_IN({prefix}_arena)" if name else place,
    }


def _field(name: str) -> str:
    """Of the struct; a key alone may be a word of C."""
    return f"output_{name}"


def pointer(output: Output) -> str:
    """What `infer` writes an output to."""
    return str(_names(output.name, "")["pointer"])


def _struct(outputs: Sequence[Output], prefix: str) -> Values:
    kind, upper = f"{prefix}_outputs_t", prefix.upper()
    fields = "".join(f"  {prefix}_output_t *{_field(o.name)};\n" for o in outputs)
    sets = "".join(
        f"  found.{_field(o.name)} = {upper}_OUTPUT_{o.name.upper()}_IN(arena);\n" for o in outputs
    )
    return {
        "output_struct": (
            f"\n/* Where each of the outputs goes. */\ntypedef struct {{\n{fields}}} {kind};\n"
        ),
        "outputs_in": (
            f"static inline {kind} {prefix}_outputs_in(uint8_t *arena) {{\n"
            f"  {kind} found;\n{sets}  return found;\n}}\n"
            f"#define {upper}_OUTPUT_IN(arena) {prefix}_outputs_in(arena)\n"
        ),
        "output_argument": f"{kind} output",
        "output_const": f"{kind} output",
        "output_variable": f"const {kind} output",
    }
