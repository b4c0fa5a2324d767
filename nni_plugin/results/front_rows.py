"""The members of a front by name, for tables, documents and agents alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nni_plugin.protocol.json_types import JsonObject
from nni_plugin.results.pareto_front import FrontHistory, knee
from nni_plugin.study.trial_log import Trial, TrialLog

__all__ = ["front_rows", "point_names"]


def point_names(front: Sequence[Trial], objectives: Mapping[str, str]) -> dict[int, list[str]]:
    """What makes some uids worth naming: the knee and the best of each objective."""
    if not front:
        return {}
    names: dict[int, list[str]] = {knee(front, objectives).uid: ["knee"]}
    for metric, mode in objectives.items():
        sign = -1 if mode == "maximize" else 1
        losses = [sign * trial.ranked[metric] for trial in front]
        best = front[losses.index(min(losses))]
        names.setdefault(best.uid, []).append(f"best {metric}")
    return names


def front_rows(log: TrialLog, history: FrontHistory) -> list[JsonObject]:
    """The front by its first objective, the best first: uid, trial, names and metrics of each."""
    front = [log.trials[uid] for uid in history.front]
    names = point_names(front, log.objectives)
    first, mode = next(iter(log.objectives.items()))
    front.sort(key=lambda trial: trial.ranked[first], reverse=mode == "maximize")
    return [
        {
            "uid": trial.uid,
            "trial": trial.job_id,
            "names": names.get(trial.uid, []),
            "metrics": dict(trial.shown),
        }
        for trial in front
    ]
