"""Visual wake words (person / no person, 96x96) from the MLPerf Tiny folder or its test pack.

Source: Chowdhery et al., "Visual wake words dataset", 2019; Banbury et al., "MLPerf Tiny
benchmark", NeurIPS 2021.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evaluators.datasets.images import Images, Labels, decode
from evaluators.datasets.reading import DataError, default_folder, existing, read_npz

FOLDER = "vw_coco2014_96"
PACK = "vww01_eval.npz"
SIDE = 96
CLASS_FOLDERS = ("non_person", "person")
WHAT = "visual wake words"
ADVICE = (
    f"Give the extracted folder {FOLDER}/ (with person/ and non_person/) of MLPerf Tiny's "
    f"training data, or {PACK} (or a folder that holds one of them) with --data"
)


def find_vww(data: str | Path | None) -> Path:
    """Returns the folder with ``person/``, or the ``.npz`` pack.

    Args:
        data: one of them, or a folder that holds one. None: ``$JOINT_GA_DATA``.

    Raises:
        DataError: there is neither.
    """
    data = data if data is not None else default_folder(FOLDER, PACK, f"mlperf_ref/{PACK}")
    if data is None:
        raise DataError(f"{WHAT}: this task needs --data or $JOINT_GA_DATA. {ADVICE}")
    path = existing(data, WHAT, ADVICE)
    if path.is_file():
        return path
    for place in (path, path / FOLDER):
        if all((place / name).is_dir() for name in CLASS_FOLDERS):
            return place
    for place in (path / PACK, path / "mlperf_ref" / PACK):
        if place.is_file():
            return place
    raise DataError(f"{WHAT}: {path} holds neither {FOLDER}/ nor {PACK}. {ADVICE}")


def load_vww_pack(path: str | Path) -> tuple[Images, Labels]:
    """Reads the 1,000 images of MLPerf Tiny's accuracy run.

    Args:
        path: ``vww01_eval.npz``: JPEG files that share one header, red and blue swapped.

    Returns:
        Images (1000, 96, 96, 3) in RGB and labels (1: person), ordered by class as in the file.

    Raises:
        DataError: the pack is damaged or another one.
    """
    pack = read_npz(Path(path), ("header", "body", "off", "label"), WHAT)
    header, body, offsets = pack["header"].tobytes(), pack["body"].tobytes(), pack["off"]
    images = np.stack(
        [
            decode(header + body[offsets[i] : offsets[i + 1]], f"{WHAT}: image {i} in {path}")
            for i in range(len(offsets) - 1)
        ]
    )
    return np.ascontiguousarray(images[..., ::-1]), pack["label"].astype(np.int64)


def load_vww_folder(path: str | Path) -> tuple[Images, Labels, list[str]]:
    """Reads ``person/*.jpg`` and ``non_person/*.jpg``.

    Returns:
        Images (N, 96, 96, 3), labels (1: person) and file names, ordered by name.

    Raises:
        DataError: a class has no images, or an image is damaged or of another size.
    """
    found = sorted(
        (file.name, label, file)
        for label, name in enumerate(CLASS_FOLDERS)
        for file in (Path(path) / name).glob("*.jp*g")
    )
    labels = np.array([label for _, label, _ in found], np.int64)
    for label, name in enumerate(CLASS_FOLDERS):
        if not (labels == label).any():
            raise DataError(f"{WHAT}: no *.jpg in {Path(path) / name}. {ADVICE}")
    images = np.empty((len(found), SIDE, SIDE, 3), np.uint8)
    for i, (_, _, file) in enumerate(found):
        image = decode(file.read_bytes(), f"{WHAT}: {file}")
        if image.shape != (SIDE, SIDE, 3):
            raise DataError(f"{WHAT}: {file} is {image.shape[1]}x{image.shape[0]}, expected 96x96")
        images[i] = image
    return images, labels, [name for name, _, _ in found]
