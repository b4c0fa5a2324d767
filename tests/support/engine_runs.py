"""Small experiments for the engines, whose trials cost next to nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nni_plugin.engines.driver import Outcome
from nni_plugin.engines.run import Run, new_folder, opened
from nni_plugin.engines.run_config import RunConfig
from nni_plugin.results.engine_record import EngineRecord

SPACE = {name: {"_type": "choice", "_value": list(range(8))} for name in ("x", "y", "z")}
GOALS = {"gain": "maximize", "size": "minimize"}

# NNI's side of a trial without NNI's package, whose import takes longer than a whole run here.
LIGHT = """
import json, os, signal, sys, time
folder = os.environ["NNI_SYS_DIR"]
params = json.load(open(os.path.join(folder, "parameter.cfg")))["parameters"]
x, y, z, uid = params["x"], params["y"], params["z"], params["uid"]

def report(value, kind="FINAL"):
    metric = {"parameter_id": 0, "trial_job_id": os.environ["NNI_TRIAL_JOB_ID"], "type": kind,
              "sequence": 0, "value": json.dumps(value)}
    data = json.dumps(metric).encode() + b"\\n"
    with open(os.path.join(folder, ".nni", "metrics"), "ab") as file:
        file.write(b"ME%06d%b" % (len(data), data))

metrics = {"gain": (x - 3) ** 2 + y / 7, "size": x + 2 * y + z, "uid": uid}
"""
REPORT = "report(metrics)\n"

# As an NNI user writes it, but for the uid, which it does not know of.
NNI_SCRIPT = """
import nni
params = nni.get_next_parameter()
x, y, z = params["x"], params["y"], params["z"]
metrics = {"gain": (x - 3) ** 2 + y / 7, "size": x + 2 * y + z}
nni.report_intermediate_result(metrics)
nni.report_final_result(metrics)
"""


def settings(folder: Path, body: str = LIGHT + REPORT, **others: Any) -> dict[str, Any]:
    """An experiment's settings with absolute paths; its trials run ``body``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trial.py").write_text(body)
    class_args = {"objectives": GOALS, "population_size": 4, "seed": 3, "surrogate": "none"}
    return {
        "searchSpace": SPACE,
        "trialCommand": f"{sys.executable} trial.py",
        "trialCodeDirectory": str(folder),
        "experimentWorkingDirectory": str(folder / "experiments"),
        "trialConcurrency": 1,
        "tuner": {"name": "JointGA", "classArgs": class_args},
        **others,
    }


def run(
    config: dict[str, Any],
    folder: Path | None = None,
    *,
    engine: str = "local",
    warm: bool | None = None,
    address: str | None = None,
    step: Callable[[Run], object] = lambda _: None,
) -> tuple[Path, Outcome, list[str]]:
    """Runs an experiment, or goes on with that in ``folder``; its folder, its end, what it said."""
    record = EngineRecord(engine, config, warm, address)
    place = folder or new_folder(RunConfig.of(config).home)
    said: list[str] = []
    with opened(place, record, said.append) as started:
        return place, started.driver.run(lambda: step(started)), said
