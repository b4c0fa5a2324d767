"""Chooses the networks of the sweep by a rule and writes `networks.json`.

    python -m benchmarks.coverage.choose

The rule, for each package:

- timm: of every module of `timm.models` the network with the fewest parameters (the `test_*`
  networks aside); where that has more than `MOST`, with two blocks only, if it takes `depth`.
- torchvision: of every classification module the smallest, however large; likewise of the
  segmentation modules; of the detection modules the smallest one's backbone, if it has at most
  `MOST_OF_DETECTORS` parameters (what comes after the backbone picks boxes).
- pytorchcv: of every module the network that is listed first (its lists go by size), where that
  is a classifier of at most `MOST_OF_PYTORCHCV` parameters.
- segmentation-models-pytorch: every architecture with the encoder `mobilenet_v2`.
- ultralytics: of every generation (folder of its configurations) the smallest detector, and of
  the generation of 2023 and 2024 the other tasks.
- transformers: the architectures of `transformers_configs`.
- efficientnet-pytorch: the smallest.
- Besides, what was tried by hand before this sweep and comes from these packages.

Any other network with more than `MOST` parameters is left out, for the memory of its training.
Images have the smallest of `SIZES` that the network takes.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.coverage import transformers_configs, zoo
from benchmarks.coverage.packages import prepare

MOST = 60_000_000
MOST_OF_DETECTORS = 10_000_000
MOST_OF_PYTORCHCV = 3_000_000
SIZES = (64, 96, 128, 160, 192, 224, 240, 256, 299, 384)

_EARLIER = {
    "timm": (
        "convnext_atto edgenext_xx_small efficientvit_b0 ghostnet_050 lcnet_050 mixnet_s "
        "mobilenetv3_small_050 mobilenetv4_conv_small mobileone_s0 mobilevit_xxs poolformer_s12 "
        "regnety_002 repvgg_a0 repvit_m0_9 resnet18 seresnet18 skresnet18 starnet_s1 "
        "tf_efficientnet_lite0 vit_tiny_patch16_224 mobilenetv3_small_050?features_only"
    ),
    "torchvision": (
        "efficientnet_b0 lraspp_mobilenet_v3_large mnasnet0_5 mobilenet_v3_small regnet_x_400mf "
        "resnet18 resnet50 shufflenet_v2_x0_5 squeezenet1_1"
    ),
    "segmentation-models-pytorch": "FPN-resnet18 PSPNet-resnet18 Unet-resnet18",
}
"""Of the networks that were tried by hand; the others are chosen by the rule anyway."""

Named = Iterator[tuple[str, str]]
"""Family and architecture."""


def _timm() -> Named:
    timm: Any = import_module("timm")
    registry: Any = import_module("timm.models._registry")
    for name in timm.list_models():
        if not name.startswith("test_"):
            yield registry._model_to_module[name], name


def _torchvision() -> Named:
    models: Any = import_module("torchvision.models")
    for name in models.list_models():
        family = models.get_model_builder(name).__module__.removeprefix("torchvision.models.")
        if family.startswith("detection."):
            yield family, f"{name}:backbone"
        elif "." not in family or family.startswith("segmentation."):
            yield family, name


def _pytorchcv() -> Named:
    provider: Any = import_module("pytorchcv.model_provider")
    seen = set()
    for name, function in provider._models.items():
        family = function.__module__.removeprefix("pytorchcv.models.")
        if family not in seen:
            seen.add(family)
            yield family, name


def _smp() -> Named:
    smp: Any = import_module("segmentation_models_pytorch")
    for kind in smp._MODEL_ARCHITECTURES:
        encoder = "tu-vit_tiny_patch16_224" if kind.__name__ == "DPT" else "mobilenet_v2"
        yield kind.__name__, f"{kind.__name__}-{encoder}"


def _ultralytics() -> Named:
    root = Path(import_module("ultralytics").__file__ or "").parent / "cfg" / "models"
    for path in sorted(root.rglob("yolo*.yaml")):
        if path.stem.startswith("yoloe") or re.search(r"world|ghost|rtdetr|-p\d|resnet", path.stem):
            continue
        generation, task = path.parent.name, path.stem.partition("-")[2]
        plain = task in ("", "tiny", "spp")
        if plain or (generation in ("v8", "11") and task in ("cls", "seg", "pose", "obb")):
            family = generation if plain else f"{generation} {task}"
            # The letter is the scale; a configuration without scales ignores it.
            scaled = re.sub(r"^(yolov?\d+)(?=-|$)", r"\1n", path.stem) + ".yaml"
            has_scales = "scales:" in path.read_text(encoding="utf-8")
            yield family, scaled if has_scales else path.name


def _transformers() -> Named:
    for name in transformers_configs.ARCHITECTURES:
        yield name, name


def _efficientnet() -> Named:
    yield "efficientnet", "efficientnet-b0"


CANDIDATES: dict[str, Callable[[], Named]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "transformers": _transformers,
    "segmentation-models-pytorch": _smp,
    "pytorchcv": _pytorchcv,
    "efficientnet-pytorch": _efficientnet,
    "ultralytics": _ultralytics,
}


def parameters(package: str, architecture: str) -> int | None:
    """Numbers in a network, without memory for them; None if it can't be built."""
    for device in ("meta", "cpu"):
        try:
            with torch.device(device):
                model = zoo.build(package, architecture)
            return sum(p.numel() for p in model.parameters())
        except Exception:  # a foreign package may raise anything; `sized` says why it is left out
            continue
    return None


