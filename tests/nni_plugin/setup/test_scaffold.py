"""``joint-ga init`` as a person uses it: on a terminal, one question after the other."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import termios
import time
from dataclasses import replace

import pytest
import yaml

from nni_plugin.setup.scaffold import Plan, write_plan

ANSWERS = [
    ("Task", "my model", "no MODULE:FUNCTION"),
    ("Task", "", ""),
    ("Device", "pdp11", "'pdp11'"),
    ("Device", "stm32l4r5", ""),
    ("Limits", "ram_kb ~ 3", "ram_kb"),
    ("Limits", "ram_kb <= 64, accuracy >= 0.9", ""),
    ("Budget, in trials", "none", "is no number of trials"),
    ("Budget, in trials", "12", ""),
]
"""Question, answer, and what is said of an answer that won't do."""


class Terminal:
    """A command on a pseudo-terminal, its output read as it comes."""

    def __init__(self, *command, cwd):
        self.master, inner = pty.openpty()
        environment = {**os.environ, "TERM": "dumb", "JOINT_GA_CACHE": str(cwd / "cache")}
        self.process = subprocess.Popen(
            command, cwd=cwd, stdin=inner, stdout=inner, stderr=inner, env=environment,
            # The terminal has to be the process's own, or Ctrl-C is but a character.
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(inner)
        self.text = ""

    def expect(self, question, seconds=120):
        """Reads until the question waits for its answer; returns what came before it."""
        start, end = len(self.text), time.monotonic() + seconds
        while not re.search(rf"^{question}[^\n]*: $", self.text[start:], re.MULTILINE):
            assert time.monotonic() < end, self.text
            self._read()
        return self.text[start:]

    def _read(self):
        if not select.select([self.master], [], [], 1.0)[0]:
            return True
        try:
            self.text += os.read(self.master, 4096).decode()
        except OSError:  # how Linux says that the other end has been closed
            return False
        return True

    def type(self, line):
        os.write(self.master, f"{line}\n".encode())

    def finish(self):
        while self._read():
            pass
        os.close(self.master)
        return self.process.wait(30)


@pytest.mark.slow
def test_what_is_missing_is_asked_and_checked_at_once(tmp_path):
    terminal = Terminal(sys.executable, "-m", "nni_plugin.cli", "init", "new", cwd=tmp_path)
    said = ""
    for question, answer, complaint in ANSWERS:
        assert said in terminal.expect(question)
        terminal.type(answer)
        said = complaint
    assert terminal.finish() == 0, terminal.text
    assert "Start it with: joint-ga run new/ga_joint.yml" in terminal.text
    settings = yaml.safe_load((tmp_path / "new" / "ga_joint.yml").read_text())
    assert settings["maxTrialNumber"] == 12
    assert settings["tuner"]["classArgs"]["constraints"] == {
        "ram_kb": "<= 64",
        "accuracy": ">= 0.9",
    }
    assert "--device stm32l4r5" in settings["trialCommand"]
    assert (tmp_path / "new" / "my_task.py").is_file()
    assert (tmp_path / "new" / "space.network.json").is_file()


def test_ctrl_c_at_a_question_writes_nothing(tmp_path):
    terminal = Terminal(sys.executable, "-m", "nni_plugin.cli", "init", "new", cwd=tmp_path)
    terminal.expect("Task,")
    # A signal between Python's printing a prompt and its waiting for the answer is only seen with
    # the next one, so an impatient person is played.
    end = time.monotonic() + 30
    while terminal.process.poll() is None and time.monotonic() < end:
        os.write(terminal.master, b"\x03")
        time.sleep(1)
    terminal.finish()
    assert terminal.process.returncode != 0
    assert not (tmp_path / "new").exists()


def test_options_of_a_task_survive_the_shell(tmp_path, monkeypatch):
    from nni_plugin.registration import register
    from nni_plugin.setup.config_check import check_config
    from nni_plugin.setup.scaffold import Plan, write_plan

    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path))
    register()
    task = "evaluators.tasks.digits:build?remove_dead=1"
    plan = Plan.make(
        folder=tmp_path / "new", task=task, device="stm32f746", trials=4, concurrency=1,
        limits=(), costs=("size_kb",), supernet=False,
    )  # fmt: skip
    config = write_plan(plan)[-1]
    command = yaml.safe_load(config.read_text())["trialCommand"]
    assert shlex.split(command)[4] == task
    assert check_config(config) == []
    _check_that_only_force_replaces(plan, monkeypatch)


