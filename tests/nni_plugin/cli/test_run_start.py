"""A tuner that takes longer than NNI's ten seconds, and one that ends at once."""

from __future__ import annotations

import json
import re
import time

import pytest

from support.joint_ga_run import Run, config_in

TUNER = """
import os, sys, time
if os.environ.get("SDK_PROCESS") == "dispatcher":
    {first}
from nni_plugin import JointGATuner
class LateTuner(JointGATuner):
    pass
"""


@pytest.fixture
def run_with(tmp_path):
    started = []

    def start(first):
        (tmp_path / "late_tuner.py").write_text(TUNER.format(first=first))
        config_in(tmp_path, 2)
        config = json.loads((tmp_path / "config.yml").read_text())
        config["tuner"] |= {"className": "late_tuner.LateTuner", "codeDirectory": "."}
        (tmp_path / "config.yml").write_text(json.dumps(config))
        started.append(Run(tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.slow
@pytest.mark.nni
def test_a_tuner_that_takes_fifteen_seconds_is_waited_for(run_with):
    begin = time.monotonic()
    running = run_with("time.sleep(15)")
    assert running.process.wait(150) == 0, running.text
    assert time.monotonic() - begin > 15
    assert "2/2 complete" in running.text
    assert "trying again" not in running.text


@pytest.mark.slow
@pytest.mark.nni
def test_a_tuner_that_ends_at_once_is_told_at_once(run_with):
    running = run_with("sys.exit('no tuner today')")
    assert running.process.wait(60) == 3, running.text
    assert re.search(r"ended as ERROR: .*Tuner ended before it connected", running.text)
