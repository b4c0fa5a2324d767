"""NNI's side of the tuner's callbacks, in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nni_plugin import JointGATuner
from nni_plugin.study.journal import read
from nni_plugin.study.trial_log import TrialLog
from support.death import succeed_in

SPACE = {
    "x": {"_type": "choice", "_value": [0, 1, 2, 3]},
    "y": {"_type": "choice", "_value": [0, 1, 2, 3]},
}
ARGS = {"objectives": {"gain": "maximize", "price": "minimize"}, "population_size": 4}


class Dispatcher:
    """NNI's side: numbers the requests, keeps what the tuner hands out and reports."""

    def __init__(self, folder: Path, first_id: int = 0, **class_args: Any) -> None:
        self.folder = folder
        succeed_in(folder, self._let_go)
        self.tuner = JointGATuner(**{**ARGS, **class_args})
        self.tuner.grace_failed = self.tuner.grace_succeeded = 0.05
        self.next_id = first_id
        self.trials: dict[int, dict[str, Any]] = {}
        self.errors: list[str] = []
        self.tuner._dispatcher = self
        self._is_dead = False

    def exit(self) -> None:
        """Ends the tuner in order, if it is not dead."""
        if not self._is_dead:
            self.tuner._on_exit()

    def _let_go(self) -> None:
        self._is_dead = True
        if self.tuner._study is not None:
            self.tuner._study.close()

    def report_error(self, error: str) -> None:
        self.errors.append(error)

    def send(self, parameter_id: int, params: dict[str, Any]) -> None:
        self.trials[parameter_id] = params

    def space(self, space: dict[str, Any] = SPACE) -> None:
        self.tuner.update_search_space(space)

    def ask(self, number: int) -> list[int]:
        ids = list(range(self.next_id, self.next_id + number))
        self.next_id += number
        served = self.tuner.generate_multiple_parameters(ids, st_callback=self.send)
        self.trials.update(zip(ids, served, strict=False))
        return ids[: len(served)]

    def tell(self, parameter_id: int, value: Any = None, **fields: Any) -> None:
        params = self.trials[parameter_id]
        if value is None:
            value = {**score(params), "uid": params["uid"], **fields}
        self.tuner.receive_trial_result(parameter_id, "", value, trial_job_id=f"t{parameter_id}")

    def end(self, parameter_id: int | None, success: bool) -> None:
        self.tuner.trial_end(parameter_id, success)

    def settle(self) -> None:
        for timer in list(self.tuner._lost.timers):
            timer.join(5)

    def uid(self, parameter_id: int) -> int:
        uid: int = self.trials[parameter_id]["uid"]
        return uid

    @property
    def journal(self) -> list[dict[str, Any]]:
        return read(self.folder / "journal.jsonl")

    def status(self, uid: int) -> str:
        return TrialLog.read(self.folder / "journal.jsonl").trials[uid].status


def score(params: dict[str, Any]) -> dict[str, float]:
    return {"default": params["x"], "gain": params["x"] - 0.1 * params["y"], "price": params["x"]}