def _check_that_only_force_replaces(plan, monkeypatch):
    """Files are replaced all or none, also where it is stopped half-way."""

    def stop(*_arguments, **_options):
        raise KeyboardInterrupt

    config = plan.folder / "ga_joint.yml"
    before = {file: file.read_bytes() for file in plan.folder.iterdir()}
    assert len(before) == 3
    more = replace(plan, trials=20, final_epochs=40)
    with pytest.raises(FileExistsError, match=r"space\.json, .*network\.json, .*\.yml are there"):
        write_plan(more)
    with monkeypatch.context() as patched:
        patched.setattr(yaml, "safe_dump", stop)  # of the config, the last of the files
        with pytest.raises(KeyboardInterrupt):
            write_plan(more, overwrite=True)
    assert {file: file.read_bytes() for file in plan.folder.iterdir()} == before
    write_plan(more, overwrite=True)
    settings = yaml.safe_load(config.read_text())
    assert settings["maxTrialNumber"] == 20
    assert settings["tuner"]["classArgs"]["final"] == {"epochs": 40}
    assert {file.name for file in plan.folder.iterdir()} == {file.name for file in before}


DEAD = """
from evaluators import load_task
def build():
    task = load_task("evaluators.tasks.digits:build")
    task.model.get_submodule("block3.3").weight.data[:30] = 0
    return task
"""


def test_dead_channels_are_offered_for_removal(tmp_path, monkeypatch):
    from nni_plugin.setup.scaffold import write_plan

    (tmp_path / "half_dead.py").write_text(DEAD)
    monkeypatch.chdir(tmp_path)
    for folder, query, offers in (("a", "", 1), ("b", "?remove_dead=1", 0)):
        lines: list[str] = []
        write_plan(_plan(tmp_path / folder, task=f"half_dead:build{query}"), say=lines.append)
        assert len(lines) == offers
        if lines:
            assert lines[0].startswith("30 channels have all-zero weights, without them ")
            assert "--task 'half_dead:build?remove_dead=1' takes them out" in lines[0]


def _plan(folder, **changes):
    options = {
        "folder": folder, "task": None, "device": "stm32f746", "limits": (), "trials": 4,
        "concurrency": 1, "costs": ("size_kb",),
    }  # fmt: skip
    return Plan.make(**{**options, **changes})


def test_a_supernet_is_offered_with_what_it_costs(tmp_path):
    task = "evaluators.tasks.digits:build"
    asked, lines = [], []

    def written(name, offer=lambda costs: asked.append(costs) or False, **plan):
        folder = tmp_path / name
        config = write_plan(_plan(folder, **plan), say=lines.append, offer=offer)[-1]
        return yaml.safe_load(config.read_text())["trialCommand"]

    assert "--train-supernet" not in written("asked", task=task)
    assert 50 < asked[0].kb < 500
    command = written("taken", task=task, supernet=True)
    assert "--train-supernet " in command
    assert command.endswith("taken/space.json --epochs 1")
    assert lines[-1].startswith("a supernet is trained before the first trial: about ")
    # The template's model goes, so that its costs say nothing.
    assert "--train-supernet" not in written("template")
    # What became of the template is the user's, and kept.
    mine = tmp_path / "template" / "my_task.py"
    mine.write_text(mine.read_text() + "MINE = True\n")
    told: list[str] = []
    write_plan(_plan(mine.parent, supernet=False), say=told.append, overwrite=True)
    assert mine.read_text().endswith("MINE = True\n")
    assert told == [f"{mine} is kept, and is the task"]
    assert "--train-supernet" not in written("refused", task=task, supernet=False)
    assert len(asked) == 1


def test_a_limit_on_what_no_trial_reports(tmp_path):
    assert _plan(tmp_path, limits=("ram_kb<=64",)).limits == {"ram_kb": "<= 64"}
    with pytest.raises(
        ValueError, match=r"--limit 'ram<=64': did you mean 'ram_kb <= 64', in KB\?"
    ):
        _plan(tmp_path, limits=("ram<=64",))
    plan = _plan(tmp_path / "new", limits=("accurcy >= 0.9",))
    with pytest.raises(ValueError, match=r"reports 'accurcy' \(did you mean 'accuracy'\?\)"):
        write_plan(plan)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("trials", "epochs", "said"),
    [(14, 40, "--trials=14, --final-epochs=40: .* leaves nothing"), (60, 0, "--final-epochs=0")],
)
def test_trainings_to_the_end_must_leave_trials_for_the_search(tmp_path, trials, epochs, said):
    with pytest.raises(ValueError, match=said):
        Plan.make(
            folder=tmp_path, task=None, device="stm32f746", trials=trials, concurrency=1,
            limits=(), costs=("size_kb",), final_epochs=epochs,
        )  # fmt: skip
