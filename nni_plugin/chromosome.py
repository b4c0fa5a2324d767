"""A chromosome in a file: a trial's parameters as NNI and the front's tables write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["read_chromosome"]


def read_chromosome(path: str | Path) -> dict[str, Any]:
    """Trial parameters from a JSON file; NNI's own record of a trial may be around them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no JSON, or no dict of genes.
    """
    try:
        params = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"--params {path}: not JSON ({error})") from error
    if isinstance(params, dict) and isinstance(params.get("parameters"), dict):
        params = params["parameters"]
    if not isinstance(params, dict):
        raise ValueError(f"--params {path}: holds {type(params).__name__}, not a dict of genes")
    return params
