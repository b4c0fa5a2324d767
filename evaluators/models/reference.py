"""Loads the MLPerf Tiny reference weights (PyTorch files) into this package's networks."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from evaluators.models.autoencoder import Autoencoder
from evaluators.models.ds_cnn import DSCNN
from evaluators.models.layers import KERAS_EPSILON
from evaluators.models.mobilenet import MobileNetV1
from evaluators.models.resnet import ResNet

_RESNET8 = {
    "stem.0": "stem", "stem.1": "stem_bn",
    **{f"b{i}{part}.0": f"block{i}.conv{n}" for i in (1, 2, 3) for n, part in ((1, "a"), (2, "b"))},
    **{f"b{i}{part}.1": f"block{i}.bn{n}" for i in (1, 2, 3) for n, part in ((1, "a"), (2, "b"))},
    "b2a.0.1": "block2.conv1", "b3a.0.1": "block3.conv1",
    "s2": "block2.shortcut", "s3": "block3.shortcut", "fc": "head.fc",
}  # fmt: skip


def _mobilenet_name(module: str) -> str:
    if module in ("fc", "stem.0.1", "stem.1"):
        return {"fc": "head.fc", "stem.0.1": "stem", "stem.1": "stem_bn"}[module]
    # The caller passes names of this form only, so that there is a match.
    block, half, kind = re.fullmatch(r"blocks\.(\d+)\.(\d)\.(\d)(?:\.1)?", module).groups()  # type: ignore[union-attr]  # all names have this form
    return f"block{int(block) + 1}.{('dw', 'pw')[int(half)]}{('', '_bn')[int(kind)]}"


def _autoencoder_name(module: str) -> str:
    if module == "out":
        return "out"
    index = int(module.removeprefix("body."))
    return f"{('fc', 'bn')[index % 3]}{index // 3 + 1}"


def _ds_cnn_name(module: str) -> str:
    if module == "fc":
        return "fc"
    if module.startswith("stem."):
        return {"1": "stem", "2": "norm"}[module[-1]]
    block, half, kind = module.removeprefix("blocks.").split(".")
    return f"blocks.{block}.{3 * int(half) + int(kind)}"


def _new_name(model: nn.Module, module: str) -> str:
    if isinstance(model, ResNet):
        return _RESNET8[module]
    if isinstance(model, MobileNetV1):
        return _mobilenet_name(module)
    if isinstance(model, DSCNN):
        return _ds_cnn_name(module)
    return _autoencoder_name(module)


def _absorb_bias(state: dict[str, Tensor], model: DSCNN) -> None:
    """Moves each convolution's bias, and Keras' larger epsilon, into the batch norm behind it."""
    pairs = [("stem", "norm")]
    pairs += [(f"blocks.{i}.{k}", f"blocks.{i}.{k + 1}") for i in range(4) for k in (0, 3)]
    for conv, norm in pairs:
        state[f"{norm}.running_mean"] = state[f"{norm}.running_mean"] - state.pop(f"{conv}.bias")
        state[f"{norm}.running_var"] = state[f"{norm}.running_var"] + (
            KERAS_EPSILON - model.norm.eps
        )


def check_choice(weights: str) -> None:
    """Looks at a task's option.

    Raises:
        ValueError: it is neither ``auto``, ``reference`` nor ``train``.
    """
    if weights not in ("auto", "reference", "train"):
        raise ValueError(f"weights={weights!r} must be 'auto', 'reference' or 'train'")


def uses_reference(weights: str, path: Path) -> bool:
    """Whether that option asks for the reference weights, which ``auto`` does if they are there."""
    return weights == "reference" or (weights == "auto" and path.is_file())


def load_reference(model: nn.Module, path: str | Path) -> None:
    """Fills a network with converted Keras weights and leaves it in eval mode.

    Args:
        model: a ResNet-8, a MobileNetV1 of width 0.25, a DS-CNN or an autoencoder of 640 features.
        path: ``resnet8_ic.pt``, ``mobilenetv1_vww.pt``, ``dscnn_kws.pt`` or ``fcae_ad.pt``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, no state dict, or one of another network.
        TypeError: ``model`` has no reference weights.
    """
    if not isinstance(model, ResNet | MobileNetV1 | Autoencoder | DSCNN):
        raise TypeError(f"there are no reference weights for {type(model).__name__}")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"reference weights {path} do not exist")
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"reference weights {path} can't be read ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no message'}): copy the file again"
        ) from error
    try:
        renamed = {}
        for key, value in state.items():
            module, _, leaf = key.rpartition(".")
            renamed[f"{_new_name(model, module)}.{leaf}"] = value
        if isinstance(model, DSCNN):
            _absorb_bias(renamed, model)
            # The reference averages 24 of the 25 rows.
            model.pool = nn.AvgPool2d((24, 5))  # type: ignore[assignment]  # another pooling, called alike
        model.load_state_dict(renamed)
    except (AttributeError, KeyError, ValueError, IndexError, RuntimeError) as error:
        raise ValueError(
            f"reference weights {path} are of another network than {type(model).__name__}: {error}"
        ) from error
    model.eval()
