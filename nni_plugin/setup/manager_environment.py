"""The environment that a manager is started with: what it hooks in, and where it listens."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from nni_plugin.setup import manager_access, processes

_ASSETS = Path(__file__).parents[1] / "assets"
_HOOKS = (
    "manager_guard.cjs", "tuner_patience.cjs", "trial_reasons.cjs", "results_in_order.cjs",
    "one_start.cjs",
)  # fmt: skip


def environment(host: str, names: Sequence[str] = (), token: str = "") -> dict[str, str]:
    """Environment of the manager: its interpreter first on PATH, bound to ``host``.

    The manager refuses what a foreign web page may make a browser send: a ``Host`` that is neither
    an address nor a name of this machine, a foreign ``Origin``, a body that is not JSON.

    Args:
        host: the address to listen on; ``0.0.0.0`` or ``*`` for every interface.
        names: further names under which the manager is reached, as NNI's ``nniManagerIp``.
        token: what requests from other machines must bring; without one they are all refused.
    """
    result = dict(os.environ)
    # Not resolved: in a venv `python` is a link, and its folder makes it the venv's.
    folder = str(Path(sys.executable).parent)
    result["PATH"] = os.pathsep.join([folder, *filter(None, [result.get("PATH", "")])])
    # nnictl talks to its manager through `requests`, which would ask a configured proxy.
    for name in ("NO_PROXY", "no_proxy"):
        result[name] = ",".join(filter(None, [result.get(name), "127.0.0.1,localhost"]))
    before = result.get("NODE_OPTIONS", "")
    result["JOINT_GA_NODE_OPTIONS"] = before
    result["JOINT_GA_HOST"] = "*" if host in manager_access.EVERYWHERE else host
    result["JOINT_GA_NAMES"] = ",".join(names)
    result["JOINT_GA_TOKEN"] = token
    hooks = [f'--require "{_ASSETS / name}"' for name in _HOOKS]
    result["NODE_OPTIONS"] = " ".join(filter(None, [before, *hooks]))
    result[processes.MARK] = uuid.uuid4().hex
    return result
