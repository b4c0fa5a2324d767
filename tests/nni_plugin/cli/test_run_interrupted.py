"""A run that is interrupted, or loses its tuner or its manager, leaves nothing running."""

from __future__ import annotations

import contextlib
import re
import signal
import time

import psutil
import pytest

from support.joint_ga_run import TRIAL, kill_9

SLOW_TRIAL = "import time\ntime.sleep(2)\n" + TRIAL


def commands(folder):
    """Command lines of what runs in this home."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME") == str(folder):
                found.append(" ".join(process.cmdline()))
    return found


def wait_for_command(running, folder, word):
    end = time.monotonic() + 90
    while not any(word in command for command in commands(folder)):
        assert time.monotonic() < end, (commands(folder), running.text)
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.nni
@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("nni_plugin.setup.nnictl", signal.SIGTERM),
        ("main.js", signal.SIGINT),
        ("--exp_params", signal.SIGHUP),
    ],
)
def test_an_interrupt_while_nni_starts_leaves_nothing(run, tmp_path, word, number):
    running = run(100)
    wait_for_command(running, tmp_path, word)
    running.process.send_signal(number)
    assert running.process.wait(60) == 130, running.text
    assert commands(tmp_path) == []
    assert "stopped while NNI was starting; nothing of it is left running" in running.text


@pytest.mark.slow
@pytest.mark.nni
def test_a_closed_terminal_stops_the_experiment(run, tmp_path):
    running = run(100, body=SLOW_TRIAL)
    running.wait_for(r"[1-9]\d*/100 complete")
    running.process.send_signal(signal.SIGHUP)
    assert running.process.wait(150) == 130, running.text
    assert commands(tmp_path) == []
    assert re.search(r"Continue it with: joint-ga resume \w+\n", running.text)


@pytest.mark.slow
@pytest.mark.nni
@pytest.mark.parametrize("word", ["main.js", "--exp_params"])
def test_a_lost_manager_or_tuner_is_told_and_nothing_is_left(run, tmp_path, word):
    running = run(100, body=SLOW_TRIAL)
    running.wait_for(r"[1-9]\d*/100 complete")
    identity = re.search(r"Experiment (\w+) is running", running.text)[1]
    begin = time.monotonic()
    kill_9(tmp_path, word)
    said = {
        "main.js": r"ended as LOST: .*manager does not answer",
        "--exp_params": r"ended as ERROR: .*(has ended, while|may have crashed|did not)",
    }
    assert running.process.wait(150) == 3, running.text
    assert re.search(said[word], running.text), running.text
    assert commands(tmp_path) == []
    assert f"joint-ga resume {identity}" in running.text
    assert time.monotonic() - begin < 80
