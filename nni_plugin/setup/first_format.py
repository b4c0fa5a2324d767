"""NNI's first config format, which ``nnictl`` still takes: said with the names of today."""

from __future__ import annotations

from nni_plugin.protocol.json_types import Settings

_RENAMED = {
    "experimentName": "experimentName",
    "searchSpacePath": "searchSpaceFile",
    "maxExecDuration": "maxExperimentDuration",
    "maxTrialNum": "maxTrialNumber",
    "trainingServicePlatform": "trainingService: {platform: ...}",
    "trial": "trialCommand and trialCodeDirectory",
    "authorName": "",
    "useAnnotation": "",
    "multiPhase": "",
    "nniManagerIp": "nniManagerIp",
    "logDir": "experimentWorkingDirectory",
}
_ONLY_THERE = frozenset(
    {"authorName", "searchSpacePath", "maxTrialNum", "maxExecDuration", "trainingServicePlatform"}
)


def told(config: Settings) -> str | None:
    """What to change in a config of NNI's first format; None if it is of the second."""
    old = [key for key in config if key in _ONLY_THERE]
    if not old:
        return None
    changes = [
        f"{key} -> {_RENAMED[key]}" if _RENAMED[key] else f"{key}: leave it out"
        for key in config
        if key in _RENAMED and _RENAMED[key] != key
    ]
    return (
        f"this is NNI's first config format (it has {', '.join(old)}); joint-ga takes the second "
        f"(version 2): {'; '.join(changes)}; tuner: {{className: nni_plugin.JointGATuner, "
        "classArgs: ...}"
    )
