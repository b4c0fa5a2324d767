"""What a config still names that went: its experiment runs, and its user is told what now runs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import yaml

from nni_plugin.registration import registered_class
from nni_plugin.setup.config_check import OWN_ASSESSOR


def outdated_settings(path: str | Path) -> list[str]:
    """Settings of a usable config that have no effect any more, each with what takes its place.

    Args:
        path: the YAML file that ``nnictl create --config`` gets, without problems in it.
    """
    from evaluators.task import EARLY_END_REMOVED
    from nni_plugin.study.early_stopping import retired

    config = yaml.safe_load(Path(path).read_text())
    notes = []
    assessor = config.get("assessor")
    if isinstance(assessor, Mapping):
        name = assessor.get("className") or registered_class(str(assessor.get("name")))
        note = retired(assessor.get("classArgs") or {}) if name in OWN_ASSESSOR else None
        notes += [] if note is None else [f"assessor: classArgs: {note}"]
    service = config.get("trainingService")
    inner = service.get("trialCommand") if isinstance(service, Mapping) else None
    words = shlex.split(config.get("trialCommand") or inner or "")
    if any(word.partition("=")[0] == "--early-end" for word in words):
        notes.append(f"trialCommand: --early-end {EARLY_END_REMOVED}")
    return notes
