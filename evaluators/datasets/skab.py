"""SKAB, the Skoltech anomaly benchmark: eight sensors of a water pump, one row a second.

Source: Katser and Kozitsin, "Skoltech Anomaly Benchmark (SKAB)", 2020.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.datasets.reading import DataError, default_folder, existing, read_npz

PACK = "skab.npz"
SENSORS = (
    "Accelerometer1RMS", "Accelerometer2RMS", "Current", "Pressure", "Temperature",
    "Thermocouple", "Voltage", "Volume Flow RateRMS",
)  # fmt: skip
FOLDERS = ("other", "valve1", "valve2")
WHAT = "SKAB"
ADVICE = (
    f"Give a checkout of github.com/waico/SKAB (its data/ holds {', '.join(FOLDERS)}), or {PACK} "
    "(or a folder that holds one of them) with --data"
)


class Recording(NamedTuple):
    """One experiment: ``values`` (T, 8) float32 and ``anomaly`` (T,) of 0 and 1, by second."""

    name: str
    values: NDArray[np.float32]
    anomaly: NDArray[np.uint8]


def load_skab(data: str | Path | None) -> list[Recording]:
    """Reads the 34 labelled recordings, ordered by folder and number.

    Args:
        data: ``skab.npz``, a checkout of the SKAB repository, or a folder that holds one of them.
            None: ``$JOINT_GA_DATA``.

    Raises:
        DataError: nothing is there, or a file is damaged or of another format.
    """
    data = data if data is not None else default_folder(PACK, "data/valve1", "SKAB")
    if data is None:
        raise DataError(f"{WHAT}: this task needs --data or $JOINT_GA_DATA. {ADVICE}")
    path = existing(data, WHAT, ADVICE)
    if path.is_file():
        return _from_pack(path)
    for place in (path, path / "data", path / "SKAB" / "data"):
        if all((place / name).is_dir() for name in FOLDERS):
            return _from_csv(place)
    if (path / PACK).is_file():
        return _from_pack(path / PACK)
    raise DataError(f"{WHAT}: {path} holds neither SKAB's folders nor {PACK}. {ADVICE}")


def _from_pack(path: Path) -> list[Recording]:
    pack = read_npz(path, ("x", "anomaly", "fid", "files", "columns"), WHAT)
    if tuple(str(name) for name in pack["columns"]) != SENSORS:
        raise DataError(f"{WHAT}: {path} has the columns {list(pack['columns'])}")
    out = []
    for number, name in enumerate(pack["files"]):
        rows = pack["fid"] == number
        if str(name).split("/")[0] in FOLDERS:
            values = pack["x"][rows].astype(np.float32)
            out.append(Recording(str(name), values, pack["anomaly"][rows].astype(np.uint8)))
    return _checked(out, path)


def _from_csv(folder: Path) -> list[Recording]:
    import pandas as pd  # here, as importing it costs every trial half a second

    out = []
    for part in FOLDERS:
        for file in sorted((folder / part).glob("*.csv"), key=lambda f: (len(f.stem), f.stem)):
            try:
                table = pd.read_csv(file, sep=";")
                values = table[list(SENSORS)].to_numpy(np.float32)
                labels = table["anomaly"].to_numpy(np.float32)
                if not np.isfinite(labels).all():
                    raise ValueError("empty cells in column 'anomaly': a truncated file?")
            except (KeyError, ValueError, OSError) as error:
                raise DataError(
                    f"{WHAT}: {file} is no SKAB recording ({error}). {ADVICE}"
                ) from error
            out.append(Recording(f"{part}/{file.stem}", values, labels.astype(np.uint8)))
    return _checked(out, folder)


def _checked(recordings: list[Recording], source: Path) -> list[Recording]:
    if len(recordings) < 2:
        raise DataError(f"{WHAT}: {source} holds {len(recordings)} recordings. {ADVICE}")
    for name, values, _ in recordings:
        if not np.isfinite(values).all():
            raise DataError(f"{WHAT}: {name} in {source} has empty cells (a truncated file?)")
    return recordings
