"""Keeps NNI's JSON reader from building objects out of what came over the network.

``nni.load`` reads every message of the manager: results of trials, imported data, trials that a
user adds. A dict with ``__nni_type__`` or ``__nni_obj__`` in it is unpickled. One with
``__symbol__`` or ``__instance_type__`` calls what it names, one with ``__enum__`` imports it. Each
runs code of whoever sent it.
"""

from __future__ import annotations

from nni.common import serializer

_DECODERS = (
    "_json_tricks_serializable_object_decode",
    "_json_tricks_customize_decode",
    "_json_tricks_func_or_cls_decode",
    "_json_tricks_any_object_decode",
)
"""The hooks of ``nni.load`` that import, call or unpickle."""


def read_plain_json_only() -> None:
    """Lets ``nni.load`` give such dicts back as they are, in this process and for good.

    For the tuner's own process: the search needs numbers, texts, lists and dicts only.

    Raises:
        RuntimeError: NNI has no such hooks, so that what they do can't be told.
    """
    missing = [name for name in _DECODERS if not hasattr(serializer, name)]
    if missing:
        raise RuntimeError(
            f"this NNI has no {', '.join(missing)}: the tuner can't tell whether it would unpickle "
            "what it is sent; install nni==3.0"
        )
    for name in _DECODERS:
        setattr(serializer, name, _as_it_is)
    serializer.json_tricks.decoders.EnumInstanceHook = lambda: _as_it_is


def _as_it_is(value: object) -> object:
    return value
