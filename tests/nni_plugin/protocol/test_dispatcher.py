"""Tuner and assessor in NNI's own dispatcher, which is not connected to a manager."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nni
import pytest
from nni.runtime import msg_dispatcher, msg_dispatcher_base
from nni.runtime.msg_dispatcher import MsgDispatcher
from nni.runtime.tuner_command_channel import CommandType

from nni_plugin import JointGATuner, ParetoAssessor
from nni_plugin.protocol.dispatcher import running_dispatcher
from nni_plugin.protocol.dispatcher_faults import mend_dispatcher, read_message, read_value
from nni_plugin.study.trial_log import TrialLog
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
    for queue in (made.default_command_queue, made.assessor_command_queue):
        queue.put((CommandType.Ping, ""))  # wakes the worker, which looks every 3 s only
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


SPACE = {"x": {"_type": "choice", "_value": list(range(40))}}
# As a trial's report reaches the dispatcher: JSON in a text, or whatever else was written.
VALUES = [
    '"high"', '"[1"', "high", "", "NaN", "-Infinity", '{"default": NaN}', "1" + "0" * 400,
    "1" + "0" * 5000, "[" * 3000 + "]" * 3000, '{"__ndarray__": 1}', '{"__complex__": "x"}',
    '{"__enum__": {}}', '"\\"{\\""', "null", "[1, 2]", '{"a": {"b": {"c": 1}}}', "# no", "{}",
]  # fmt: skip


@pytest.fixture
def mended(dispatcher: Unconnected, monkeypatch: pytest.MonkeyPatch) -> Unconnected:
    """The dispatcher as the tuner's own process has it."""
    for module in (msg_dispatcher, msg_dispatcher_base):
        monkeypatch.setattr(module, "load", module.load)
    for name in ("handle_import_data", "get_previous_param", "process_command"):
        monkeypatch.setattr(MsgDispatcher, name, getattr(MsgDispatcher, name))
    monkeypatch.setattr(msg_dispatcher, "_next_parameter_id", 0)
    mend_dispatcher()
    dispatcher.enqueue_command(CommandType.Initialize, SPACE)
    dispatcher.wait_for(CommandType.Initialized)
    return dispatcher


@pytest.mark.parametrize(
    "text",
    ['{"a": [1, 2.5, NaN, -Infinity, null], "b": "#no comment"}', "[]", "3", '"text"',
     '{"x": {"__ndarray__": [1, 2], "dtype": "int64", "shape": [2]}}', '{"a": 1} // said NNI',
     "1" + "0" * 400],
)  # fmt: skip
def test_a_message_is_read_as_nni_reads_it(text: str) -> None:
    assert repr(read_message(text)) == repr(nni.load(text))


def ask(dispatcher: Unconnected, number: int) -> list[dict[str, Any]]:
    before = len(dispatcher.sent)
    dispatcher.enqueue_command(CommandType.RequestTrialJobs, number)
    deadline = time.monotonic() + 20
    while len(dispatcher.sent) < before + number and time.monotonic() < deadline:
        time.sleep(0.02)
    trials = dispatcher.sent[before:]
    assert {kind for kind, _ in trials} == {CommandType.NewTrialJob}, dispatcher.sent
    return [json.loads(data) for _, data in trials]


def report(dispatcher: Unconnected, parameter_id: int, value: str, kind: str = "FINAL") -> None:
    said = {"parameter_id": parameter_id, "trial_job_id": f"t{parameter_id}", "sequence": 0}
    metric = {**said, "type": kind, "value": value}
    dispatcher.enqueue_command(CommandType.ReportMetricData, metric)


def settle(dispatcher: Unconnected) -> None:
    deadline = time.monotonic() + 20
    queues = (dispatcher.default_command_queue, dispatcher.assessor_command_queue)
    while not all(queue.empty() for queue in queues) and time.monotonic() < deadline:
        time.sleep(0.02)
    with dispatcher.tuner.lock:
        assert not dispatcher.worker_exceptions
    assert CommandType.Error not in [kind for kind, _ in dispatcher.sent]


@pytest.mark.parametrize("has_assessor", [True, False])
def test_no_report_ends_the_dispatcher(mended: Unconnected, has_assessor: bool) -> None:
    if not has_assessor:
        mended.assessor = None
    (good, *trials) = ask(mended, len(VALUES) + 1)
    report(mended, good["parameter_id"], json.dumps({"default": 1, **good["parameters"]}))
    for trial, value in zip(trials, VALUES, strict=True):
        report(mended, trial["parameter_id"], value, "PERIODICAL")
        report(mended, trial["parameter_id"], value)
    (last,) = ask(mended, 1)
    settle(mended)
    trials_now = mended.tuner.study.trials
    assert [trials_now[t["parameters"]["uid"]].status for t in trials] == ["failed"] * len(VALUES)
    assert trials_now[last["parameters"]["uid"]].status == "running"


