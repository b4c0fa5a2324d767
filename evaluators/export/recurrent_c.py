"""Recurrent layers in the exported C: their calls, and the functions that take frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evaluators.export.integer_network import IntegerNetwork
from evaluators.export.recurrent import Recurrent, one_frame


def layers(network: IntegerNetwork) -> list[Recurrent]:
    """The recurrent layers of a network."""
    return [step for step in network.steps if isinstance(step, Recurrent)]


def call(
    step: Recurrent, index: Mapping[str, int], place: int, *, number: int | None
) -> Iterator[str]:
    """Lines that call the kernel of a layer on `in` and `out`.

    Args:
        step: the layer.
        index: module's name -> number of its `layer_t`.
        place: of its scratch in the arena.
        number: of its state in `state`; None: it begins with zeros, in the arena.
    """
    hidden = step.products[1].inputs[0].quantization
    given, kept = (f"&layer_{index[p.module]}" for p in step.products)
    scratch = f"(int8_t *)arena + {place + step.state_bytes}"
    state = "state"
    yield (
        f"static const recurrent_t layer = {{{given}, {kept}, {step.features}, {step.units}, "
        f"{hidden.zero_point}, {step.fraction}}};"
    )
    if number is None:
        zeros = f"recurrent_zeros((int8_t *)arena + {place}, {step.state_size})"
        yield f"int16_t *const state = {zeros};"
    else:
        state = f"state->layer_{number}"
    yield f"{step.kind}(in, &out, &layer, {state}, {scratch});"


def streaming(network: IntegerNetwork) -> dict[str, object] | None:
    """What the templates of the streaming functions want; None if a network has none."""
    single = one_frame(network)
    if single is None:
        return None
    found = layers(single)
    h, w, c = single.input.shape
    fields = [
        f"  int16_t layer_{i}[{step.state_size}]; /* {step.kind} */" for i, step in enumerate(found)
    ]
    resets = [
        f"  for (i = 0; i < {step.state_size}; i++) {{\n    state->layer_{i}[i] = 0;\n  }}"
        for i, step in enumerate(found)
    ]
    return {
        "frame_size": h * w * c, "state_fields": "\n".join(fields), "resets": "\n".join(resets)
    }  # fmt: skip
