"""The networks of the sweep: `networks.json` says which, this module builds them.

`networks.json` is written by `python -m benchmarks.coverage.choose`, which states the rule.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.coverage.packages import prepare

CLASSES = 10
CHOSEN = Path(__file__).with_name("networks.json")


@dataclass(frozen=True)
class Entry:
    """A network of the sweep.

    Attributes:
        package: whose it is, by the name that it is installed by.
        family: what it stands for: a module of the package, an architecture.
        architecture: name in the package.
        parameters: numbers in it, as counted when it was chosen.
        shape: of one input, without the batch.
        why: the rule that chose it.
        tokens: whether inputs are numbers of tokens.
    """

    package: str
    family: str
    architecture: str
    parameters: int
    shape: tuple[int, ...]
    why: str = "family"
    tokens: bool = False

    @property
    def name(self) -> str:
        """`package/architecture`."""
        return f"{self.package}/{self.architecture}"


def entries() -> list[Entry]:
    """The chosen networks."""
    rows = json.loads(CHOSEN.read_text(encoding="utf-8"))["networks"]
    return [Entry(**{**row, "shape": tuple(row["shape"])}) for row in rows]


def build(package: str, architecture: str, size: int | None = None) -> nn.Module:
    """A network with random weights in eval mode.

    Args:
        package: of `BUILDERS`.
        architecture: its name there.
        size: pixels of an image, for networks that are built for one size.

    Raises:
        KeyError: the package is none of the sweep's.
    """
    prepare()
    torch.manual_seed(0)
    return BUILDERS[package](architecture, size).eval()


def _timm(architecture: str, size: int | None) -> nn.Module:
    timm: Any = import_module("timm")
    options: dict[str, Any] = {"num_classes": CLASSES}
    name, _, more = architecture.partition("?")
    if more == "features_only":
        options = {more: True}
    elif more:
        key, _, value = more.partition("=")
        options[key] = int(value)
    if size is not None:
        try:
            return timm.create_model(name, img_size=size, **options)
        except (TypeError, AssertionError, ValueError, RuntimeError):
            pass  # not built for one size, or not for this one
    return timm.create_model(name, **options)


def _torchvision(architecture: str, size: int | None) -> nn.Module:
    models: Any = import_module("torchvision.models")
    name, _, part = architecture.partition(":")
    options: dict[str, Any] = {"weights": None}
    builder = models.get_model_builder(name)
    if ".detection." in builder.__module__ or ".segmentation." in builder.__module__:
        options["weights_backbone"] = None
    options["num_classes"] = CLASSES
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": False}
    if name == "vit_b_16" or name == "vit_b_32":
        options["image_size"] = size or 224
    model = models.get_model(name, **options)
    return model.get_submodule(part) if part else model


def _smp(architecture: str, size: int | None) -> nn.Module:
    smp: Any = import_module("segmentation_models_pytorch")
    name, encoder = architecture.split("-", 1)
    return smp.create_model(name, encoder, encoder_weights=None, classes=2)


def _pytorchcv(architecture: str, size: int | None) -> nn.Module:
    provider: Any = import_module("pytorchcv.model_provider")
    options = {"in_size": (size, size)} if size else {}
    try:
        return provider.get_model(architecture, pretrained=False, num_classes=CLASSES, **options)
    except (TypeError, AssertionError, ValueError):
        return provider.get_model(architecture, pretrained=False, num_classes=CLASSES)


def _efficientnet(architecture: str, size: int | None) -> nn.Module:
    package: Any = import_module("efficientnet_pytorch")
    return package.EfficientNet.from_name(architecture, num_classes=CLASSES)


def _ultralytics(architecture: str, size: int | None) -> nn.Module:
    tasks: Any = import_module("ultralytics.nn.tasks")
    cfg = tasks.yaml_model_load(architecture)
    kinds = {
        "-cls": tasks.ClassificationModel,
        "-seg": tasks.SegmentationModel,
        "-pose": tasks.PoseModel,
        "-obb": tasks.OBBModel,
    }
    kind = next((k for end, k in kinds.items() if end in architecture), tasks.DetectionModel)
    return kind(cfg, nc=CLASSES, verbose=False)


def _transformers(architecture: str, size: int | None) -> nn.Module:
    from benchmarks.coverage import transformers_configs

    return transformers_configs.build(architecture)


BUILDERS: dict[str, Callable[[str, int | None], nn.Module]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "transformers": _transformers,
    "segmentation-models-pytorch": _smp,
    "pytorchcv": _pytorchcv,
    "efficientnet-pytorch": _efficientnet,
    "ultralytics": _ultralytics,
}
"""Builds a network of a package from its name there and the size of its images."""


def inputs_of(entry: Entry, batch: int, seed: int = 0) -> Tensor:
    """Random inputs: noise of unit variance; or numbers of tokens."""
    generator = torch.Generator().manual_seed(seed)
    if entry.tokens:
        return torch.randint(3, 100, (batch, *entry.shape), generator=generator)
    return torch.randn(batch, *entry.shape, generator=generator)


def settle(model: nn.Module, inputs: Tensor, seed: int = 0) -> nn.Module:
    """Gives a model weights that differ from each other, and batch norms the inputs' statistics.

    Each weight tensor keeps its mean and standard deviation but gets values that are all
    different, so that what is left of it can be found again by value. A tensor of equal numbers
    (scales, biases) is spread by a quarter around its value: zeros would hide faults.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data.copy_(_distinct(parameter.data, generator))
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    norms = [m for m in norms if m.track_running_stats and m.running_mean is not None]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum
            # A channel that is constant on these inputs would be blown up.
            norm.running_var.clamp_(min=0.05)
            norm.running_mean.add_(torch.randn(norm.num_features, generator=generator) * 0.05)
    return model.eval()


def _distinct(values: Tensor, generator: torch.Generator) -> Tensor:
    n = values.numel()
    mean, spread = float(values.mean()), float(values.std()) if n > 1 else 0.0
    half = 3**0.5 * spread if spread > 1e-6 else 0.25
    steps = torch.linspace(-half, half, n, dtype=torch.float64) if n > 1 else torch.zeros(1)
    order = torch.randperm(n, generator=generator)
    return (mean + steps[order]).to(values.dtype).reshape(values.shape)