def test_a_trial_in_flight_at_a_resume_may_end_with_any_result(
    mended: Unconnected, tmp_path: Path
) -> None:
    trials = ask(mended, len(VALUES))
    mended.enqueue_command(
        CommandType.AddCustomizedTrialJob, [{**t, "parameter_source": "resumed"} for t in trials]
    )
    for trial, value in zip(trials, VALUES, strict=True):
        report(mended, trial["parameter_id"], value)
    (good,) = ask(mended, 1)
    settle(mended)
    assert good["parameter_id"] == len(VALUES)
    counts = TrialLog.read(tmp_path / "journal.jsonl").counts()
    assert (counts["failed"], counts["running"]) == (len(VALUES), 1)


def test_the_result_of_a_trial_that_nni_has_forgotten_is_known_by_its_uid(
    mended: Unconnected,
) -> None:
    (trial,) = ask(mended, 1)
    mended.enqueue_command(CommandType.AddCustomizedTrialJob, [{**trial, "parameter_id": 7}])
    report(mended, 3, json.dumps({"default": 1, "uid": trial["parameters"]["uid"]}))
    (new,) = ask(mended, 1)
    settle(mended)
    assert mended.tuner.study.trials[trial["parameters"]["uid"]].status == "complete"
    assert new["parameter_id"] == 8


def test_imported_entries_of_any_shape(mended: Unconnected) -> None:
    entries = [7, None, "x", [], {}, {"value": 1}, {"parameter": 3, "value": 1}]
    good = {"parameter": {"x": 3}, "value": 0.5}
    mended.enqueue_command(CommandType.ImportData, [*entries, {**good, "value": "high"}, good])
    mended.enqueue_command(CommandType.ImportData, {"parameter": {"x": 3}})
    mended.enqueue_command(CommandType.ImportData, "text")
    ask(mended, 1)
    settle(mended)
    statuses = [trial.origin for trial in mended.tuner.study.finished()]
    assert statuses == ["import"]


def test_an_error_of_nnis_own_reaches_the_manager_and_the_journal(
    mended: Unconnected, tmp_path: Path
) -> None:
    mended.enqueue_command(CommandType.TrialEnd, {"hyper_params": "{}", "trial_job_id": "t"})
    assert "parameter_id" in mended.wait_for(CommandType.Error)
    mended.assessor_worker.join(5)
    mended.tuner._on_exit()
    assert TrialLog.read(tmp_path / "journal.jsonl").ended == "error"


def test_an_error_in_a_callback_is_told_once(mended: Unconnected) -> None:
    mended.enqueue_command(CommandType.UpdateSearchSpace, {"x": {"_type": "chioce"}})
    mended.wait_for(CommandType.Error)
    mended.default_worker.join(5)
    assert len([kind for kind, _ in mended.sent if kind is CommandType.Error]) == 1


def test_a_value_is_read_as_nni_reads_it_where_it_can() -> None:
    assert read_value('{"a": [1, 2.5]}') == {"a": [1, 2.5]}
    assert read_value('"5"') == "5"
    assert read_value({"a": 1}) == {"a": 1}
    assert read_value("high") == "high"


FULL_DISK = """
import os, resource, sys, time
from pathlib import Path
from nni.runtime.msg_dispatcher import MsgDispatcher
from nni.runtime.tuner_command_channel import CommandType
from nni_plugin import JointGATuner

class Unconnected(MsgDispatcher):
    def send(self, command, data):
        print(command.name, " ".join(str(data).split()), flush=True)

made = Unconnected("ws://_unittest_", JointGATuner())
made.default_worker.start()
made.enqueue_command(CommandType.Initialize, {"x": {"_type": "choice", "_value": [1, 2, 3]}})
journal = Path(os.environ["NNI_CHECKPOINT_DIRECTORY"], "journal.jsonl")
while not journal.exists() or not journal.stat().st_size:
    time.sleep(0.02)
# Ends the worker of NNI's own dispatcher: the tuner mends it in this process.
made.enqueue_command(CommandType.ImportData, [7, {"parameter": {"x": 1}, "value": "high"}])
while not made.default_command_queue.empty():
    time.sleep(0.02)
with made.tuner.lock:
    pass
# The kernel's own refusal: not one byte more in any file.
resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size,) * 2)
made.enqueue_command(CommandType.RequestTrialJobs, 1)
made.default_worker.join(20)
made.tuner._on_exit()
print("closed")
"""


@pytest.mark.slow
def test_a_full_disk_reaches_the_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NNI_CHECKPOINT_DIRECTORY", "NNI_LOG_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("SDK_PROCESS", "dispatcher")
    command = [sys.executable, "-c", FULL_DISK]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout
    assert "Error JointGA: OSError: [Errno 27] File too large" in said
    assert said.count("Error ") == said.count("JointGA: OSError"), said
    assert said.rstrip().endswith("closed")
