"""Which software the costs of a search are of: what its journal began with, and what counts now."""

from __future__ import annotations

from collections.abc import Mapping

from nni_plugin.protocol.json_types import JsonObject
from nni_plugin.study.trial_log import TrialLog
from nni_plugin.study.tuner_args import TunerArgs

FIRST = 1
"""Version of the costs in journals that name none, see ``hardware.versions``."""


def stack_of(args: TunerArgs, cost_model: object, log: TrialLog) -> JsonObject | None:
    """Device, software and version of the costs; None where they are not of a network file.

    Args:
        args: what is searched for.
        cost_model: of these.
        log: the search so far.

    Raises:
        ValueError: the search began with other costs.
    """
    device = getattr(cost_model, "device", None)
    if not isinstance(args.costs, dict) or device is None:
        return None
    now = {"device": device.id, "name": device.stack, "costs_version": device.version}
    # Journals of before name none: the first version's.
    began = log.stack or (now if device.version == FIRST else {"costs_version": FIRST})
    if log.trials and began != now:
        raise ValueError(
            f"this search began with other costs ({_facts(began)}) than its network file now "
            f"gives ({_facts(now)}), so its trials can't be compared: put the network file of "
            "then back, or start a new experiment"
        )
    return now


def _facts(stack: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in stack.items())
