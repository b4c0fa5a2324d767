"""A real experiment whose trials report what no search can use, over a stop and a resume."""

from __future__ import annotations

from typing import Any

import pytest

from nni_plugin.study.trial_log import TrialLog

pytestmark = [pytest.mark.nni, pytest.mark.slow]

TRIALS = 12
# By uid: 1 and 7 a text, 2 a huge number, 3 NaN, 6 no objective; the others are fine.
BODY = """
uid = params["uid"]
nni.report_intermediate_result({"default": [0.5, float("nan"), 10 ** 400][uid % 3], "uid": uid})
time.sleep(2)
bad = {0: {"foo": 1, "uid": uid}, 1: "high", 2: {"default": 10 ** 400, "size": 1, "uid": uid},
       3: {"default": float("nan"), "size": float("inf"), "uid": uid}}
if uid % 6 in bad:
    nni.report_final_result(bad[uid % 6])
    sys.exit(0)
"""


def test_bad_results_over_a_resume(nni: Any) -> None:
    settings = nni.config(BODY, trialConcurrency=2, maxTrialNumber=TRIALS)
    code = {"codeDirectory": str(nni.repository)}
    settings["assessor"] = {"className": "nni_plugin.ParetoAssessor", **code}
    nni.create(settings)
    # The text of 7 comes after the resume: NNI hands it over as imported data.
    nni.wait_for(lambda: [e for e in nni.journal() if e["event"] == "ask" and e["uid"] == 7])
    nni.stop()
    nni.resume()
    assert nni.wait("DONE", "ERROR", seconds=240) == "DONE"
    journal = nni.home / "checkpoint" / "journal.jsonl"
    expected = {uid: "failed" if uid % 6 < 4 else "complete" for uid in range(1, 11)}
    # The last results may come in after the manager has called it done.
    nni.wait_for(lambda: {t.uid for t in TrialLog.read(journal).finished()} >= set(expected))
    trials = TrialLog.read(journal).trials
    assert {uid: trials[uid].status for uid in expected} == expected
    assert all(trials[uid].reason for uid in expected if expected[uid] == "failed")
    assert nni.rest("/check-status")["errors"] == []
