"""Fashion-MNIST from its four idx files (Xiao, Rasul, Vollgraf, 2017)."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.datasets.images import Images, Labels, OfficialSplits
from evaluators.datasets.reading import DataError, default_folder, existing

SYSTEM_FOLDER = "/usr/share/datasets/fashion-mnist"
"""Where Debian's package ``dataset-fashion-mnist`` puts the files."""
WHAT = "Fashion-MNIST"
ADVICE = (
    "On Debian and Ubuntu: apt-get install dataset-fashion-mnist. Elsewhere give the folder of the "
    "four *-ubyte.gz files (github.com/zalandoresearch/fashion-mnist, data/fashion) with --data"
)


def load_fashion_mnist(data: str | Path | None = None) -> OfficialSplits:
    """Reads 60,000 training and 10,000 test images (N, 28, 28, 1).

    Args:
        data: folder of the idx files, compressed or not. None: ``$JOINT_GA_DATA`` if it holds
            them, else Debian's package.

    Raises:
        DataError: a file is missing, truncated or no idx file.
    """
    if data is None:
        data = default_folder(*(f"train-images-idx3-ubyte{end}" for end in (".gz", "")))
    folder = existing(SYSTEM_FOLDER if data is None else data, WHAT, ADVICE)
    return OfficialSplits(*_split(folder, "train"), *_split(folder, "t10k"))


def _split(folder: Path, prefix: str) -> tuple[Images, Labels]:
    images = read_idx(_file(folder, f"{prefix}-images-idx3-ubyte"), 3)
    labels = read_idx(_file(folder, f"{prefix}-labels-idx1-ubyte"), 1)
    if images.shape[1:] != (28, 28) or len(images) != len(labels):
        raise DataError(
            f"{WHAT}: {folder} has {prefix} images {images.shape} and {len(labels)} labels, "
            f"expected (N, 28, 28) and N: another data set? {ADVICE}"
        )
    return images[..., None], labels.astype(np.int64)


def _file(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise DataError(f"{WHAT}: {folder} holds neither {name}.gz nor {name}. {ADVICE}")


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Reads an idx file of unsigned bytes, compressed or not.

    The format: two zero bytes, 8 (unsigned byte), the number of dimensions, each dimension as a
    big-endian 32-bit number, the values (LeCun, "The MNIST database").

    Raises:
        DataError: the file is truncated, of another format or of another dimensionality.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is truncated or not compressed by gzip ({error})") from error
    header = 4 + 4 * dimensions
    if len(raw) < header or raw[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError(f"{path} is no idx file of {dimensions} dimensions: it starts {raw[:4]!r}")
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", dimensions, 4))
    values = np.frombuffer(raw, np.uint8, offset=header)
    if values.size != np.prod(shape):
        raise DataError(f"{path} holds {values.size} values, its header says {shape}: truncated?")
    return values.reshape(shape)
