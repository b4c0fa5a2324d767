"""The joint-ga command: help, exit codes, and one line for every mistake."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nni_plugin.cli.app import app
from nni_plugin.setup import launcher
from support.paths import REPOSITORY

COMMANDS = [
    command.name or command.callback.__name__.replace("_", "-")
    for command in app.registered_commands
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert f"Example:  joint-ga {command}" in done.output


def test_the_shell_completes_commands():
    environment = {"_JOINT_GA_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    done = subprocess.run(
        [Path(sys.executable).with_name("joint-ga")],
        env={**os.environ, **environment, "COMP_WORDS": "joint-ga ex"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["export"]


def test_help_is_quick_and_imports_nothing_heavy(tmp_path):
    code = (
        "import sys, nni_plugin.cli;"
        "print([m for m in ('torch', 'nni', 'pandas', 'sklearn', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "message", "exit_code"),
    [
        (["report", "nope"], "no experiment 'nope'", 1),
        (["watch", "nope"], "no experiment 'nope'", 1),
        (["compare", "nope", "nada"], "no experiment 'nope'", 1),
        (["check", "missing.yml"], "missing.yml: no such file", 4),
        (["run", "missing.yml"], "missing.yml: no such file", 4),
        (["measure", "--network", "x.json", "--backend", "abacus"], "known: onnxruntime", 1),
        (["calibrate", "--measured", "missing.csv", "--device", "stm32f746"], "missing.csv", 1),
        (["profile", "--device", "pdp11", "--network", "x.json"], "pdp11", 1),
        (["profile", "--device", "stm32f746"], "--task and --network", 2),
        (["export", "-o", "out"], "EXPERIMENT", 2),
        (["nonsense"], "No such command", 2),
        (["init", "--limit", "ram_kb ~ 3", "--device", "stm32f746"], "ram_kb", 1),
        (["init", "--trials", "0", "--device", "stm32f746"], "--trials=0", 1),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(joint_ga, arguments, message, exit_code):
    done = joint_ga(*arguments)
    assert done.returncode == exit_code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    if exit_code == 1:
        assert done.stderr.startswith("joint-ga: error: ")
        assert done.stderr.count("\n") == 1


def test_report_compare_and_export_on_files(joint_ga, write, events, tmp_path):
    write()
    write(events[:5], name="exp2")
    done = joint_ga("report", "exp1", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "Failed trials: 1\n      1  exit code 1\n" in done.stdout
    assert "Pareto front: 3 of 5 trials" in done.stdout
    assert (tmp_path / "out" / "trials.csv").exists()
    done = joint_ga("compare", "exp1", "exp2", "-o", "both")
    assert re.search(r"exp2 +│ +2 ", done.stdout), done.stdout + done.stderr
    assert (tmp_path / "both" / "compare.png").exists()
    done = joint_ga("export", "exp1", "--pick", "accuracy > 2, min size_kb")
    assert done.returncode == 1
    assert "the closest is trial tr5" in done.stderr
    done = joint_ga("export", "exp1", "--trial", "77")
    assert "no trial '77'" in done.stderr
    done = joint_ga("report", "exp1", "-o", "out/trials.csv")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_chromosomes_are_read_from_nnis_records_too(joint_ga, tmp_path):
    network = REPOSITORY / "experiment_configs" / "digits.space.network.json"
    profile = ["profile", "--device", "stm32f746", "--network", str(network), "--params", "p.json"]
    chromosome = {"stem.0.prune": 0.5, "uid": 3}
    totals = []
    for content in (chromosome, {"parameter_id": 1, "parameters": chromosome}):
        (tmp_path / "p.json").write_text(json.dumps(content))
        totals.append(joint_ga(*profile).stdout)
    assert totals[0] == totals[1]
    assert "total: size_kb" in totals[0]
    export = ["export", "--task", "a:b", "--device", "stm32f746", "--params", "p.json"]
    for content, words in (("[1]", "p.json: holds list"), ("{", "p.json: not JSON")):
        (tmp_path / "p.json").write_text(content)
        for command in (profile, export):
            done = joint_ga(*command)
            assert done.returncode == 1
            assert words in done.stderr
            assert "Traceback" not in done.stderr


def test_only_failed_trials_are_said(joint_ga, write, events):
    write([events[0], *events[-2:]])
    done = joint_ga("report", "exp1")
    assert done.returncode == 1
    assert "only failed trials (1); the last reason: exit code 1" in done.stderr


def test_watch_serves_until_it_is_stopped(write, tmp_path):
    import urllib.request

    write()
    watching = subprocess.Popen(
        [sys.executable, "-m", "nni_plugin.cli", "watch", "exp1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watching.stdout is not None
        url = watching.stdout.readline().split()[0]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url) as answer:
            assert b"Pareto front" in answer.read()
        with opener.open(url.replace("pareto.html", "joint-ga/state.json")) as answer:
            assert b'"front":[1,2,3]' in answer.read().replace(b" ", b"")
    finally:
        watching.terminate()
        assert watching.wait(20) == 130


def test_ports():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(launcher.SessionError, match=rf"port {port} is in use: choose another"):
            launcher.free_port(port)
    assert launcher.free_port(port) == port
    with pytest.raises(launcher.SessionError, match="not a port"):
        launcher.free_port(70000)


def test_a_remote_service_is_not_started_on_loopback(tmp_path):
    config = tmp_path / "remote.yml"
    config.write_text("trainingService: {platform: remote}\n")
    with pytest.raises(launcher.SessionError, match="give --host"):
        launcher.Session.start(config)


def test_environment_of_the_manager(monkeypatch):
    monkeypatch.setenv("NODE_OPTIONS", "--max-old-space-size=100")
    inside = launcher.environment("127.0.0.1")
    assert inside["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert inside["NODE_OPTIONS"].startswith("--max-old-space-size=100 --require")
    everywhere = launcher.environment("0.0.0.0", ["gate.lan"])
    assert (everywhere["JOINT_GA_HOST"], everywhere["JOINT_GA_NAMES"]) == ("*", "gate.lan")


def test_doctor_looks_at_what_a_run_needs(joint_ga, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    done = joint_ga("doctor")
    assert done.returncode == 0, done.stdout
    for word in ("Python 3", "nni 3.0", "setuptools", "torch", "python3 on PATH", "port", "qemu"):
        assert word in done.stdout
    assert "export PATH=" in done.stdout


def test_an_interrupt_within_exec_gives_the_exit_code_of_an_interrupt(tmp_path):
    """As of a namedtuple, while something is imported: CPython ends `python -m` by the signal."""
    code = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"
    (tmp_path / "interrupted.py").write_text(f"exec({code!r})\n")
    command = [sys.executable, "-m", "nni_plugin.cli", "space", "--task", "interrupted:build"]
    done = subprocess.run(
        [*command, "--device", "stm32f746"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 130, done.stderr
