"""A manager that a second start takes for its own goes on with the experiment that it has."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from support.joint_ga_run import TRIAL

COUNTED = "open(f'{os.environ[\"HOME\"]}/starts', 'a').write('x')\n"


@pytest.mark.slow
@pytest.mark.nni
def test_a_second_start_is_refused_and_no_trial_runs_twice(run: Any, tmp_path: Path) -> None:
    running = run(2, body=TRIAL + COUNTED)
    url = running.wait_for(r"web UI +(http://\S+)\n")[1]
    request = urllib.request.Request(
        f"{url}/api/v1/nni/experiment",
        data=json.dumps({}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20)
    assert refused.value.code == 500
    assert "has an experiment already" in refused.value.read().decode()
    assert running.process.wait(240) == 0, running.text
    assert (tmp_path / "starts").read_text() == "xx"
