"""Times a model file with ONNX Runtime; also copied to boards and run there, so it stands alone.

`python timing.py MODEL... [--seconds S] [--threads N]` prints one JSON line: the minimum and the
median over many runs of each model, in milliseconds. Models take turns, run by run, so that a
slow phase of the machine hits all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any


def interleaved(runs: Sequence[Callable[[], object]], seconds: float) -> list[dict[str, float]]:
    """Call every function in turn for some seconds; return minimum and median in milliseconds."""
    times: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 10:
        for run, own in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            own.append((time.perf_counter() - start) * 1000)
    return [
        {"min_ms": min(own), "median_ms": sorted(own)[len(own) // 2], "runs": float(len(own))}
        for own in times
    ]


def session(path: str, threads: int) -> Callable[[], object]:
    """Return a function that runs one inference of an ONNX file on random input."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    model: Any = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    feed = {i.name: random.standard_normal(i.shape).astype(np.float32) for i in model.get_inputs()}
    return lambda: model.run(None, feed)


def main() -> None:
    """Time the models named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    runs = [session(path, args.threads) for path in args.models]
    print(json.dumps(interleaved(runs, args.seconds * len(runs))))


if __name__ == "__main__":
    main()
