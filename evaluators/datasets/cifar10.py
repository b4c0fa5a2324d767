"""CIFAR-10 from the official python archive, its extracted folder, or a WebP pack.

Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.cache import cache_dir
from evaluators.datasets.download import fetch
from evaluators.datasets.images import Images, Labels, OfficialSplits, decode
from evaluators.datasets.reading import DataError, default_folder, existing, read_npz

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
FOLDER = "cifar-10-batches-py"
PACK = "cifar10_webp.npz"
BATCH_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""Checksums of the official files, as the data set's page and torchvision give them."""
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
WHAT = "CIFAR-10"
ADVICE = (
    f"Give the path of {ARCHIVE}, of the extracted {FOLDER}/, or of a folder that holds one of "
    "them (or leave --data out to fetch the archive)"
)


def find_cifar10(data: str | Path | None = None) -> Path:
    """Returns the archive, the folder of batch files or the pack.

    Args:
        data: one of them, or a folder that holds one. None: ``$JOINT_GA_DATA`` if it holds one,
            else the official archive is fetched to the cache.

    Raises:
        DataError: nothing is there, or the archive can't be fetched.
    """
    if data is None:
        data = default_folder(FOLDER, ARCHIVE, PACK)
    if data is None:
        return fetch(URL, cache_dir() / ARCHIVE, ARCHIVE_SHA256)
    path = existing(data, WHAT, ADVICE)
    for name in (FOLDER, ARCHIVE, PACK):
        if (path / name).exists():
            return path / name
    if path.is_dir() and not any((path / name).is_file() for name in BATCH_MD5):
        raise DataError(f"{WHAT}: {path} holds none of {FOLDER}/, {ARCHIVE}, {PACK}. {ADVICE}")
    return path


def load_cifar10(
    data: str | Path | None = None, *, checksums: Mapping[str, str] = BATCH_MD5
) -> OfficialSplits:
    """Reads both splits; images are (N, 32, 32, 3), RGB.

    Args:
        data: see :func:`find_cifar10`.
        checksums: md5 of each batch file of the official archive.

    Raises:
        DataError: nothing is there, a checksum is wrong, or the format is another one.
    """
    path = find_cifar10(data)
    if path.is_dir():
        files = {n: (path / n).read_bytes() for n in BATCH_MD5 if (path / n).is_file()}
        return _from_batches(files, str(path), checksums)
    if path.suffix == ".npz":
        return _from_pack(path)
    return _from_batches(_archive_files(path), str(path), checksums)


def _archive_files(path: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(path) as archive:
            return {
                Path(member.name).name: handle.read()
                for member in archive
                if Path(member.name).name in BATCH_MD5 and (handle := archive.extractfile(member))
            }
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{WHAT}: {path} is truncated or no tar archive ({error}). {ADVICE}"
        ) from error


def _from_batches(
    files: Mapping[str, bytes], source: str, checksums: Mapping[str, str]
) -> OfficialSplits:
    arrays = []
    for name, expected in checksums.items():
        if name not in files:
            raise DataError(f"{WHAT}: {source} lacks {name}: extract or download it again")
        found = hashlib.md5(files[name], usedforsecurity=False).hexdigest()
        # Unpickling runs code, so nothing is unpickled but the official bytes.
        if found != expected:
            raise DataError(
                f"{WHAT}: {name} in {source} has md5 {found}, expected {expected}: it is truncated "
                "or not the official file; download it again"
            )
        batch = pickle.load(io.BytesIO(files[name]), encoding="bytes")
        images = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        arrays.append((images, np.asarray(batch[b"labels"], np.int64)))
    train, test = arrays[:-1], arrays[-1]
    return OfficialSplits(
        np.concatenate([images for images, _ in train]),
        np.concatenate([labels for _, labels in train]),
        np.ascontiguousarray(test[0]),
        test[1],
    )


def _from_pack(path: Path) -> OfficialSplits:
    names = [f"{split}_{kind}" for split in ("train", "test") for kind in ("blob", "off", "label")]
    pack = read_npz(path, names, WHAT)
    return OfficialSplits(*_sprites(pack, "train", path), *_sprites(pack, "test", path))


def _sprites(
    pack: Mapping[str, NDArray[np.generic]], split: str, path: Path
) -> tuple[Images, Labels]:
    """Cuts WebP sprites of 10 x 10 images apart."""
    blob, offsets = pack[f"{split}_blob"].tobytes(), pack[f"{split}_off"].astype(np.int64)
    images = np.empty((len(offsets) - 1, 100, 32, 32, 3), np.uint8)
    for i in range(len(images)):
        what = f"{WHAT}: sprite {i} of the {split} split in {path}"
        sprite = decode(blob[offsets[i] : offsets[i + 1]], what)
        if sprite.shape != (320, 320, 3):
            raise DataError(f"{what} is {sprite.shape}, expected (320, 320, 3)")
        images[i] = sprite.reshape(10, 32, 10, 32, 3).swapaxes(1, 2).reshape(100, 32, 32, 3)
    labels = pack[f"{split}_label"].astype(np.int64)
    if len(labels) != 100 * len(images):
        raise DataError(f"{WHAT}: {path} has {len(labels)} labels for {100 * len(images)} images")
    return images.reshape(-1, 32, 32, 3), labels
