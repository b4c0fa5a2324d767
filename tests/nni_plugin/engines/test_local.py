"""The engine ``local``: real processes, and what becomes of a search when they are killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.engine_fronts import Found, Problem, in_optuna, in_process
from nni_plugin.engines.run import Run
from nni_plugin.engines.trial_files import kill_left_over
from nni_plugin.results.experiment import Experiment
from nni_plugin.study.journal import Journal, read
from support.engine_runs import LIGHT, NNI_SCRIPT, REPORT, SPACE, run, settings
from support.extras import extra
from support.joint_ga_run import JOINT_GA

JOURNAL = Path("checkpoint", "journal.jsonl")


def results(folder: Path) -> list[tuple[dict[str, object], dict[str, float]]]:
    """Parameters and metrics of the complete trials, by uid."""
    trials = Experiment(folder).log.finished("complete")
    return [(t.params, t.metrics) for t in sorted(trials, key=lambda t: t.uid)]


def counts(folder: Path) -> dict[str, int]:
    return {str(name): n for name, n in Experiment(folder).log.counts().items() if n}


def test_a_run_gives_what_its_trials_report(tmp_path: Path) -> None:
    folder, ended, _ = run(settings(tmp_path, maxTrialNumber=7, trialConcurrency=2))
    assert (ended.status, ended.reason) == ("DONE", "budget")
    assert counts(folder) == {"complete": 7}
    for params, metrics in results(folder):
        assert metrics == evaluate(params)
    frame = Experiment(folder).frame()
    assert set(frame["nni_status"]) == {"SUCCEEDED"}
    assert (frame["duration_s"] > 0).all()
    assert (folder / "log" / "pareto.html").is_file()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_same_seed_finds_the_same_front_everywhere(tmp_path: Path) -> None:
    """One trial at a time; NNI and Ray need a start of their own, see `benchmarks.engines`."""
    extra("optuna", "optuna")
    folder, ended, _ = run(settings(tmp_path / "local", maxTrialNumber=14), warm=True)
    assert ended.status == "DONE", ended.error
    local = Found.in_folder(folder)
    assert len(set(local.asked)) == 14
    assert len(local.front) > 1
    problem = problem_in(tmp_path)
    assert in_process(problem, 14, tmp_path) == local
    assert in_optuna(problem, 14) == local


def problem_in(folder: Path) -> Problem:
    """What the experiments here search, for a search without processes."""
    return Problem(SPACE, settings(folder)["tuner"]["classArgs"], evaluate)


def evaluate(params: Mapping[str, object]) -> dict[str, float]:
    """What the trials of `support.engine_runs` report."""
    x, y, z = (int(str(params[name])) for name in "xyz")
    return {"gain": (x - 3) ** 2 + y / 7, "size": x + 2 * y + z}


@pytest.mark.slow
def test_an_nni_script_runs_as_it_is_forked_or_fresh(tmp_path: Path) -> None:
    for warm, number in ((True, 2), (False, 1)):
        # The second one is forked with what the first has imported.
        config = settings(tmp_path / str(warm), NNI_SCRIPT, maxTrialNumber=number)
        folder, ended, _ = run(config, warm=warm)
        assert ended.status == "DONE", ended.error
        assert [metrics == evaluate(params) for params, metrics in results(folder)] == [
            True
        ] * number


def kill_once(target: Callable[[Run], int | None]) -> Callable[[Run], None]:
    """Kills a process of the run as soon as there is one; once."""
    killed: list[int] = []

    def step(started: Run) -> None:
        if not killed and (pid := target(started)) is not None:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    return step


def trial_process(started: Run) -> int | None:
    for path in started.folder.glob("environments/*/trials/*/pid"):
        if path.read_text() and psutil.pid_exists(int(path.read_text())):
            return int(path.read_text())
    return None


def server_process(started: Run) -> int | None:
    if trial_process(started) is None:
        return None
    server: subprocess.Popen[bytes] = started.driver.engine._server  # type: ignore[attr-defined]  # of local
    return server.pid


@pytest.mark.parametrize("target", [trial_process, server_process])
def test_a_killed_worker_costs_no_chromosome(
    tmp_path: Path, target: Callable[[Run], int | None]
) -> None:
    config = settings(tmp_path, LIGHT + "time.sleep(0.6)\n" + REPORT, maxTrialNumber=4)
    folder, ended, said = run(config, step=kill_once(target))
    assert ended.status == "DONE", ended.error
    assert counts(folder) == {"complete": 4}
    assert any("runs again" in line for line in said)
    assert Found.in_folder(folder) == in_process(problem_in(tmp_path), 4, tmp_path)


def test_a_trial_that_is_always_killed_is_given_up(tmp_path: Path) -> None:
    body = LIGHT + "if uid == 2: os.kill(os.getpid(), signal.SIGKILL)\n" + REPORT
    folder, ended, _ = run(settings(tmp_path, body, maxTrialNumber=3))
    assert ended.status == "DONE"
    assert counts(folder) == {"complete": 2, "failed": 1}
    (failed,) = Experiment(folder).log.finished("failed")
    assert "SIGKILL" in failed.reason
    assert len(list(folder.glob("environments/*/trials/t2*"))) == 3


@pytest.mark.slow
def test_a_killed_driver_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    body = LIGHT + "time.sleep(0.5)\n" + REPORT
    config = settings(tmp_path, body, maxTrialNumber=6, trialConcurrency=2)
    (tmp_path / "config.yml").write_text(json.dumps(config))
    command = [*JOINT_GA, "run", "config.yml", "--engine", "local", "--no-check"]
    with (tmp_path / "output.txt").open("w") as output:
        started = subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=output)
        pattern = "experiments/*/checkpoint/journal.jsonl"
        journal = wait_for(lambda: next(tmp_path.glob(pattern), None))
        wait_for(lambda: sum(e["event"] == "tell" for e in read(journal)) >= 2 or None)
        started.kill()
        started.wait()
    folder = journal.parents[1]
    pids = [int(path.read_text()) for path in folder.glob("environments/*/trials/*/pid")]
    wait_for(lambda: not any(map(psutil.pid_exists, pids)) or None)
    before = results(folder)

    resumed = subprocess.run(
        [*JOINT_GA, "resume", str(folder)], cwd=tmp_path, capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert counts(folder) == {"complete": 6}
    after = results(folder)
    assert [pair for pair in after if pair in before] == before
    told = [event["uid"] for event in read(folder / JOURNAL) if event["event"] == "tell"]
    assert sorted(told) == sorted(set(told)), "a chromosome has two results"


def wait_for(ready: Callable[[], Any], seconds: float = 120.0) -> Any:
    end = time.monotonic() + seconds
    while (value := ready()) is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


def test_a_result_that_nobody_heard_counts_at_the_resume(tmp_path: Path) -> None:
    """The driver died between a trial's report and the journal's line."""
    folder, _, _ = run(settings(tmp_path, maxTrialNumber=2))
    journal = folder / JOURNAL
    lines = journal.read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"uid": 2' not in line or '"ask"' in line]
    journal.write_text("".join(kept))
    (folder / "environments/local-env/trials/t2/pid").unlink()
    _, ended, _ = run(settings(tmp_path, "raise SystemExit(1)", maxTrialNumber=2), folder)
    assert ended.status == "DONE"
    assert counts(folder) == {"complete": 2}


def test_ctrl_c_ends_trials_and_asks_them_again_later(tmp_path: Path) -> None:
    config = settings(tmp_path, LIGHT + "time.sleep(60)\n" + REPORT, maxTrialNumber=2)
    pids: list[int] = []

    def stop(started: Run) -> None:
        if (pid := trial_process(started)) is not None:
            pids.append(pid)
            started.driver.interrupt()

    folder, ended, _ = run(config, step=stop)
    assert (ended.status, ended.reason) == ("INTERRUPTED", "stopped")
    assert not psutil.pid_exists(pids[0])
    assert counts(folder) == {"running": 1}
    _, ended, _ = run(settings(tmp_path, maxTrialNumber=2), folder)
    assert counts(folder) == {"complete": 2}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("print('the data is not here', file=sys.stderr); sys.exit(3)", "the data is not here"),
        ("sys.exit(0)", "without a final result"),
        ("report({'other': 1.0})", "did not report 'gain'"),
        ("report({'gain': float('nan'), 'size': 1})", "metric 'gain' is nan"),
        ("time.sleep(60)", "over its limit of 1 s"),
    ],
)
def test_why_a_trial_failed(tmp_path: Path, body: str, reason: str) -> None:
    tuner = settings(tmp_path)["tuner"]
    tuner["classArgs"]["trial_limits"] = {"seconds": 1}
    folder, ended, _ = run(settings(tmp_path, LIGHT + body, maxTrialNumber=1, tuner=tuner))
    assert ended.status == "DONE", ended.error
    (failed,) = Experiment(folder).log.finished("failed")
    assert re.search(reason, failed.reason), failed.reason


def test_trials_that_all_fail_end_the_run(tmp_path: Path) -> None:
    config = settings(tmp_path, "raise ValueError('no such data')", maxTrialNumber=50)
    _, ended, _ = run({**config, "trialConcurrency": 2})
    assert ended.status == "ERROR"
    assert "no such data" in str(ended.error)


def test_a_run_ends_at_its_duration(tmp_path: Path) -> None:
    config = settings(tmp_path, LIGHT + "time.sleep(60)\n" + REPORT, maxExperimentDuration="3s")
    folder, ended, _ = run(config)
    assert (ended.status, ended.reason) == ("DONE", "duration")
    begun = time.monotonic()
    _, again, _ = run({**config, "maxExperimentDuration": "60s"}, folder, step=stop_after(3.0))
    assert again.reason == "stopped"
    assert time.monotonic() - begun > 3.0
    _, again, _ = run({**config, "maxExperimentDuration": "6s"}, folder)
    assert again.reason == "duration", "earlier runs count"
    (job,) = [path for path in folder.glob("environments/*/trials/*") if path.name == "t1.2"]
    assert job.is_dir(), "what was in flight is asked again"


def stop_after(seconds: float) -> Callable[[Run], None]:
    end = time.monotonic() + seconds

    def step(started: Run) -> None:
        if time.monotonic() > end:
            started.driver.interrupt()

    return step


def test_an_exhausted_space_ends_the_run(tmp_path: Path) -> None:
    space = {name: {"_type": "choice", "_value": [0]} for name in "yz"}
    space["x"] = {"_type": "choice", "_value": [0, 1, 2]}
    folder, ended, _ = run(settings(tmp_path, searchSpace=space, maxTrialNumber=50))
    assert (ended.status, ended.reason) == ("DONE", "exhausted")
    assert counts(folder) == {"complete": 3}


def test_early_stopping_stops_trials_and_keeps_what_it_saw(tmp_path: Path) -> None:
    body = (
        LIGHT
        + "if uid > 3: metrics = {'gain': -uid, 'size': 100 + uid, 'uid': uid}\n"
        + "report(metrics, 'PERIODICAL')\ntime.sleep(20 * (uid > 3))\n"
        + "report(metrics, 'PERIODICAL')\n"
        + REPORT
    )
    assessor = {"name": "ParetoAssessor", "classArgs": {"policy": "successive_halving", "first": 1}}
    assessor["classArgs"]["spared"] = 0.0  # type: ignore[index]  # a dict of dicts and texts
    folder, ended, _ = run(settings(tmp_path, body, maxTrialNumber=5, assessor=assessor))
    assert ended.status == "DONE", ended.error
    log = Experiment(folder).log
    assert {4, 5} <= {trial.uid for trial in log.finished("censored")}
    assert {1, 2} <= {trial.uid for trial in log.finished("complete")}
    stops = [e for e in read(folder / "checkpoint" / "rungs.jsonl") if e["event"] == "stop"]
    # The third one's result may come before its end.
    assert {4, 5} <= {stop["uid"] for stop in stops}
    assert "EARLY_STOPPED" in set(Experiment(folder).frame()["nni_status"])


def test_a_second_run_of_the_same_experiment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal.__init__, "__defaults__", (0.1,))
    config = settings(tmp_path, maxTrialNumber=1)

    def again(started: Run) -> None:
        with pytest.raises(RuntimeError, match="is being written by another process"):
            run(config, started.folder)

    _, ended, _ = run(config, step=again)
    assert ended.status == "DONE"


def test_nothing_is_killed_that_has_taken_a_trials_number(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(str(os.getpid()))
    os.utime(tmp_path / "pid", (1.0, 1.0))
    kill_left_over(tmp_path)