def sized(entry: zoo.Entry) -> zoo.Entry | str:
    """The entry with the smallest input that its network takes, or why there is none."""
    said = ""
    for shape in _shapes(entry):
        size = shape[-1] if len(shape) == 3 else None
        found = zoo.Entry(**{**vars(entry), "shape": shape})
        try:
            model = zoo.build(entry.package, entry.architecture, size)
            with torch.no_grad():
                zoo.settle(model, zoo.inputs_of(found, 8))
                outputs = model(zoo.inputs_of(found, 2))
            if entry.package == "pytorchcv" and getattr(outputs, "shape", ()) != (2, zoo.CLASSES):
                return "no classifier"
            return found
        except Exception as error:  # a foreign package may raise anything
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return said


def _shapes(entry: zoo.Entry) -> Iterator[tuple[int, ...]]:
    if entry.package == "transformers":
        yield transformers_configs.ARCHITECTURES[entry.architecture][2]
        return
    # pytorchcv builds for one size, and takes others only where its last pooling does.
    for size in (64, 224, 32) if entry.package == "pytorchcv" else SIZES:
        yield 3, size, size


def most(package: str, family: str) -> float:
    """Largest number of parameters that a family's smallest network may have."""
    if package == "pytorchcv":
        return MOST_OF_PYTORCHCV
    if family.startswith("detection."):
        return MOST_OF_DETECTORS
    whole = package == "torchvision" and not family.startswith("segmentation.")
    return float("inf") if whole else MOST


def choose(package: str) -> tuple[list[zoo.Entry], dict[str, str]]:
    """The networks of a package, and for each family without one the reason."""
    families: dict[str, list[tuple[int, str]]] = defaultdict(list)
    left_out: dict[str, str] = {}
    for family, name in CANDIDATES[package]():
        count = parameters(package, name)
        if count is not None:
            families[family].append((count, name))
        else:
            left_out[family] = "can't be built"
    chosen: list[zoo.Entry] = []
    for family, found in families.items():
        left_out.pop(family, None)
        count, name = min(found)
        if package == "timm" and count > MOST:
            shallow = parameters(package, f"{name}?depth=2")
            count, name = (shallow, f"{name}?depth=2") if shallow else (count, name)
        if count > most(package, family):
            left_out[family] = f"{name} has {count:,} parameters"
            continue
        _add(chosen, left_out, package, family, name, count, "family")
    for name in _EARLIER.get(package, "").split():
        if not any(entry.architecture == name for entry in chosen):
            count = parameters(package, name)
            _add(chosen, left_out, package, name, name, count or 0, "tried before")
    return chosen, left_out


def _add(
    chosen: list[zoo.Entry],
    left_out: dict[str, str],
    package: str,
    family: str,
    name: str,
    count: int,
    why: str,
) -> None:
    tokens = package == "transformers" and (
        transformers_configs.ARCHITECTURES[name][2] == transformers_configs.TOKENS
    )
    entry = sized(zoo.Entry(package, family, name, count, (), why, tokens))
    print(entry if isinstance(entry, str) else f"{entry.name} {count:,} {entry.shape}", flush=True)
    if isinstance(entry, str):
        left_out[family] = f"{name}: {entry}"
    else:
        chosen.append(entry)


def main() -> None:
    """Writes the list of networks; of the packages that are named, else of all."""
    parser = argparse.ArgumentParser(description="Chooses the networks of the sweep.")
    parser.add_argument(
        "packages", nargs="*", metavar="PACKAGE", help="the others stay as they are"
    )
    packages = parser.parse_args().packages or list(CANDIDATES)
    prepare()
    torch.set_num_threads(1)
    known: dict[str, Any] = {"networks": [], "left_out": {}}
    if zoo.CHOSEN.exists():
        known = json.loads(zoo.CHOSEN.read_text(encoding="utf-8"))
    rows = {package: [] for package in CANDIDATES}
    for row in known["networks"]:
        rows[row["package"]].append(row)
    for package in packages:
        chosen, known["left_out"][package] = choose(package)
        rows[package] = [vars(entry) for entry in chosen]
        known["networks"] = [row for package in CANDIDATES for row in rows[package]]
        zoo.CHOSEN.write_text(_text(known), encoding="utf-8")


def _text(known: dict[str, Any]) -> str:
    """JSON with a line for each network."""
    networks = ",\n".join("  " + json.dumps(row) for row in known["networks"])
    left_out = json.dumps(known["left_out"], indent=1).replace("\n", "\n ")
    return f'{{\n "networks": [\n{networks}\n ],\n "left_out": {left_out}\n}}\n'


if __name__ == "__main__":
    main()
