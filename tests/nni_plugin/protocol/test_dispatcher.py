"""Tuner and assessor in NNI's own dispatcher, which is not connected to a manager."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nni.runtime.msg_dispatcher import MsgDispatcher
from nni.runtime.tuner_command_channel import CommandType

from nni_plugin import JointGATuner, ParetoAssessor
from nni_plugin.protocol.dispatcher import running_dispatcher
from nni_plugin.tuner import running_tuner


class Unconnected(MsgDispatcher):
    """NNI's dispatcher with its threads; what it would send is kept."""

    def __init__(self, tuner: Any, assessor: Any = None) -> None:
        super().__init__("ws://_unittest_", tuner, assessor)
        self.sent: list[tuple[CommandType, str]] = []
        self.default_worker.start()
        self.assessor_worker.start()

    def send(self, command: CommandType, data: str) -> None:
        self.sent.append((command, data))

    def wait_for(self, command: CommandType) -> str:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = [data for kind, data in self.sent if kind is command]
            if found:
                return found[-1]
            time.sleep(0.02)
        raise AssertionError(f"no {command} in {self.sent}")


@pytest.fixture
def dispatcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Unconnected]:
    monkeypatch.setenv("NNI_CHECKPOINT_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("NNI_TUNER_COMMAND_CHANNEL", raising=False)
    monkeypatch.setattr("nni_plugin.tuner._running", None)
    made = Unconnected(JointGATuner(), ParetoAssessor())
    yield made
    made.stopping = True
    made.tuner._on_exit()
    made.default_worker.join(5)
    made.assessor_worker.join(5)


def test_the_dispatcher_is_found_while_it_runs(dispatcher: Unconnected) -> None:
    assert running_dispatcher() is dispatcher
    dispatcher.stopping = True
    dispatcher.default_worker.join(5)
    dispatcher.assessor_worker.join(5)
    assert running_dispatcher() is None


def test_an_error_in_a_callback_reaches_the_manager(dispatcher: Unconnected) -> None:
    space = {"x": {"_type": "chioce", "_value": [1, 2]}}
    dispatcher.enqueue_command(CommandType.Initialize, space)
    assert "chioce" in dispatcher.wait_for(CommandType.Error)


def test_an_error_of_the_assessor_reaches_the_manager(dispatcher: Unconnected) -> None:
    report = {"type": "PERIODICAL", "trial_job_id": "t", "sequence": 0, "value": "0.5"}
    dispatcher.enqueue_command(CommandType.ReportMetricData, {**report, "parameter_id": 0})
    assert "has not told the search space" in dispatcher.wait_for(CommandType.Error)


def test_the_assessor_finds_the_tuner_beside_it(dispatcher: Unconnected) -> None:
    assert running_tuner() is dispatcher.tuner
