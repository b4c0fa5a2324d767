"""Readers: the real files where they are there, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from evaluators.datasets.cifar10 import BATCH_MD5, load_cifar10
from evaluators.datasets.fashion_mnist import SYSTEM_FOLDER, load_fashion_mnist, read_idx
from evaluators.datasets.skab import FOLDERS, load_skab
from evaluators.datasets.vww import find_vww, load_vww_folder, load_vww_pack
from evaluators.training import DataError
from support.datasets import idx, write_fashion, write_skab, write_vww

# --- CIFAR-10 ---------------------------------------------------------------------------------


def write_cifar(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Files of the official format with ten random images each; returns images and checksums."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, sums = {}, {}
    for name in BATCH_MD5:
        images[name] = rng.integers(0, 256, (10, 3, 32, 32), np.uint8)
        labels = [int(n) for n in rng.integers(0, 10, 10)]
        batch = {b"batch_label": b"x", b"labels": labels, b"data": images[name].reshape(10, -1)}
        raw = pickle.dumps(batch, protocol=2)
        (folder / name).write_bytes(raw)
        sums[name] = hashlib.md5(raw).hexdigest()
    return images, sums


def test_cifar10_archive_and_folder_agree(tmp_path: Path) -> None:
    images, sums = write_cifar(tmp_path / "x" / "cifar-10-batches-py")
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "x" / "cifar-10-batches-py", "cifar-10-batches-py")
    sources = [archive, tmp_path, tmp_path / "x", tmp_path / "x" / "cifar-10-batches-py"]
    for source in sources:
        read = load_cifar10(source, checksums=sums)
        assert read.train_images.shape == (50, 32, 32, 3)
        assert read.test_images.shape == (10, 32, 32, 3)
        want = images["data_batch_2"][3]
        assert np.array_equal(read.train_images[13], want.transpose(1, 2, 0))
        assert read.train_labels.dtype == np.int64


def test_cifar10_bad_files(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    _, sums = write_cifar(folder)
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-py")
    whole = archive.read_bytes()

    with pytest.raises(DataError, match=r"does not exist.*cifar-10-python.tar.gz"):
        load_cifar10(tmp_path / "nowhere")
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated"):
        load_cifar10(tmp_path / "cut.tar.gz", checksums=sums)
    (tmp_path / "text.tar.gz").write_text("hello")
    with pytest.raises(DataError, match="no tar archive"):
        load_cifar10(tmp_path / "text.tar.gz", checksums=sums)
    with pytest.raises(DataError, match=r"data_batch_1.*md5.*download it again"):
        load_cifar10(archive)  # right format, but not the official bytes
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds none of"):
        load_cifar10(tmp_path / "empty")
    (folder / "data_batch_3").unlink()
    with pytest.raises(DataError, match="lacks data_batch_3"):
        load_cifar10(folder, checksums=sums)


def test_cifar10_never_unpickles_foreign_bytes(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    write_cifar(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="md5"):
        load_cifar10(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_cifar10_pack(data: Path) -> None:
    read = load_cifar10(data / "cifar10_webp.npz")
    assert read.train_images.shape == (50000, 32, 32, 3)
    assert np.bincount(read.train_labels).tolist() == [5000] * 10
    assert np.bincount(read.test_labels).tolist() == [1000] * 10
    # The published mean of the training images, in 0..1.
    mean = read.train_images[:, :, :, :].reshape(-1, 3).mean(0) / 255
    assert mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)


def test_packs_that_are_damaged_or_of_another_data_set(data: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.npz"
    cut.write_bytes((data / "skab.npz").read_bytes()[:200_000])
    for load in (load_cifar10, load_skab, load_vww_pack):
        with pytest.raises(DataError, match=r"truncated or no \.npz"):
            load(cut)
        with pytest.raises(DataError, match="pack of another data set"):
            load(data / "kws_arabic.npz")


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, sums = write_cifar(tmp_path / "cifar-10-batches-py")
    write_fashion(tmp_path)
    write_skab(tmp_path / "SKAB" / "data", 30)
    write_vww(tmp_path / "vw_coco2014_96", 1)
    monkeypatch.setenv("JOINT_GA_DATA", str(tmp_path))
    assert len(load_cifar10(checksums=sums).test_labels) == 10
    assert len(load_fashion_mnist().train_labels) == 40
    assert len(load_skab(None)) == 6
    assert find_vww(None) == tmp_path / "vw_coco2014_96"


# --- Fashion-MNIST ----------------------------------------------------------------------------


def test_fashion_mnist_compressed_or_not(tmp_path: Path) -> None:
    arrays = write_fashion(tmp_path / "gz")
    (tmp_path / "raw").mkdir()
    for file in (tmp_path / "gz").iterdir():
        (tmp_path / "raw" / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    for folder in ("gz", "raw"):
        read = load_fashion_mnist(tmp_path / folder)
        assert np.array_equal(read.train_images[..., 0], arrays["train-images-idx3"])
        assert read.test_labels.tolist() == arrays["t10k-labels-idx1"].tolist()


def test_fashion_mnist_of_the_system() -> None:
    if not Path(SYSTEM_FOLDER).is_dir():
        pytest.skip("apt-get install dataset-fashion-mnist")
    read = load_fashion_mnist()
    assert read.train_images.shape == (60000, 28, 28, 1)
    assert np.bincount(read.test_labels).tolist() == [1000] * 10


def test_fashion_mnist_bad_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="apt-get install dataset-fashion-mnist"):
        load_fashion_mnist(tmp_path / "nowhere")
    write_fashion(tmp_path)
    images = tmp_path / "train-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    images.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated"):
        load_fashion_mnist(tmp_path)
    images.write_bytes(gzip.compress(gzip.decompress(whole)[:-100]))
    with pytest.raises(DataError, match="header says"):
        load_fashion_mnist(tmp_path)
    images.write_bytes(gzip.compress(idx(np.zeros((40, 32, 32), np.uint8))))
    with pytest.raises(DataError, match=r"expected \(N, 28, 28\)"):
        load_fashion_mnist(tmp_path)
    images.unlink()
    with pytest.raises(DataError, match="holds neither train-images"):
        load_fashion_mnist(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    with pytest.raises(DataError, match="3 dimensions"):
        read_idx(labels, 3)
    labels.write_text("text")
    with pytest.raises(DataError, match="gzip"):
        read_idx(labels, 1)


# --- visual wake words ------------------------------------------------------------------------


def test_vww_folder(tmp_path: Path) -> None:
    write_vww(tmp_path / "vw_coco2014_96", 5)
    assert find_vww(tmp_path) == tmp_path / "vw_coco2014_96"
    images, labels, names = load_vww_folder(find_vww(tmp_path))
    assert images.shape == (10, 96, 96, 3)
    assert labels.sum() == 5
    assert names == sorted(names)


def test_vww_pack_in_true_colours(data: Path) -> None:
    images, labels = load_vww_pack(find_vww(data))
    assert images.shape == (1000, 96, 96, 3)
    assert np.bincount(labels).tolist() == [500, 500]
    # Photographs are warmer than they are cold; swapped channels would turn this round.
    assert images[..., 0].mean() > images[..., 2].mean()


def test_vww_bad_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs --data"):
        find_vww(None)
    with pytest.raises(DataError, match="does not exist"):
        find_vww(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds neither"):
        find_vww(tmp_path)
    write_vww(tmp_path / "small", 1, side=64)
    with pytest.raises(DataError, match="64x64, expected 96x96"):
        load_vww_folder(tmp_path / "small")
    (tmp_path / "none" / "person").mkdir(parents=True)
    (tmp_path / "none" / "non_person").mkdir()
    with pytest.raises(DataError, match=r"no \*\.jpg in .*non_person"):
        load_vww_folder(tmp_path / "none")
    write_vww(tmp_path / "cut", 1)
    file = next((tmp_path / "cut" / "person").iterdir())
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DataError, match="truncated"):
        load_vww_folder(tmp_path / "cut")


# --- SKAB -------------------------------------------------------------------------------------


def test_skab_checkout(tmp_path: Path) -> None:
    write_skab(tmp_path / "SKAB" / "data", 30)
    recordings = load_skab(tmp_path / "SKAB")
    assert [r.name for r in recordings[:3]] == ["other/0", "other/1", "valve1/0"]
    assert recordings[0].values.shape == (30, 8)
    assert set(recordings[0].anomaly) == {1}


def test_skab_pack(data: Path) -> None:
    recordings = load_skab(data)
    assert len(recordings) == 34
    assert sum(len(r.values) for r in recordings) == 37401
    assert np.concatenate([r.anomaly for r in recordings]).mean() == pytest.approx(0.349, abs=1e-3)


def test_skab_bad_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs --data"):
        load_skab(None)
    with pytest.raises(DataError, match="does not exist"):
        load_skab(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds neither"):
        load_skab(tmp_path)
    write_skab(tmp_path / "data", 30)
    file = tmp_path / "data" / "valve1" / "1.csv"
    text = file.read_text()
    file.write_text(text[: text.rindex(";") - 30])
    with pytest.raises(DataError, match=r"valve1/1.*(no SKAB recording|empty cells)"):
        load_skab(tmp_path)
    file.write_text("a;b\n1;2\n")
    with pytest.raises(DataError, match="no SKAB recording"):
        load_skab(tmp_path)
    shutil.rmtree(tmp_path / "data")
    for part in FOLDERS:
        (tmp_path / "data" / part).mkdir(parents=True)
    with pytest.raises(DataError, match="holds 0 recordings"):
        load_skab(tmp_path)


def test_image_pack_with_a_damaged_image(data: Path, tmp_path: Path) -> None:
    with np.load(data / "mlperf_ref" / "vww01_eval.npz") as pack:
        arrays = dict(pack)
    arrays["body"] = arrays["body"].copy()
    arrays["body"][: int(arrays["off"][1])] = 0
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    (tmp_path / "vww01_eval.npz").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="image 0"):
        load_vww_pack(tmp_path / "vww01_eval.npz")
